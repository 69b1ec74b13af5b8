"""The time that tasks are told: the wall clock's, but it never stands still and never goes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class SteadyClock:
    """Milliseconds since the epoch, for the waits of tasks.

    Where the wall clock is set back, this one goes on at half its speed until the wall clock has
    come up to it: a wait that was to take ten seconds takes twenty then, and not an hour. Where it
    is set forward this one follows at once, since what events say of their time has to fit it.

    >>> wall, passed = [100_000], [0.0]
    >>> clock = SteadyClock(lambda: wall[0], lambda: passed[0])
    >>> wall[0], passed[0] = 40_000, 10.0  # set back by over a minute
    >>> clock()
    105000
    >>> wall[0], passed[0] = 130_000, 20.0
    >>> clock()
    130000
    """

    def __init__(
        self,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall_ms = wall_ms
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._at_s = monotonic_s()
        self._now_ms = float(wall_ms())

    def __call__(self) -> int:
        """Return what time it is."""
        with self._lock:
            at_s, wall_ms = self._monotonic_s(), self._wall_ms()
            passed_ms, self._at_s = (at_s - self._at_s) * 1000, at_s
            self._now_ms = max(float(wall_ms), self._now_ms + passed_ms / 2)
            return int(self._now_ms)
