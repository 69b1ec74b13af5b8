"""What is usual for the slices of a classifier: observed to predicted, and how much it wavers."""

from __future__ import annotations

from collections import deque
from math import ceil, log, sqrt
from typing import NamedTuple

import numpy as np

from streamproc.monitors.reference import DAY_MS, LEAST_BUCKETS
from streamproc.monitors.sums import Floats

LEAST_OUTCOMES = 1_000
"""Outcomes of a model's learnt versions before its predictions are held against it."""

LEAST_DAYS = 7
"""Days the first reference spans: the days of a week are not alike, least for a new model."""

GROWS = 4
"""It grows to so many times that; after that the oldest buckets are forgotten."""

LEAST_EXPECTED = 8.0
"""A slice is watched once so many yes were expected in its reference."""

STEADY = 1.25
"""Before that, observed to predicted must be equal in both halves, up to this ratio or chance."""

_STEADY_AT_BEST = 1.5
_WILD = 2.5
_KEPT = 0.9
_FADES = 0.9
_PRIOR = 5.0
_MOST_SPREAD = 10.0


class Tally(NamedTuple):
    """One slice in one bucket: n, observed yes, expected, variance, mean delay of labels."""

    start_ms: int
    n: float
    observed: float
    expected: float
    variance: float
    delay_ms: float


class _Bucket(NamedTuple):
    """A bucket's slices, and the ratio overall in the time before it."""

    lately: float
    tallies: dict[str, Tally]


class Usual:
    """Learns from the buckets of a whole week, then from those that stayed quiet as long.

    ``ratio`` is observed to predicted over all slices, ``spread`` the variance of a slice's counts
    by that of independent outcomes: fraud comes in bursts. A model's version that is far off, such
    as the first to meet a weekend, is no measure: buckets in which the mean prediction is wild are
    left out.
    """

    def __init__(self, bucket_ms: int) -> None:
        self.started = False
        self.ratio = 1.0
        self.spread = 1.0
        self._least = max(LEAST_BUCKETS, -(-LEAST_DAYS * DAY_MS // bucket_ms))
        self._buckets: deque[_Bucket] = deque(maxlen=self._least)
        self._quarantine: deque[_Bucket] = deque()
        self._outcomes = 0.0
        self._lately: dict[str, tuple[float, float]] = {}
        self._sums: dict[str, tuple[float, float]] = {}

    def learn(self, tallies: dict[str, Tally], found: set[str]) -> None:
        """Take in a bucket; of the slices in which something was ``found`` nothing is learnt."""
        self._lately = {
            name: (y * _FADES, p * _FADES) for name, (y, p) in self._lately.items() if p > 1e-6
        }
        for name, tally in tallies.items():
            y, p = self._lately.get(name, (0.0, 0.0))
            self._lately[name] = y + tally.observed, p + tally.expected
        quiet = {name: tally for name, tally in tallies.items() if name not in found}
        bucket = _Bucket(_ratio(*self._lately[""], prior=2.0), quiet)
        if self.started:
            self._quarantine.append(bucket)
            if len(self._quarantine) <= self._least:
                return
            bucket = self._quarantine.popleft()
        self._outcomes += tallies[""].n
        self._buckets.append(bucket)
        if not self.started:
            if len(self._buckets) < self._least or self._outcomes < LEAST_OUTCOMES:
                return
            self.started = self._steady()
            if self.started:
                self._buckets = deque(self._buckets, maxlen=GROWS * self._least)
        if self.started:
            self._fit()

    def forget(self, name: str) -> None:
        """Leave a slice out of what is not yet learnt: it was not usual after all."""
        for bucket in self._quarantine:
            bucket.tallies.pop(name, None)

    def own(self, name: str) -> tuple[float, float] | None:
        """Return a slice's ratio and its standard error as a share, None while it is unknown."""
        observed, expected = self._sums.get(name, (0.0, 0.0))
        if expected * self.ratio < LEAST_EXPECTED:
            return None
        yes = observed + _PRIOR * self.ratio
        return yes / (expected + _PRIOR), sqrt(self.spread / yes)

    def others(self, name: str) -> float:
        """Return how far all but this slice are off lately, as a ratio to what is usual."""
        if not name:
            return 1.0
        (all_y, all_p), (y, p) = (
            self._lately.get("", (0.0, 0.0)),
            self._lately.get(name, (0.0, 0.0)),
        )
        left = _ratio(max(all_y - y, 0.0), max(all_p - p, 0.0) * self.ratio, prior=2.0)
        return min(max(left, 0.2), 5.0)

    def _kept(self) -> list[_Bucket]:
        """Return the buckets but for those in which the mean prediction is wild."""
        buckets = [bucket for bucket in self._buckets if "" in bucket.tallies]
        rates = [b.tallies[""].expected / b.tallies[""].n for b in buckets]
        middle = float(np.median(rates)) if rates else 0.0
        return [
            bucket
            for bucket, rate in zip(buckets, rates, strict=True)
            if middle / _WILD <= rate <= middle * _WILD
        ]

    def _steady(self) -> bool:
        """Whether the ratio overall was the same in both halves of the first buckets."""
        kept = [bucket.tallies[""] for bucket in self._kept()]
        if len(kept) < self._least / 2:
            return False
        half = len(kept) // 2
        (y1, p1), (y2, p2) = (
            (sum(t.observed for t in part), sum(t.expected for t in part))
            for part in (kept[:half], kept[half:])
        )
        if min(y1, y2) < LEAST_EXPECTED / 2 or min(p1, p2) <= 0:
            return False
        moved = abs(log(y2 / p2) - log(y1 / p1))
        chance = min(2 * sqrt(1 / y1 + 1 / y2), log(_STEADY_AT_BEST))
        return moved <= max(log(STEADY), chance)

    def _fit(self) -> None:
        kept = self._kept()
        sums: dict[str, tuple[float, float]] = {}
        for tally_of in (bucket.tallies for bucket in kept):
            for name, tally in tally_of.items():
                y, p = sums.get(name, (0.0, 0.0))
                sums[name] = y + tally.observed, p + tally.expected
        self._sums = sums
        self.ratio = _ratio(*sums.get("", (0.0, 0.0)), prior=1.0)
        names = [name for name in sums if name] or [""]
        self.spread = dispersion([self._usual_of(name, kept) for name in names])

    def _usual_of(self, name: str, kept: list[_Bucket]) -> Floats:
        """Return by bucket what was observed, what was usual, and its variance.

        What moved all slices at the time is not held against this one.
        """
        y, p = self._sums[name]
        own = (y + _PRIOR * self.ratio) / (p + _PRIOR)
        rows = []
        for lately, tallies in kept:
            if name in tallies:
                now = own * min(max(lately / self.ratio, 0.2), 5.0)
                t = tallies[name]
                rows.append((t.observed, now * t.expected, now * t.variance))
        return np.array(rows).reshape(-1, 3)


def dispersion(slices: list[Floats]) -> float:
    """Return how much more counts waver than chance makes them, at least 1.

    ``slices`` have a row a bucket: observed, usual, variance. Blocks of 1, 2 and 4 buckets are
    looked at, since bursts last; the largest counts. The few worst blocks are left out: what went
    wrong once is no measure.

    >>> dispersion([np.array([[2.0, 1.0, 1.0], [0.0, 1.0, 1.0]] * 10)])
    1.1111111111111112
    """
    worst = 1.0
    for length in (1, 2, 4):
        blocks = np.concatenate([_blocks(table, length) for table in slices])
        blocks = blocks[blocks[:, 2] > 0]
        if len(blocks):
            off = (blocks[:, 0] - blocks[:, 1]) ** 2
            kept = np.argsort(off / blocks[:, 2], kind="stable")[: ceil(_KEPT * len(blocks))]
            worst = max(worst, float(off[kept].sum() / blocks[kept, 2].sum()) / _KEPT)
    return min(worst, _MOST_SPREAD)


def _blocks(table: Floats, length: int) -> Floats:
    count = len(table) // length
    sums: Floats = table[: count * length].reshape(count, length, 3).sum(axis=1)
    return sums


def _ratio(observed: float, expected: float, prior: float) -> float:
    return (observed + prior) / (expected + prior)
