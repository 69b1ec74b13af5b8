"""What health is held against: limits with hysteresis, usual gaps, and what a worker said."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from streamproc.monitors.health_spec import REPORT_MS

HOLD_MS = 60_000
"""How long a value has to be beyond its limit, and later well below it, without a break."""

WELL = 0.5
"""Well below is this share of the limit."""

WORKED_OFF = 0.9
"""A backlog that shrinks to this share while it is looked at is being worked off: no finding."""

USUAL_TIMES = 3
"""Where no limit is given, it is so many times the longest gap of weeks, and an hour at least."""

BROKEN_MS = 6 * REPORT_MS
"""A pause of so long between two reports, and nobody knows what was between."""

_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000
_LEARN_MS, _DAYS, _LEAST_GAPS = 7 * _DAY_MS, 28, 5


@dataclass
class Limit:
    """A limit with hysteresis: beyond it for a while is a finding, well below for a while ends it.

    ``waiting`` is how many records wait: where they get fewer, the while begins again. What is
    ``accepted`` as normal is not told until it was well below again.
    """

    above_ms: int | None = None
    below_ms: int | None = None
    newest_ms: int | None = None
    since_ms: int | None = None
    waiting: int = 0
    accepted: bool = False

    def step(self, value: float, limit: float, at_ms: int, waiting: int | None = None) -> bool:
        """Take in a value; return whether there is something to tell (open, or just over)."""
        if self.newest_ms is not None and at_ms - self.newest_ms > BROKEN_MS:
            self.above_ms = self.below_ms = None
        self.newest_ms = at_ms
        if value > limit:
            if self.above_ms is None:
                self.above_ms, self.waiting = at_ms, waiting or 0
        else:
            self.above_ms = None
        if value > WELL * limit:
            self.below_ms = None
        elif self.below_ms is None:
            self.below_ms = at_ms
        if self.since_ms is not None:
            told = not self.accepted
            if self.below_ms is not None and at_ms - self.below_ms >= HOLD_MS:
                self.since_ms, self.accepted = None, False
            return told
        if self.above_ms is None or at_ms - self.above_ms < HOLD_MS:
            return False
        if waiting is not None and waiting < WORKED_OFF * self.waiting:
            self.above_ms, self.waiting = at_ms, waiting
            return False
        self.since_ms = self.above_ms
        return True


@dataclass
class Worker:
    """What is known of one worker.

    ``heard_ms`` is, by each other worker, how long that has reported since this one did last. Only
    what passed between two reports of one clock counts, so that clocks may differ, or be set.
    """

    newest_ms: int
    limits: dict[str, Limit] = field(default_factory=dict)
    missed: bool = False
    values: Mapping[str, Any] = field(default_factory=dict)
    heard_ms: dict[str, int] = field(default_factory=dict)

    @property
    def silent_ms(self) -> int:
        """For how long it has been silent, by who can tell best."""
        return max(self.heard_ms.values(), default=0)


@dataclass
class Gaps:
    """How far something usually is behind in event time before it comes on; what it was in weeks.

    Of each day the longest gap is kept: a quiet night is usual, however many come by day.

    >>> gaps = Gaps()
    >>> for hour in range(9 * 24):
    ...     if 6 <= hour % 24 < 22:
    ...         gaps.note(hour * 3_600_000 + 7, hour * 3_600_000)
    >>> gaps.limit_ms // 3_600_000
    27
    """

    first_ms: int | None = None
    to_ms: int | None = None
    now_ms: int = 0
    count: int = 0
    longest: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=_DAYS))
    limit: Limit = field(default_factory=Limit)

    def note(self, watermark_ms: int, to_ms: int) -> None:
        """Take in how far events are, and what is measured."""
        if self.first_ms is None:
            self.first_ms = watermark_ms
        if self.to_ms is not None and to_ms > self.to_ms:
            self._keep(max(self.now_ms - self.to_ms, to_ms - self.to_ms))
        self.now_ms = max(self.now_ms, watermark_ms)
        self.to_ms = to_ms if self.to_ms is None else max(to_ms, self.to_ms)

    def _keep(self, gap_ms: int) -> None:
        self.count += 1
        day = self.now_ms // _DAY_MS
        if self.longest and self.longest[-1][0] == day:
            gap_ms = max(gap_ms, self.longest.pop()[1])
        self.longest.append((day, gap_ms))

    @property
    def behind_ms(self) -> int:
        """How far it is behind now."""
        return 0 if self.to_ms is None else self.now_ms - self.to_ms

    @property
    def limit_ms(self) -> int | None:
        """Beyond what it is unusual; None where that is not known yet."""
        if self.count < _LEAST_GAPS or self.now_ms - (self.first_ms or 0) < _LEARN_MS:
            return None
        return max(_HOUR_MS, USUAL_TIMES * max(gap_ms for _, gap_ms in self.longest))
