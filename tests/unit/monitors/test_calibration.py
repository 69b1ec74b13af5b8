"""The test of calibration on outcomes by bin: what is news of a model, and what is learning."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from streamproc.monitors.calibration import LEARNING, CalibrationTest, Tolerance
from streamproc.monitors.calibrationmonitor import CalibrationMonitor
from streamproc.monitors.growing import Span
from streamproc.monitors.logistic import fitted
from streamproc.monitors.outcomes import OVERALL
from streamproc.monitors.reliability import expected_calibration_error
from streamproc.monitors.scoregroups import LEAST_EACH
from streamproc.monitors.scores import BINS, PROBABILITY_STEPS, bins_of
from streamproc.monitors.sketch import Floats
from tests.unit.monitors.streams import DAY_MS

BUCKET_MS = DAY_MS // 4
N = 1_000
Truth = Callable[[float], tuple[float, float]]


def bucket(rng: np.random.Generator, shift: float, slope: float) -> Floats:
    """Return a bucket's outcomes whose logits are ``shift`` and ``slope`` times what scores say."""
    logit = rng.normal(-1.5, 1.2, N)
    p, q = (1 / (1 + np.exp(-x)) for x in (logit, shift + slope * logit))
    sums = [
        np.bincount(bins_of(p), each, minlength=BINS) for each in (np.ones(N), rng.random(N) < q, p)
    ]
    return np.stack(sums, axis=1)


def days_told(
    test: CalibrationTest, truth: Truth, days: int, seed: int = 1
) -> list[tuple[int, str]]:
    """Return on which days it was opened, and over."""
    rng = np.random.default_rng(seed)
    found = []
    for at in range(days * 4):
        what = test.update(at * BUCKET_MS, bucket(rng, *truth(at / 4)))
        if what in ("opened", "over"):
            found.append((at // 4, what))
    return found


def learning(day: float) -> tuple[float, float]:
    """Return a model whose scores are bold at first, and right after six weeks."""
    return 0.0, min(0.5 + 0.5 * day / 42, 1.0)


def test_a_model_that_learns_to_mean_what_it_says_is_no_news() -> None:
    """A slope that goes from 0.5 to 1, slowly: that is what learning is for."""
    test = CalibrationTest(BUCKET_MS, 100.0 * DAY_MS, LEARNING, Span(settles=True))
    assert days_told(test, learning, 60) == []


def test_of_a_model_that_does_not_learn_it_is_news() -> None:
    """The same of a model that is given: what it says has changed its meaning."""
    test = CalibrationTest(BUCKET_MS, 100.0 * DAY_MS, Tolerance())
    assert [what for _, what in days_told(test, learning, 60)][:1] == ["opened"]


@pytest.mark.parametrize(("shift", "slope"), [(1.2, 1.0), (-1.2, 1.0), (0.0, 0.3), (0.0, 2.2)])
def test_a_model_that_learns_and_goes_wrong_is_told(shift: float, slope: float) -> None:
    """Away from what it should mean, either way; and its end, once it is right again."""
    test = CalibrationTest(BUCKET_MS, 100.0 * DAY_MS, LEARNING, Span(settles=True))
    told = days_told(test, lambda day: (shift, slope) if 30 <= day < 40 else (0.0, 1.0), 50)
    assert [what for _, what in told] == ["opened", "over"]
    assert 30 <= told[0][0] < 34
    assert 40 <= told[1][0] < 44


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_is_tolerated_gathers_no_evidence(seed: int) -> None:
    """A move within both tolerances, in the large and in the slope at once, is never told.

    A pair far from it, such as 1.2 and 1.4, is less wrong than the pair next to it that is
    tolerated, 0.7 and 1.4: evidence counts against all that is tolerated.
    """
    tolerance = Tolerance(0.7, np.log(1.5))
    test = CalibrationTest(BUCKET_MS, 10.0 * DAY_MS, tolerance)

    def truth(day: float) -> tuple[float, float]:
        return (0.0, 1.0) if day < 10 else (-0.6, 0.7)

    assert days_told(test, truth, 40, seed) == []


def drawn(
    rng: np.random.Generator, n: int, spread: float, off: Callable[[Floats], Floats]
) -> Floats:
    """Return outcomes whose scores' logits are ``off`` from the true ones, around -3."""
    true = rng.normal(-3.0, spread, n)
    p, q = (1 / (1 + np.exp(-x)) for x in (true + off(true), true))
    sums = [
        np.bincount(bins_of(p), each, minlength=BINS) for each in (np.ones(n), rng.random(n) < q, p)
    ]
    return np.stack(sums, axis=1)


def opened(test: CalibrationTest, buckets: list[Floats]) -> int | None:
    """Return in which bucket it was opened first."""
    for at, cells in enumerate(buckets):
        if test.update(at * BUCKET_MS, cells) == "opened":
            return at
    return None


@pytest.mark.parametrize(("off", "spread"), [(2.0, 0.4), (2.8, 0.7), (4.0, 0.7)])
def test_a_learner_whose_odds_are_always_far_too_high_is_no_news(off: float, spread: float) -> None:
    """As class weights make them: nothing changes, however far it is to meaning what they say."""
    rng = np.random.default_rng(1)
    test = CalibrationTest(BUCKET_MS, 3_650.0 * DAY_MS, LEARNING, Span(settles=True))
    steady = [drawn(rng, 6_000, spread, lambda true: np.full_like(true, off)) for _ in range(80)]
    assert opened(test, steady) is None


@pytest.mark.parametrize(("odds", "spread"), [(1.42, 0.5), (1.42, 0.8), (1.19, 0.5)])
def test_a_learner_that_goes_from_what_is_tolerated_to_what_is_tolerated_is_no_news(
    odds: float, spread: float
) -> None:
    """Twice the odds are tolerated of it; half of that, at once, is none either."""
    rng = np.random.default_rng(2)
    test = CalibrationTest(BUCKET_MS, 3_650.0 * DAY_MS, LEARNING, Span(settles=True))

    def moved(at: int) -> Floats:
        off = -np.log(odds) if at >= 56 else 0.0
        return drawn(rng, 6_000, spread, lambda true: np.full_like(true, off))

    assert opened(test, [moved(at) for at in range(100)]) is None


def test_scores_that_waver_alone_are_not_told() -> None:
    """One group in ten is off, this way and that, each day anew: as much is usual of it."""
    for seed in (0, 1, 5):
        rng = np.random.default_rng(seed)
        test = CalibrationTest(BUCKET_MS, 3_650.0 * DAY_MS, Tolerance())
        buckets: list[Floats] = []
        for at in range(160):
            if at % 4 == 0:
                off = rng.normal(0, 0.4)
            logit = rng.normal(-1.5, 1.2, 3_000)
            inside = (logit > -0.2) & (logit < 0.3)
            p, q = (1 / (1 + np.exp(-x)) for x in (logit, logit + off * inside))
            columns = (np.ones(len(p)), rng.random(len(p)) < q, p)
            sums = [np.bincount(bins_of(p), each, minlength=BINS) for each in columns]
            buckets.append(np.stack(sums, axis=1).astype(np.float64))
        assert opened(test, buckets) is None, seed


def test_one_change_after_another_is_told_anew() -> None:
    """From too bold to too low in the large: the first has ended, and another begun."""

    def truth(day: float) -> tuple[float, float]:
        if 20 <= day < 24:
            return -0.7, 0.5
        return (1.5, 1.0) if 24 <= day < 30 else (0.0, 1.0)

    test = CalibrationTest(BUCKET_MS, 100.0 * DAY_MS, Tolerance())
    told = days_told(test, truth, 40)
    assert [what for _, what in told] == ["opened", "over", "opened", "over"]
    assert told[1][0] in (24, 25)
    assert told[3][0] >= 30


def test_the_error_is_told_with_its_interval() -> None:
    """It holds the true error, the mean of how far a score is from what comes true of it."""
    monitor = CalibrationMonitor(BUCKET_MS, 100.0 * DAY_MS, learns=False)
    rng = np.random.default_rng(5)
    found = []
    for at in range(120):
        cells = bucket(rng, 0.7 if at >= 80 else 0.0, 1.0)
        cells[:, 2] *= PROBABILITY_STEPS
        bins = {str(cell): cells[cell].tolist() for cell in np.flatnonzero(cells[:, 0])}
        row = {"n": N, "delay_ms": 0, "bins": bins}
        found += monitor.update(at * BUCKET_MS, {OVERALL: row})
    logit = rng.normal(-1.5, 1.2, 100_000)
    true = np.mean(1 / (1 + np.exp(-logit - 0.7)) - 1 / (1 + np.exp(-logit)))
    told = [float(each) / 100 for each in re.findall(r"([\d.]+)%", found[-1].summary)]
    error, low, high = told
    assert low < error < high < 2 * low
    assert low < true < high
    assert found[-1].effect > found[-1].threshold > 0


def test_of_no_outcomes_nothing_is_known() -> None:
    """An alert that opens before a bucket was held has none yet."""
    none = np.zeros(BINS)
    assert expected_calibration_error(none, none, none) == (0.0, 0.0, 1.0)


def test_bins_without_outcomes_change_no_error() -> None:
    """Most of the bins have none where all scores are alike."""
    one = np.array([[100.0], [20.0], [10.0]])
    for at in (0, 7, BINS - 1):
        among = np.zeros((3, BINS))
        among[:, at] = one[:, 0]
        assert expected_calibration_error(*among) == expected_calibration_error(*one)


MEAN = {0.2: -1.5, 0.01: -5.3}
"""Of the scores' logits, by the rate of yes."""


def bent(logit: Floats, rate: float) -> Floats:
    """Return how far logits are off, up around some score and down around another.

    None of it is a line: the shift and the slope that both bumps make together are taken out.
    """
    up, down, size, shift, slope = {
        0.2: (-1.4, 0.4, 0.8, 0.160, 0.373),
        0.01: (-4.3, -2.5, 1.2, 1.086, 0.371),
    }[rate]
    bumps = np.exp(-2 * (logit - up) ** 2) - np.exp(-2 * (logit - down) ** 2)
    found: Floats = size * bumps + shift + slope * logit
    return found


def bent_bucket(rng: np.random.Generator, bend: float, rate: float = 0.2) -> Floats:
    """Return a bucket's outcomes whose logits are off by ``bend`` times `bent`."""
    logit = rng.normal(MEAN[rate], 1.2, N)
    p, q = (1 / (1 + np.exp(-x)) for x in (logit, logit + bend * bent(logit, rate)))
    sums = [
        np.bincount(bins_of(p), each, minlength=BINS) for each in (np.ones(N), rng.random(N) < q, p)
    ]
    return np.stack(sums, axis=1)


@pytest.mark.parametrize(("rate", "too_low", "too_high"), [(0.2, 0.2, 0.6), (0.01, 0.014, 0.076)])
def test_scores_that_are_off_are_told_where_shift_and_slope_are_right(
    rate: float, too_low: float, too_high: float
) -> None:
    """Which scores, how many of them were yes, and its end; overall and in slope all is right."""
    test, rng = CalibrationTest(BUCKET_MS, 100.0 * DAY_MS, Tolerance()), np.random.default_rng(1)
    told, since = [], np.zeros((BINS, 3))
    for at in range(320):
        bends = 120 <= at < 240
        cells = bent_bucket(rng, float(bends), rate)
        since += cells * bends
        what = test.update(at * BUCKET_MS, cells)
        if what in ("opened", "over"):
            told.append((what, at))
            assert test.pair == (0.0, 1.0)
        if at == 239:
            ranges = test.ranges
    assert [what for what, _ in told] == ["opened", "over"]
    assert 120 <= told[0][1] < 240 <= told[1][1]
    assert fitted(since).pair == pytest.approx([0.0, 1.0], abs=0.1)
    for score, side in ((too_low, 1), (too_high, -1)):
        (each,) = (each for each in ranges if each.low < score < each.high)
        logit = np.linspace(*(np.log(p / (1 - p)) for p in (each.low, each.high)))
        weight = np.exp(-(((logit - MEAN[rate]) / 1.2) ** 2) / 2)
        said, true = (weight @ (1 / (1 + np.exp(-x))) for x in (logit, logit + bent(logit, rate)))
        expected, observed = said / weight.sum(), true / weight.sum()
        assert each.expected == pytest.approx(expected, rel=0.1)
        assert each.observed == pytest.approx(observed, rel=0.15)
        assert side * each.off > 0.2
        assert each.n * each.expected > LEAST_EACH


@pytest.mark.parametrize("seed", range(10))
def test_calibrated_scores_are_no_news(seed: int) -> None:
    """Over ten times 100 days with a false alarm allowed in 100, of many positives and of few."""
    rate = 0.2 if seed % 2 else 0.01
    test, rng = CalibrationTest(BUCKET_MS, 100.0 * DAY_MS, Tolerance()), np.random.default_rng(seed)
    told = {test.update(at * BUCKET_MS, bent_bucket(rng, 0.0, rate)) for at in range(400)}
    assert told == {None}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_scores_that_were_off_before_are_no_news(seed: int) -> None:
    """What a score means is learnt, by score."""
    test, rng = CalibrationTest(BUCKET_MS, 20.0 * DAY_MS, Tolerance()), np.random.default_rng(seed)
    told = {test.update(at * BUCKET_MS, bent_bucket(rng, 1.0)) for at in range(300)}
    assert told == {None}


@pytest.mark.parametrize("learns", [True, False])
def test_scores_that_come_to_be_right_are_no_news_of_a_model_that_learns(learns: bool) -> None:
    """Far off at first, and right within a week; of a model that is given it is."""
    tolerance = LEARNING if learns else Tolerance()
    test = CalibrationTest(BUCKET_MS, 100.0 * DAY_MS, tolerance, Span(settles=learns))
    rng, told = np.random.default_rng(4), set()
    for at in range(160):
        told.add(
            test.update(at * BUCKET_MS, bent_bucket(rng, min(max(3.0 - (at - 80) / 10, 0.0), 3.0)))
        )
    assert ("opened" in told) != learns
