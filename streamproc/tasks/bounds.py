"""Where a task stood between its batches: for the journal, where times alone don't tell the order.

A transaction holds several batches, each merged by time. A label of a later batch can be earlier
than an event of the one before: it was on its way, and the event did not see it.
"""

from __future__ import annotations

Bound = tuple[int, int]
"""The offsets of the events and of the labels up to which a batch had come."""


class Bounds:
    """The bounds of the batches since they were last taken.

    Batches of one input after one another are as one: merged together or not, they are the same.

    >>> bounds = Bounds()
    >>> for at in ((3, 0), (5, 0), (5, 2), (6, 2), (8, 4)):
    ...     bounds.note(at)
    >>> bounds.take(), bounds.take()
    ([(5, 0), (5, 2), (6, 2)], [])
    """

    def __init__(self) -> None:
        self._bounds: list[Bound] = []
        self._at: Bound = (0, 0)
        self._moved = (False, False)

    def note(self, at: Bound) -> None:
        """Note where a batch ended."""
        moved = (at[0] != self._at[0], at[1] != self._at[1])
        if self._bounds and moved == self._moved and not all(moved):
            self._bounds.pop()
        self._bounds.append(at)
        self._at, self._moved = at, moved

    def take(self) -> list[Bound]:
        """Return and forget them, but for the last: that is where the transaction ends."""
        bounds, self._bounds = self._bounds, []
        return bounds[:-1]
