"""A rule of data quality that needs no statistics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Rule:
    """A rule without statistics: what it saw before, and whether it is open.

    It learns nothing: what is ``accepted`` as normal is not told until it was right again.
    """

    open: bool = False
    since_ms: int = 0
    count: float = 0.0
    of: float = 0.0
    accepted: bool = False

    def step(self, start_ms: int, wrong: bool, right: bool) -> bool | None:
        """Return whether it is open, where there is something to say."""
        if self.open:
            told = not self.accepted
            if right:
                self.open = self.accepted = False
                return False if told else None
            return True if told else None
        if not wrong:
            return None
        self.open, self.since_ms = True, start_ms
        return True

    def fade(self, days: float) -> None:
        """Let what was counted weigh half as much after each day."""
        self.count, self.of = self.count * 0.5**days, self.of * 0.5**days
