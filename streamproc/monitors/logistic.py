"""The logistic map of scores to chances: logit q = mu + a + b (logit p - mu).

Cox 1958, "Two further applications of a model for binary regression", Biometrika 45: where a
probability means what it says, a is 0 and b is 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from streamproc.monitors.sketch import Floats

Cells = Floats
"""Outcomes by bin of the score: n, yes, sum of p; bin x 3."""

_STEPS = 50
_LEAST_SLOPE, _MOST_SLOPE, _MOST_SHIFT = 0.1, 5.0, 40.0


class Fit(NamedTuple):
    """A map: ``middle`` is mu, ``pair`` a and b, ``variance`` of both by chance."""

    middle: float
    pair: Floats
    variance: Floats


def fitted(cells: Cells, middle: float | None = None) -> Fit:
    """Return the map by maximum likelihood; mu is where scores tell most, if it isn't given.

    The slope is held to 1 by a prior of standard deviation 1.

    >>> p = np.linspace(0.05, 0.95, 19)
    >>> logit = np.log(p / (1 - p))
    >>> q = 1 / (1 + np.exp(-(0.5 + 2 * logit)))
    >>> cells = np.stack((np.full(19, 1e5), 1e5 * q, 1e5 * p), axis=1)
    >>> fitted(cells, middle=0.0).pair.round(3).tolist()
    [0.5, 2.0]
    """
    used = cells[cells[:, 0] > 0]
    n, yes, logit = used[:, 0], used[:, 1], logits(used)
    if middle is None:
        p = 1 / (1 + np.exp(-logit))
        v = n * p * (1 - p)
        middle = float(v @ logit / max(v.sum(), 1e-300))
    rows = np.stack((np.ones(len(logit)), logit - middle), axis=1)
    found, ridge = np.array([0.0, 1.0]), np.diag([1e-6, 1.0])
    for _ in range(_STEPS):
        mapped = middle + rows @ found
        q = 1 / (1 + np.exp(-np.clip(mapped, -30.0, 30.0)))
        gram = (rows * (n * q * (1 - q))[:, None]).T @ rows + ridge
        step = np.linalg.solve(gram, rows.T @ (yes - n * q) - ridge @ (found - [0.0, 1.0]))
        least, most = [-_MOST_SHIFT, _LEAST_SLOPE], [_MOST_SHIFT, _MOST_SLOPE]
        found = np.clip(found + np.clip(step, -2.0, 2.0), least, most)
        if np.abs(step).max() < 1e-10:
            break
    return Fit(middle, found, np.diag(np.linalg.inv(gram)))


def logits(cells: Cells) -> Floats:
    """Return the logit of each bin's mean score."""
    p = np.clip(cells[:, 2] / np.maximum(cells[:, 0], 1e-300), 1e-9, 1 - 1e-9)
    found: Floats = np.log(p) - np.log1p(-p)
    return found
