"""The benchmark of budgets: what it counts, and that its recursion is that of the monitors."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.detection import bias, false_alarms
from benchmarks.detection.compiled import Floats
from benchmarks.detection.false_alarms import DEPENDENT, INDEPENDENT, Counted
from benchmarks.detection.measure import CHANGE
from benchmarks.detection.ours import BUCKET, OURS, numbers
from benchmarks.detection.streams import REFERENCE, ROWS, changed
from streamproc.monitors.growing import Span
from streamproc.monitors.multivariate import FeaturesTest
from streamproc.monitors.reservoir import Rows
from streamproc.monitors.series import Limits, SeriesTest

A = 50_000.0
LIMITS = Limits(A, BUCKET, 0.0, Span(REFERENCE, REFERENCE))


def found_at(opened: list[bool]) -> int:
    """Return the last event of the first bucket that opened."""
    return (opened.index(True) + 1) * BUCKET - 1


def test_a_row_of_pairs_alarms_where_the_monitor_opens() -> None:
    """So that what is fitted and measured is the monitor itself."""
    values = changed(next(row for row in ROWS if row.stream == "pair"), 3)
    pairs = OURS["pair"]
    alarms = pairs.alarms(pairs.prepared(values), A, CHANGE)
    test = FeaturesTest(("first", "second"), LIMITS)
    keys = np.random.default_rng(20_260_801).integers(0, 1 << 62, len(values))
    opened = []
    for start in range(0, CHANGE + 2_000, BUCKET):
        at = slice(start, start + BUCKET)
        opened.append(test.take(Rows(start, keys[at], values[at])) == "opened")
    assert CHANGE < alarms[0] == found_at(opened)


def test_a_row_of_numbers_alarms_where_the_monitor_opens() -> None:
    """As for pairs."""
    values = changed(ROWS[1], 3)
    series = OURS["number"]
    alarms = series.alarms(series.prepared(values), A, CHANGE)
    bins, counts = numbers(values)
    test, opened = SeriesTest(bins, LIMITS), []
    for at in range((CHANGE + 2_000) // BUCKET):
        before = test.open
        test.update(at * BUCKET, counts[at])
        opened.append(test.open and not before)
    assert CHANGE < alarms[0] == found_at(opened)


def test_memory_is_half_of_what_went_before() -> None:
    """Variance stays 1, events are 0.5 correlated, and buckets go on from each other."""
    rng = np.random.default_rng(1)
    first: Floats = rng.normal(size=(20_000, 3))
    false_alarms.remembering(first, np.zeros(3))
    assert np.var(first) == pytest.approx(1.0, abs=0.05)
    assert np.mean(first[1:] * first[:-1]) == pytest.approx(0.5, abs=0.05)
    second = np.zeros((2, 3))
    false_alarms.remembering(second, first[-1])
    assert second[1] == pytest.approx(first[-1] / 4)


def test_alarms_are_held_against_the_budget() -> None:
    """Two a stream, be they shared by features and slices or had by features alone."""
    both, alone = Counted("normal", 25, 20, 40), Counted("ar", 4, 3, None)
    assert (both.expected, both.ratio) == (50.0, 1.2)
    assert (alone.expected, alone.ratio) == (8.0, 0.375)
    assert both.error == pytest.approx(60**0.5 / 50)


def test_the_worst_kind_is_told_of_both_sorts() -> None:
    """One independent kind above its budget is not made up for by the others."""
    ran = {("features", kind, seed): 0 for kind in (*INDEPENDENT, *DEPENDENT) for seed in (0, 1)}
    ran |= {("slices", kind, seed): 1 for kind in INDEPENDENT for seed in (0, 1)}
    ran["features", "t3", 1], ran["features", "days", 0] = 4, 1
    counts = false_alarms.counted(ran)
    told = false_alarms.figures(counts)
    assert told["false_alarms_over_budget"] == 1.5
    assert told["false_alarms_over_budget_dependent"] == 0.25
    assert [it["kind"] for it in told["false_alarms"]] == [*INDEPENDENT, *DEPENDENT]
    assert "| t3          |       2 |        4 |      2 |" in false_alarms.text(counts)


def test_streams_of_a_base_rate_are_counted_together() -> None:
    """As one number of alarms in so many events."""
    each = [
        {"base": base, "alarms": n, "events": 10} for base, n in ((0.1, 1), (0.01, 2), (0.1, 4))
    ]
    assert bias.together(each) == [
        {"base": 0.01, "alarms": 2, "events": 10},
        {"base": 0.1, "alarms": 5, "events": 20},
    ]
