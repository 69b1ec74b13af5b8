"""What is usual for whole rows: the means of their scores, how they waver, and a sample of them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from streamproc.monitors.crossed import Crossed
from streamproc.monitors.growing import QUARANTINE_MS, QUARANTINE_N, REFRESH, kappa
from streamproc.monitors.season import DAY_MS, Season
from streamproc.monitors.sketch import Floats, Ints

RESERVOIR = 5_000
"""How many rows of the past are kept."""

_BOTH: Floats = np.array([0.5, 0.5])
_RECENT = 512
_REDRAWN = 1.3


@dataclass(frozen=True)
class Rows:
    """A bucket's rows, row x feature, as numbers; ``keys`` are the hashes of their ids."""

    start_ms: int
    keys: Ints
    table: Floats


@dataclass(frozen=True)
class Scored:
    """The sums of a bucket's scores and of their squares; ``rows`` are those that may be kept."""

    start_ms: int
    n: int
    sums: Floats
    squares: Floats
    rows: Rows


class Usual:
    """The means of rows' scores, which grow by what has stayed quiet, and follow day and week.

    As `growing.Reference` is for counts by bin. In the sample of rows every row learnt has the
    same chance; ``psi`` is from it, log E exp(d (u - E u)) for each strength d (both ways) and
    score, strength x score, their variance being that of all rows learnt.
    """

    def __init__(self, crossed: Crossed, strengths: tuple[float, ...], bucket_ms: int) -> None:
        size = len(crossed.a)
        self.crossed = crossed
        self.n = self.buckets = 0
        self.mean: Floats = np.zeros(size)
        self.sd: Floats = np.ones(size)
        self.kappa: Floats = np.ones(size)
        self.psi: Floats = np.zeros((2 * len(strengths), size))
        self._strengths = strengths
        self._bucket_ms = bucket_ms
        self._first_ms: int | None = None
        self._last_ms = 0
        self._fitted_n = self._drawn_n = 0
        self._sums: Floats = np.zeros(size)
        self._squares: Floats = np.zeros(size)
        self._season = Season(np.zeros((size, 2)), 0)
        self._keys: Ints = np.zeros(0, np.int64)
        self._rows: Floats | None = None
        self._recent: deque[Scored] = deque(maxlen=_RECENT)
        self._quarantine: deque[Scored] = deque()
        self._held = 0

    @property
    def span_ms(self) -> int:
        """How much time it has seen."""
        return self._last_ms + self._bucket_ms - (self._first_ms or 0)

    def scored(self, rows: Rows) -> Scored:
        """Return a bucket's sums."""
        n, (sums, squares) = len(rows.table), self.crossed.sums(rows.table)
        if len(self._keys) == RESERVOIR:
            new = rows.keys < self._keys[-1]
            rows = Rows(rows.start_ms, rows.keys[new], rows.table[new])
        return Scored(rows.start_ms, n, sums, squares, rows)

    def at(self, start_ms: int) -> Floats:
        """Return the usual mean of each score in a bucket that starts then."""
        return self._season.usual(start_ms)[0]

    def learn(self, bucket: Scored, quarantine_ms: int = QUARANTINE_MS) -> None:
        """Take in a bucket in which nothing was found, when it has been quiet for a while."""
        self._quarantine.append(bucket)
        self._held += bucket.n
        before_ms = bucket.start_ms - quarantine_ms
        while self._quarantine[0].start_ms <= before_ms:
            if self._held - self._quarantine[0].n < QUARANTINE_N:
                break
            self._held -= self._quarantine[0].n
            self.admit(self._quarantine.popleft())
        if self.n >= REFRESH * self._fitted_n:
            self.fit()

    def forget(self, since_ms: int) -> list[Scored]:
        """Take what came since then out of the quarantine, and return it: it was not usual."""
        gone = [each for each in self._quarantine if each.start_ms >= since_ms]
        self._quarantine = deque(e for e in self._quarantine if e.start_ms < since_ms)
        self._held = sum(each.n for each in self._quarantine)
        return gone

    def admit(self, bucket: Scored) -> None:
        """Take in a bucket at once."""
        if self._first_ms is None:
            self._first_ms = bucket.start_ms
        self._last_ms = bucket.start_ms
        self.n += bucket.n
        self.buckets += 1
        self._sums += bucket.sums
        self._squares += bucket.squares
        self._keep(bucket.rows)
        self._recent.append(_without_rows(bucket))

    def fit(self) -> None:
        """Work out means, variances and kappa; now and then draw psi anew."""
        self._fitted_n = self.n
        self.mean = self._sums / self.n
        variance = np.maximum(self._squares / self.n - self.mean**2, 1e-12)
        self.sd = np.sqrt(variance)
        ns = np.array([each.n for each in self._recent], np.float64)
        starts = np.array([each.start_ms for each in self._recent])
        sums = np.array([each.sums for each in self._recent])
        # Two values that are as likely have this mean and variance, which is all that it needs.
        self._season = Season(np.column_stack((self.mean - self.sd, self.mean + self.sd)), 0)
        self._season.fit(starts, ns, sums, _BOTH, self._bucket_ms)
        left = np.array([each.sums - each.n * self.at(each.start_ms) for each in self._recent])
        self.kappa = kappa(ns, left, variance, DAY_MS // self._bucket_ms)
        if self.n >= _REDRAWN * self._drawn_n:
            self._drawn_n = self.n
            self._draw()

    def _keep(self, rows: Rows) -> None:
        if not len(rows.keys) and self._rows is not None:
            return
        keys = np.concatenate((self._keys, rows.keys))
        order = np.argsort(keys, kind="stable")[:RESERVOIR]
        self._keys = keys[order]
        before = () if self._rows is None else (self._rows,)
        self._rows = np.concatenate((*before, rows.table))[order]

    def _draw(self) -> None:
        if self._rows is None:
            return
        for chunk, u in self.crossed.scores(self._rows):
            u -= u.mean(axis=1)[:, None]
            u *= (self.sd[chunk] / np.maximum(u.std(axis=1), 1e-6))[:, None]
            for i, strength in enumerate(self._strengths):
                power = np.exp(strength * u)
                self.psi[2 * i, chunk] = np.log(power.mean(axis=1))
                self.psi[2 * i + 1, chunk] = np.log((1 / power).mean(axis=1))


def _without_rows(bucket: Scored) -> Scored:
    none = Rows(bucket.start_ms, bucket.rows.keys[:0], bucket.rows.table[:0])
    return Scored(bucket.start_ms, bucket.n, bucket.sums, bucket.squares, none)
