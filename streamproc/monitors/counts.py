"""The test of a rate of arrivals: how many come in a bucket, against what comes at that time.

What is usual follows the hour of the week: the mean of the same hour in the weeks before, or, in
the first, of the same hour on the days before. How far counts were off it is measured for as long
as the reference takes, before anything is tested. A component of the
detector multiplies that rate by theta; the log likelihood ratio of a count c is that of a Poisson
variable against the nearest rate that is tolerated: of one of usual exp(+-t). The tolerance t is
three standard deviations of whole days, and ``tolerance`` at least; what hours waver beyond chance
(overdispersion) divides the evidence.
"""

from __future__ import annotations

from collections import deque
from math import log, sqrt

import numpy as np

from streamproc.monitors.edetector import EDetector
from streamproc.monitors.growing import Span
from streamproc.monitors.season import DAY_MS, WEEK_MS
from streamproc.monitors.sketch import Floats

_LOGS = (0.2, 0.4, 0.7, 1.1, 1.6)
STRENGTHS: Floats = np.array([sign * each for each in _LOGS for sign in (1, -1)] + [-3.0])
"""The logarithms of theta: from a fifth more or less, to five times; and next to nothing."""

WEEKS, LEAST_WEEKS, LEAST_DAYS = 4, 1, 3
MOST_BUCKETS = 4_096
"""How many buckets are remembered, and how many empty ones in a row are made up for at most."""

BACK = log(1_000)
"""The odds for what is usual, against what was found, at which a change is over."""

_DEVIATIONS = 3.0
_MOST_A_BUCKET = 0.75  # of what it takes: one bucket alone, such as a holiday's hour, is not enough
_WEEK = Span()
_QUARANTINE = 2
_KEPT = 0.98
_MOST_KAPPA, _MOST_TOLERANCE = 50.0, 1.5


class CountTest:
    """Tests counts per bucket, in order of time; buckets that are left out had none.

    >>> test = CountTest(alarm_ms=30 * DAY_MS, bucket_ms=3_600_000, span=Span(7 * DAY_MS))
    >>> for hour in range(15 * 24):
    ...     _ = test.update(hour * 3_600_000, 100 + 50 * (hour % 24 > 8) + hour * 7 % 20)
    >>> [test.update((360 + hour) * 3_600_000, 5) for hour in range(2)]
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
        self._least_errors = max(24, self._span_ms // bucket_ms)
        self._least = tolerance
        self._tolerance = tolerance
        self._next_ms: int | None = None
        self._first_ms = 0
        self._known: dict[int, float] = {}
        self._waits: deque[tuple[int, float]] = deque()
        self._errors: deque[tuple[float, float]] = deque(maxlen=MOST_BUCKETS)
        self._back = self._found = self._found_usual = 0.0
        self._component = 0

    def update(self, start_ms: int, count: float) -> str | None:
        """Take in a bucket; return ``"opened"``, ``"open"``, ``"over"`` or, for no change, None."""
        if self._next_ms is None:
            self._next_ms = self._first_ms = start_ms + self._bucket_ms
            return None  # the first is not whole
        was_open = self.open
        begin_ms = max(self._next_ms, start_ms - MOST_BUCKETS * self._bucket_ms)
        for empty_ms in range(begin_ms, start_ms, self._bucket_ms):
            self._step(empty_ms, 0.0)
        self._step(start_ms, count)
        self._next_ms = start_ms + self._bucket_ms
        if self.open:
            return "open" if was_open else "opened"
        return "over" if was_open else None

    def _step(self, start_ms: int, count: float) -> None:
        usual = self._usual(start_ms)
        if usual is None:
            self._learn(start_ms, count, None)
            return
        self.usual = usual
        if self.open:
            self._follow(count, usual)
            return
        if len(self._errors) < self._least_errors:  # it is not known how much they waver
            self._learn(start_ms, count, usual)
            return
        most_near = np.clip(STRENGTHS, -self._tolerance, self._tolerance)
        ratios = count * (STRENGTHS - most_near) - usual * (np.exp(STRENGTHS) - np.exp(most_near))
        most = _MOST_A_BUCKET * log(self.detector.alarm_ms / self._bucket_ms)
        self.detector.update(start_ms, self._bucket_ms, np.minimum(ratios / self.kappa, most))
        if not self.detector.alarmed:
            self._learn(start_ms, count, usual)
            return
        self.open, self._back, self._component = True, 0.0, self.detector.best
        self._found, self._found_usual = count, usual
        self.since_ms = self.detector.since_ms
        self._waits = deque(each for each in self._waits if each[0] < self.since_ms)

    def _follow(self, count: float, usual: float) -> None:
        """While it lasts: Page's test of what is usual against the rate that was found."""
        ratio = (self._found + 0.5) / (self._found_usual + 0.5)
        way = 1.0 if STRENGTHS[self._component] > 0 else -1.0
        strength = way * max(way * log(ratio), _LOGS[0])
        step = usual * (np.exp(strength) - 1) - count * strength
        self._back = max(0.0, self._back + min(float(step) / self.kappa, BACK / 2.5))
        if self._back == 0.0:
            self._found, self._found_usual = self._found + count, self._found_usual + usual
        if self._back >= BACK:
            self.open = False
            self.detector.restart()

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
            most = _DEVIATIONS * sqrt(max(float(beyond), 0.0))
            self._tolerance = min(max(self._least, most), _MOST_TOLERANCE)
