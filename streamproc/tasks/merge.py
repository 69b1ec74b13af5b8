"""Inputs merged by time: the record with the smallest event time goes next.

Live it hardly matters. In a replay at full speed, without it, labels overtake the events that they
come after, and the model learns the future. (Kafka Streams does the same: KIP-353, KIP-695.)
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

WAIT_MS = 10_000
"""How long an input that is known to have more is waited for; above the session timeout."""

AT_ONCE = -(1 << 62)
"""The time of an item that waits for nothing, such as a record that could not be read."""


@dataclass(slots=True)
class Input:
    """One input of a task: items in the log's order, each ``(time_ms, offset, item)``.

    ``next_offset`` is the offset after the last record taken in, ``caught_up`` whether that was
    the end of the log when it was read.
    """

    items: deque[tuple[int, int, Any]] = field(default_factory=deque)
    next_offset: int | None = None
    caught_up: bool = False
    given_up: bool = False
    """Whether ``caught_up`` only means that it is waited for no longer."""

    @property
    def position(self) -> int | None:
        """The offset of the first record not yet processed: what may be committed."""
        return self.items[0][1] if self.items else self.next_offset


class Merge:
    """Merges two inputs of one partition by time; on equal times ``first`` goes first.

    >>> merge = Merge()
    >>> merge.first.items.append((20, 0, "label"))
    >>> merge.second.items.extend([(10, 0, "event"), (30, 1, "event")])
    >>> [merge.due(now_ms=0).popleft() for _ in range(2)]
    [(10, 0, 'event'), (20, 0, 'label')]
    >>> merge.due(now_ms=0) is None
    True
    >>> merge.first.caught_up = True
    >>> merge.due(now_ms=0).popleft()
    (30, 1, 'event')
    """

    def __init__(self) -> None:
        self.first = Input()
        self.second = Input()
        self.expired_waits = 0
        self._waiting_since_ms: int | None = None

    def __len__(self) -> int:
        return len(self.first.items) + len(self.second.items)

    @property
    def caught_up(self) -> bool:
        """Whether all that both logs held is processed."""
        return self.first.caught_up and self.second.caught_up and not len(self)

    @property
    def read_to_the_end(self) -> bool:
        """Whether all that both logs held was taken, as far as is known."""
        return self.caught_up and not self.first.given_up and not self.second.given_up

    def take(self, items: deque[Any]) -> None:
        """Take away the first of the items that :meth:`due` returned."""
        items.popleft()

    def due(self, now_ms: int) -> deque[Any] | None:
        """Return the items whose first is next; None where there are none or one is waited for."""
        first, second = self.first.items, self.second.items
        if first and second:
            self._waiting_since_ms = None
            return first if first[0][0] <= second[0][0] else second
        if first:
            here, behind = first, self.second
        elif second:
            here, behind = second, self.first
        else:
            return None
        if behind.caught_up or here[0][0] == AT_ONCE:
            self._waiting_since_ms = None
            return here
        if self._waiting_since_ms is None:
            self._waiting_since_ms = now_ms
        if now_ms - self._waiting_since_ms < WAIT_MS:
            return None
        self.expired_waits += 1
        behind.caught_up = behind.given_up = True  # until there is news from it
        return here
