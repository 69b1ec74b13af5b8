"""The test of all features at once: do they go together as they did?

One mixture e-detector over the scores of `Crossed` rows: features by themselves, and pairs of
them. Each score u is tilted: the likelihood ratio of a row is exp(d u - psi), psi = log E exp(d u),
and of a bucket exp(d sum u - n psi), so that sums of scores are all it takes. All scores and tilts
share one budget of false alarms: however many features there are, they are one series.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from streamproc.monitors.crossed import ALONE, Crossed, table_of
from streamproc.monitors.edetector import EDetector
from streamproc.monitors.growing import LEAST_BUCKETS, QUARANTINE_MS
from streamproc.monitors.reservoir import Rows, Scored, Usual
from streamproc.monitors.sample import Sample
from streamproc.monitors.series import BACK, LEAST_QUIET, LEAST_WAVERING, WAVERS, Limits
from streamproc.monitors.sketch import Floats, Ints
from streamproc.monitors.tilts import Bools

STRENGTHS = (0.1, 0.25, 0.5)
WEIGHT_ALONE = 0.3
"""The part of the weight that features by themselves have; the rest is for pairs."""

_FIRST_N = 20_000
"""From so many rows on the scores are fixed, even if the reference is to span more time."""

_MOST_A_BUCKET = BACK / 2.5


class FeaturesTest:
    """Tests samples of rows, bucket after bucket in order of time; ``texts`` are categories.

    ``update`` returns ``"opened"``, ``"open"`` or ``"over"`` where there is a change.

    >>> from streamproc.monitors.growing import Span
    >>> rng, limits = np.random.default_rng(1), Limits(1e7, 1_000, 0.0, Span(0, 1_000))
    >>> test = FeaturesTest(("amount", "age"), limits)
    >>> for second in range(60):
    ...     rows = rng.normal(size=(50, 2))
    ...     if second >= 40:
    ...         rows[:, 1] = (rows[:, 0] + rows[:, 1]) / 2**0.5
    ...     said = test.take(Rows(second * 1_000, rng.integers(0, 1 << 62, 50), rows))
    >>> said, test.since_ms, test.best()[:2]
    ('open', 40000, ('amount', 'age'))
    """

    def __init__(self, names: tuple[str, ...], limits: Limits, texts: Collection[str] = ()) -> None:
        self.names = names
        self.limits = limits
        self._texts: Bools = np.array([name in texts for name in names], bool)
        self.relearn()

    def relearn(self) -> None:
        """Begin anew: what comes now is usual."""
        self.ready = self.open = False
        self.since_ms = 0
        self.samples = 0
        self.score = 0
        self._first: list[Rows] = []
        self._fixed(Crossed(np.zeros((1, len(self.names))), self._texts))

    def update(self, start_ms: int, sample: Sample) -> str | None:
        """Take in a bucket's sample, whose names are the test's."""
        if not sample.ids:
            return None
        if sample.names != self.names:  # of a definition that was different
            return None
        return self.take(Rows(start_ms, sample.hashes, table_of(sample.columns, self._texts)))

    def take(self, rows: Rows) -> str | None:
        """Take in a bucket's rows as numbers; see `table_of`."""
        if not self.ready:
            self._gather(rows)
            return None
        bucket = self._usual.scored(rows)
        if self.open:
            return self._follow(bucket)
        self.detector.update(rows.start_ms, self.limits.bucket_ms, self.ratios(bucket))
        self._usual.learn(bucket, min(QUARANTINE_MS, self.limits.span.least_ms))
        if not self.detector.alarmed:
            return None
        self._begin()
        return "opened"

    def ratios(self, bucket: Scored) -> Floats:
        """Return the log likelihood ratios of a bucket, tamed by kappa and the tolerance."""
        usual, n = self._usual, bucket.n
        left = bucket.sums - n * usual.at(bucket.start_ms)
        ratios = self._strength * left[self._of] - n * usual.psi.ravel()
        tolerated = np.abs(self._strength) * (self.limits.tolerance * n) * usual.sd[self._of]
        kappa = usual.kappa[self._of]
        most = np.where(kappa > WAVERS, self.detector.threshold / LEAST_WAVERING, np.inf)
        found: Floats = np.minimum((ratios - tolerated) / kappa, most)
        return found

    @property
    def evidence(self) -> float:
        """The logarithm of the evidence; -inf before there is any."""
        return self.detector.evidence if self.ready else float("-inf")

    @property
    def effects(self) -> Floats:
        """How far the mean of each score moved since the change began, in standard deviations."""
        found: Floats = (self._found / max(self.samples, 1) - self._usual.mean) / self._usual.sd
        return found

    def best(self) -> tuple[str, str | None, float, float]:
        """Return what moved most: a feature, the other one or none, what is usual, and found.

        Of a pair it is the correlation of normal scores, of a feature with itself their variance,
        of a feature alone their mean.
        """
        crossed, k = self._usual.crossed, self.score
        usual, found = float(self._usual.mean[k]), float(self._found[k] / max(self.samples, 1))
        a, b = self.names[crossed.a[k]], int(crossed.b[k])
        other = None if b == ALONE else self.names[b]
        return a, other, crossed.correlation(k, usual), crossed.correlation(k, found)

    def moved(self) -> list[tuple[str, float]]:
        """Return the features that moved and their shares of the evidence, the largest first.

        The evidence of a score is n m**2 / 2, m being how far its mean moved, less what the largest
        of so many would have by chance. Both features of a pair have half of it.
        """
        crossed = self._usual.crossed
        gain = self.samples * self.effects**2 / self._usual.kappa / 2
        gain = np.maximum(gain - np.log(len(gain)), 0.0)
        gain[self.score] += 1e-9
        pair = crossed.b != ALONE
        width = len(self.names)
        each = np.bincount(crossed.a, gain * np.where(pair, 0.5, 1.0), width)
        each += np.bincount(crossed.b[pair], gain[pair] / 2, width)
        shares = each / each.sum()
        order = np.argsort(-shares, kind="stable")
        return [(self.names[i], float(shares[i])) for i in order if shares[i] > 0]

    def _gather(self, rows: Rows) -> None:
        """Hold rows until there are enough to fix the scores, then learn until it is ready."""
        usual, span = self._usual, self.limits.span
        if not usual.buckets:
            self._first.append(rows)
            n = sum(len(each.keys) for each in self._first)
            spanned_ms = rows.start_ms + self.limits.bucket_ms - self._first[0].start_ms
            enough = len(self._first) >= LEAST_BUCKETS and spanned_ms >= span.least_ms
            if n < _FIRST_N and not (enough and n >= span.least_n):
                return
            first, self._first = self._first, []
            self._fixed(Crossed(np.concatenate([each.table for each in first]), self._texts))
            if not len(self._of):  # nothing varies: see whether it does in what is to come
                return
            usual = self._usual
            for each in first:
                usual.admit(usual.scored(each))
        else:
            usual.admit(usual.scored(rows))
        enough = usual.n >= span.least_n and usual.buckets >= LEAST_BUCKETS
        if enough and usual.span_ms >= span.least_ms:
            usual.fit()
            self.ready = True

    def _fixed(self, crossed: Crossed) -> None:
        self._usual = Usual(crossed, STRENGTHS, self.limits.bucket_ms)
        size = len(crossed.a)
        alone = crossed.b == ALONE
        share = np.where(
            alone,
            WEIGHT_ALONE / max(alone.sum(), 1),
            (1 - WEIGHT_ALONE) / max(size - alone.sum(), 1),
        )
        ways = np.array([sign * d for d in STRENGTHS for sign in (1, -1)])
        self._of: Ints = np.tile(np.arange(size), len(ways))
        self._strength: Floats = np.repeat(ways, size)
        weights = np.tile(share, len(ways))
        self.detector = EDetector(weights / max(weights.sum(), 1e-300), self.limits.alarm_ms)
        self._found: Floats = np.zeros(size)
        self._back = 0.0
        self._back_from: list[Scored] = []

    def _begin(self) -> None:
        self.open = True
        self.since_ms = self.detector.since_ms
        gone = self._usual.forget(self.since_ms)
        self._found = sum((each.sums for each in gone), np.zeros(len(self._found)))
        self.samples = sum(each.n for each in gone)
        self.score = self._told_by(int(self._of[self.detector.best]))
        self._back, self._back_from = 0.0, []

    def _told_by(self, k: int) -> int:
        """Return the score that tells best what changed: a mean rather than that it spreads."""
        crossed = self._usual.crossed
        mean = np.flatnonzero((crossed.a == crossed.a[k]) & (crossed.b == ALONE))
        if crossed.b[k] != crossed.a[k] or not len(mean):
            return k
        effects = np.abs(self.effects)
        return int(mean[0]) if effects[mean[0]] >= effects[k] / 2 else k

    def _follow(self, bucket: Scored) -> str:
        """While it lasts: Page's test with the hypotheses exchanged, on what moved most.

        As `SeriesTest` has it: odds of 1,000 to one, three buckets, less than half being left.
        """
        k, usual = self.score, self._usual
        effect, sd = float(self.effects[k]), float(usual.sd[k])
        left = float(bucket.sums[k] - bucket.n * usual.at(bucket.start_ms)[k]) / sd
        step = effect * (bucket.n * effect / 2 - left) / float(usual.kappa[k])
        self._back = max(0.0, self._back + min(step, _MOST_A_BUCKET))
        self._back_from.append(bucket)
        if self._back == 0.0:
            for each in self._back_from:
                self._found = self._found + each.sums
                self.samples += each.n
            self._back_from = []
            return "open"
        n = sum(each.n for each in self._back_from)
        now = sum(each.sums[k] - each.n * usual.at(each.start_ms)[k] for each in self._back_from)
        near = abs(now / n / sd) <= max(abs(effect) / 2, self.limits.tolerance / 2)
        if self._back < BACK or len(self._back_from) < LEAST_QUIET or not near:
            return "open"
        self.open = False
        self.detector.restart()
        return "over"
