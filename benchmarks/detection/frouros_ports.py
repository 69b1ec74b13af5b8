"""frouros 0.9.0's detectors that River lacks, compiled, with the same arithmetic.

Each returns the indices of its alarms in ``values``, up to the first from ``since`` on, but for
MMD, which has no threshold of its own. After an alarm it is reset; RDDM begins anew by itself.
frouros can't be installed beside River (it wants an older numpy), so `originals.py` runs it in an
environment of its own.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from benchmarks.detection.compiled import Floats, Ints, compiled


@compiled
def cusum(values: Floats, threshold: float, delta: float, since: int) -> Ints:
    """``CUSUM(lambda_=, delta=)``, which looks upwards only."""
    alarms, found, least = np.empty(len(values), np.int64), 0, 30
    n, mean, total = 0, 0.0, 0.0
    for at in range(len(values)):
        n += 1
        mean += (values[at] - mean) / n
        total = max(0.0, total + values[at] - mean - delta)
        if n >= least and total > threshold:
            alarms[found] = at
            found += 1
            if at >= since:
                break
            n, mean, total = 0, 0.0, 0.0
    return alarms[:found]


@compiled
def geometric(values: Floats, threshold: float, since: int) -> Ints:
    """``GeometricMovingAverage(lambda_=)``, which looks upwards only."""
    alarms, found, least, alpha = np.empty(len(values), np.int64), 0, 30, 0.99
    n, mean, moving = 0, 0.0, 0.0
    for at in range(len(values)):
        n += 1
        mean += (values[at] - mean) / n
        moving = alpha * moving + (1 - alpha) * (values[at] - mean)
        if n >= least and moving > threshold:
            alarms[found] = at
            found += 1
            if at >= since:
                break
            n, mean, moving = 0, 0.0, 0.0
    return alarms[:found]


def stepd(values: Floats, alpha: float, since: int) -> Ints:
    """``STEPD(alpha_d=)``, both ways, with its window of 30."""
    return _stepd(values, NormalDist().inv_cdf(1 - alpha), since)


@compiled
def _stepd(values: Floats, limit: float, since: int) -> Ints:
    alarms, found, size = np.empty(len(values), np.int64), 0, 30
    begun, total, recent = 0, 0.0, 0.0
    for at in range(len(values)):
        total += values[at]
        recent += values[at]
        n = at - begun + 1
        if n > size:
            recent -= values[at - size]
        if n < 2 * size:
            continue
        share, inverse = total / n, 1 / (n - size) + 1 / size
        spread = math.sqrt(share * (1 - share) * inverse)
        apart = abs((total - recent) / (n - size) - recent / size) - 0.5 * inverse
        if spread == 0.0 or abs(apart / spread) > limit:  # frouros, too, divides by 0: an alarm
            alarms[found] = at
            found += 1
            if at >= since:
                break
            begun, total, recent = at + 1, 0.0, 0.0
    return alarms[:found]


_KEPT, _CONCEPT, _WARNINGS, _LEAST = 7_000, 40_000, 1_400, 129


@compiled
def rddm(values: Floats, threshold: float, since: int) -> Ints:
    """``RDDM(drift_level=, warning_level=)``, the two levels in the proportion of the defaults.

    It alarms after 1,400 warnings in a row, too; so with warnings as they come, no drift level is
    high enough for one false alarm in 100,000 events.
    """
    warning_level = threshold * 1.773 / 2.258
    alarms, found = np.empty(len(values), np.int64), 0
    n, count, mean, p_min, s_min = 0, 0, 0.0, np.inf, np.inf
    warnings, again, drifted, kept_from = 0, False, False, 0
    for at in range(len(values)):
        n += 1
        if again:
            n, count, mean, p_min, s_min = _replayed(values[kept_from:at], drifted)
            warnings, again, drifted = 0, False, False
        kept_from = max(kept_from, at - _KEPT + 1)
        count += 1
        mean += (values[at] - mean) / count
        if n < _LEAST:
            drifted = False
            continue
        spread = math.sqrt(mean * (1 - mean) / n)
        if mean + spread < p_min + s_min:
            p_min, s_min = mean, spread
        drifted = mean + spread > p_min + threshold * s_min
        warned = mean + spread > p_min + warning_level * s_min
        if drifted:
            kept_from = at if warnings == 0 else kept_from
        elif warned and warnings >= _WARNINGS:
            drifted, kept_from = True, at
        elif warned:
            warnings += 1
        else:
            warnings = 0
            again = n >= _CONCEPT
        if drifted:
            again = True
            alarms[found] = at
            found += 1
            if at >= since:
                break
    return alarms[:found]


@compiled
def _replayed(values: Floats, drifted: bool) -> tuple[int, int, float, float, float]:
    """Begin anew with what is kept: the counts, the mean, and the least of mean and spread."""
    mean, p_min, s_min = 0.0, np.inf, np.inf
    for at in range(len(values)):
        n = at + 1
        mean += (values[at] - mean) / n
        spread = math.sqrt(mean * (1 - mean) / n)
        if drifted and n >= _LEAST and mean + spread < p_min + s_min:
            p_min, s_min = mean, spread
    return len(values), len(values), mean, p_min, s_min


@compiled
def mmd(pairs: Floats, reference: int, window: int) -> Floats:
    """``MMDStreaming(window_size=window)`` fitted to the first pairs: its distances, shape (n, 1).

    Gaussian kernel of sigma 1. frouros leaves the threshold to its user.
    """
    found = np.full((len(pairs), 1), -np.inf)
    own, among, across = 0.0, 0.0, np.empty(window)
    for i in range(reference):
        for j in range(i):
            own += 2 * _kernel(pairs, i, j)
    own /= reference * (reference - 1)
    for at in range(reference, len(pairs)):
        if at - reference >= window:
            for j in range(at - window + 1, at):
                among -= 2 * _kernel(pairs, at - window, j)
        held = min(at - reference, window - 1)
        for j in range(at - held, at):
            among += 2 * _kernel(pairs, at, j)
        to_reference = 0.0
        for i in range(reference):
            to_reference += _kernel(pairs, i, at)
        across[at % window] = to_reference
        if held == window - 1:
            between = across.sum() / (reference * window)
            found[at, 0] = own + among / (window * (window - 1)) - 2 * between
    return found


@compiled
def _kernel(pairs: Floats, i: int, j: int) -> float:
    x, y = pairs[i, 0] - pairs[j, 0], pairs[i, 1] - pairs[j, 1]
    return math.exp(-(x * x + y * y) / 2)
