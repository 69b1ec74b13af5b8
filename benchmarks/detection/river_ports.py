"""River 0.26.1's Python detectors, compiled, with the same arithmetic in the same order.

Each returns the indices of its alarms in ``values``, up to the first from ``since`` on. After an
alarm it begins anew, as River's do by themselves. That these alarm where River's own do is tested,
and looked at again in every run of ``make detect``.
"""

from __future__ import annotations

import math

import numpy as np

from benchmarks.detection.compiled import Floats, Ints, compiled


@compiled
def page_hinkley(values: Floats, threshold: float, delta: float, alpha: float, since: int) -> Ints:
    """``drift.PageHinkley(threshold=, delta=, alpha=)``, both ways."""
    alarms, found, least = np.empty(len(values), np.int64), 0, 30
    n, mean, up, down, lowest, highest = 0.0, 0.0, 0.0, 0.0, np.inf, -1.0
    for at in range(len(values)):
        n += 1.0
        mean += (1.0 / n) * (values[at] - mean)
        dev = values[at] - mean
        up = alpha * up + dev - delta
        down = alpha * down + dev + delta
        lowest = min(up, lowest)
        highest = max(down, highest)
        if n >= least and (up - lowest > threshold or highest - down > threshold):
            alarms[found] = at
            found += 1
            if at >= since:
                break
            n, mean, up, down, lowest, highest = 0.0, 0.0, 0.0, 0.0, np.inf, -1.0
    return alarms[:found]


@compiled
def ddm(values: Floats, threshold: float, since: int) -> Ints:
    """``drift.binary.DDM(drift_threshold=)``."""
    alarms, found, least = np.empty(len(values), np.int64), 0, 30
    n, mean, p_min, s_min, lowest = 0.0, 0.0, 0.0, 0.0, np.inf
    for at in range(len(values)):
        n += 1.0
        mean += (1.0 / n) * (values[at] - mean)
        spread = math.sqrt(mean * (1 - mean) / n)
        if n <= least:
            continue
        if mean + spread <= lowest:
            p_min, s_min = mean, spread
            lowest = p_min + s_min
        if mean + spread > p_min + threshold * s_min:
            alarms[found] = at
            found += 1
            if at >= since:
                break
            n, mean, lowest = 0.0, 0.0, np.inf
    return alarms[:found]


@compiled
def eddm(values: Floats, threshold: float, since: int) -> Ints:
    """``drift.binary.EDDM(beta=)``: alarms below the share ``threshold`` of the farthest."""
    alarms, found, least = np.empty(len(values), np.int64), 0, 30
    seen, last, errors, farthest = 0, 0, 0.0, -1.0
    mean, squares = 0.0, 0.0
    for at in range(len(values)):
        seen += 1
        if values[at] != 1:
            continue
        errors += 1.0
        before = mean
        mean += (1.0 / errors) * (seen - last - before)
        squares += (seen - last - before) * (seen - last - mean)
        last = seen
        if seen <= least:
            continue
        variance = squares / (errors - 1.0) if errors > 1.0 else 0.0
        distance = mean + 2 * variance**0.5
        if distance > farthest:
            farthest = distance
        elif errors > least and distance / farthest < threshold:
            alarms[found] = at
            found += 1
            if at >= since:
                break
            seen, last, errors, farthest = 0, 0, 0.0, -1.0
            mean, squares = 0.0, 0.0
    return alarms[:found]


@compiled
def hddm_a(values: Floats, confidence: float, since: int) -> Ints:
    """``drift.binary.HDDMA(drift_confidence=)``, upwards as by default."""
    alarms, found = np.empty(len(values), np.int64), 0
    bound, cut = math.log(1.0 / confidence), math.log(2.0 / confidence)
    n, mean, n_min, mean_min = 0.0, 0.0, 0.0, 0.0
    for at in range(len(values)):
        n += 1.0
        mean += (1.0 / n) * (values[at] - mean)
        if n_min == 0.0:
            n_min, mean_min = n, mean
        eps = math.sqrt(1.0 / (2 * n) * bound)
        eps_min = math.sqrt(1.0 / (2 * n_min) * bound)
        if mean_min + eps_min >= mean + eps:
            n_min, mean_min = n, mean
        if n_min == n:
            continue
        m = (n - n_min) / n_min * (1.0 / n)
        if mean - mean_min >= math.sqrt(m / 2 * cut):
            alarms[found] = at
            found += 1
            if at >= since:
                break
            n, mean, n_min, mean_min = 0.0, 0.0, 0.0, 0.0
    return alarms[:found]


@compiled
def hddm_w(values: Floats, confidence: float, since: int) -> Ints:
    """``drift.binary.HDDMW(drift_confidence=)``, upwards as by default, with a weight of 0.05."""
    alarms, found = np.empty(len(values), np.int64), 0
    weight = 0.05
    bound, kept, new = math.log(1 / confidence), (1 - weight) ** 2, weight * weight
    n, mean, ibc, cut = 0, 0.0, 1.0, np.inf
    mean_1, ibc_1, n_2, mean_2, ibc_2 = 0.0, 1.0, 0, 0.0, 1.0
    for at in range(len(values)):
        x = values[at]
        mean = weight * x + (1 - weight) * mean if n > 0 else x
        ibc = new + kept * ibc
        n += 1
        eps = math.sqrt(ibc * bound / 2)
        if mean + eps < cut:
            cut = mean + eps
            mean_1, ibc_1, n_2, mean_2, ibc_2 = mean, ibc, 0, 0.0, 1.0
            continue
        mean_2 = weight * x + (1 - weight) * mean_2 if n_2 > 0 else x
        ibc_2 = new + kept * ibc_2
        n_2 += 1
        if mean_2 - mean_1 > math.sqrt((ibc_1 + ibc_2) * bound / 2):
            alarms[found] = at
            found += 1
            if at >= since:
                break
            n, mean, ibc, cut = 0, 0.0, 1.0, np.inf
            mean_1, ibc_1, n_2, mean_2, ibc_2 = 0.0, 1.0, 0, 0.0, 1.0
    return alarms[:found]
