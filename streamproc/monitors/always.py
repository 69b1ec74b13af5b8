"""A feature that has had no value ever, or a number that never varied, from the first event on.

A rule, no test: what was always so is usual, and no test tells of it. But a model can learn nothing
from it, and most likely a name is wrong, or what gives it never worked. It is told once the
reference is over and there are so many events that others must be rare; not again once it was
otherwise.
"""

from __future__ import annotations

from streamproc.monitors.quality_spec import Row

NEVER = 3_000
"""So many events without another: by the rule of three others are below 0.1 %."""


class Always:
    """Follows whether something is so of all events from the first on; see the module.

    ``n`` counts them, since ``since_ms``.

    >>> gone = Always(reference_ms=50)
    >>> [gone.step(ms, 2_000, True) for ms in (0, 40, 50, 60)], gone.n
    ([None, None, True, True], 8000)
    >>> gone.step(70, 2_000, False), gone.step(80, 2_000, True)
    (False, None)
    """

    def __init__(self, reference_ms: int) -> None:
        self.n: float = 0
        self.since_ms = 0
        self.open = False
        self._reference_ms = reference_ms
        self._value: float | None = None
        self._broken = self._accepted = False

    def step(self, start_ms: int, n: float, so: bool) -> bool | None:
        """Take in a bucket of ``n``; return whether it is open, where there is something to say."""
        if self._broken or n <= 0:
            return None
        if not so:
            told = self.open
            self._broken, self.open = True, False
            return False if told else None
        if not self.n:
            self.since_ms = start_ms
        self.n += n
        over = start_ms >= self.since_ms + self._reference_ms
        self.open = over and self.n >= NEVER and not self._accepted
        return True if self.open else None

    def same(self, start_ms: int, row: Row) -> bool | None:
        """Take in a bucket of a number: whether it has one value, that of all before."""
        n, value, varied = row
        if not self.n:
            self._value = value
        return self.step(start_ms, n, not varied and value == self._value)

    def accept(self) -> None:
        """Take it as normal: it is told no more."""
        self._accepted, self.open = True, False
