"""Delays that are promised, against those of the tests themselves on simulated streams."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from streamproc.monitors.calibration import CalibrationTest, Tolerance
from streamproc.monitors.expected import (
    bias_hopes,
    correlation_shift,
    mean_shift,
    odds_shift,
    rate_hopes,
    rate_shift,
)
from streamproc.monitors.expected_scores import (
    Excess,
    excess_of_classes,
    excess_of_numbers,
    excess_of_two,
    logits_of,
    no_better,
    recalibration,
)
from streamproc.monitors.foundslices import FoundSlices
from streamproc.monitors.growing import Span
from streamproc.monitors.multivariate import FeaturesTest
from streamproc.monitors.outcome_sample import Outcomes
from streamproc.monitors.reactions import PREDICTIONS, VALUES, ReactionMonitor, Reactions
from streamproc.monitors.reservoir import Rows
from streamproc.monitors.scores import BINS, bins_of
from streamproc.monitors.season import DAY_MS
from streamproc.monitors.series import Bins, Limits, SeriesTest
from streamproc.monitors.sketch import Floats, Sketch
from streamproc.monitors.tilts import Numbers, Rate
from streamproc.monitors.worth import Losses, WorthTest

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

    whole, part = (
        bias_hopes("positives", "slice", 1e9 / share, 1e4 * share, 0.0, 0.01, 1.1)
        for share in (1, 0.01)
    )
    assert [each.events for each in whole] == pytest.approx([each.events for each in part])
    assert part[2].days == pytest.approx(100 * whole[2].days)


def told_after(update: Callable[[int], bool], before: int, most: int) -> int:
    """Return how many buckets after a change its alarm comes; ``before`` it there are so many."""
    for at in range(before):
        assert not update(at)
    return next(n for n in range(1, most) if update(before + n - 1))


@pytest.mark.parametrize(
    ("base", "shift", "slope", "bucket"),
    [(0.2, 0.0, 0.5, 100), (0.2, 0.4, 1.0, 200), (0.01, 1.1, 1.0, 500)],
)
def test_scores_are_seen_to_mean_something_else_when_it_is_promised(
    base: float, shift: float, slope: float, bucket: int
) -> None:
    """Within a factor of 2, by outcomes of the scores that are supposed."""
    logit = logits_of(base)
    p = 1 / (1 + np.exp(-logit))
    middle = float(np.average(logit, weights=p * (1 - p)))
    q = 1 / (1 + np.exp(-(middle + shift + slope * (logit - middle))))
    found = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        test = CalibrationTest(bucket, 1e6, Tolerance(), Span(0, KNOWN))

        def update(at: int, rng: np.random.Generator = rng, test: Any = test) -> bool:
            n = KNOWN // 4 if at < 8 else bucket
            score = rng.integers(0, len(p), n)
            yes = rng.random(n) < (p if at < 20 else q)[score]
            table = (np.ones(n), yes, p[score])
            sums = [np.bincount(bins_of(p[score]), each, minlength=BINS) for each in table]
            return bool(test.update(at * bucket, np.stack(sums, axis=1)) == "opened")

        found.append(told_after(update, 20, 1_000) * bucket)

    expected = recalibration(base, shift, slope, 1e6, Tolerance()) + bucket / 2
    assert expected / 2 < fmean(found) < 2 * expected


FIFTH = 1 / (1 + np.exp(-logits_of(0.2)))


def brier(rng: np.random.Generator, n: int, good: bool) -> Losses:
    """Return the losses of a classifier at a base rate of 20 %."""
    p = rng.choice(FIFTH, n)
    yes = rng.random(n) < (p if good else 0.2)
    return Losses(n, float(((yes - p) ** 2).sum()), float(((yes - 0.2) ** 2).sum()))


def brier_of_three(rng: np.random.Generator, n: int, good: bool) -> Losses:
    """Return those of three classes, of one that says 90 %, 5 % and 5 %."""
    said = np.array([0.9, 0.05, 0.05])
    label = np.eye(3)[rng.choice(3, n, p=said if good else None)]
    return Losses(n, float(((label - said) ** 2).sum()), float(((label - 1 / 3) ** 2).sum()))


def squares(rng: np.random.Generator, n: int, good: bool) -> Losses:
    """Return those of a regression that explains half of the variance."""
    told, left = rng.normal(0, 0.5**0.5, (2, n))
    label = told + left if good else rng.normal(size=n)
    return Losses(n, float(((label - told) ** 2).sum()), float((label**2).sum()))


@pytest.mark.parametrize(
    ("losses", "excess", "n"),
    [
        (brier, excess_of_two(0.2), 100),
        (brier, excess_of_two(0.2), 1_000),
        (brier_of_three, excess_of_classes(3), 40),
        (squares, excess_of_numbers(), 40),
        (squares, excess_of_numbers(), 4_000),
    ],
)
def test_a_model_is_seen_to_tell_nothing_when_it_is_promised(
    losses: Callable[[np.random.Generator, int, bool], Losses], excess: Excess, n: int
) -> None:
    """Within a factor of 2, by the losses of models as they are supposed."""
    found = []
    for seed in range(10):
        rng, test = np.random.default_rng(seed), WorthTest(2_000.0)
        update = lambda at, rng=rng, test=test: test.update(losses(rng, n, at < 500), at, 1)  # noqa: E731
        found.append(told_after(update, 500, 1_000))

    expected = no_better(excess.mean, excess.sd_after, excess.sd, n, 2_000.0) + 0.5
    assert expected / 2 < fmean(found) < 2 * expected


@pytest.mark.parametrize("after", [0.3, 0.5])
def test_features_are_seen_to_go_together_when_it_is_promised(after: float) -> None:
    """Within a factor of 1.6, four of them being watched."""
    found = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        test = FeaturesTest(("a", "b", "c", "d"), Limits(1e6, BUCKET, 0.1, Span(0, 20_000)))

        def update(at: int, rng: np.random.Generator = rng, test: Any = test) -> bool:
            rows = rng.normal(size=(5_000 if at < 4 else BUCKET, 4))
            if at >= 50:
                rows[:, 1] = after * rows[:, 0] + (1 - after**2) ** 0.5 * rows[:, 1]
            ids = rng.integers(0, 1 << 62, len(rows))
            return bool(test.take(Rows(at * BUCKET, ids, rows)) == "opened")

        found.append(told_after(update, 50, 2_000) * BUCKET)

    expected = correlation_shift(after, 10, 1e6, 0.1) + BUCKET / 2
    assert expected / 1.6 < fmean(found) < 1.6 * expected


def test_more_reactions_are_seen_when_it_is_promised() -> None:
    """Within a factor of 1.6: their rate goes from 10 % to 15 %, and has half of the alarms."""
    spec = Reactions("calls", id="id", value="called", bucket="1s", reference="0s")
    alarm_ms, n = 1e8, 50
    found = []
    for seed in range(20):
        rng, monitor = np.random.default_rng(seed), ReactionMonitor(spec, alarm_ms)

        def update(at: int, rng: np.random.Generator = rng, monitor: Any = monitor) -> bool:
            made = 1_000 if at < 100 else n
            values = np.ones(rng.binomial(made, 0.1 if at < 120 else 0.15))
            row = {PREDICTIONS: [made], VALUES: Sketch.of(values).packed()}
            return bool(monitor.update(at * 1_000, row))

        found.append(told_after(update, 120, 1_000) * 1_000)

    per_day = n * 86_400.0
    hopes = rate_hopes("reactions go", [(0.1, 0.15)], 2 * alarm_ms, per_day, 500.0, spec.tolerance)
    expected = hopes[0].days * DAY_MS
    assert expected / 1.6 < fmean(found) < 1.6 * expected


def test_a_slice_is_found_when_it_is_promised() -> None:
    """Within a factor of 2: thrice the positives in 5 % of the outcomes, of which half are seen."""
    n, alarm_ms, part = 512, 1e9, 0.5
    p = 1 / (1 + np.exp(-logits_of(0.1)))
    found = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        slices = FoundSlices(1_000, alarm_ms, 1.1, Span(0, 1_000))

        def update(at: int, rng: np.random.Generator = rng, slices: Any = slices) -> bool:
            size = 4 * n if at < 100 else n
            score, here = rng.choice(p, size), rng.random(size) < 0.05
            yes = rng.random(size) < np.where(here & (at >= 100), np.minimum(3 * score, 1), score)
            columns = [[str(each) for each in here.tolist()], rng.choice(["u", "v"], size).tolist()]
            ids, models, whole = [""] * size, ["m@1"] * size, np.arange(size)
            sample = Outcomes(
                ("a", "b"), columns, ids, models, whole, whole, yes.astype(np.float64), score
            )
            return bool(slices.update(at * 1_000, sample, False, True))

        found.append(told_after(update, 100, 1_000) * 1_000)

    series = len(slices.candidates)
    per_day = n / part * 0.05 * 86_400.0
    hopes = bias_hopes("positives", "found", alarm_ms * series, per_day, 500.0, 0.1, 1.1, part=part)
    expected = hopes[-1].days * DAY_MS
    assert expected / 2 < fmean(found) < 2 * expected
    assert hopes[-1].events == pytest.approx((expected - 500.0) / DAY_MS * per_day)
