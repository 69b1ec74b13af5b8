"""A number that varies no more: a sensor that is stuck, told from a number that rests at times.

Many numbers are constant for a while by season: sunlight at night, a discount out of promotions. So
nothing is told before the first reference is over (twice as late of a run that began in it), and
then only of a run of constant buckets that is clearly longer than the longest that is usual.
"""

from __future__ import annotations

from collections import deque
from math import log

from streamproc.monitors.quality_spec import LEAST, Row
from streamproc.monitors.season import WEEK_MS

LONGER = 2
"""A run is told where it is so many times as long as the longest usual one; and longer by what
its chance needs."""

RECENT_MS = 8 * WEEK_MS
"""A run is compared with those that ended in so long before it began."""

OFTEN = 3
"""A run that was told is usual where so many as long were told and ended by themselves."""

_MOST_ONE_IN = 3.0
_KEPT = 16


class Stuck:
    """Follows the buckets of one number: those in which it varied, and runs of constant ones.

    Of m buckets none began a run: then a constant one has a chance of 3/m at most, by a bound that
    holds 19 times of 20. So each in a row, beyond what is usual, is worth log(m / 3). Each run that
    there was makes it less. ``reference_ms`` is for how long nothing is told.

    >>> stuck = Stuck(reference_ms=100, threshold=7.0)
    >>> for ms in range(200):
    ...     _ = stuck.step(ms, [60, None, 1])
    >>> [stuck.step(200 + ms, [60, 7.0, 0]) for ms in range(2)], stuck.step(202, [60, None, 1])
    ([None, True], False)
    """

    def __init__(self, reference_ms: int, threshold: float) -> None:
        self.threshold = threshold
        self.varied = 0
        self.longest = 0
        """How many buckets the longest run had that is usual, as of when this one began."""
        self.run = self.n = 0
        self.evidence = 0.0
        self.since_ms = 0
        self.open = False
        self._reference_ms = reference_ms
        self._begun_ms: int | None = None
        self._runs = 0
        self._usual: deque[tuple[int, int]] = deque()  # when runs ended, and their length: it falls
        self._told: deque[int] = deque(maxlen=_KEPT)
        self._accepted = False

    def step(self, start_ms: int, row: Row) -> bool | None:
        """Take in a bucket; return whether it is stuck, where there is something to say."""
        n, _, varied = row
        if varied and self.run:
            return self._end(start_ms, n)
        if n < LEAST:
            return None
        if self._begun_ms is None:
            self._begun_ms = start_ms
        if varied:
            self.varied += 1
            return None
        if not self.run:
            self._begin(start_ms)
        self.run, self.n = self.run + 1, self.n + n
        reference_ms = self._begun_ms + self._reference_ms
        if self.since_ms < reference_ms:  # it may be of a weekend: it has as much time again
            reference_ms += self._reference_ms
        if start_ms < reference_ms or self._accepted:
            return None
        if self.run > LONGER * self.longest:
            self.evidence += log(max(self.varied / (_MOST_ONE_IN + 2 * self._runs), 1.0))
        self.open = self.open or self.evidence >= self.threshold
        return True if self.open else None

    def accept(self) -> None:
        """Take the run that is told, or was last, as usual, however long it still is."""
        if self.run:
            self._accepted, self.open = True, False
        elif self._told:
            self._learn(self.since_ms, self._told.pop())

    def _begin(self, start_ms: int) -> None:
        self.since_ms, self.n, self.evidence = start_ms, 0, 0.0
        while self._usual and self._usual[0][0] < start_ms - RECENT_MS:
            self._usual.popleft()
        self.longest = self._usual[0][1] if self._usual else 0

    def _end(self, start_ms: int, n: float) -> bool | None:
        was, run = self.open, self.run
        self.open = self._accepted = False
        self.run, self.evidence = 0, 0.0
        self.varied += n >= LEAST
        self._runs += 1
        if not was:
            self._learn(start_ms, run)
            return None
        self._told.append(run)
        if len(self._told) >= OFTEN:
            self._learn(start_ms, sorted(self._told)[-OFTEN])
        return False

    def _learn(self, ended_ms: int, run: int) -> None:
        """Keep a run; one that was before and no longer is the longest at no time from now on."""
        while self._usual and self._usual[-1][1] <= run:
            self._usual.pop()
        self._usual.append((ended_ms, run))
