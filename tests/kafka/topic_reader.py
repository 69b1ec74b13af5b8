"""Reading topics from their start, without a consumer group: what tests see of a pipeline."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, TypeVar

import orjson
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

T = TypeVar("T")
_READ_RECORDS = 5_000
_TIMEOUT_S = 20.0


class TopicReader(Generic[T]):
    """Reads all partitions of a topic from the start; keeps ``keep(message)`` of each record.

    Used in a ``with`` block.
    """

    def __init__(self, address: str, topic: str, keep: Callable[[Message], T]) -> None:
        self.records: list[T] = []
        self._keep = keep
        self._consumer = Consumer(
            {
                "bootstrap.servers": address,
                "group.id": "tests-reader",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 50,
                "log_level": 0,
            }
        )
        partitions = self._consumer.list_topics(topic, timeout=_TIMEOUT_S).topics[topic].partitions
        self._partitions = [TopicPartition(topic, number) for number in partitions]
        self._ends = dict.fromkeys(partitions, 0)
        self._consumer.assign([TopicPartition(topic, number, 0) for number in partitions])

    def __enter__(self) -> TopicReader[T]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._consumer.close()

    def until(
        self,
        condition: Callable[[], bool],
        what: str,
        silent_s: float = 60.0,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Read until a condition holds; fail where nothing comes for so long, or by ``check``."""
        heard_s = time.monotonic()
        while not condition():
            check()
            if self._read(0.2):
                heard_s = time.monotonic()
            assert time.monotonic() - heard_s < silent_s, (
                f"nothing came for {silent_s:.0f} s, after {len(self.records)} records; "
                f"waited for {what}"
            )

    def until_count(
        self,
        count: int,
        silent_s: float = 60.0,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Read until there are so many records."""
        self.until(lambda: len(self.records) >= count, f"{count} records", silent_s, check)

    def until_end(self) -> list[T]:
        """Read to what is now the end of every partition; return all records."""
        ends = {each.partition: self._end_of(each) for each in self._partitions}
        self.until(
            lambda: all(self._ends[partition] >= end for partition, end in ends.items()),
            "the ends of the partitions",
            _TIMEOUT_S,
        )
        return self.records

    def _end_of(self, partition: TopicPartition) -> int:
        """Ask for the end of a partition until a broker that has just come back knows it."""
        deadline_s = time.monotonic() + _TIMEOUT_S
        while True:
            try:
                return int(self._consumer.get_watermark_offsets(partition, timeout=_TIMEOUT_S)[1])
            except KafkaException as error:
                if error.args[0].code() not in _PASSING or time.monotonic() > deadline_s:
                    raise
                self._read(0.2)

    def _read(self, timeout_s: float) -> int:
        """Take in what is there; return how many records that were."""
        before = len(self.records)
        for message in self._consumer.consume(_READ_RECORDS, timeout_s):
            error = message.error()
            if error is None:
                self.records.append(self._keep(message))
            elif error.code() == KafkaError._PARTITION_EOF:
                self._ends[message.partition() or 0] = message.offset() or 0
            elif error.code() not in _PASSING:
                raise KafkaException(error)
        return len(self.records) - before


_PASSING = (
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._UNKNOWN_PARTITION,
)


def as_json(message: Message) -> dict[str, Any]:
    """Return a record's value, read as JSON."""
    value: dict[str, Any] = orjson.loads(message.value() or b"{}")
    return value


def id_of(message: Message) -> str:
    """Return the id in a record's value."""
    found: str = as_json(message)["id"]
    return found


def read_all(address: str, topic: str, keep: Callable[[Message], T]) -> list[T]:
    """Read a topic to its end."""
    with TopicReader(address, topic, keep) as reader:
        return reader.until_end()
