"""How soon it will be seen that scores mean something else, or that a model is worth nothing.

Both depend on how much scores tell, which nobody knows before there are some. So that is supposed:
scores that mean what they say, of which logits are normal, a standard deviation of `SPREAD` apart;
of several classes a model that is right as often as `RIGHT`, and as sure; of numbers one that
explains `EXPLAINED` of the variance. Delays are as `streamproc.monitors.expected` has them.
"""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from streamproc.monitors.calibration import PAIR_WEIGHT, PAIRS, Tolerance, no_change
from streamproc.monitors.expected import Hope, hope, least
from streamproc.monitors.season import DAY_MS
from streamproc.monitors.sums import Floats
from streamproc.monitors.worth import BETS, CAREFUL, MARGIN, evidence

SPREAD = 1.5
RIGHT = 0.9
EXPLAINED = 0.5

SUPPOSED = {
    "binary": "a model with an AUC of about 0.86",
    "multiclass": f"a model that is right in {RIGHT:.0%}, and as sure",
    "regression": f"a model with an R2 of {EXPLAINED:g}",
}
"""What is supposed of a kind of model before a change, in words."""

_PARTS = 200
_NORMAL: Floats = np.array([NormalDist().inv_cdf((i + 0.5) / _PARTS) for i in range(_PARTS)])
_HALVINGS = 60


class Excess(NamedTuple):
    """An outcome's loss of a model less that of zero-rule, but for the margin.

    ``sd`` is how much it varies as long as the model is good, ``mean`` what it comes to once the
    model tells nothing any more, with a standard deviation of ``sd_after``; ``zero_rule`` is the
    loss of zero-rule.
    """

    zero_rule: float
    sd: float
    mean: float
    sd_after: float


def logits_of(base: float) -> Floats:
    """Return equally likely logits of scores that mean what they say, ``base`` being their mean.

    >>> p = 1 / (1 + np.exp(-logits_of(0.01)))
    >>> round(float(p.mean()), 6)
    0.01
    """
    low, high = -60.0, 60.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if float(_chance(middle + SPREAD * _NORMAL).mean()) < base:
            low = middle
        else:
            high = middle
    return middle + SPREAD * _NORMAL


def recalibration(
    base: float, shift: float, slope: float, alarm_events: float, tolerance: Tolerance
) -> float:
    """Return the events until a calibration monitor sees a shift and a slope; see its module.

    The evidence has to do against every map that is tolerated: the one that takes longest counts.

    >>> none = Tolerance(0.0, 0.0)
    >>> round(recalibration(0.2, 0.0, 0.8, 1e5, none)), recalibration(0.2, 0.0, 1.0, 1e5, none)
    (3094, inf)
    """
    logit = logits_of(base)
    p = _chance(logit)
    information = p * (1 - p)
    middle = float(information @ logit / information.sum())
    states, changes = no_change(tolerance, np.zeros(2))
    pairs = np.vstack((PAIRS, states, [[shift, slope]]))
    mapped = _chance(middle + pairs[:, 0] + (logit - middle)[:, None] * pairs[:, 1])
    true = mapped[:, -1:]
    told = (true * np.log(mapped) + (1 - true) * np.log1p(-mapped)).mean(axis=0)
    growth = told[: len(PAIRS)] - told[len(PAIRS) : -1, None]
    return max(
        least((each, PAIR_WEIGHT, alarm_events) for each in row[changes].tolist()) for row in growth
    )


def recalibration_hopes(
    alarm_ms: float, outcomes_per_day: float, wait_ms: float, base: float, tolerance: Tolerance
) -> list[Hope]:
    """Return what a calibration monitor will see."""
    a = alarm_ms / DAY_MS * outcomes_per_day
    changes = (
        ("too bold: the slope goes from 1 to 0.8", 1.0, 0.8),
        ("too bold: the slope goes from 1 to 0.5", 1.0, 0.5),
        ("odds 1.5 times as high as scores say", 1.5, 1.0),
        ("odds 3 times as high as scores say", 3.0, 1.0),
    )
    return [
        hope(
            change,
            recalibration(base, float(np.log(odds)), slope, a, tolerance),
            outcomes_per_day,
            wait_ms,
        )
        for change, odds, slope in changes
    ]


def excess_of_two(base: float) -> Excess:
    """Return what Brier scores of two classes come to.

    >>> [round(each, 3) for each in excess_of_two(0.2)]
    [0.16, 0.17, 0.041, 0.174]
    """
    p = _chance(logits_of(base))
    kept = 1 - MARGIN
    yes, no = (1 - p) ** 2 - kept * (1 - base) ** 2, p**2 - kept * base**2
    return Excess(
        base * (1 - base),
        _spread(np.stack((yes, no)), np.stack((p, 1 - p)) / _PARTS),
        float((base * yes + (1 - base) * no).mean()),
        _spread(np.stack((yes, no)), np.outer((base, 1 - base), np.full(_PARTS, 1 / _PARTS))),
    )


def excess_of_classes(count: int) -> Excess:
    """Return what Brier scores come to, of so many classes that are as frequent.

    >>> [round(each, 3) for each in excess_of_classes(3)]
    [0.667, 0.51, 0.488, 0.801]
    """
    zero_rule = 1 - 1 / count
    rest = (1 - RIGHT) / (count - 1)
    squares = RIGHT**2 + (count - 1) * rest**2 + 1 - (1 - MARGIN) * zero_rule
    losses = np.array([squares - 2 * RIGHT, squares - 2 * rest])
    before, after = (np.array([share, 1 - share]) for share in (RIGHT, 1 / count))
    return Excess(zero_rule, _spread(losses, before), float(losses @ after), _spread(losses, after))


def excess_of_numbers() -> Excess:
    """Return what squared errors of normal numbers with a variance of 1 come to.

    >>> [round(each, 3) for each in excess_of_numbers()]
    [1.0, 1.213, 0.51, 1.581]
    """
    told, left, kept = EXPLAINED, 1 - EXPLAINED, 1 - MARGIN
    before = 2 * (MARGIN * left) ** 2 + 4 * kept**2 * told * left + 2 * (kept * told) ** 2
    after = 2 * MARGIN**2 + 4 * told + 2 * told**2
    return Excess(1.0, sqrt(before), told + MARGIN, sqrt(after))


def no_better(
    mean: float, sd_after: float, sd: float, bucket_events: float, alarm_buckets: float
) -> float:
    """Return the buckets until a performance monitor sees an excess; see `WorthTest`.

    >>> round(no_better(0.2, 1.0, 1.0, 100.0, 1e4)), no_better(-0.1, 1.0, 1.0, 100.0, 1e4)
    (13, inf)
    """
    taken = sd * CAREFUL
    z = mean / taken * sqrt(bucket_events) + sd_after / taken * _NORMAL
    growth = (float(np.mean([evidence(each, bet) for each in z.tolist()])) for bet in BETS)
    return least((each, 1 / len(BETS), alarm_buckets) for each in growth)


def worth_hopes(
    alarm_ms: float, outcomes_per_day: float, bucket_ms: int, wait_ms: float, excess: Excess
) -> list[Hope]:
    """Return what a performance monitor will see, beside zero-rule."""
    zero, sd = excess.zero_rule, excess.sd
    n = max(outcomes_per_day * bucket_ms / DAY_MS, 1.0)  # buckets without any are none
    changes = [
        ("a loss equal to that of zero-rule", MARGIN * zero, sd),
        ("a loss of 1.2 times that of zero-rule", (0.2 + MARGIN) * zero, sd),
        ("predictions tell nothing any more", excess.mean, excess.sd_after),
    ]
    return [
        hope(
            change,
            n * no_better(mean, after, sd, n, alarm_ms / bucket_ms),
            outcomes_per_day,
            wait_ms,
        )
        for change, mean, after in changes
    ]


def _chance(logit: Floats | float) -> Floats:
    found: Floats = 1 / (1 + np.exp(-np.clip(logit, -30.0, 30.0)))
    return found


def _spread(values: Floats, share: Floats) -> float:
    """Return the standard deviation of values that are met as often."""
    mean = float((values * share).sum())
    return sqrt(float((values**2 * share).sum()) - mean**2)
