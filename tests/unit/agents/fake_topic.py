"""A topic of one partition in memory, and consumers of it: as much as the threads beside use."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, TopicPartition


@dataclass(frozen=True)
class FakeMessage:
    """A record, or the end of the partition."""

    at: int
    key_bytes: bytes | None = None
    value_bytes: bytes | None = None
    time_ms: int = 0
    code: int | None = None

    def error(self) -> KafkaError | None:
        """Return that the end is reached, or None."""
        return None if self.code is None else KafkaError(self.code)

    def topic(self) -> str:
        """Return a name."""
        return "topic"

    def partition(self) -> int:
        """Return the only one."""
        return 0

    def offset(self) -> int:
        """Return where it is."""
        return self.at

    def key(self) -> bytes | None:
        """Return the key."""
        return self.key_bytes

    def value(self) -> bytes | None:
        """Return the value."""
        return self.value_bytes

    def timestamp(self) -> tuple[int, int]:
        """Return when it was written."""
        return 2, self.time_ms


@dataclass
class FakeTopic:
    """The records, and what each group has committed."""

    records: list[FakeMessage] = field(default_factory=list)
    committed: dict[str, int] = field(default_factory=dict)
    failing: list[Exception] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.written = threading.Condition()

    def write(self, key: bytes, value: bytes | None) -> None:
        """Append a record."""
        with self.written:
            made = FakeMessage(len(self.records), key, value, time.time_ns() // 1_000_000)
            self.records.append(made)
            self.written.notify_all()

    def consumer(self, config: dict[str, Any]) -> FakeConsumer:
        """Return a consumer, the only one of its group; it raises what is to fail first."""
        return FakeConsumer(self, config["group.id"])


class FakeConsumer:
    """A member of a group; it is assigned the partition by its first poll."""

    def __init__(self, topic: FakeTopic, group: str) -> None:
        self._topic, self._group = topic, group
        self._assigning: Callable[..., None] | None = None
        self._next: int | None = None
        self._told_end = -1

    def subscribe(self, topics: list[str], on_assign: Callable[..., None], **_: Any) -> None:
        """Take part."""
        self._assigning = on_assign

    def committed(self, places: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        """Return where the group stands, or a negative number."""
        offset = self._topic.committed.get(self._group, -1001)
        return [TopicPartition(places[0].topic, 0, offset)]

    def assign(self, places: list[TopicPartition]) -> None:
        """Begin to read, at the beginning."""
        assert [(each.partition, each.offset) for each in places] == [(0, -2)]
        self._next = 0

    def poll(self, timeout_s: float) -> FakeMessage | None:
        """Return the next record, once the end where there is none, or None."""
        if self._topic.failing:
            raise self._topic.failing.pop()
        if self._assigning is not None:
            assigning, self._assigning = self._assigning, None
            assigning(self, [TopicPartition("topic", 0)])
        assert self._next is not None
        with self._topic.written:
            end = len(self._topic.records)
            if self._next == end and self._told_end == end:
                self._topic.written.wait(timeout_s)
        return next(iter(self.consume(1, 0)), None)

    def consume(self, most: int, timeout_s: float) -> list[FakeMessage]:
        """Return what is there."""
        assert self._next is not None
        found = self._topic.records[self._next : self._next + most]
        self._next += len(found)
        if not found and self._told_end != self._next:
            self._told_end = self._next
            return [FakeMessage(self._next, code=KafkaError._PARTITION_EOF)]
        return found

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> None:
        """Keep where the group stands."""
        assert not asynchronous
        self._topic.committed[self._group] = offsets[0].offset

    def close(self) -> None:
        """Take part no longer."""
