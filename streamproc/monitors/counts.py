"""The test of a rate of arrivals: how many come in a bucket, against what comes at that time.

What is usual follows the hour of the week: the mean of the same hour in the weeks before, or,
while there are not three weeks of them, of the same hour on the days before. A component of the
detector multiplies that rate by theta; the log likelihood ratio of a count c is
c ln theta - usual (theta - 1), as of a Poisson variable. What counts waver beyond that
(overdispersion) divides the evidence; by how much whole days waver is no change at all, and nor is
any below ``tolerance``.
"""

from __future__ import annotations

from collections import deque
from math import log, sqrt

import numpy as np

from streamproc.monitors.edetector import EDetector
from streamproc.monitors.growing import DAY_MS, WEEK_MS, Span
from streamproc.monitors.sketch import Floats

_LOGS = (0.2, 0.4, 0.7, 1.1, 1.6)
STRENGTHS: Floats = np.array([sign * each for each in _LOGS for sign in (1, -1)] + [-3.0])
"""The logarithms of theta: from a fifth more or less, to five times; and next to nothing."""

WEEKS, LEAST_WEEKS, LEAST_DAYS = 4, 3, 3
MOST_BUCKETS = 4_096
"""How many buckets are remembered, and how many empty ones in a row are made up for at most."""

CALM = 3
"""It is over when so many buckets in a row were near what is usual."""

_DEVIATIONS = 3.0
_MOST_A_BUCKET = 0.75  # of what it takes: one bucket alone, such as a holiday's hour, is not enough
_WEEK = Span()
_QUARANTINE = 2
_KEPT = 0.98
_MOST_KAPPA, _MOST_TOLERANCE = 50.0, 1.5


class CountTest:
    """Tests counts per bucket, in order of time; buckets that are left out had none.

    >>> test = CountTest(alarm_ms=30 * DAY_MS, bucket_ms=3_600_000, span=Span(7 * DAY_MS))
    >>> for hour in range(10 * 24):
    ...     _ = test.update(hour * 3_600_000, 100 + 50 * (hour % 24 > 8) + hour * 7 % 20)
    >>> [test.update((240 + hour) * 3_600_000, 5) for hour in range(2)]
    [None, 'opened']
    """

    def __init__(
        self, alarm_ms: float, bucket_ms: int, span: Span = _WEEK, tolerance: float = 0.1
    ) -> None:
        size = len(STRENGTHS)
        self.detector = EDetector(np.full(size, 1 / size), alarm_ms)
        self.open = False
        self.since_ms = 0
        self.usual = 0.0
        """What was usual in the last bucket that was tested."""
        self.kappa = 1.0
        self._bucket_ms = bucket_ms
        self._span_ms = max(span.least_ms, LEAST_DAYS * DAY_MS)
        self._least = tolerance
        self._tolerance = tolerance
        self._next_ms: int | None = None
        self._first_ms = 0
        self._known: dict[int, float] = {}
        self._waits: deque[tuple[int, float]] = deque()
        self._errors: deque[tuple[float, float]] = deque(maxlen=MOST_BUCKETS)
        self._calm = 0

    def update(self, start_ms: int, count: float) -> str | None:
        """Take in a bucket; return ``"opened"``, ``"open"`` or ``"over"``, or None for no change."""
        if self._next_ms is None:
            self._next_ms = self._first_ms = start_ms + self._bucket_ms
            return None  # the first is not whole
        said = None
        begin_ms = max(self._next_ms, start_ms - MOST_BUCKETS * self._bucket_ms)
        for empty_ms in range(begin_ms, start_ms, self._bucket_ms):
            said = self._step(empty_ms, 0.0) or said
        now = self._step(start_ms, count)
        self._next_ms = start_ms + self._bucket_ms
        if now == "open" and said == "opened":
            return said
        return now

    def _step(self, start_ms: int, count: float) -> str | None:
        usual = self._usual(start_ms)
        if usual is None:
            self._learn(start_ms, count, None)
            return None
        self.usual = usual
        if self.open:
            return self._follow(start_ms, count, usual)
        ratios = count * STRENGTHS - usual * np.expm1(STRENGTHS)
        ratios = ratios - np.abs(STRENGTHS) * self._tolerance * usual
        most = _MOST_A_BUCKET * log(self.detector.alarm_ms / self._bucket_ms)
        self.detector.update(start_ms, self._bucket_ms, np.minimum(ratios / self.kappa, most))
        if not self.detector.alarmed:
            self._learn(start_ms, count, usual)
            return None
        self.open, self._calm = True, 0
        self.since_ms = self.detector.since_ms
        self._waits = deque(each for each in self._waits if each[0] < self.since_ms)
        return "opened"

    def _follow(self, start_ms: int, count: float, usual: float) -> str:
        near = max(_DEVIATIONS * sqrt(self.kappa * (usual + 1)), 2 * self._tolerance * usual)
        self._calm = self._calm + 1 if abs(count - usual) <= near else 0
        if self._calm < CALM:
            return "open"
        self.open = False
        self.detector.restart()
        return "over"

    def _usual(self, start_ms: int) -> float | None:
        """Return the mean at that time of the week, or of the day; None where there is none yet."""
        if start_ms - self._first_ms < self._span_ms:
            return None
        turns = ((WEEK_MS, WEEKS, LEAST_WEEKS), (DAY_MS, 7, LEAST_DAYS))
        for turn_ms, most, least in turns:
            turn_ms = max(turn_ms, self._bucket_ms)
            at = (start_ms - k * turn_ms for k in range(1, most + 1))
            found = [self._known[one] for one in at if one in self._known]
            if len(found) >= least and turn_ms % self._bucket_ms == 0:
                return (sum(found) + 0.5) / len(found)
        newest = list(self._known.values())[-max(1, WEEK_MS // self._bucket_ms) :]
        return (sum(newest) + 0.5) / len(newest) if newest else None

    def _learn(self, start_ms: int, count: float, usual: float | None) -> None:
        """Remember a bucket, once it is out of quarantine."""
        if usual is not None:
            self._errors.append((count - usual, usual))
            if len(self._errors) % 24 == 0:
                self._measure()
        self._waits.append((start_ms, count))
        quiet = _QUARANTINE if usual is not None else 0
        while len(self._waits) > quiet:
            at, known = self._waits.popleft()
            self._known[at] = known
        while len(self._known) > MOST_BUCKETS:
            del self._known[next(iter(self._known))]

    def _measure(self) -> None:
        """Measure how much buckets, and whole days, waver beyond chance."""
        errors = np.array(self._errors)
        chance = np.maximum(errors[:, 1], 0.5)
        ratios = np.sort(errors[:, 0] ** 2 / chance)
        kept = ratios[: max(1, int(_KEPT * len(ratios)))]
        self.kappa = float(np.clip(kept.mean() / _KEPT, 1.0, _MOST_KAPPA))
        a_day = max(1, DAY_MS // self._bucket_ms)
        days = len(errors) // a_day
        if days >= LEAST_DAYS:
            blocks = errors[-days * a_day :].reshape(days, a_day, 2).sum(axis=1)
            off = blocks[:, 0] / np.maximum(blocks[:, 1], 1.0)
            beyond = (off**2).mean() - (self.kappa / np.maximum(blocks[:, 1], 1.0)).mean()
            most = 2 * sqrt(max(float(beyond), 0.0))
            self._tolerance = min(max(self._least, most), _MOST_TOLERANCE)
