"""A stage: what a worker runs for each partition of its topics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from faust.types import TP

from agents.keeping import Keeper
from streamproc.state.snapshots import Offsets
from streamproc.tasks.records import Task

Place = tuple[str, int]
"""A stage's name and a partition: where a task is."""


class Stage(Protocol):
    """What a worker runs for each partition of its first topic."""

    name: str
    topics: tuple[str, ...]
    patient: bool
    """Whether nobody waits for it, so that its records may be gathered for a while."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The topics by whose offsets its state is known, two at most."""
        return self.topics

    def start(self, partition: int, offsets: dict[str, int]) -> Task:
        """Return the task of a partition, its state as of the offsets it goes on from.

        May block: it is called in a thread.
        """

    def start_offsets(self, committed: dict[TP, int]) -> dict[TP, int]:
        """Return where to read from, for those partitions that don't go on where committed."""

    def keeper(self, partition: int) -> Keeper | None:
        """Return what takes snapshots of the task that was started last for a partition.

        None is for stages whose state is in what they write, or in the log.
        """
        return None

    def careful(self, partition: int) -> bool:
        """Say whether that task was started from the same offsets too often.

        Only the score stage asks: the others take in what it was careful with.
        """
        return False


def covered(topics: Sequence[str], partition: int, committed: Mapping[TP, int]) -> Offsets:
    """Return where a task stands by what is committed, of its first two inputs.

    >>> covered(("events", "labels"), 3, {TP("events", 3): 7, TP("labels", 3): -1001})
    (7, 0)
    >>> covered(("events",), 3, {TP("events", 3): 7})
    (7, 0)
    """
    found = [max(0, committed.get(TP(topic, partition), 0)) for topic in topics[:2]]
    return found[0], found[1] if len(found) > 1 else 0
