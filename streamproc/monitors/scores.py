"""Bins of a probability, and sketches that are put together by name.

A probability falls in a bin of its logit, 1/8 wide from -12 to 12, with one at each end. Sums of
probabilities are kept in whole steps, so that they do not depend on the order of what is added.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp
from typing import Any

import numpy as np

from streamproc.monitors.sums import Floats, Ints

BINS = 194
"""Bins of a probability: 192 of equal width in logit and one at each end."""

PROBABILITY_STEPS = float(1 << 30)

_LOGITS = (np.arange(BINS - 1) - 96) / 8
_EDGES = np.array([1 / (1 + exp(-logit)) for logit in _LOGITS.tolist()])


def merge(a: Mapping[str, Any], b: Mapping[str, Any], sign: int = 1) -> dict[str, Any]:
    """Return the sum of two sketches.

    >>> merge({"n": 2, "bins": {"7": [2, 0, 5]}}, {"n": 1, "bins": {"7": [1, 1, 3]}})
    {'n': 3, 'bins': {'7': [3, 1, 8]}}
    """
    total = dict(a)
    for name, more in b.items():
        known = total.get(name)
        if isinstance(more, dict):
            total[name] = merge(known or {}, more, sign)
        elif isinstance(more, list):
            total[name] = (
                more if known is None else [x + y for x, y in zip(known, more, strict=True)]
            )
        else:
            total[name] = (known or 0) + sign * more
    return total


def bins_of(p: Floats) -> Ints:
    """Return the bin of each probability.

    >>> bins_of(np.array([0.0, 0.5, 1.0])).tolist()
    [0, 97, 193]
    """
    return np.searchsorted(_EDGES, p, side="right")
