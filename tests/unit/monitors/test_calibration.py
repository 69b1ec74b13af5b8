"""The test of calibration on outcomes by bin: what is news of a model, and what is learning."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from streamproc.monitors.calibration import LEARNING, CalibrationTest, Tolerance
from streamproc.monitors.calibrationmonitor import CalibrationMonitor
from streamproc.monitors.growing import Span
from streamproc.monitors.outcomes import OVERALL
from streamproc.monitors.reliability import expected_calibration_error
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
