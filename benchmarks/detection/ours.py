"""Our own detectors, as `measure.Detector` sees them: one for each kind of stream.

What doesn't hang on the threshold is prepared once: the sums of log likelihood ratios by bucket.
The recursion runs on them again for each threshold that is tried, so that fitting takes seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from benchmarks.detection.compiled import Floats, Ints, compiled
from benchmarks.detection.measure import Detector
from benchmarks.detection.streams import REFERENCE

BUCKET = 20
QUARANTINE, REFRESH = 5_000, 500


class Increments(NamedTuple):
    """Log likelihood ratios by bucket after the reference, shape (buckets, ratios)."""

    sums: Floats
    log_weights: Floats
    bucket: int


@dataclass(frozen=True)
class Bernoulli:
    """Placeholder, until the monitors' own are here: more of a bit than there is usually."""

    name: str = "BernSR, upwards"
    bracket: tuple[float, float] = (1e3, 1e7)

    def prepared(self, values: Any) -> Increments:
        """Return sums of x ln θ - ln(1 - p + θp); p of what is older than the quarantine."""
        log_odds = np.array([0.1, 0.2, 0.4, 0.7, 1.1, 1.6])
        buckets = (len(values) - REFERENCE) // BUCKET
        counts = values[REFERENCE : REFERENCE + buckets * BUCKET].reshape(-1, BUCKET).sum(axis=1)
        ends = REFERENCE + np.arange(buckets) * BUCKET // REFRESH * REFRESH - QUARANTINE
        ends = np.maximum(ends, REFERENCE)
        usual = (np.cumsum(values)[ends - 1] / ends)[:, None]
        sums = counts[:, None] * log_odds - BUCKET * np.log1p(np.expm1(log_odds) * usual)
        return Increments(sums, np.full(len(log_odds), -math.log(len(log_odds))), BUCKET)

    def alarms(self, prepared: Any, threshold: float, since: int) -> Ints:
        """Run the recursion; an alarm is at its bucket's last event."""
        sums, log_weights, bucket = prepared
        first = max(since - REFERENCE, 0) // bucket
        found = recursion(sums, log_weights, bucket, math.log(threshold), first)
        ends: Ints = REFERENCE - 1 + (found + 1) * bucket
        return ends


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


OURS: dict[str, Detector] = {"error": Bernoulli(), "label": Bernoulli()}
"""By kind of stream. A kind that isn't here has no row of ours."""
