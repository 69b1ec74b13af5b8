"""Waiting for silent partitions: for how long, and what is sealed without them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from streamproc.monitors.sealing import Sealer
from streamproc.tasks.waits import AGAIN_MS, IDLE_MS, WAIT_MS, Believed, Place, Waits
from tests.unit.monitors.test_sealing import HOUR_MS, added, sums


class Looking:
    """Looks when it is told to, and finds what it is told."""

    def __init__(self) -> None:
        self.asked: list[list[Place]] = []
        self.found: frozenset[Place] | None = None

    def ask(self, places: Collection[Place]) -> None:
        """Note what is asked."""
        self.asked.append(list(places))
        self.found = None

    def answer(self) -> frozenset[Place] | None:
        """Return what was found."""
        return self.found


class Stream:
    """Partitions that say something or do not, and the waits for them."""

    def __init__(self, idle: Any) -> None:
        self.sealer = Sealer(["drift"], {0: HOUR_MS}, 3, HOUR_MS)
        self.waits = Waits(self.sealer, idle)
        assert self.waits.seals(0) == []

    def tell(self, partition: int, hours: list[int], caught_up: bool, now_ms: int = 0) -> None:
        """Let a partition say something."""
        self.sealer.take({**sums(partition, hours), "caught_up": caught_up}, added)
        self.waits.heard("drift", partition, now_ms)

    def sealed(self, now_ms: int) -> list[tuple[list[int], int]]:
        """Return who is left out, and up to which hour is sealed; take the seals in."""
        records = self.waits.seals(now_ms)
        for record in records:
            self.sealer.take(record, added)
        return [(record["without"], record["until_ms"] // HOUR_MS) for record in records]


def test_a_partition_that_is_idle_is_not_waited_for() -> None:
    """One that caught up and is silent counts as complete, one that has more does not."""
    stream = Stream(Believed())
    stream.tell(0, [0, 1, 9], caught_up=False)
    stream.tell(1, [0], caught_up=True)
    stream.tell(2, [4], caught_up=False)
    assert stream.sealed(IDLE_MS - 1) == []
    assert stream.sealed(IDLE_MS) == [([1], 3)]
    assert stream.sealed(WAIT_MS - 1) == []
    stream.tell(0, [9], caught_up=False, now_ms=WAIT_MS - 1)
    assert stream.sealed(WAIT_MS) == [([1, 2], 8)]


def test_a_partition_never_heard_of_is_waited_for() -> None:
    """Only after the long wait is it given up."""
    stream = Stream(Believed())
    for now_ms in (0, WAIT_MS - 1):
        stream.tell(0, [0, 5], caught_up=True, now_ms=now_ms)
        stream.tell(1, [0, 5], caught_up=True, now_ms=now_ms)
        assert stream.sealed(now_ms) == []
    assert stream.sealed(WAIT_MS) == [([2], 4)]


def test_one_that_stopped_with_records_on_their_way_is_waited_for() -> None:
    """It said that it had caught up, but then more came for it, and its worker is no more."""
    looking = Looking()
    stream = Stream(looking)
    for partition in (0, 1):
        stream.tell(partition, [0, 1, 9], caught_up=True)
    stream.tell(2, [1], caught_up=True)
    stream.tell(0, [9], caught_up=True, now_ms=IDLE_MS)
    assert stream.sealed(IDLE_MS) == []
    assert looking.asked == [[("drift", 1), ("drift", 2)]]
    assert stream.sealed(WAIT_MS // 2) == []
    looking.found = frozenset({("drift", 1)})
    assert stream.sealed(WAIT_MS // 2) == []
    assert len(looking.asked) == 1
    assert stream.sealed(WAIT_MS // 2 + AGAIN_MS) == []
    assert len(looking.asked) == 2
    looking.found = frozenset({("drift", 2)})
    assert stream.sealed(WAIT_MS // 2 + AGAIN_MS) == [([2], 8)]


def test_what_passes_during_a_look_is_not_sealed_by_it() -> None:
    """A record for the silent one may have come meanwhile, of the time that others passed since."""
    looking = Looking()
    stream = Stream(looking)
    for partition in (0, 1):
        stream.tell(partition, [0, 4], caught_up=False, now_ms=IDLE_MS)
    stream.tell(2, [0], caught_up=True)
    assert stream.sealed(IDLE_MS) == []
    for partition in (0, 1):
        stream.tell(partition, [9], caught_up=False, now_ms=IDLE_MS)
    looking.found = frozenset({("drift", 2)})
    assert stream.sealed(IDLE_MS) == [([2], 3)]


def test_nobody_is_looked_at_while_nothing_could_be_sealed() -> None:
    """A quiet stream costs no looks."""
    looking = Looking()
    stream = Stream(looking)
    for partition in range(3):
        stream.tell(partition, [1], caught_up=True)
    assert stream.sealed(10 * WAIT_MS) == []
    assert looking.asked == []
