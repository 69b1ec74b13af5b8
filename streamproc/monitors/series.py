"""The test of one series of bins: learn what is usual, look for a change, look for its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log
from typing import Protocol

import numpy as np

from streamproc.monitors.edetector import EDetector
from streamproc.monitors.growing import REFRESH, Bin, Reference, Span
from streamproc.monitors.sketch import Floats
from streamproc.monitors.tilts import Tilts

BACK = log(1_000)
"""The odds for what is usual, against what was found, at which a change is over."""

LEAST_QUIET = 3
"""And it takes so many buckets in a row that are nearer to what is usual."""

WAVERS, LEAST_WAVERING = 1.5, 2.5
"""Where kappa is beyond this buckets are not alike, and it takes three of them to alarm."""

_PRIOR_N = 20.0
_MOST_A_BUCKET = BACK / 2.5


class Bins(Protocol):
    """How a kind of series is binned; see `streamproc.monitors.tilts`."""

    bins: int
    tilts: Tilts
    closed: int | None
    """The score of values that are never there, if there is one."""

    def smoothed(self, counts: Floats) -> Floats:
        """Return the distribution that counts tell of."""


@dataclass(frozen=True)
class Limits:
    """What a test keeps to.

    ``alarm_ms`` is the mean time between false alarms. A change of a score's mean below
    ``tolerance`` standard deviations, or of a share below such a part of it, is not worth telling.
    """

    alarm_ms: float
    bucket_ms: int
    tolerance: float = 0.1
    span: Span = field(default_factory=Span)


class SeriesTest:
    """Tests counts by bin, bucket after bucket in order of time.

    >>> from streamproc.monitors.tilts import Rate
    >>> rate, limits = Rate(1), Limits(1e7, 1_000, 0.0, Span(0, 1_000))
    >>> test = SeriesTest(rate, limits)
    >>> for second in range(100):
    ...     _ = test.update(second * 1_000, rate.counts(5.0 if second < 80 else 15.0, 50.0))
    >>> test.open, test.since_ms, float(test.found[1] / test.found.sum())
    (True, 80000, 0.3)
    """

    def __init__(self, bins: Bins, limits: Limits) -> None:
        self.limits = limits
        self.bins = bins
        self.reference = self._new_reference()
        self.detector = EDetector(bins.tilts.weights, limits.alarm_ms)
        self.open = False
        self.component = 0
        self.since_ms = 0
        self.found: Floats = np.zeros(bins.bins)
        self._fitted_n = -1.0
        self._p: Floats = np.zeros(bins.bins)
        self._psi: Floats = np.zeros(len(bins.tilts.weights))
        self._unsure: Floats = np.zeros(len(bins.tilts.weights))
        self._back = 0.0
        self._back_from: list[Bin] = []

    def update(self, start_ms: int, counts: Floats) -> str | None:
        """Take in a bucket; return ``"opened"``, ``"open"``, ``"over"``, or None."""
        bucket = Bin.of(start_ms, counts, self.bins.tilts.scores)
        if bucket.n <= 0:
            return None
        if not self.reference.ready:
            self.reference.learn(bucket)
            return None
        self.refit()
        if self.open:
            return self._follow(bucket)
        self.detector.update(start_ms, self.limits.bucket_ms, self.ratios(bucket))
        self.reference.learn(bucket)
        if not self.detector.alarmed:
            return None
        self._begin()
        return "opened"

    def ratios(self, bucket: Bin) -> Floats:
        """Return the log likelihood ratios of a bucket, tamed by kappa and the tolerance."""
        tilts = self.bins.tilts
        sums, usual = self.reference.apart(bucket.start_ms, bucket.n, bucket.sums)
        ratios = tilts.ratios(bucket.n, sums, usual.means, self._psi, self._unsure)
        if self.limits.tolerance:
            ratios = ratios - self._tolerated(bucket.n, usual.means)
        kappa = (self.reference.kappa * usual.wider)[tilts.of]
        most = np.where(kappa > WAVERS, self.detector.threshold / LEAST_WAVERING, np.inf)
        return np.minimum(ratios / kappa, most)

    def relearn(self) -> None:
        """Begin anew: what comes now is usual."""
        self.open = False
        self.reference = self._new_reference()
        self.detector.restart()
        self._fitted_n = -1.0

    def _new_reference(self) -> Reference:
        tilts, limits = self.bins.tilts, self.limits
        return Reference(tilts.scores, limits.bucket_ms, limits.span, tilts.shapes)

    @property
    def usual(self) -> Floats:
        """The distribution over bins that is usual."""
        return self._p

    def _tolerated(self, n: float, usual: Floats) -> Floats:
        """Return the evidence that a change as large as is tolerated would give, by component."""
        tilts, strength = self.bins.tilts, self.bins.tilts.strength
        rate = np.clip(usual[tilts.of] + self._unsure, 0.0, 1.0)
        room = self.limits.tolerance * np.minimum(rate, 1 - rate)
        edge = np.clip(rate + np.sign(strength) * room, 0.0, 1.0)
        grown = np.expm1(strength)
        of_rate = n * (np.log1p(edge * grown) - np.log1p(rate * grown))
        moved = np.abs(strength) * self.limits.tolerance * n
        return np.where(tilts.indicator, of_rate, moved)

    def refit(self) -> None:
        """Bring what is usual up to what the reference holds."""
        if self.reference.n >= REFRESH * self._fitted_n or self._fitted_n < 0:
            self._fitted_n = self.reference.n
            self._p = self.bins.smoothed(self.reference.counts)
            tilts = self.bins.tilts
            self._psi = tilts.psi(self._p, self.reference.n)
            self._unsure = tilts.unsure(self.reference.n, self.bins.closed)

    def _begin(self) -> None:
        self.open = True
        self.component = self.detector.best
        self.since_ms = self.detector.since_ms
        gone = self.reference.forget(self.since_ms)
        self.found = sum((each.counts for each in gone), np.zeros(self.bins.bins))
        self._back, self._back_from = 0.0, []

    def _follow(self, bucket: Bin) -> str:
        """While it lasts: Page's test with the hypotheses exchanged, what was found against usual.

        It takes odds of 1,000 to one, at least three buckets, and less than half of what was found
        being left, or a move the other way. What was found is the usual, tilted by the score that
        told of it: all bins as counted would fit the noise of few values, and what comes later
        would look like the usual.
        """
        found = self.found + _PRIOR_N * self._p
        changed = self.bins.tilts.tilted(self._p, self.component, found)
        worst = float(self.reference.kappa.max())
        step = float(bucket.counts @ (np.log(self._p) - np.log(changed))) / worst
        self._back = max(0.0, self._back + min(step, _MOST_A_BUCKET))
        if self._back == 0.0:
            for each in (*self._back_from, bucket):
                self.found = self.found + each.counts
            self._back_from = []
            return "open"
        self._back_from.append(bucket)
        enough = self._back >= BACK and len(self._back_from) >= LEAST_QUIET
        if not enough or not self._is_back():
            return "open"
        self.open = False
        self.detector.restart()
        return "over"

    def _is_back(self) -> bool:
        now = sum((each.counts for each in self._back_from), np.zeros(self.bins.bins))
        score = self.bins.tilts.scores[self.bins.tilts.of[self.component]]
        left = score @ now / now.sum() - score @ self._p
        found = score @ self.found / self.found.sum() - score @ self._p
        beyond = left * found < 0  # on the other side of what is usual: another change
        return bool(beyond or abs(left) <= max(abs(found) / 2, self.limits.tolerance / 2))
