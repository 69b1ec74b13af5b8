"""What is usual for a classifier's outcomes: overall, and each slice's share of the yes."""

from __future__ import annotations

from collections import deque
from math import ceil, log, sqrt
from typing import NamedTuple

import numpy as np

from streamproc.monitors.recent import DAY_MS, LEAST_BUCKETS
from streamproc.monitors.sums import Floats

LEAST_DAYS = 7
"""Days the first reference spans: the days of a week are not alike, least for a new model."""

GROWS = 4
"""It grows to so many times that; after that the oldest buckets are forgotten."""

LEAST_EXPECTED = 8.0
"""A slice is watched once so many yes were expected in its reference."""

STEADY = 1.25
"""Overall is watched once both halves predicted alike, and were right alike, up to this ratio.

Of what was right a little more is left to chance.
"""

_STEADY_AT_BEST = 1.5
_WILD = 2.5
_KEPT = 0.9
_PRIOR = 5.0
_MOST_SPREAD = 25.0


class Tally(NamedTuple):
    """One slice in one bucket: n, observed yes, predicted yes, mean delay of labels."""

    start_ms: int
    n: float
    observed: float
    predicted: float
    delay_ms: float

    def turned(self) -> Tally:
        """Return it with no for yes."""
        observed, predicted = self.n - self.observed, self.n - self.predicted
        return self._replace(observed=observed, predicted=predicted)


class Usual:
    """Learns from the buckets of a whole week, then from those that stayed quiet as long.

    ``spread`` is the variance of a slice's share of the yes by that of independent outcomes (fraud
    comes in bursts); ``spread_overall`` likewise of all yes, which a model that learns moves too.
    ``ratio`` is observed to predicted overall, None until it is steady.
    """

    def __init__(self, bucket_ms: int) -> None:
        self.ratio: float | None = None
        self.spread = 1.0
        self.spread_overall = 1.0
        self._started = False
        self._least = max(LEAST_BUCKETS, -(-LEAST_DAYS * DAY_MS // bucket_ms))
        self._buckets: deque[dict[str, Tally]] = deque(maxlen=GROWS * self._least)
        self._quarantine: deque[dict[str, Tally]] = deque()
        self._steady_from_ms: int | None = None
        self._sums: dict[str, tuple[float, float]] = {}

    def learn(self, tallies: dict[str, Tally]) -> None:
        """Take in a bucket in which nothing is open: one slice's excess moves all shares."""
        self._quarantine.append(tallies)
        if self._started and len(self._quarantine) <= self._least:
            return
        self._buckets.append(self._quarantine.popleft())
        if len(self._buckets) >= self._least:
            self._started = True
            self._fit()

    def forget(self, since_ms: int) -> None:
        """Leave out what is not yet learnt of the time since: it was not usual after all."""
        quiet = [b for b in self._quarantine if b[""].start_ms - b[""].delay_ms < since_ms]
        self._quarantine = deque(quiet)

    def relearn(self, name: str) -> None:
        """Forget what is usual in a slice; overall, everywhere."""
        self._sums.pop(name, None)
        for buckets in (self._buckets, self._quarantine):
            if not name:
                buckets.clear()
                continue
            for bucket in buckets:
                bucket.pop(name, None)
        if not name:
            self._sums, self._started = {}, False
            self.ratio = self._steady_from_ms = None

    def relative(self, name: str) -> tuple[float, float] | None:
        """Return a slice's observed to predicted, by that of all, and its error as a share.

        None while it is unknown. For overall it is observed to predicted itself.
        """
        if not name:
            observed, expected = self._sums.get("", (0.0, 0.0))
            if self.ratio is None or observed < LEAST_EXPECTED:
                return None
            return self.ratio, sqrt(self.spread_overall / observed)
        observed, expected = self._sums.get(name, (0.0, 0.0))
        if expected < LEAST_EXPECTED:
            return None
        observed += _PRIOR
        return observed / (expected + _PRIOR), sqrt(self.spread / observed)

    def _fit(self) -> None:
        names = {name for bucket in self._buckets for name in bucket if name}
        tables = {name: self._shares(name) for name in sorted(names)}
        self._sums = {
            name: (float(table[:, 0].sum()), float(table[:, 1].sum()))
            for name, table in tables.items()
        }
        relative = {name: (y + _PRIOR) / (e + _PRIOR) for name, (y, e) in self._sums.items()}
        self.spread = dispersion(
            [table * np.array([1.0, relative[name], 1.0]) for name, table in tables.items()],
            self._least // 2,
        )
        self._fit_overall()

    def _shares(self, name: str) -> Floats:
        """Return by bucket a slice's observed yes, its share of all by prediction, and all yes."""
        rows = []
        for bucket in self._buckets:
            if name in bucket and bucket[""].predicted > 0:
                own, all_ = bucket[name], bucket[""]
                share = own.predicted / all_.predicted
                rows.append((own.observed, all_.observed * share, all_.observed))
        return np.array(rows).reshape(-1, 3)

    def _fit_overall(self) -> None:
        if self._steady_from_ms is None:
            newest = list(self._buckets)[-self._least :]
            if not _steady([bucket[""] for bucket in newest]):
                return
            self._steady_from_ms = newest[0][""].start_ms
        kept = _tame([b[""] for b in self._buckets if b[""].start_ms >= self._steady_from_ms])
        table = np.array([(t.observed, t.predicted) for t in kept])
        observed, predicted = table.sum(axis=0).tolist()
        self.ratio = (observed + 1) / (predicted + 1)
        self._sums[""] = observed, predicted
        usual = np.column_stack(
            (table[:, 0], table[:, 1] * self.ratio, np.full(len(table), np.inf))
        )
        self.spread_overall = dispersion([usual], self._least // 2)


def dispersion(slices: list[Floats], longest: int = 4) -> float:
    """Return how much more counts waver than chance makes them, at least 1.

    ``slices`` have a row a bucket: observed, usual, and of how many (infinite for no limit). Blocks
    of 1, 2, 4, ... up to ``longest`` buckets are looked at, since bursts last; the largest counts.
    The few worst blocks are left out: what went wrong once is no measure.

    >>> dispersion([np.array([[2.0, 1.0, np.inf], [0.0, 1.0, np.inf]] * 10)])
    1.1111111111111112
    """
    worst, length = 1.0, 1
    while length <= longest:
        blocks = np.concatenate([_blocks(table, length) for table in slices] or [np.empty((0, 3))])
        blocks = blocks[(blocks[:, 1] > 0) & (blocks[:, 1] < blocks[:, 2])]
        if len(blocks):
            observed, usual, most = blocks.T
            off, chance = (observed - usual) ** 2, usual * (1 - usual / most)
            kept = np.argsort(off / chance, kind="stable")[: ceil(_KEPT * len(blocks))]
            worst = max(worst, float(off[kept].sum() / chance[kept].sum()) / _KEPT)
        length *= 2
    return min(worst, _MOST_SPREAD)


def _blocks(table: Floats, length: int) -> Floats:
    count = len(table) // length
    sums: Floats = table[: count * length].reshape(count, length, 3).sum(axis=1)
    return sums


def _tame(tallies: list[Tally]) -> list[Tally]:
    """Leave out buckets whose mean prediction is wild.

    A model's version that is far off, such as the first to meet a weekend, is no measure.
    """
    rates = [tally.predicted / tally.n for tally in tallies]
    middle = float(np.median(rates))
    return [
        tally
        for tally, rate in zip(tallies, rates, strict=True)
        if middle / _WILD <= rate <= middle * _WILD
    ] or tallies


def _steady(tallies: list[Tally]) -> bool:
    """Whether predictions, and observed to predicted, were the same in both halves."""
    kept = _tame(tallies)
    half = len(kept) // 2
    (n1, y1, p1), (n2, y2, p2) = (
        tuple(sum(getattr(t, what) for t in part) for what in ("n", "observed", "predicted"))
        for part in (kept[:half], kept[half:])
    )
    if len(kept) < len(tallies) / 2 or min(y1, y2) < LEAST_EXPECTED / 2 or min(p1, p2) <= 0:
        return False
    if abs(log(p2 / n2) - log(p1 / n1)) > log(STEADY):
        return False
    moved = abs(log(y2 / p2) - log(y1 / p1))
    return moved <= max(log(STEADY), min(2 * sqrt(1 / y1 + 1 / y2), log(_STEADY_AT_BEST)))
