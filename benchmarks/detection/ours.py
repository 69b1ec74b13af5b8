"""Our own detectors, as `measure.Detector` sees them: one for each kind of stream.

What runs is the monitors' own `SeriesTest`, and of pairs `FeaturesTest`, with buckets of twenty
events and nothing tolerated.
What doesn't hang on the threshold is prepared once: the log likelihood ratios by bucket. The
recursion runs on them again for each threshold that is tried, so that fitting takes seconds; that
it is the recursion of `EDetector` is tested.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from benchmarks.detection.compiled import Floats, Ints, compiled
from benchmarks.detection.streams import REFERENCE, SEED
from streamproc.monitors.growing import Bin, Span
from streamproc.monitors.multivariate import FeaturesTest
from streamproc.monitors.reservoir import Rows, Scored
from streamproc.monitors.series import Bins, Limits, SeriesTest
from streamproc.monitors.sketch import Sketch
from streamproc.monitors.tilts import Categories, Numbers, Rate

BUCKET = 20
NEVER_MS = 1e300
"""No evidence reaches this: nothing is found, and all is learnt."""

Made = tuple[Bins, Floats]
"""The bins that a reference gives, and the counts of a stream's buckets: bucket x bin."""


class Increments(NamedTuple):
    """Log likelihood ratios by bucket after the reference, shape (buckets, ratios)."""

    sums: Floats
    log_weights: Floats
    bucket: int


@dataclass(frozen=True)
class Ours:
    """The test of one kind of series; an event takes a millisecond, so that A is in events."""

    name: str
    bins: Callable[[Floats], Made]
    bracket: tuple[float, float] = (1e2, 1e7)
    repetitions: int = 200
    streams: int = 120

    def prepared(self, values: Any) -> Increments:
        """Return the likelihood ratios of each bucket, given what came before it."""
        bins, counts = self.bins(values)
        test = SeriesTest(bins, Limits(NEVER_MS, BUCKET, 0.0, Span(REFERENCE, REFERENCE)))
        first = REFERENCE // BUCKET
        for at in range(first):
            test.update(at * BUCKET, counts[at])
        assert test.reference.ready
        sums = np.empty((len(counts) - first, len(bins.tilts.weights)))
        for at in range(first, len(counts)):
            test.refit()
            sums[at - first] = test.ratios(Bin.of(at * BUCKET, counts[at], bins.tilts.scores))
            test.update(at * BUCKET, counts[at])
        return Increments(sums, np.log(bins.tilts.weights), BUCKET)

    def alarms(self, prepared: Any, threshold: float, since: int) -> Ints:
        """Run the recursion."""
        return _alarms(prepared, threshold, since)


class Told(FeaturesTest):
    """The test of all features, which also keeps what each bucket said."""

    def ratios(self, bucket: Scored) -> Floats:
        """Return the log likelihood ratios of a bucket."""
        found = super().ratios(bucket)
        self.told.append(found)
        return found

    def relearn(self) -> None:
        """Begin anew."""
        super().relearn()
        self.told: list[Floats] = []


@dataclass(frozen=True)
class Together:
    """The test of two numbers at once: do they go together as they did."""

    name: str
    bracket: tuple[float, float] = (1e2, 1e7)
    repetitions: int = 200
    streams: int = 100

    def prepared(self, values: Any) -> Increments:
        """Return the likelihood ratios of each bucket, given what came before it."""
        limits = Limits(math.inf, BUCKET, 0.0, Span(REFERENCE, REFERENCE))
        test = Told(("first", "second"), limits)
        keys = np.random.default_rng(SEED).integers(0, 1 << 62, len(values))
        for start in range(0, len(values) // BUCKET * BUCKET, BUCKET):
            taken = slice(start, start + BUCKET)
            test.take(Rows(start, keys[taken], values[taken]))
        assert len(test.told) == (len(values) - REFERENCE) // BUCKET
        return Increments(np.array(test.told), test.detector.log_weights, BUCKET)

    def alarms(self, prepared: Any, threshold: float, since: int) -> Ints:
        """Run the recursion."""
        return _alarms(prepared, threshold, since)


def _alarms(made: Increments, threshold: float, since: int) -> Ints:
    """Return the alarms, each at its bucket's last event."""
    first = max(since - REFERENCE, 0) // made.bucket
    limit = math.log(threshold)
    found = recursion(made.sums, made.log_weights, made.bucket, limit, first)
    ends: Ints = REFERENCE - 1 + (found + 1) * made.bucket
    return ends


def numbers(values: Floats) -> Made:
    """Return bins by the quantiles of the first half of the reference, as in production."""
    bins = Numbers(Sketch.of(values[: REFERENCE // 2]))
    return bins, _by_bucket(np.searchsorted(bins.edges, values, side="right"), bins.bins)


def kinds(values: Floats) -> Made:
    """Return bins of categories, which are numbered."""
    codes = values.astype(np.int64)
    cells, counts = np.unique(codes[: REFERENCE // 2], return_counts=True)
    bins = Categories(Sketch(0, cells, counts))
    own = np.searchsorted(bins.own, codes)
    known = own < len(bins.own)
    return bins, _by_bucket(np.where(known, own, len(bins.own) + 1), bins.bins)


def rises(values: Floats) -> Made:
    """Return the bins of a rate that only a rise of is to be seen."""
    return Rate(1), _by_bucket(values.astype(np.int64), 2)


def changes(values: Floats) -> Made:
    """Return the bins of a rate."""
    return Rate(2), _by_bucket(values.astype(np.int64), 2)


def _by_bucket(bins: Ints, size: int) -> Floats:
    whole = bins[: len(bins) // BUCKET * BUCKET].reshape(-1, BUCKET)
    keys = whole + size * np.arange(len(whole))[:, None]
    counts: Floats = np.bincount(keys.ravel(), minlength=size * len(whole)).astype(np.float64)
    return counts.reshape(-1, size)


@compiled
def recursion(sums: Floats, log_weights: Floats, bucket: int, limit: float, since: int) -> Ints:
    """Shiryaev-Roberts on buckets: M <- (n + M) exp(sum), an alarm when its mixture reaches A.

    Everything in logarithms. Returns the buckets of the alarms, up to the first from ``since`` on.
    """
    alarms, found = np.empty(len(sums), np.int64), 0
    log_n, state = math.log(bucket), np.full(len(log_weights), -np.inf)
    for at in range(len(sums)):
        highest = -np.inf
        for j in range(len(state)):
            high, low = max(log_n, state[j]), min(log_n, state[j])
            state[j] = high + math.log1p(math.exp(low - high)) + sums[at, j]
            highest = max(highest, state[j] + log_weights[j])
        total = 0.0
        for j in range(len(state)):
            total += math.exp(state[j] + log_weights[j] - highest)
        if highest + math.log(total) >= limit:
            alarms[found] = at
            found += 1
            if at >= since:
                break
            state[:] = -np.inf
    return alarms[:found]


OURS: dict[str, Ours | Together] = {
    "number": Ours("e-detector of tilts", numbers),
    "pair": Together("e-detector of pairs"),
    "category": Ours("e-detector of shares", kinds),
    "error": Ours("e-detector of a rise", rises),
    "label": Ours("e-detector of a rate", changes),
}
"""By kind of stream. A kind that isn't here has no row of ours."""
