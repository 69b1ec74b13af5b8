"""How far probabilities are from the shares that came true, from counts by bin of the score."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from streamproc.metrics import Report
from streamproc.monitors.sums import Floats, Ints

ECE_GROUPS = 10
"""Bins are put together to so many groups of like size, for the calibration error."""

_Z = NormalDist().inv_cdf(1 - 0.05 / ECE_GROUPS / 2)
_STEPS_OF_NEWTON = 50


class Interval(NamedTuple):
    """A figure, and between what it is."""

    value: float
    low: float
    high: float


def calibration(n: Floats, yes: Floats, total: Floats) -> Report:
    """Return how far probabilities are from the shares that came true, from counts by bin.

    ``ece``, ``ece_low`` and ``ece_high`` are as `expected_calibration_error` gives them.
    ``calibration_in_the_large`` is observed minus predicted, per outcome. ``calibration_slope`` is
    1 where the logits are right, less where they are too extreme (Cox 1958).

    >>> calibration(np.array([100.0]), np.array([20.0]), np.array([10.0]))["ece"]
    0.1
    """
    report: Report = dict.fromkeys(
        ("ece", "ece_low", "ece_high", "calibration_in_the_large", "calibration_slope")
    )
    size = float(n.sum())
    if not size:
        return report
    ece, low, high = expected_calibration_error(n, yes, total)
    report |= {"ece": ece, "ece_low": low, "ece_high": high}
    report["calibration_in_the_large"] = float(yes.sum() - total.sum()) / size
    report["calibration_slope"] = slope_of(n, yes, total)
    return report


def expected_calibration_error(n: Floats, yes: Floats, total: Floats) -> Interval:
    """Return the expected calibration error, and between what it is with at least 95 %.

    ``n`` outcomes, ``yes`` of which came true and whose probabilities sum up to ``total``, by bin;
    of none it is between 0 and 1. The error (Naeini, Cooper and Hauskrecht 2015) is over at
    most `ECE_GROUPS` groups of bins of like size. Its bounds come from Wilson's interval (1927) for
    the share of each group, at 1 - 0.05 over the number of groups. They hold for one look and not
    for the whole of many.

    >>> found = expected_calibration_error(np.array([100.0]), np.array([20.0]), np.array([10.0]))
    >>> [round(each, 4) for each in found]
    [0.1, 0.0116, 0.2322]
    """
    size = float(n.sum())
    if not size:
        return Interval(0.0, 0.0, 1.0)
    low = high = ece = 0.0
    of = grouped(n)
    sums = [np.bincount(of, each).tolist() for each in (n, yes, total)]
    for count, observed, predicted in zip(*sums, strict=True):
        below, above = wilson(observed, count, _Z)
        p = predicted / count
        ece += abs(observed - predicted) / size
        low += max(0.0, below - p, p - above) * count / size
        high += max(above - p, p - below) * count / size
    return Interval(ece, low, min(high, 1.0))


def wilson(yes: float, n: float, z: float) -> tuple[float, float]:
    """Return Wilson's interval for a share, ``z`` standard errors to each side.

    >>> low, high = wilson(5, 100, 1.96)
    >>> round(low, 4), round(high, 4)
    (0.0215, 0.1118)
    """
    p = yes / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def slope_of(n: Floats, yes: Floats, total: Floats) -> float | None:
    """Return the slope of a logistic regression of what came true on the logit of each bin's mean.

    By Newton's method; None where it has no solution: labels of one class, or parted by the scores.
    """
    there = (n > 0) & (total > 0) & (total < n)
    n, yes, p = n[there], yes[there], total[there] / n[there]
    if len(n) < 2 or not 0 < yes.sum() < n.sum() or _parted(n, yes):
        return None
    logit = np.log(p) - np.log1p(-p)
    a, b = 0.0, 1.0
    for _ in range(_STEPS_OF_NEWTON):
        q = 1 / (1 + np.exp(-np.clip(a + b * logit, -700, 700)))
        off, weight = yes - n * q, n * q * (1 - q)
        w0, w1, w2 = (float((weight * logit**power).sum()) for power in (0, 1, 2))
        det = w0 * w2 - w1 * w1
        if not det > 1e-12 * max(w0 * w2, 1e-300):
            return None
        g0, g1 = float(off.sum()), float((off * logit).sum())
        step_a, step_b = (w2 * g0 - w1 * g1) / det, (w0 * g1 - w1 * g0) / det
        scale = max(1.0, abs(step_a) / 4, abs(step_b))  # no leaps: they may not come back
        a, b = a + step_a / scale, b + step_b / scale
        if abs(step_a) + abs(step_b) < 1e-10:
            return b
    return None


def grouped(weight: Floats, most: int = ECE_GROUPS) -> Ints:
    """Return the group of each bin: bins beside each other, until each has its part of the weight.

    >>> grouped(np.array([0.0, 6.0, 1.0, 1.0, 4.0, 0.0]), most=3).tolist()
    [0, 0, 1, 1, 1, 1]
    >>> grouped(np.array([0.0, 0.0])).tolist()
    [0, 0]
    """
    of: list[int] = []
    group, left, size, held = 0, most, float(weight.sum()), 0.0
    for each in weight.tolist():
        of.append(group)
        held += each
        if left > 1 and held and held >= size / left:
            size, left, held, group = size - held, left - 1, 0.0, group + 1
    return np.minimum(of, group if held else max(group - 1, 0))


def _parted(n: Floats, yes: Floats) -> bool:
    """Whether a score parts the classes, so that no finite slope is the best."""
    has_yes, has_no = np.flatnonzero(yes > 0), np.flatnonzero(yes < n)
    return bool(has_yes[0] >= has_no[-1] or has_yes[-1] <= has_no[0])
