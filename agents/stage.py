"""A stage: what a worker runs for each partition of its topics."""

from __future__ import annotations

from typing import Protocol

from faust.types import TP

from agents.keeping import Keeper
from streamproc.tasks.records import Task

Place = tuple[str, int]
"""A stage's name and a partition: where a task is."""


class Stage(Protocol):
    """What a worker runs for each partition of its first topic."""

    name: str
    topics: tuple[str, ...]
    patient: bool
    """Whether nobody waits for it, so that its records may be gathered for a while."""

    def start(self, partition: int, offsets: dict[str, int]) -> Task:
        """Return the task of a partition, its state as of the offsets it goes on from.

        May block: it is called in a thread.
        """

    def start_offsets(self, committed: dict[TP, int]) -> dict[TP, int]:
        """Return where to read from, for those partitions that don't go on where committed."""

    def keeper(self, partition: int) -> Keeper | None:
        """Return what takes snapshots of the task that was started last for a partition."""

    def careful(self, partition: int) -> bool:
        """Say whether that task was started from the same offsets too often."""
