"""The rate of arrivals: found where it changes, and not where it follows the week."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from streamproc.monitors.counts import CountTest

HOUR, DAY = 3_600_000, 86_400_000
ALARM_MS = 3_000.0 * DAY
"""One of a hundred series, at one false alarm in 30 days."""

WEEKS = 12


def traffic(seed: int, hours: int, days: float = 0.0, mean: float = 200.0) -> np.ndarray:
    """Return counts by hour with a day, a week, and, where asked for, days that waver."""
    rng = np.random.default_rng(seed)
    at = np.arange(hours)
    day = 1 + 0.7 * np.sin(2 * np.pi * (at % 24 - 6) / 24)
    weekend = np.where(at // 24 % 7 >= 5, 0.5, 1.0)
    wavers = np.exp(days * rng.standard_normal(hours // 24 + 1)[at // 24])
    return rng.poisson(mean * day * weekend * wavers)


def said(counts: np.ndarray, skip: Callable[[int], bool] = lambda at: False) -> dict[int, str]:
    """Return what was said in which hour, when it changed."""
    test, found, last = CountTest(ALARM_MS, HOUR), {}, None
    for at, count in enumerate(counts.tolist()):
        if skip(at):
            continue
        what = test.update(at * HOUR, count)
        if what in ("opened", "over") and what != last:
            found[at] = what
        last = what
    return found


@pytest.mark.parametrize("days", [0.0, 0.1, 0.25])
def test_what_follows_the_week_is_no_finding(days: float) -> None:
    """Twelve weeks of days and weekends, ten times over, with days that waver too."""
    alarms = [said(traffic(seed, WEEKS * 168, days)) for seed in range(10)]
    assert sum("opened" in each.values() for each in alarms) <= 1


@pytest.mark.parametrize(
    ("factor", "within_h"), [(0.0, 4), (0.3, 8), (3.0, 8), (0.6, 48), (1.6, 48)]
)
def test_fewer_and_more_are_found_and_over(factor: float, within_h: int) -> None:
    """For two days, in the ninth week; soon after them it is over."""
    begin, end = 8 * 168 + 30, 8 * 168 + 78
    for seed in range(2):
        counts = traffic(seed, WEEKS * 168, 0.05)
        counts[begin:end] = (counts[begin:end] * factor).astype(int)
        found = sorted(said(counts).items())
        assert [what for _, what in found] == ["opened", "over"]
        assert begin <= found[0][0] < begin + within_h
        assert end <= found[1][0] < end + 12


def test_hours_without_any_are_none_left_out() -> None:
    """A bucket that no event fell into was never sent."""
    counts = traffic(1, WEEKS * 168)
    gone = range(8 * 168 + 30, 8 * 168 + 40)
    assert list(said(counts, lambda at: at in gone).values()) == ["opened", "over"]


def test_one_strange_hour_is_not_enough() -> None:
    """A public holiday's morning, or a batch that was sent twice."""
    counts = traffic(2, WEEKS * 168)
    counts[8 * 168 + 30] *= 20
    counts[9 * 168 + 30] = 0
    assert said(counts) == {}


def test_few_events_at_all_are_watched_in_vain_and_page_nobody() -> None:
    """Of an event in ten hours nothing can be said."""
    assert [said(traffic(seed, WEEKS * 168, 0.0, 0.1)) for seed in range(5)] == [{}] * 5
