"""The test of one series: what is learnt, and when a change is over."""

from __future__ import annotations

import numpy as np
import pytest

from streamproc.monitors.growing import Span
from streamproc.monitors.season import WEEK_MS
from streamproc.monitors.series import Limits, SeriesTest
from streamproc.monitors.tilts import Rate
from tests.unit.monitors.streams import DAY_MS, HOUR_MS

N = 60.0


def hours_told(test: SeriesTest, rates: list[tuple[int, float]]) -> list[tuple[int, str]]:
    """Return the hours in which a change was opened, or over; ``rates`` are (hours, share)."""
    rate, found, hour = Rate(2), list[tuple[int, str]](), 0
    for hours, share in rates:
        for _ in range(hours):
            what = test.update(hour * HOUR_MS, rate.counts(share * N, N))
            if what in ("opened", "over"):
                found.append((hour, what))
            hour += 1
    return found


def test_a_change_the_other_way_ends_the_first_and_is_told_anew() -> None:
    """A share that was up goes down beyond what was usual: that is not the same change."""
    test = SeriesTest(Rate(2), Limits(1e9, HOUR_MS))
    told = hours_told(test, [(200, 0.35), (60, 0.55), (100, 0.15)])
    assert [what for _, what in told] == ["opened", "over", "opened"]
    assert 260 < told[1][0] < 270
    assert test.found[1] / test.found.sum() < 0.2


def test_a_small_change_is_not_learnt_before_it_is_told() -> None:
    """Where quarantine is a week; with that of a day it is learnt first."""

    def told(span: Span) -> list[tuple[int, str]]:
        test = SeriesTest(Rate(2), Limits(1e9, HOUR_MS, 0.1, span))
        return hours_told(test, [(200, 0.35), (500, 0.404)])

    assert [what for _, what in told(Span(quarantine_ms=WEEK_MS))] == ["opened"]
    assert told(Span()) == []


@pytest.mark.parametrize("tolerance", [0.25, 1.0, 2.0])
def test_a_rate_that_goes_to_what_is_just_tolerated_is_not_told(tolerance: float) -> None:
    """Of rare ones, too, where tilting a rate by d is more than d times of it."""
    limits = Limits(100.0 * DAY_MS, HOUR_MS, tolerance, Span(quarantine_ms=WEEK_MS))
    told = []
    for seed in range(8):
        rng, rate, test = np.random.default_rng(seed), Rate(2), SeriesTest(Rate(2), limits)
        for hour in range(21 * 24):
            p = 0.02 * (1 + 0.99 * tolerance * (hour >= 14 * 24))
            if test.update(hour * HOUR_MS, rate.counts(float(rng.binomial(1_000, p)), 1_000.0)):
                told.append(seed)
                break
    assert told == []
