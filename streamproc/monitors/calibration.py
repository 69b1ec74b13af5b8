"""Calibration: does a probability still mean what it meant, in the large and in its slope.

A logistic map of the score, logit q = mu + a + b (logit p - mu), with a = 0 and b = 1 where nothing
has changed (Cox 1958, "Two further applications of a model for binary regression", Biometrika 45).
The score is first put right by the map that the past suggests. Components of the test are pairs of
a and b; each is held against the nearest pair that is still tolerated.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import exp, log, pi

import numpy as np

from streamproc.monitors.edetector import EDetector
from streamproc.monitors.finding import Finding, alert_key, when
from streamproc.monitors.growing import LEAST_BUCKETS, REFRESH, Span
from streamproc.monitors.outcomes import OVERALL, Row
from streamproc.monitors.recalibrated import LEAST_YES, MOST_GIVEN_UP, Wavering, settled
from streamproc.monitors.scores import BINS, PROBABILITY_STEPS
from streamproc.monitors.sketch import Floats

SHIFTS = (-1.2, -0.7, -0.3, -0.1, 0.0, 0.1, 0.3, 0.7, 1.2)
SLOPES = (0.5, 0.7, 0.85, 1.0, 1.15, 1.4, 2.0)
BACK = log(1_000)
LEAST_QUIET = 3
CRITICAL = 0.7
"""From a shift, or a logarithm of a slope, of so much on it is critical."""

_PAIRS = np.array([(a, b) for a in SHIFTS for b in SLOPES if (a, b) != (0.0, 1.0)])
_WEIGHTS = np.full(len(_PAIRS), 1 / len(_PAIRS))
_MOST_A_BUCKET = BACK / 2.5
_MOST_HELD = 256
_GROUPS = 10
_STEADY = 4.0


@dataclass(frozen=True)
class Tolerance:
    """What is no change: logarithm of an odds factor, and of a slope."""

    shift: float = log(1.1)
    slope: float = log(1.1)


LEARNING = Tolerance(log(2.0), log(1.4))
"""What is none of a model that learns."""

Cells = Floats
"""Outcomes by bin of the score: n, yes, sum of p; bin x 3."""


class CalibrationTest:
    """Tests one series of outcomes; ``since_ms``, ``component`` (a, b) and ``found`` while open.

    >>> rng = np.random.default_rng(1)
    >>> test = CalibrationTest(1_000, 1e8, Tolerance(0.0, 0.0), Span(0, 5_000))
    >>> from streamproc.monitors.scores import bins_of
    >>> for second in range(200):
    ...     logit = rng.normal(-1, 1, 100)
    ...     p, q = (1 / (1 + np.exp(-x)) for x in (logit, logit * (0.5 if second >= 120 else 1.0)))
    ...     table = np.stack((np.ones(100), rng.random(100) < q, p))
    ...     sums = [np.bincount(bins_of(p), each, minlength=BINS) for each in table]
    ...     what = test.update(second * 1_000, np.stack(sums, axis=1))
    >>> what, test.component.tolist()[1] < 1
    ('open', True)
    """

    def __init__(
        self, bucket_ms: int, alarm_ms: float, tolerance: Tolerance, span: Span | None = None
    ) -> None:
        self.open = False
        self.since_ms = 0
        self.component: Floats = np.array([0.0, 1.0])
        self.found: Cells = np.zeros((BINS, 3))
        self.map: Floats = np.array([0.0, 1.0])
        self._bucket_ms = bucket_ms
        self._span = span or Span()
        self._detector = EDetector(_WEIGHTS, alarm_ms)
        limits = np.array([tolerance.shift, tolerance.slope])
        shift = np.clip(_PAIRS[:, 0], -limits[0], limits[0])
        slope = np.exp(np.clip(np.log(_PAIRS[:, 1]), -limits[1], limits[1]))
        self._null: Floats = np.stack((shift, slope), axis=1)
        self.relearn()

    def relearn(self) -> None:
        """Begin anew: what comes now is usual."""
        self.open = False
        self._kept: Cells = np.zeros((BINS, 3))
        self._held: deque[tuple[int, Cells]] = deque()
        self._wavering = Wavering(), Wavering()
        self._ready = False
        self._buckets, self._first_ms, self._given_up = 0, 0, 0
        self._back = 0.0
        self._quiet: list[Cells] = []
        self._fitted_n = 0.0
        self._middle = 0.0
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
        self._detector.update(start_ms, self._bucket_ms, self._ratios(cells) / self.kappa)
        self._learn(start_ms, cells)
        if not self._detector.alarmed:
            return None
        self.open = True
        self.component = _PAIRS[self._detector.best]
        self.since_ms = self._detector.since_ms
        gone = [each for at_ms, each in self._held if at_ms >= self.since_ms]
        self._held = deque(each for each in self._held if each[0] < self.since_ms)
        self.found = sum(gone, np.zeros((BINS, 3)))
        self._back, self._quiet = 0.0, []
        return "opened"

    @property
    def kappa(self) -> float:
        """By how much evidence is divided."""
        return max(each.kappa for each in self._wavering)

    def error(self, cells: Cells) -> tuple[float, float]:
        """Return the expected calibration error, and what it would be by chance alone.

        That is the mean of ``|observed - chance|`` over ten groups of alike many outcomes, by score
        as it was put right.
        """
        n, yes = cells[:, 0], cells[:, 1]
        chance = self._chances(cells, np.array([[0.0, 1.0]]))[:, 0]
        total = max(float(n.sum()), 1.0)
        group = np.minimum((np.cumsum(n) - n / 2) / total * _GROUPS, _GROUPS - 1).astype(np.int64)
        off = np.bincount(group, yes - n * chance, minlength=_GROUPS)
        variance = np.bincount(group, n * chance * (1 - chance), minlength=_GROUPS)
        return float(np.abs(off).sum()) / total, float(np.sqrt(variance * 2 / pi).sum()) / total

    def _chances(self, cells: Cells, pairs: Floats) -> Floats:
        """Return the chance in each bin, put right and then mapped by pairs of a and b."""
        logit = _logits(cells) - self._middle
        right = (self.map[1] * logit)[:, None] * pairs[:, 1]
        mapped = self._middle + self.map[0] + pairs[:, 0] + right
        chances: Floats = 1 / (1 + np.exp(-np.clip(mapped, -30.0, 30.0)))
        return chances

    def _ratios(self, cells: Cells) -> Floats:
        used = cells[cells[:, 0] > 0]
        n, yes = used[:, 0], used[:, 1]
        q, p = (
            np.clip(self._chances(used, pairs), 1e-12, 1 - 1e-12) for pairs in (_PAIRS, self._null)
        )
        found: Floats = yes @ np.log(q / p) + (n - yes) @ np.log((1 - q) / (1 - p))
        return found

    def _learn(self, start_ms: int, cells: Cells) -> None:
        if not self._buckets:
            self._first_ms = start_ms
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
            self._release(end_ms - max(self._span.least_ms, (end_ms - self._first_ms) // 2))
            if self._kept[:, 0].sum() >= REFRESH * self._fitted_n:
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
        self._first_ms, self._buckets = halves[1][0][0], len(halves[1])
        return False

    def _release(self, before_ms: float) -> None:
        waiting = []
        while self._held and self._held[0][0] < before_ms:
            _, cells = self._held.popleft()
            self._kept = self._kept + cells
            waiting.append(cells)
        if waiting and not self._fitted_n:
            self._fit()
        for cells in waiting:
            self._waver(cells)

    def _waver(self, cells: Cells) -> None:
        chance = self._chances(cells, np.array([[0.0, 1.0]]))[:, 0]
        left = cells[:, 1] - cells[:, 0] * chance
        variance = cells[:, 0] * chance * (1 - chance)
        logit = _logits(cells) - self._middle
        for wavering, power in zip(self._wavering, (np.ones(BINS), logit), strict=True):
            wavering.add(np.array([float(left @ power)]), np.array([float(variance @ power**2)]))

    def _fit(self) -> None:
        """Fit a and b by maximum likelihood, and keep what is more than chance."""
        cells = self._kept[self._kept[:, 0] > 0]
        self._fitted_n = float(cells[:, 0].sum())
        n, yes, logit = cells[:, 0], cells[:, 1], _logits(cells)
        p = 1 / (1 + np.exp(-logit))
        v = n * p * (1 - p)
        self._middle = float(v @ logit / max(v.sum(), 1e-300))
        rows = np.stack((np.ones(len(logit)), logit - self._middle), axis=1)
        found, ridge = np.array([0.0, 1.0]), np.diag([1e-6, 1.0])
        for _ in range(50):
            mapped = self._middle + rows @ found
            q = 1 / (1 + np.exp(-np.clip(mapped, -30.0, 30.0)))
            gram = (rows * (n * q * (1 - q))[:, None]).T @ rows + ridge
            step = np.linalg.solve(gram, rows.T @ (yes - n * q) - ridge @ (found - [0.0, 1.0]))
            found = np.clip(found + np.clip(step, -2.0, 2.0), [-40.0, 0.1], [40.0, 5.0])
            if np.abs(step).max() < 1e-10:
                break
        errors = np.diag(np.linalg.inv(gram)) * self.kappa
        off = found - [0.0, 1.0]
        weight = np.maximum(0.0, 1 - _STEADY * errors / np.maximum(off**2, 1e-300))
        self.map = np.array([0.0, 1.0]) + off * weight

    def _follow(self, cells: Cells) -> str:
        """Page's test with the hypotheses exchanged: what was found against what is usual."""
        at = int(np.flatnonzero((self.component == _PAIRS).all(axis=1))[0])
        step = -float(self._ratios(cells)[at]) / self.kappa
        self._back = max(0.0, self._back + min(step, _MOST_A_BUCKET))
        if self._back == 0.0:
            self.found = sum((*self._quiet, cells), self.found)
            self._quiet = []
            return "open"
        self._quiet.append(cells)
        if self._back < BACK or len(self._quiet) < LEAST_QUIET:
            return "open"
        self.open = False
        self._detector.restart()
        return "over"


class CalibrationMonitor:
    """Watches calibration overall."""

    def __init__(self, bucket_ms: int, alarm_ms: float, learns: bool) -> None:
        self.key = alert_key("calibration", "score", None)
        tolerance, span = LEARNING if learns else Tolerance(), Span(settles=learns)
        self._test = CalibrationTest(bucket_ms, alarm_ms, tolerance, span)

    def update(self, start_ms: int, rows: dict[str, Row]) -> list[Finding]:
        """Take in a bucket's rows; see `streamproc.monitors.outcomes`."""
        row = rows.get(OVERALL)
        if row is None:
            return []
        cells = np.zeros((BINS, 3))
        for cell, counts in row["bins"].items():
            cells[int(cell)] = counts
        cells[:, 2] /= PROBABILITY_STEPS
        what = self._test.update(start_ms, cells)
        if what is None:
            return []
        return [self._finding(what, row["delay_ms"] // max(row["n"], 1))]

    def relearn(self, key: str) -> bool:
        """Learn anew what is usual for what a finding's key is about; return whether it is here."""
        if key == self.key:
            self._test.relearn()
        return key == self.key

    def _finding(self, what: str, delay_ms: int) -> Finding:
        test = self._test
        shift, slope = test.component.tolist()
        n = max(float(test.found[:, 0].sum()), 1.0)
        first_ms = test.since_ms - delay_ms
        effect = max(abs(shift), abs(log(slope)))
        error, chance = test.error(test.found)
        if what == "over":
            summary = f"Scores mean what they did again after a change since {when(first_ms)}."
        else:
            summary = (
                f"Scores no longer mean what they did since {when(first_ms)}: "
                f"{_words(shift, slope)}; the calibration error is {error:.2%} over {n:,.0f} "
                f"outcomes ({chance:.2%} would be chance); "
                "look at what the model was last given to learn from."
            )
        return Finding(
            kind="calibration",
            subject="score",
            slice=None,
            ongoing=what != "over",
            severity="critical" if effect >= CRITICAL else "warning",
            effect=effect,
            statistic=round(effect, 6),
            threshold=chance,
            expected=float(test.found[:, 2].sum()) / n,
            observed=float(test.found[:, 1].sum()) / n,
            samples=int(n),
            first_seen_ms=first_ms,
            summary=summary,
        )


def _words(shift: float, slope: float) -> str:
    """Say what changed.

    >>> _words(0.3, 1.0), _words(0.0, 0.7)
    ('too low in the large, odds by a factor of 1.35', 'the slope is 0.7: too bold')
    """
    told = []
    if shift:
        side = "too low" if shift > 0 else "too high"
        told.append(f"{side} in the large, odds by a factor of {exp(abs(shift)):.2f}")
    if slope != 1.0:
        told.append(f"the slope is {slope:g}: too {'bold' if slope < 1 else 'timid'}")
    return ", and ".join(told)


def _logits(cells: Cells) -> Floats:
    p = np.clip(cells[:, 2] / np.maximum(cells[:, 0], 1e-300), 1e-9, 1 - 1e-9)
    found: Floats = np.log(p) - np.log1p(-p)
    return found
