"""Delays that are promised, against those of the tests themselves on simulated streams."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean

import numpy as np
import pytest

from streamproc.monitors.expected import bias_hopes, mean_shift, odds_shift, rate_shift
from streamproc.monitors.growing import Span
from streamproc.monitors.series import Bins, Limits, SeriesTest
from streamproc.monitors.sketch import Floats, Sketch
from streamproc.monitors.tilts import Numbers, Rate

Draw = Callable[[np.random.Generator, int], Floats]
ALARM_EVENTS, BUCKET, KNOWN = 1e5, 20, 100_000
RUNS = 40
NORMAL = Numbers(Sketch.of(np.random.default_rng(0).normal(size=20_000)))
SHARE = Rate(2)


def delay(bins: Bins, before: Draw, after: Draw, tolerance: float) -> float:
    """Return the mean events from a change to its alarm, an event a millisecond."""
    limits = Limits(ALARM_EVENTS, BUCKET, tolerance, Span(0, KNOWN))
    found = []
    for seed in range(RUNS):
        rng = np.random.default_rng(seed)
        test = SeriesTest(bins, limits)
        now_ms = 0
        for _ in range(4):  # what is usual is well known
            test.update(now_ms, before(rng, KNOWN // 4))
            now_ms += BUCKET
        for _ in range(50):
            test.update(now_ms, before(rng, BUCKET))
            now_ms += BUCKET
        began_ms = now_ms
        while not test.open and now_ms - began_ms < 40_000:
            test.update(now_ms, after(rng, BUCKET))
            now_ms += BUCKET
        found.append(now_ms - began_ms)
    return fmean(found)


def normal(mean: float) -> Draw:
    """Return buckets of normal values."""
    return lambda rng, n: NORMAL.counts(Sketch.of(rng.normal(mean, 1, n)))


def share(rate: float) -> Draw:
    """Return buckets of yes and no."""
    return lambda rng, n: SHARE.counts(float(rng.binomial(n, rate)), float(n))


@pytest.mark.parametrize(("size", "tolerance"), [(0.25, 0.0), (0.25, 0.1), (0.5, 0.1), (1.0, 0.1)])
def test_a_mean_is_seen_to_move_when_it_is_promised(size: float, tolerance: float) -> None:
    """Within a factor of 1.6, beside the half of a bucket that is waited for."""
    simulated = delay(NORMAL, normal(0.0), normal(size), tolerance)

    expected = mean_shift(size, ALARM_EVENTS, tolerance) + BUCKET / 2
    assert expected / 1.6 < simulated < 1.6 * expected


@pytest.mark.parametrize(
    ("before", "after", "tolerance"), [(0.1, 0.15, 0.1), (0.1, 0.2, 0.1), (0.02, 0.04, 0.0)]
)
def test_a_rate_is_seen_to_move_when_it_is_promised(
    before: float, after: float, tolerance: float
) -> None:
    """The same for yes and no."""
    simulated = delay(SHARE, share(before), share(after), tolerance)

    expected = rate_shift(before, after, ALARM_EVENTS, tolerance) + BUCKET / 2
    assert expected / 1.6 < simulated < 1.6 * expected


def test_what_is_tolerated_is_never_told() -> None:
    """However long one waits."""
    assert mean_shift(0.1, ALARM_EVENTS, 0.1) == np.inf
    assert rate_shift(0.1, 0.105, ALARM_EVENTS, 0.1) == np.inf
    assert odds_shift(0.01, 1.5, ALARM_EVENTS, 2.0) == np.inf


def test_more_is_seen_sooner_and_fewer_false_alarms_cost_time() -> None:
    """A slice of a hundredth takes as many events of its own, and a hundred times the days."""
    delays = [rate_shift(0.01, 0.01 * times, ALARM_EVENTS, 0.1) for times in (1.2, 1.5, 2, 3)]
    assert delays == sorted(delays, reverse=True)
    assert rate_shift(0.01, 0.02, 1e7, 0.1) > delays[2]

    whole, part = (bias_hopes(1e9 / share, 1e4, 0.0, 0.01, share, 1.1) for share in (1, 0.01))
    assert [each.events for each in whole] == pytest.approx([each.events for each in part])
    assert part[2].days == pytest.approx(100 * whole[2].days)
