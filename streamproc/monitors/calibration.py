"""Calibration: does a probability still mean what it meant, in the large, in its slope, by score.

A logistic map of the score, logit q = mu + a + b (logit p - mu), with a = 0 and b = 1 where nothing
has changed (Cox 1958, "Two further applications of a model for binary regression", Biometrika 45).
The score is first put right by the map that the past suggests. Components of the test are pairs of
a and b, and groups of scores whose odds alone are off (`streamproc.monitors.scoregroups`); each is
held against all pairs that are still tolerated, on a grid. All are mixed into one statistic.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import log, log1p

import numpy as np

from streamproc.monitors.composite import CompositeDetector
from streamproc.monitors.growing import LEAST_BUCKETS, REFRESH, Span
from streamproc.monitors.logistic import Cells, fitted, logits
from streamproc.monitors.recalibrated import (
    FADES_MS,
    LEAST_YES,
    MOST_GIVEN_UP,
    Wavering,
    settled,
)
from streamproc.monitors.reliability import ECE_GROUPS, Interval, expected_calibration_error
from streamproc.monitors.scoregroups import COMPONENTS, STRENGTHS, ScoreGroups, ScoreRange
from streamproc.monitors.scores import BINS
from streamproc.monitors.sketch import Floats
from streamproc.monitors.tilts import Bools

SHIFTS = (-1.2, -0.7, -0.3, -0.1, 0.0, 0.1, 0.3, 0.7, 1.2)
SLOPES = (0.5, 0.7, 0.85, 1.0, 1.15, 1.4, 2.0)
BACK = log(1_000)
LEAST_QUIET = 3

PAIRS = np.array([(a, b) for a in SHIFTS for b in SLOPES if (a, b) != (0.0, 1.0)])
"""What is looked for, a and b; each weighs `PAIR_WEIGHT`, and groups of scores as much in all."""

PAIR_WEIGHT = 0.5 / len(PAIRS)
_WEIGHTS = np.repeat([PAIR_WEIGHT, 0.5 / COMPONENTS], [len(PAIRS), COMPONENTS])
_RIGHT = np.array([[0.0, 1.0]])
_MOST_A_BUCKET = BACK / 2.5
_MOST_HELD = 256
_STEADY = 4.0
_NEARLY = 0.6
_STATES, _STATES_LEARNING = 5, 17
"""Of a and of b each: how many values that are no change evidence is held against.

What is true has to be nearer to one of them than to any change that is looked for. Of a model that
learns more is no change, so that it takes more of them.
"""


@dataclass(frozen=True)
class Tolerance:
    """What is no change: logarithm of an odds factor, and of a slope."""

    shift: float = log(1.1)
    slope: float = log(1.1)


LEARNING = Tolerance(log(2.0), log(1.4))
"""What is none of a model that learns."""


def tolerance_of(part: float | None, learns: bool) -> Tolerance:
    """Return what is no change: a part of odds and slope, as declared, or what is usual.

    >>> tolerance_of(1.0, learns=False) == Tolerance(log(2.0), log(2.0))
    True
    """
    if part is not None:
        return Tolerance(log1p(part), log1p(part))
    return LEARNING if learns else Tolerance()


class CalibrationTest:
    """Tests one series of outcomes; while open there are ``since_ms``, ``found`` and what is off.

    That is ``pair``, a and b, or where these are right (0 and 1) ``ranges``, of scores.

    >>> rng = np.random.default_rng(1)
    >>> test = CalibrationTest(1_000, 1e8, Tolerance(0.0, 0.0), Span(0, 5_000))
    >>> from streamproc.monitors.scores import bins_of
    >>> for second in range(200):
    ...     logit = rng.normal(-1, 1, 100)
    ...     p, q = (1 / (1 + np.exp(-x)) for x in (logit, logit * (0.5 if second >= 120 else 1.0)))
    ...     table = np.stack((np.ones(100), rng.random(100) < q, p))
    ...     sums = [np.bincount(bins_of(p), each, minlength=BINS) for each in table]
    ...     what = test.update(second * 1_000, np.stack(sums, axis=1))
    >>> what, test.pair[1] < 1
    ('open', True)
    """

    def __init__(
        self, bucket_ms: int, alarm_ms: float, tolerance: Tolerance, span: Span | None = None
    ) -> None:
        self.open = False
        self.since_ms = 0
        self.found: Cells = np.zeros((BINS, 3))
        self._bucket_ms = bucket_ms
        self._span = span or Span()
        self._states = _STATES_LEARNING if self._span.settles else _STATES
        self._detector = CompositeDetector(_WEIGHTS, alarm_ms, self._states**2)
        self._tolerance = tolerance
        self.relearn()

    @property
    def pair(self) -> tuple[float, float]:
        """What is off in the large, the logarithm of an odds factor, and the slope."""
        at = self._component
        shift, slope = PAIRS[at].tolist() if at < len(PAIRS) else (0.0, 1.0)
        return shift, slope

    @property
    def ranges(self) -> list[ScoreRange]:
        """Which scores are off, though not all, ascending."""
        at = self._component - len(PAIRS)
        if at < 0:
            return []
        chance = self._chances(self.found, _RIGHT)[:, 0]
        return self._groups.told(self.found, chance, at, self._kappas()[1])

    def relearn(self) -> None:
        """Begin anew: what comes now is usual."""
        self.open = False
        self.map: Floats = np.array([0.0, 1.0])
        self._kept: Cells = np.zeros((BINS, 3))
        self._held: deque[tuple[int, Cells]] = deque()
        self._wavering = [Wavering() for _ in range(2 + ECE_GROUPS)]
        self._groups = ScoreGroups()
        self._component = 0
        self._ready = False
        self._buckets, self._first_ms, self._given_up = 0, 0, 0
        self._back: Floats = np.zeros(self._states**2)
        self._quiet: list[Cells] = []
        self._fitted_n = self._released_n = 0.0
        self._faded_ms = 0
        self._middle = 0.0
        self._usual, self._tested = self._no_change()
        self._detector.restart()

    def update(self, start_ms: int, cells: Cells) -> str | None:
        """Take in a bucket; return ``"opened"``, ``"open"``, ``"over"``, or None."""
        if not cells[:, 0].sum():
            return None
        if not self._ready:
            self._learn(start_ms, cells)
            return None
        if self.open:
            return self._follow(cells)
        ratios = np.where(self._tested, self._ratios(cells) / self._kappa, -np.inf)
        self._detector.update(start_ms, self._bucket_ms, ratios)
        self._learn(start_ms, cells)
        if not self._detector.alarmed:
            return None
        self.open = True
        self.since_ms = self._detector.since_ms
        gone = [each for at_ms, each in self._held if at_ms >= self.since_ms]
        self._held = deque(each for each in self._held if each[0] < self.since_ms)
        self.found = sum(gone, np.zeros((BINS, 3)))
        self._name()
        self._back, self._quiet = np.zeros(self._states**2), []
        return "opened"

    def _kappas(self) -> tuple[float, float]:
        """Return by how much evidence is divided, of pairs, and of groups: as the worst wavers."""
        shift, slope, *groups = (each.kappa for each in self._wavering)
        return max(shift, slope), max(shift, slope, *groups)

    @property
    def _kappa(self) -> Floats:
        return np.repeat(self._kappas(), [len(PAIRS), COMPONENTS])

    def error(self, cells: Cells) -> Interval:
        """Return the expected calibration error of outcomes, by their score as it was put right."""
        chance = self._chances(cells, _RIGHT)[:, 0]
        return expected_calibration_error(cells[:, 0], cells[:, 1], cells[:, 0] * chance)

    def _chances(self, cells: Cells, pairs: Floats) -> Floats:
        """Return the chance in each bin, put right and then mapped by pairs of a and b."""
        logit = logits(cells) - self._middle
        right = (self.map[1] * logit)[:, None] * pairs[:, 1]
        mapped = self._middle + self.map[0] + pairs[:, 0] + right + self._groups.off[:, None]
        chances: Floats = 1 / (1 + np.exp(-np.clip(mapped, -30.0, 30.0)))
        return chances

    def _ratios(self, cells: Cells) -> Floats:
        """Return log likelihood ratios to each pair that is no change: state x component."""
        there = cells[:, 0] > 0
        n, yes = cells[there, 0], cells[there, 1]
        chances = self._chances(cells, np.vstack((PAIRS, self._usual)))
        q = np.clip(chances[there], 1e-12, 1 - 1e-12)
        told = yes @ np.log(q) + (n - yes) @ np.log1p(-q)
        of_pairs = told[: len(PAIRS)] - told[len(PAIRS) :, None]
        return np.hstack((of_pairs, self._groups.ratios(cells, chances[:, len(PAIRS) :])))

    def _learn(self, start_ms: int, cells: Cells) -> None:
        if not self._buckets:
            self._first_ms = self._faded_ms = start_ms
        self._buckets += 1
        self._held.append((start_ms, cells))
        end_ms = start_ms + self._bucket_ms
        if not self._ready:
            n, yes, _ = sum((each for _, each in self._held), self._kept).sum(axis=0)
            spans = end_ms - self._first_ms >= self._span.least_ms
            enough = n >= self._span.least_n and min(yes, n - yes) >= LEAST_YES
            self._ready = bool(spans and enough and self._buckets >= LEAST_BUCKETS)
            if self._ready and self._span.settles and self._given_up < MOST_GIVEN_UP:
                self._ready = self._settled()
            if self._ready:
                self._release(end_ms + 1)
                self._fit()
        else:
            self._release(end_ms - self._quarantine_ms(end_ms))
            if self._released_n >= (REFRESH - 1) * self._fitted_n:
                self._fit()
        if len(self._held) > _MOST_HELD:
            held = list(self._held)
            pairs = zip(held[::2], held[1::2], strict=False)
            odd = held[-1:] if len(held) % 2 else []
            self._held = deque([(one[0], one[1] + two[1]) for one, two in pairs] + odd)

    def _settled(self) -> bool:
        """Whether both halves of the first reference are alike; if not, give up the older one."""
        held = list(self._held)
        halves = held[: len(held) // 2], held[len(held) // 2 :]
        sums = [sum((each for _, each in half), np.zeros((BINS, 3))) for half in halves]
        if settled(*((each[None, :, [0, 2]], each[:, 1].sum(keepdims=True)) for each in sums)):
            return True
        self._given_up += 1
        self._held = deque(halves[1])
        self._first_ms = self._faded_ms = halves[1][0][0]
        self._buckets = len(halves[1])
        return False

    def _quarantine_ms(self, now_ms: int) -> int:
        least = self._span.least_ms
        return least if self._span.settles else max(least, (now_ms - self._first_ms) // 2)

    def _release(self, before_ms: float) -> None:
        waiting = []
        while self._held and self._held[0][0] < before_ms:
            start_ms, cells = self._held.popleft()
            if self._span.settles:
                self._kept = self._kept * 0.5 ** ((start_ms - self._faded_ms) / FADES_MS)
                self._faded_ms = start_ms
            self._kept = self._kept + cells
            self._released_n += float(cells[:, 0].sum())
            waiting.append(cells)
        if waiting and not self._fitted_n:
            self._fit()
        for cells in waiting:
            self._waver(cells)

    def _waver(self, cells: Cells) -> None:
        chance = self._chances(cells, _RIGHT)[:, 0]
        left = cells[:, 1] - cells[:, 0] * chance
        variance = cells[:, 0] * chance * (1 - chance)
        logit = logits(cells) - self._middle
        for wavering, power in zip(self._wavering, (np.ones(BINS), logit), strict=False):
            wavering.add(np.array([float(left @ power)]), np.array([float(variance @ power**2)]))
        sums = self._groups.sums(left)[:, None], self._groups.sums(variance)[:, None]
        for wavering, of_left, of_variance in zip(self._wavering[2:], *sums, strict=True):
            wavering.add(of_left, of_variance)

    def _fit(self) -> None:
        """Fit a and b, then the groups, and keep what is more than chance."""
        self._fitted_n, self._released_n = float(self._kept[:, 0].sum()), 0.0
        fit = fitted(self._kept)
        self._middle, off = fit.middle, fit.pair - [0.0, 1.0]
        of_pairs, of_groups = self._kappas()
        errors = fit.variance * of_pairs
        weight = np.maximum(0.0, 1 - _STEADY * errors / np.maximum(off**2, 1e-300))
        self.map = np.array([0.0, 1.0]) + off * weight
        self._groups = ScoreGroups()
        chance = self._chances(self._kept, _RIGHT)[:, 0]
        learns = self._span.settles
        self._groups.fit(self._kept, chance, of_groups, learns)
        self._usual, self._tested = self._no_change()

    def _no_change(self) -> tuple[Floats, Bools]:
        """Return pairs that are no change, a grid over what is tolerated, and which others are one.

        A model that learns comes nearer to meaning what it says: all from how it was to there.
        """
        right = np.array([-self.map[0], -log(self.map[1])]) * self._span.settles
        states, beyond = no_change(self._tolerance, right, self._states)
        return states, np.concatenate((beyond, np.ones(COMPONENTS, bool)))

    def _name(self) -> None:
        """Take that component for what was found which tells best of it.

        Of a group the weakest that tells nearly as well: what opened an alert is often less than it
        looked at first, and would seem to be over.
        """
        told = np.where(self._tested, self._ratios(self.found).min(axis=0) / self._kappa, -np.inf)
        best = int(np.argmax(told))
        strengths = STRENGTHS.shape[1]
        first = best if best < len(PAIRS) else best - (best - len(PAIRS)) % strengths
        nearly = min(told[best], _NEARLY * told[best])
        self._component = first + int(np.argmax(told[first : best + 1] >= nearly))

    def _move(self, component: int) -> Floats:
        """Return the logarithms of odds factor, slope, and groups' odds factors it stands for."""
        if component >= len(PAIRS):
            return np.array([0.0, 0.0, *self._groups.move(component - len(PAIRS))])
        shift, slope = PAIRS[component]
        return np.array([shift, log(slope), *np.zeros(ECE_GROUPS)])

    def _follow(self, cells: Cells) -> str:
        """Page's test with the hypotheses exchanged: what was found against each that is usual.

        Less than half of what was found is to be left, or it is something else that was found.
        """
        at = self._component
        steps = -self._ratios(cells)[:, at] / self._kappa[at]
        self._back = np.maximum(0.0, self._back + np.minimum(steps, _MOST_A_BUCKET))
        self._quiet.append(cells)
        over = self._back.max() >= BACK and len(self._quiet) >= LEAST_QUIET
        if over and self._is_back():
            self.open = False
            self._detector.restart()
            return "over"
        if over or not self._back.any():
            self.found = sum(self._quiet, self.found)
            self._name()
            self._back, self._quiet = np.zeros(self._states**2), []
        return "open"

    def _is_back(self) -> bool:
        quiet = sum(self._quiet, np.zeros((BINS, 3)))
        told = self._ratios(quiet).min(axis=0)
        if told.max() <= 0:
            return True
        found, left = self._move(self._component), self._move(int(np.argmax(told)))
        return bool(found @ left <= found @ found / 2)


def no_change(tolerance: Tolerance, right: Floats, count: int = _STATES) -> tuple[Floats, Bools]:
    """Return pairs that are no change, so many of a and of b each, and which of `PAIRS` are one.

    ``right`` is how far it is, in a and in the logarithm of b, to where a score means what it says;
    all on the way is none.

    >>> states, changes = no_change(LEARNING, np.zeros(2))
    >>> states.shape, int(changes.sum()), len(PAIRS)
    ((25, 2), 43, 62)
    """
    limits = np.array([tolerance.shift, tolerance.slope])
    least, most = np.minimum(right, 0.0) - limits, np.maximum(right, 0.0) + limits
    grid = np.linspace(least, most, count)
    shifts, slopes = np.meshgrid(grid[:, 0], np.exp(grid[:, 1]))
    pairs = np.stack((PAIRS[:, 0], np.log(PAIRS[:, 1])), axis=1)
    beyond: Bools = ((pairs < least) | (pairs > most)).any(axis=1)
    return np.stack((shifts.ravel(), slopes.ravel()), axis=1), beyond
