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

import numpy as np

from streamproc.monitors.season import DAY_MS, WAVES_OF_WEEK, WEEK_MS, Season, Usual
from streamproc.monitors.sketch import Floats

LEAST_BUCKETS = 12
QUARANTINE_N = 5_000
QUARANTINE_MS = DAY_MS
REFRESH = 1.05
"""Refitted each time it has grown by so much."""

_HELD = 1_024
_STEADY = 0.05
_MANY = 64
_LEAST_DAYS = 5
_MOST_GIVEN_UP = 6
_MOST_KAPPA = 1e5


@dataclass(frozen=True)
class Span:
    """How much the first reference holds at least: time and values.

    What comes later is learnt after ``quarantine_ms``, if it stayed quiet. What ``settles``, such
    as the scores of a model that learns, gives up the older half of its first reference while the
    halves differ.
    """

    least_ms: int = WEEK_MS
    least_n: int = 1_000
    settles: bool = False
    quarantine_ms: int = QUARANTINE_MS


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

    The first ``shapes`` of them are a distribution's location and shape; see `Season`.

    >>> scores, counts = np.array([[0.0, 1.0]]), np.array([9.0, 1.0])
    >>> reference = Reference(scores, bucket_ms=60_000, span=Span(0, 100))
    >>> for minute in range(20):
    ...     reference.learn(Bin.of(minute * 60_000, counts, scores))
    >>> reference.ready, reference.usual(0).tolist(), reference.kappa.tolist()
    (True, [0.1], [1.0])
    """

    def __init__(self, scores: Floats, bucket_ms: int, span: Span, shapes: int = 0) -> None:
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
        self._first: deque[Bin] = deque(maxlen=_HELD)  # until it is ready
        self._table: Floats = np.zeros((64, 2 + len(scores)))  # start, n and sums of the latest
        self._taken = 0
        self._season = Season(scores, shapes)
        self._fitted_n = 0.0

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
                if self.ready:
                    self._first.clear()
            return
        self._quarantine.append(bucket)
        self._held += bucket.n
        before_ms = bucket.start_ms - min(self._span.quarantine_ms, self._span.least_ms)
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
        return self._season.usual(start_ms).means

    def apart(self, start_ms: int, n: float, sums: Floats) -> tuple[Floats, Usual]:
        """Return a bucket's sums and what is usual, shapes being set apart from the location."""
        usual = self._season.usual(start_ms)
        return sums - usual.slopes * (sums[0] - n * usual.means[0]), usual

    def _take(self, bucket: Bin) -> None:
        if self._first_ms is None:
            self._first_ms = bucket.start_ms
        self._last_ms = bucket.start_ms
        self.n += bucket.n
        self.counts = self.counts + bucket.counts
        self._buckets += 1
        if not self.ready:
            self._first.append(bucket)
        if self._taken == len(self._table) < _HELD:
            self._table = np.concatenate((self._table, np.zeros_like(self._table)))
        row = self._table[self._taken % len(self._table)]
        row[0], row[1], row[2:] = bucket.start_ms, bucket.n, bucket.sums
        self._taken += 1

    def _give_up(self) -> bool:
        """Give up the older half of what is held where it differs from the newer one."""
        held, p = list(self._first), self.counts / self.n
        halves = held[: len(held) // 2], held[len(held) // 2 :]
        n = [sum(each.n for each in half) for half in halves]
        sums = [np.sum([each.sums for each in half], axis=0) for half in halves]
        variance = np.maximum(self.scores**2 @ p - (self.scores @ p) ** 2, 1e-300)
        error = np.sqrt(self.kappa * (1 / n[0] + 1 / n[1]))
        off = np.abs(sums[0] / n[0] - sums[1] / n[1]) / np.sqrt(variance)
        if not np.any(off > _STEADY + 2 * error):
            return False
        self._given_up += 1
        self._buckets, self._first_ms = 0, None
        self.n, self.counts = 0.0, np.zeros(self.scores.shape[1])
        self._first.clear()
        self._taken = 0
        for bucket in halves[1]:
            self._take(bucket)
        return True

    def _fit(self) -> None:
        self._fitted_n = self.n
        p = self.counts / self.n
        mean = self.scores @ p
        variance = np.maximum((self.scores - mean[:, None]) ** 2 @ p, 1e-300)
        recent = np.roll(self._table, -self._taken, axis=0) if self._taken > _HELD else self._table
        recent = recent[: self._taken]
        starts, ns, sums = recent[:, 0], recent[:, 1], recent[:, 2:]
        self._season.fit(starts, ns, sums, p, self._bucket_ms)
        left = self._season.left(starts, ns, sums)
        spent = WAVES_OF_WEEK if self._season.weekly else 0
        self.kappa = kappa(ns, left, variance, DAY_MS // self._bucket_ms, spent)


def kappa(ns: Floats, left: Floats, variance: Floats, day: int = 0, spent: int = 0) -> Floats:
    """Return how many times blocks of buckets vary what independent values would, at least 1.

    ``ns`` are the counts of buckets in order of time, ``left`` (bucket x score) the sums of scores
    less what is usual, ``variance`` that of one value's score. Blocks of 1, 2, 4, ... buckets are
    looked at while there are eight of them, and whole days of ``day`` buckets; the largest ratio
    counts. Where blocks are few it is less its standard error; that of days, which are always few,
    is the most that it may be. ``spent`` is how many numbers were fitted to the days.

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
    free = days - spent
    if free >= _LEAST_DAYS:
        ratio = _ratio(ns, left, day) / variance * days / free
        differ = ratio > 1 + (2 / free) ** 0.5
        worst = np.where(differ, np.maximum(worst, ratio / _least_share(free)), worst)
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
