"""Calibration by score: where between 0 and 1 probabilities are off, though not all of them.

Bins of the score are put together to groups that tell equally much, each with a like part of
sum n p (1 - p): of the yes expected, where yes is rare. In a group the odds are off from the map of
all scores by a factor, of which what is more than chance is learnt as usual. Components of the test
are a group, a side and a strength theta: odds theta times the farthest that is still no change.
"""

from __future__ import annotations

from math import log
from typing import NamedTuple

import numpy as np

from streamproc.monitors.logistic import Cells
from streamproc.monitors.odds import moved, offsets
from streamproc.monitors.reliability import ECE_GROUPS, grouped
from streamproc.monitors.scores import BINS, edges_of
from streamproc.monitors.sketch import Floats, Ints

STRENGTHS = np.array([[0.1, 0.3, 0.7, 1.5], [-0.1, -0.3, -0.7, -1.5]])
"""Logarithms of the odds factors that are looked for, upward and downward."""

COMPONENTS = ECE_GROUPS * STRENGTHS.size

LEAST_EACH, LEAST_GROUPS = 20.0, 3
"""So much sum n p (1 - p) a group has that is tested; fewer than three of them say no more than
shift and slope."""

MOST_TOLD = 3
_STEADY = 4.0
_SURE = 2.0
_LEAST_TOLD = 0.01


class ScoreRange(NamedTuple):
    """Scores that are off: from ``low`` to ``high``, how many, and which shares of them were yes.

    ``off`` is the logarithm of the odds factor between ``observed`` and ``expected``.
    """

    low: float
    high: float
    n: float
    expected: float
    observed: float
    off: float


class ScoreGroups:
    """What is usual of groups of scores, and the evidence that one is off.

    ``off`` is by bin the logarithm of the usual odds factor; by group, ``least`` and ``most`` are
    how far from it is no change.

    >>> from streamproc.monitors.scores import bins_of
    >>> p = np.linspace(0.01, 0.99, 99)
    >>> sums = [np.bincount(bins_of(p), each, minlength=BINS) for each in (p**0 * 100, p * 100)]
    >>> cells, groups = np.stack((sums[0], sums[1], sums[1]), axis=1), ScoreGroups()
    >>> chance = np.divide(sums[1], sums[0], where=sums[0] > 0, out=np.zeros(BINS))
    >>> groups.fit(cells, chance)
    >>> cells[groups.of == 4, 1] *= 1.5
    >>> at = int(np.argmax(groups.ratios(cells, chance[:, None])[0]))
    >>> [(round(each.low, 2), round(each.high, 2)) for each in groups.told(cells, chance, at)]
    [(0.47, 0.53)]
    """

    def __init__(self) -> None:
        self.of: Ints = np.zeros(BINS, np.int64)
        self.off: Floats = np.zeros(BINS)
        self.least: Floats = np.zeros(ECE_GROUPS)
        self.most: Floats = np.zeros(ECE_GROUPS)
        self._tested = np.zeros(ECE_GROUPS, bool)

    def fit(self, cells: Cells, chance: Floats, kappa: float = 1.0, learns: bool = False) -> None:
        """Fit what is usual beside a map that gives each bin's ``chance``.

        No change is what the past leaves unsure, and if the model ``learns`` all from how it was to
        meaning what the map says.
        """
        tells = cells[:, 0] * chance * (1 - chance)
        groups = int(min(tells.sum() // LEAST_EACH, ECE_GROUPS))
        self.of = grouped(tells, max(groups, 1))
        enough = self.sums(tells) >= LEAST_EACH
        self._tested = enough & (enough.sum() >= LEAST_GROUPS)
        off, information = offsets(*self._by_group(cells, chance))
        errors = kappa / np.maximum(information, _LEAST_TOLD)
        off = off * np.maximum(0.0, 1 - _STEADY * errors / np.maximum(off**2, 1e-300))
        self.off = off[self.of]
        slack, right = np.sqrt(errors), -off * learns
        self.least, self.most = np.minimum(right, 0.0) - slack, np.maximum(right, 0.0) + slack

    def ratios(self, cells: Cells, chances: Floats) -> Floats:
        """Return log likelihood ratios to ``chances`` of no change, bin x state: state x component.

        A component that isn't tested has -inf.
        """
        there = cells[:, 0] > 0
        of = self.of[there]
        n, yes = cells[there, 0][:, None], self.sums(cells[:, 1])
        states = chances.shape[1]
        into = (of == np.arange(ECE_GROUPS)[:, None]).astype(np.float64)
        found = np.empty((states, ECE_GROUPS, *STRENGTHS.shape))
        for side, edge in enumerate((self.most, self.least)):
            p = moved(chances[there], edge[of][:, None])
            for at, strength in enumerate(STRENGTHS[side].tolist()):
                expected = into @ (n * np.log1p(p * np.expm1(strength)))
                found[:, :, side, at] = yes * strength - expected.T
        found[:, ~self._tested] = -np.inf
        return found.reshape(states, COMPONENTS)

    def move(self, component: int) -> Floats:
        """Return by group the logarithm of the odds factor that a component stands for."""
        group, side, at = np.unravel_index(component, (ECE_GROUPS, *STRENGTHS.shape))
        found = np.zeros(ECE_GROUPS)
        found[group] = (self.most, self.least)[side][group] + STRENGTHS[side, at]
        return found

    def told(
        self, cells: Cells, chance: Floats, component: int, kappa: float = 1.0
    ) -> list[ScoreRange]:
        """Return which scores are off beyond what is no change, and beyond chance, ascending.

        Those beside each other and off the same way are one; of all the first few by evidence. The
        component's group is always told.
        """
        n, yes, _ = (self.sums(each) for each in cells.T)
        would, high, low = (
            self.sums(cells[:, 0] * moved(chance, edge[self.of]))
            for edge in (np.zeros(ECE_GROUPS), self.most, self.least)
        )
        error = np.sqrt(kappa * self.sums(cells[:, 0] * chance * (1 - chance)))
        sure = np.maximum(yes - high, low - yes) / np.maximum(error, 1e-9)
        sure[np.flatnonzero(self.move(component))] = np.inf
        runs: list[list[int]] = []
        for group in np.flatnonzero(sure >= _SURE).tolist():
            beside = runs and runs[-1][-1] == group - 1
            if beside and (yes - would)[group] * (yes - would)[group - 1] > 0:
                runs[-1].append(group)
            else:
                runs.append([group])
        worst = sorted(runs, key=lambda run: -max(sure[run]))[:MOST_TOLD]
        return [self._range(run, n, would, yes) for run in sorted(worst)]

    def _range(self, run: list[int], n: Floats, would: Floats, yes: Floats) -> ScoreRange:
        bins = np.flatnonzero((self.of >= run[0]) & (self.of <= run[-1])).tolist()
        size, expected, observed = (float(each[run].sum()) for each in (n, would, yes))
        off = _logit(observed, size) - _logit(expected, size)
        low, high = edges_of(bins[0])[0], edges_of(bins[-1])[1]
        size = max(size, 1.0)
        return ScoreRange(low, high, size, expected / size, observed / size, off)

    def sums(self, values: Floats) -> Floats:
        """Return the sums by group of what is by bin."""
        return np.bincount(self.of, values, minlength=ECE_GROUPS).astype(np.float64)

    def _by_group(self, cells: Cells, chance: Floats) -> tuple[Floats, Floats]:
        """Return each group's bins apart, group x bin x (n, sum of chances), and its yes."""
        dense = np.zeros((ECE_GROUPS, len(cells), 2))
        dense[self.of, np.arange(len(cells))] = np.stack(
            (cells[:, 0], cells[:, 0] * chance), axis=1
        )
        return dense, self.sums(cells[:, 1])


def _logit(yes: float, n: float) -> float:
    """Return the logit of a share, steadied by half a yes and half a no."""
    return log((yes + 0.5) / (n - yes + 0.5))
