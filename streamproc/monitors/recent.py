"""What is usual for a series of bucket means: level, daily pattern, and how much it wavers."""

from __future__ import annotations

from collections import deque
from itertools import islice
from math import sqrt
from typing import NamedTuple

import numpy as np

DAY_MS = 86_400_000
LEAST_BUCKETS = 12
LEAST_DAYS = 3
"""A reference has at least so many buckets and spans at least so many days."""

GROWS = 8
"""It grows to so many times its least size; after that the oldest buckets are forgotten."""

_TREND = 3.0
_MOST_DEPENDENCE = 9.0


class Bucket(NamedTuple):
    """One series in one bucket: count, mean and variance of its values."""

    start_ms: int
    n: float
    mean: float
    variance: float


class Reference:
    """Learns from the first buckets, then from those that stayed quiet for as long again.

    The standard error of a bucket's mean has two parts: that of n values drawn by themselves, and
    what buckets differ by beyond that (days are not alike); autocorrelation widens it further.
    Without the second part any real series alarms. While the first buckets still trend (a window
    that fills, a model that settles) the oldest is given up for a newer one.

    ``tolerance`` is in standard deviations of the single values; the first reference has
    `LEAST_BUCKETS` and spans ``least_days`` at least.

    >>> reference = Reference(bucket_ms=DAY_MS, tolerance=0.1)
    >>> for day in range(12):
    ...     reference.learn(Bucket(day * DAY_MS, 100, 5 + (-1) ** day * 0.1, 1.0))
    >>> reference.ready, round(reference.expected(0), 9)
    (True, 5.0)
    """

    def __init__(self, bucket_ms: int, tolerance: float, least_days: int = LEAST_DAYS) -> None:
        divides = bucket_ms < DAY_MS and DAY_MS % bucket_ms == 0
        self.phases = min(DAY_MS // bucket_ms, 24) if divides else 1
        self.ready = False
        self.sd = 0.0
        self.tolerance = tolerance
        self._phase_ms = DAY_MS // self.phases
        self._least = max(LEAST_BUCKETS, -(-least_days * DAY_MS // bucket_ms))
        self._buckets: deque[Bucket] = deque(maxlen=self._least)
        self._quarantine: deque[Bucket] = deque()
        self._level = 0.0
        self._pattern = np.zeros(self.phases)
        self._between = 0.0
        self._widened = 1.0

    def learn(self, bucket: Bucket) -> None:
        """Take in a bucket in which nothing was found."""
        if not self.ready:
            self._buckets.append(bucket)
            if len(self._buckets) == self._least:
                self.ready = self._fit()
                if self.ready:
                    self._buckets = deque(self._buckets, maxlen=GROWS * self._least)
            return
        self._quarantine.append(bucket)
        if len(self._quarantine) > self._least:
            self._buckets.append(self._quarantine.popleft())
            self._fit()

    def forget(self, buckets: int) -> None:
        """Throw the newest so many away: they were not usual after all."""
        for _ in range(min(buckets, len(self._quarantine))):
            self._quarantine.pop()

    def expected(self, start_ms: int) -> float:
        """Return the usual mean of a bucket."""
        return self._level + float(self._pattern[self._phase(start_ms)])

    def standardised(self, bucket: Bucket) -> float:
        """Return how far a bucket is off beyond the tolerance, in standard errors."""
        off = bucket.mean - self.expected(bucket.start_ms)
        beyond = abs(off) - self.tolerance * self.sd
        if beyond <= 0:
            return 0.0
        error = sqrt((self.sd**2 / bucket.n + self._between) * self._widened)
        least = 1e-9 * abs(self._level) + 1e-300  # a constant has no error at all
        return (beyond if off > 0 else -beyond) / max(error, least)

    def newest(self, most: int) -> list[Bucket]:
        """Return the newest buckets learnt, oldest first."""
        return list(islice(self._buckets, max(0, len(self._buckets) - most), None))

    def _phase(self, start_ms: int) -> int:
        return start_ms // self._phase_ms % self.phases

    def _fit(self) -> bool:
        """Fit level, pattern and error; return whether there was no trend."""
        start, n, mean, variance = np.array(self._buckets).T
        phase = (start // self._phase_ms % self.phases).astype(np.int64)
        self._level = float(np.average(mean, weights=n))
        self.sd = sqrt(float(np.average(variance + (mean - self._level) ** 2, weights=n)))
        self._pattern = self._fit_pattern(phase, mean - self._level, self.sd**2 / n)
        left = mean - self._level - self._pattern[phase]
        count = len(left)
        free = max(count - (self.phases if self._pattern.any() else 1), 2)
        total = float(left @ left) / free * (1 + 4 / count)  # few buckets tell little of it
        self._between = max(0.0, total - float(np.mean(self.sd**2 / n)))
        along = float(left[1:] @ left[:-1]) / max(float(left @ left), 1e-300)
        along = min(max(along, 0.0), 0.8)
        self._widened = min((1 + along) / (1 - along), _MOST_DEPENDENCE)
        return not self._trends(left)

    def _fit_pattern(self, phase: np.ndarray, off: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Return the usual distance from the level by phase of the day, shrunk by its noise."""
        if self.phases == 1:
            return np.zeros(1)
        counts = np.maximum(np.bincount(phase, minlength=self.phases), 1)
        means = np.bincount(phase, off, self.phases) / counts
        left = off - means[phase]
        within = float(left @ left) / max(len(off) - self.phases, 1)
        error = float(np.mean(np.maximum(within, noise.mean()) / counts))
        between = max(0.0, float(np.var(means)) - error)
        return means * (between / (between + error) if between else 0.0)

    def _trends(self, left: np.ndarray) -> bool:
        time = np.arange(len(left)) - (len(left) - 1) / 2
        slope = float(time @ left) / float(time @ time)
        rest = left - slope * time
        error = sqrt(float(rest @ rest) / max(len(left) - 2, 1) / float(time @ time))
        return abs(slope) > _TREND * error and abs(slope) * len(left) > self.tolerance * self.sd
