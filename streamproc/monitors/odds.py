"""Counts of outcomes by score, for many slices, and what odds factor explains them.

All is worked out from counts by bin of the score. If outcome i is yes with odds g p_i/(1 - p_i),

    log LR = y ln theta - sum ln(1 - p'_i + theta p'_i),    p' = p with odds times g

is the logarithm of a likelihood ratio of "the odds are theta times as high" to "they are as said",
exact for any p_i. It is the bet 1 + lambda (y - p') with lambda = (theta - 1)/(1 + (theta - 1) p')
(Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting", JRSS B 86,
arXiv 2010.09686).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamproc.monitors.scores import BINS, PROBABILITY_STEPS
from streamproc.monitors.sketch import Floats, Ints

COARSE = (BINS + 3) // 4
"""Bins of what is kept for long: half a logit wide."""

_LEAST_P = 1e-9
_MOST_OFF = 25.0
_STEPS = 40


@dataclass(frozen=True)
class Table:
    """Outcomes by slice and bin of the score: ``row`` and ``bin`` ascend, ``p`` is the bin's mean.

    ``yes`` and ``delay_ms`` (a sum) are by slice, all else by cell. Rows without cells had none.

    >>> table = tabled([{"n": 3, "bins": {"97": [3, 1, 3 << 29]}, "delay_ms": 30}])
    >>> table.n.tolist(), table.p.tolist(), table.yes.tolist(), table.total().tolist()
    ([3.0], [0.5], [1.0], [3.0])
    """

    row: Ints
    bin: Ints
    n: Floats
    p: Floats
    yes: Floats
    delay_ms: Floats

    @property
    def rows(self) -> int:
        """How many slices it has."""
        return len(self.yes)

    def total(self, values: Floats | None = None) -> Floats:
        """Return by slice the sum of a value of each outcome in a cell; without one, the count."""
        each = self.n if values is None else self.n * values
        found: Floats = np.bincount(self.row, each, minlength=self.rows).astype(np.float64)
        return found

    def by_component(self, values: Floats) -> Floats:
        """Return by slice the sums of several values of each outcome (cell x value)."""
        sums = np.zeros((self.rows, values.shape[1]))
        if len(self.row):
            starts = np.flatnonzero(np.concatenate(([True], self.row[1:] != self.row[:-1])))
            sums[self.row[starts]] = np.add.reduceat(values * self.n[:, None], starts, axis=0)
        return sums

    def turned(self) -> Table:
        """Return it with no for yes."""
        return Table(self.row, self.bin, self.n, 1 - self.p, self.total() - self.yes, self.delay_ms)

    def grown(self, rows: int) -> Table:
        """Return it with so many slices, the last ones having nothing."""
        more = np.zeros(rows - self.rows)
        yes, delay_ms = np.concatenate((self.yes, more)), np.concatenate((self.delay_ms, more))
        return Table(self.row, self.bin, self.n, self.p, yes, delay_ms)

    def without(self, rows: Sequence[int]) -> Table:
        """Return it without some slices, which share no outcome; overall has theirs no more."""
        if not rows:
            return self
        out, all_ = np.isin(self.row, rows), self.row == 0
        size = BINS + 1
        n, p = self.n.copy(), self.p.copy()
        gone, sums = (np.bincount(self.bin[out], each[out], minlength=size) for each in (n, n * p))
        at = self.bin[all_]
        left = np.maximum(n[all_] - gone[at], 0.0)
        mean = (n[all_] * p[all_] - sums[at]) / np.maximum(left, 1e-9)
        p[all_] = np.where(left > 0, np.clip(mean, _LEAST_P, 1 - _LEAST_P), p[all_])
        n[all_] = left
        kept = ~out & (n > 0)
        yes = self.yes.copy()
        yes[0] -= yes[list(rows)].sum()
        yes[list(rows)] = 0.0
        return Table(self.row[kept], self.bin[kept], n[kept], p[kept], yes, self.delay_ms)

    def dense(self) -> Floats:
        """Return it with coarse bins: slice x bin x (n, sum of p)."""
        at = self.row * COARSE + self.bin // 4
        size = self.rows * COARSE
        sums = [np.bincount(at, each, minlength=size) for each in (self.n, self.n * self.p)]
        found: Floats = np.stack(sums, axis=-1).astype(np.float64)
        return found.reshape(self.rows, COARSE, 2)


def tabled(sketches: Sequence[Mapping[str, Any]]) -> Table:
    """Return the table of sketches (see `streamproc.monitors.scores`), one a slice."""
    cells = [
        (row, int(cell), *counts)
        for row, sketch in enumerate(sketches)
        for cell, counts in sketch.get("bins", {}).items()
    ]
    array = np.array(cells, np.float64).reshape(-1, 5)
    array = array[np.lexsort((array[:, 1], array[:, 0]))]
    row, cell = array[:, 0].astype(np.int64), array[:, 1].astype(np.int64)
    n = array[:, 2]
    p = np.clip(array[:, 4] / PROBABILITY_STEPS / n, _LEAST_P, 1 - _LEAST_P)
    yes = np.bincount(row, array[:, 3], minlength=len(sketches)).astype(np.float64)
    delay_ms = np.array([float(sketch.get("delay_ms", 0)) for sketch in sketches])
    return Table(row, cell, n, p, yes, delay_ms)


def moved(p: Floats, off: Floats | float) -> Floats:
    """Return probabilities whose odds are exp(off) times as high.

    >>> moved(np.array([0.5]), np.log(3.0)).round(3).tolist()
    [0.75]
    """
    up = p * np.exp(off)
    return up / (1 - p + up)


def ratios(table: Table, p: Floats, strength: Floats) -> Floats:
    """Return log likelihood ratios, slice x strength (ln theta), if the chances are ``p``."""
    terms = np.log1p(p[:, None] * np.expm1(strength))
    return table.yes[:, None] * strength - table.by_component(terms)


def offsets(dense: Floats, yes: Floats) -> tuple[Floats, Floats]:
    """Return by slice the logarithm of the odds factor that explains ``yes``, and its information.

    Maximum likelihood by Newton's method, no further than +-25. The information is the sum of
    p (1 - p) at that factor.

    >>> dense = np.array([[[90.0, 9.0]]])
    >>> off, information = offsets(dense, np.array([18.0]))
    >>> off.round(3).tolist(), information.round(2).tolist()
    ([0.811], [14.4])
    """
    n, logit = dense[:, :, 0], _logits(dense)
    off = np.zeros(len(dense))
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(-(logit + off[:, None])))
        left = yes - (n * chance).sum(axis=1)
        information = (n * chance * (1 - chance)).sum(axis=1)
        step = np.clip(left / np.maximum(information, 1e-9), -1.0, 1.0)
        off = np.clip(off + step, -_MOST_OFF, _MOST_OFF)
        if np.abs(step).max(initial=0.0) < 1e-10:
            break
    return off, information


def expected(dense: Floats, off: Floats) -> tuple[Floats, Floats]:
    """Return by slice how many yes there would be with odds exp(off) times, and the variance."""
    chance = 1 / (1 + np.exp(-(_logits(dense) + off[:, None])))
    n = dense[:, :, 0]
    return (n * chance).sum(axis=1), (n * chance * (1 - chance)).sum(axis=1)


def _logits(dense: Floats) -> Floats:
    n, total = dense[:, :, 0], dense[:, :, 1]
    p = np.clip(total / np.maximum(n, 1e-300), _LEAST_P, 1 - _LEAST_P)
    return np.log(p) - np.log1p(-p)
