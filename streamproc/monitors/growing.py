"""What is usual for a series: a reference that grows, with its seasons and how much it wavers.

A fixed reference makes false alarms in the long run: what it missed by chance is held against it
for ever. So it grows by what has stayed quiet for a while, the quarantine. What is found to be a
change leaves the quarantine and is never learnt.

The mean of each score may follow the hour and the weekday; harmonics are fitted where there are
enough days, and kept where they say more than chance would. How much sums of whole blocks of
buckets waver, beyond what independent values would, divides all evidence (kappa).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from math import cos, pi, sin

import numpy as np

from streamproc.monitors.sketch import Floats

DAY_MS, WEEK_MS = 86_400_000, 604_800_000
LEAST_BUCKETS = 12
QUARANTINE_N = 5_000
QUARANTINE_MS = DAY_MS
REFRESH = 1.05
"""Refitted each time it has grown by so much."""

_HELD = 1_024
_DAYS, _WEEKS, _CROSSED = 4, 3, 2
_CHANCE = 2.0
_STEADY = 0.05
_MANY = 64
_LEAST_DAYS = 5
_MOST_GIVEN_UP = 6
_MOST_KAPPA = 400.0


@dataclass(frozen=True)
class Span:
    """How much the first reference holds at least: time and values.

    What ``settles``, such as the scores of a model that learns, gives up the older half of its
    first reference while the halves differ.
    """

    least_ms: int = WEEK_MS
    least_n: int = 1_000
    settles: bool = False


@dataclass(frozen=True)
class Bin:
    """A bucket's counts by bin: how many in all, and the sums of their scores."""

    start_ms: int
    counts: Floats
    n: float
    sums: Floats

    @classmethod
    def of(cls, start_ms: int, counts: Floats, scores: Floats) -> Bin:
        """Return a bucket's; ``scores`` is score x bin."""
        return cls(start_ms, counts, float(counts.sum()), scores @ counts)


class Reference:
    """Counts by bin of what is usual; ``scores`` is score x bin, their means are followed in time.

    >>> scores, counts = np.array([[0.0, 1.0]]), np.array([9.0, 1.0])
    >>> reference = Reference(scores, bucket_ms=60_000, span=Span(0, 100))
    >>> for minute in range(20):
    ...     reference.learn(Bin.of(minute * 60_000, counts, scores))
    >>> reference.ready, reference.usual(0).tolist(), reference.kappa.tolist()
    (True, [0.1], [1.0])
    """

    def __init__(self, scores: Floats, bucket_ms: int, span: Span) -> None:
        self.ready = False
        self.scores = scores
        self.n = 0.0
        self.counts: Floats = np.zeros(scores.shape[1])
        self.kappa: Floats = np.ones(len(scores))
        self._bucket_ms = bucket_ms
        self._span = span
        self._buckets = 0
        self._given_up = 0
        self._first_ms: int | None = None
        self._last_ms = 0
        self._quarantine: deque[Bin] = deque()
        self._held = 0.0
        self._recent: deque[Bin] = deque(maxlen=_HELD)
        self._season = _Season(len(scores))
        self._fitted_n = 0.0
        self._mean: Floats = np.zeros(len(scores))

    def learn(self, bucket: Bin) -> None:
        """Take in a bucket in which nothing was found."""
        if not self.ready:
            self._take(bucket)
            span_ms = bucket.start_ms + self._bucket_ms - (self._first_ms or 0)
            enough = self.n >= self._span.least_n and self._buckets >= LEAST_BUCKETS
            if enough and span_ms >= self._span.least_ms:
                self._fit()
                self.ready = not self._span.settles or self._given_up == _MOST_GIVEN_UP
                if not self.ready and not self._give_up():
                    self.ready = True
            return
        self._quarantine.append(bucket)
        self._held += bucket.n
        before_ms = bucket.start_ms - min(QUARANTINE_MS, self._span.least_ms)
        while self._quarantine[0].start_ms <= before_ms:
            if self._held - self._quarantine[0].n < QUARANTINE_N:
                break
            self._held -= self._quarantine[0].n
            self._take(self._quarantine.popleft())
        if self.n >= REFRESH * self._fitted_n:
            self._fit()

    def forget(self, since_ms: int) -> list[Bin]:
        """Take what came since then out of the quarantine, and return it: it was not usual."""
        gone = [each for each in self._quarantine if each.start_ms >= since_ms]
        kept = [each for each in self._quarantine if each.start_ms < since_ms]
        self._quarantine, self._held = deque(kept), sum(each.n for each in kept)
        return gone

    def usual(self, start_ms: int) -> Floats:
        """Return the usual mean of each score in a bucket that starts then."""
        return self._mean + self._season.off(start_ms)

    def _take(self, bucket: Bin) -> None:
        if self._first_ms is None:
            self._first_ms = bucket.start_ms
        self._last_ms = bucket.start_ms
        self.n += bucket.n
        self.counts = self.counts + bucket.counts
        self._buckets += 1
        self._recent.append(bucket)
        self._season.add(bucket)

    def _give_up(self) -> bool:
        """Give up the older half of what is held where it differs from the newer one."""
        held = list(self._recent)
        halves = held[: len(held) // 2], held[len(held) // 2 :]
        n = [sum(each.n for each in half) for half in halves]
        sums = [np.sum([each.sums for each in half], axis=0) for half in halves]
        variance = np.maximum(self.scores**2 @ self.counts / self.n - self._mean**2, 1e-300)
        error = np.sqrt(self.kappa * (1 / n[0] + 1 / n[1]))
        off = np.abs(sums[0] / n[0] - sums[1] / n[1]) / np.sqrt(variance)
        if not np.any(off > _STEADY + 2 * error):
            return False
        self._given_up += 1
        self._buckets, self._first_ms = 0, None
        self.n, self.counts = 0.0, np.zeros(self.scores.shape[1])
        self._season = _Season(len(self.scores))
        self._recent.clear()
        for bucket in halves[1]:
            self._take(bucket)
        return True

    def _fit(self) -> None:
        self._fitted_n = self.n
        p = self.counts / self.n
        self._mean = self.scores @ p
        variance = np.maximum((self.scores - self._mean[:, None]) ** 2 @ p, 1e-300)
        span_ms = self._last_ms + self._bucket_ms - (self._first_ms or 0)
        self._season.fit(self._mean, variance, span_ms, self._bucket_ms)
        starts = [each.start_ms for each in self._recent]
        ns = np.array([each.n for each in self._recent])
        sums = np.array([each.sums for each in self._recent])
        usual = np.array([self.usual(start) for start in starts])
        self.kappa = kappa(ns, sums - ns[:, None] * usual, variance, DAY_MS // self._bucket_ms)


def kappa(ns: Floats, left: Floats, variance: Floats, day: int = 0) -> Floats:
    """Return how many times blocks of buckets vary what independent values would, at least 1.

    ``ns`` are the counts of buckets in order of time, ``left`` (bucket x score) the sums of scores
    less what is usual, ``variance`` that of one value's score. Blocks of 1, 2, 4, ... buckets are
    looked at while there are eight of them, and whole days of ``day`` buckets; the largest ratio
    counts. Where blocks are few it is less its standard error; that of days, which are always few,
    is the most that it may be.

    >>> by_turns = np.tile([[5.0], [-5.0]], (32, 1))
    >>> kappa(np.full(64, 10.0), by_turns, np.array([1.0])).round(2).tolist()
    [2.5]
    """
    worst = np.ones(len(variance))
    length = 1
    while (blocks := len(ns) // length) >= 8:
        error = (2 / blocks) ** 0.5
        ratio = _ratio(ns, left, length) / variance
        differ = ratio > 1 + 1.5 * error
        sure = ratio if blocks >= _MANY else ratio * (1 - error)
        worst = np.where(differ, np.maximum(worst, sure), worst)
        length *= 2
    days = len(ns) // day if day > 1 else 0
    if days >= _LEAST_DAYS:
        ratio = _ratio(ns, left, day) / variance
        differ = ratio > 1 + (2 / days) ** 0.5
        worst = np.where(differ, np.maximum(worst, ratio / _least_share(days)), worst)
    return np.minimum(worst, _MOST_KAPPA)


def _least_share(days: int) -> float:
    """Return the share of a variance that its estimate from so many days has with 95 % at least.

    Wilson and Hilferty's approximation of the quantile of chi-squared by its degrees of freedom.
    """
    share: float = (1 - 2 / (9 * days) - 1.645 * (2 / (9 * days)) ** 0.5) ** 3
    return share


def _ratio(ns: Floats, left: Floats, length: int) -> Floats:
    """Return the mean square of sums over blocks, by value."""
    blocks = len(ns) // length
    sums = left[len(ns) - blocks * length :].reshape(blocks, length, -1).sum(axis=1)
    found: Floats = (sums**2).sum(axis=0) / max(
        float(ns[len(ns) - blocks * length :].sum()), 1e-300
    )
    return found


class _Season:
    """Waves of several scores' means, by weighted least squares.

    Harmonics of the day and of the week, and the products of the first: nights of weekends are not
    as those of other days.
    """

    def __init__(self, scores: int) -> None:
        size = 1 + 2 * (_DAYS + _WEEKS) + 4 * _CROSSED**2
        self._gram: Floats = np.zeros((size, size))
        self._moments: Floats = np.zeros((size, scores))
        self._found: Floats = np.zeros((size, scores))
        self._any = False

    def add(self, bucket: Bin) -> None:
        """Take in a bucket's count and the sums of its scores."""
        row, squares = _waves(bucket.start_ms)
        self._gram += bucket.n * squares
        self._moments += row[:, None] * bucket.sums

    def off(self, start_ms: int) -> Floats:
        """Return how far each mean is off the overall one at that time."""
        if not self._any:
            return np.zeros(self._found.shape[1])
        off: Floats = _waves(start_ms)[0] @ self._found
        return off

    def fit(self, mean: Floats, variance: Floats, span_ms: int, bucket_ms: int) -> None:
        """Fit those waves that there are days for; keep them where they explain enough.

        Waves that say nothing take off the sum of squares as many variances as there are of them.
        """
        self._found[:] = 0.0
        self._any = False
        waves = [0]
        if span_ms >= 2 * DAY_MS and bucket_ms <= DAY_MS // 4:
            waves += range(1, 1 + 2 * _DAYS)
        if span_ms >= WEEK_MS and bucket_ms <= DAY_MS:
            waves += range(1 + 2 * _DAYS, len(self._found))
        if len(waves) == 1:
            return
        used = np.ix_(waves, waves)
        moments = self._moments[waves] - np.outer(self._gram[waves, 0], mean)
        ridge = np.eye(len(waves)) * max(self._gram[0, 0], 1.0) * 1e-6
        found = np.linalg.solve(self._gram[used] + ridge, moments)
        explained = np.einsum("wf,wf->f", found, moments) / variance
        kept = explained > _CHANCE * len(waves)
        shrunk = np.where(kept, 1 - len(waves) / np.maximum(explained, 1e-300), 0.0)
        self._found[waves] = found * shrunk
        self._any = bool(kept.any())


@lru_cache(maxsize=2 * _HELD)
def _waves(start_ms: int) -> tuple[Floats, Floats]:
    """Return the waves at a time, and their products."""
    row = [1.0]
    for span_ms, count in ((DAY_MS, _DAYS), (WEEK_MS, _WEEKS)):
        turn = 2 * pi * (start_ms % span_ms) / span_ms
        for k in range(1, count + 1):
            row += (sin(k * turn), cos(k * turn))
    day, week = row[1 : 1 + 2 * _CROSSED], row[1 + 2 * _DAYS : 1 + 2 * (_DAYS + _CROSSED)]
    waves = np.array([*row, *(a * b for a in day for b in week)])
    return waves, np.outer(waves, waves)
