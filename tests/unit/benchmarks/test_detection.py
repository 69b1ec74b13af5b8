"""The benchmark of detectors: what it measures, on detectors whose answers are known beforehand."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.detection import measure, tables
from benchmarks.detection.baselines import AtRandom
from benchmarks.detection.measure import CHANGE, Delay, delay, false_alarms, fitted
from benchmarks.detection.ours import OURS
from benchmarks.detection.streams import (
    HORIZON,
    REFERENCE,
    ROWS,
    USUAL,
    Purpose,
    changed,
    stationary,
)

RANDOM = AtRandom("random")


@dataclass(frozen=True)
class Late:
    """Alarms at given indices, whatever the values and the threshold."""

    at: tuple[int, ...]
    name: str = "late"
    bracket: tuple[float, float] = (1.0, 2.0)

    def prepared(self, values: Any) -> Any:
        """Return the stream itself."""
        return values

    def alarms(self, prepared: Any, threshold: float, since: int) -> Any:
        """Return those indices up to the first from ``since`` on."""
        at = np.array([it for it in self.at if it < len(prepared)], np.int64)
        return at[: int(np.searchsorted(at, since)) + 1]


def streams(count: int, events: int = 20_000) -> list[Any]:
    """Return stationary streams of numbers."""
    return [stationary("number", Purpose.CHECK, it, events) for it in range(count)]


def test_random_alarms_are_as_far_apart_as_their_chance_says() -> None:
    """One in 500 events: the MTFA is 500, within four of the standard errors told."""
    rate = false_alarms(RANDOM, 500.0, streams(40), 20_000)
    assert rate.relative_se == pytest.approx(1 / math.sqrt(sum(rate.counts)), rel=0.5)
    assert abs(rate.mtfa / 500 - 1) < 4 * rate.relative_se


def test_a_reference_has_no_false_alarms() -> None:
    """What alarms in the reference alone has none; one right after it has one a stream."""
    both = [Late((5, REFERENCE - 1)), Late((5, REFERENCE))]
    counts = [false_alarms(it, 1.0, streams(2, 100), 100).counts for it in both]
    assert counts == [(0, 0), (1, 1)]
    assert false_alarms(both[0], 1.0, streams(2, 100), 100).mtfa == math.inf


def test_a_delay_is_counted_from_the_change_which_is_the_first_event() -> None:
    """Alarms before it are ignored; one at the change itself is a delay of 1."""
    values = [changed(ROWS[0], it) for it in range(3)]
    assert delay(Late((CHANGE - 1, CHANGE)), 1.0, values) == Delay(1.0, 0.0, 0.0, 1.0, 3)
    assert delay(Late((10, CHANGE + 41, CHANGE + 50)), 1.0, values).mean == 42.0


def test_what_is_missed_counts_as_the_horizon() -> None:
    """And as missed; the mean of what was seen leaves it out."""
    values = [changed(ROWS[0], 0), changed(ROWS[0], 1)[: CHANGE + 10]]
    got = delay(Late((CHANGE + 99,)), 1.0, values)
    assert (got.mean, got.missed, got.mean_of_seen) == ((100 + HORIZON) / 2, 0.5, 100.0)
    never = delay(RANDOM, math.inf, values)
    assert (never.mean, never.missed, never.mean_of_seen) == (HORIZON, 1.0, math.inf)
    assert measure.mtr(math.inf, never) is None


def test_random_alarms_are_late_as_a_geometric_variable_is() -> None:
    """Cut off at the horizon: (1 - (1-p)^h) / p on average, (1-p)^h missed."""
    got = delay(RANDOM, 10_000.0, [changed(ROWS[0], it) for it in range(300)])
    missed = (1 - 1e-4) ** HORIZON
    assert abs(got.mean - (1 - missed) / 1e-4) < 4 * got.se
    assert abs(got.missed - missed) < 4 * math.sqrt(missed * (1 - missed) / 300)


def test_a_fit_meets_its_target_from_either_end() -> None:
    """Thresholds that have to rise, or to fall, and steps, of which the nearest is taken."""
    assert fitted(lambda it: math.exp(it), (0.1, 40.0)) == pytest.approx(math.log(1e5), rel=0.002)
    assert fitted(lambda it: 3 / it, (0.5, 1e-9)) == pytest.approx(3e-5, rel=0.02)
    stepped = fitted(lambda it: 10.0 ** math.floor(it), (1.5, 9.5), 70_000)
    assert math.floor(stepped) == 5
    with pytest.raises(ValueError, match="not between"):
        fitted(lambda it: it, (1.0, 10.0))


def test_a_fit_of_random_alarms_finds_their_chance() -> None:
    """From simulated streams, as detectors are fitted, and within four standard errors."""
    many = streams(40)
    found = fitted(lambda it: false_alarms(RANDOM, it, many, 20_000).mtfa, (20.0, 20_000.0), 1_000)
    assert found == pytest.approx(1_000, rel=4 / math.sqrt(800))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.change)
def test_streams_are_the_same_again_and_change_where_they_should(row: Any) -> None:
    """Before the change as usual, after it at the new mean, spread or correlation."""
    values = changed(row, 3)
    assert np.array_equal(values, changed(row, 3))
    assert not np.array_equal(values, changed(row, 4))
    other = next(it for it in ROWS if it.stream == row.stream)
    assert np.array_equal(values[:CHANGE], changed(other, 3)[:CHANGE])
    assert len(values) == CHANGE + HORIZON
    assert not np.array_equal(
        stationary(row.stream, Purpose.FIT, 3, 50), stationary(row.stream, Purpose.CHECK, 3, 50)
    )
    before, after = values[:CHANGE], values[CHANGE:]
    mean, spread = after.mean(), after.std()
    match row.change.split():
        case ["mean", "+", by, "sd"]:
            assert (mean, spread) == pytest.approx((float(by), 1.0), abs=0.04)
        case ["spread", "x", by]:
            assert (mean, spread) == pytest.approx((0.0, float(by)), abs=0.04)
        case ["normal", "to", "t3"]:
            assert np.quantile(after, 0.75) == pytest.approx(0.765 / math.sqrt(3), abs=0.012)
        case ["correlation", *_]:
            assert _correlation(before) == pytest.approx(0.0, abs=0.04)
            assert _correlation(after) == pytest.approx(0.5, abs=0.04)
        case ["5", "%", "moved"]:
            moved = [np.mean(after == code) - np.mean(before == code) for code in range(10)]
            assert moved == pytest.approx([-0.05, 0.05, *[0] * 8], abs=0.02)
        case ["new", *_]:
            assert (np.mean(before == 10), np.mean(after == 10)) == pytest.approx(
                (0, 0.002), abs=1e-3
            )
        case [was, "to", becomes]:
            assert (before.mean(), mean) == pytest.approx((float(was), float(becomes)), abs=0.012)
        case _:
            pytest.fail(f"{row.change} isn't checked")


def _correlation(pairs: Any) -> float:
    return float(np.mean(pairs[:, 0] * pairs[:, 1]))


def test_every_change_has_a_goal_and_a_kind_of_stream() -> None:
    """So that no row is left out of a table for want of a name."""
    assert {row.change for row in ROWS} == set(tables.GOALS)
    assert {row.stream for row in ROWS} == set(USUAL)
    assert set(OURS) <= set(USUAL)


def a_figure(detector: str, mean: float, mtfa: float = 1e5, missed: float = 0.0) -> tables.Figures:
    """Return figures on the first change of numbers."""
    late = Delay(mean, 1.0, missed, mean, 100)
    return tables.figures(detector, ROWS[0].stream, ROWS[0].change, 2.0, mtfa, late)


def test_the_best_peer_is_the_soonest_of_an_equal_rate() -> None:
    """Not one that alarms more often, was told the change, or sees no more than chance does."""
    peers = [
        a_figure("KSWIN", 5.0, mtfa=5e4),
        a_figure("PageHinkley 0.05", 6.0),
        a_figure("CVM", 7.0, missed=0.8),
        a_figure("ADWIN", 9.0, missed=0.5),
        a_figure("CUSUM", 10.0),
    ]
    (got,) = tables.rows([a_figure("ours", 8.0, missed=0.0123)], peers)
    assert got == {
        "stream": "number",
        "change": "mean + 0.1 sd",
        "mean_delay_events": 8.0,
        "missed": 0.0123,
        "best_peer": "river ADWIN",
        "best_peer_delay_events": 9.0,
    }
    (alone,) = tables.rows([a_figure("ours", 8.0)], peers[:3])
    assert (alone["best_peer"], alone["best_peer_delay_events"]) == (None, HORIZON)


def test_the_page_takes_every_table(tmp_path: Path) -> None:
    """The page has a place for each; what is around them stays, and a second time is the same."""
    from benchmarks.detection.__main__ import PAGE

    page = tmp_path / "detection.md"
    page.write_text(PAGE.read_text())
    one = [a_figure("ours", 8.0)]
    first = tables.of_detectors(one, [a_figure("ADWIN", 9.0)], [], [])
    tables.into_page(page, first)
    text = page.read_text()
    tables.into_page(page, first)
    assert page.read_text() == text
    assert "| number: mean + 0.1 sd |  8.0 |" in text
    assert max(len(line) for each in first.values() for line in each.splitlines()) <= 105
    assert text.startswith("# How soon a change is seen")
