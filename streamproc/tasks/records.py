"""What goes into a task and what comes out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NotRequired, Protocol, TypedDict

from streamproc.errors import BadRecord

Headers = Sequence[tuple[str, bytes]]

NO_TIME = 0
"""The type of a timestamp that is not there, as Kafka has it."""


class Record(Protocol):
    """A record as it came from a topic; ``confluent_kafka.Message`` is one."""

    def topic(self) -> str:
        """The topic it is in."""

    def partition(self) -> int:
        """The number of its partition."""

    def offset(self) -> int:
        """Its place in the partition."""

    def key(self) -> bytes | None:
        """Its key."""

    def value(self) -> bytes | None:
        """Its value; None for a tombstone."""

    def timestamp(self) -> tuple[int, int]:
        """The type of its timestamp, and the timestamp in milliseconds."""

    def headers(self) -> Headers | None:
        """Its headers, if it has any."""


@dataclass(frozen=True, slots=True)
class PlainRecord:
    """A record without a broker: of a file, or kept from before a restart.

    ``time_type`` is Kafka's: 1 is CreateTime.
    """

    in_topic: str
    at: int
    time_ms: int
    with_key: bytes | None
    with_value: bytes | None
    with_headers: Headers | None = None
    in_partition: int = 0
    time_type: int = 1

    def topic(self) -> str:
        """Return the topic it is in, or would have been."""
        return self.in_topic

    def partition(self) -> int:
        """Return the number of its partition; a file has one."""
        return self.in_partition

    def offset(self) -> int:
        """Return its place among the records of its partition."""
        return self.at

    def key(self) -> bytes | None:
        """Return its key."""
        return self.with_key

    def value(self) -> bytes | None:
        """Return its value."""
        return self.with_value

    def timestamp(self) -> tuple[int, int]:
        """Return the type of its timestamp, and the timestamp in milliseconds."""
        return (self.time_type, self.time_ms)

    def headers(self) -> Headers | None:
        """Return its headers; files have none."""
        return self.with_headers


class Out(TypedDict):
    """A record to be written, in the form ``Producer.produce_batch`` takes."""

    key: bytes | None
    value: bytes | None
    headers: NotRequired[Headers]


@dataclass(slots=True)
class Output:
    """What a task wants written, by the topic's role (``"predictions"``, ``"alerts"``, ...).

    ``blobs`` are files for the store, by their SHA-256, to be there before a record names them.
    ``sent`` is for tasks of other partitions, by role and partition.
    """

    records: dict[str, list[Out]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    sent: dict[tuple[str, int], list[Out]] = field(default_factory=dict)

    def to(self, role: str) -> list[Out]:
        """Return the list of records for a role, to append to."""
        return self.records.setdefault(role, [])

    def sent_to(self, role: str, partition: int) -> list[Out]:
        """Return the list of records for another partition, to append to."""
        return self.sent.setdefault((role, partition), [])

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write."""
        return not self.records and not self.sent


class Task(Protocol):
    """What runs for one stage and one partition."""

    def waiting(self) -> dict[str, int]:
        """Return, by topic, the number of records taken in and not yet processed."""

    def take(self, topic: str, records: Sequence[Record], caught_up: bool, now_ms: int) -> None:
        """Take records in, in the log's order; ``caught_up`` where they end the log."""

    def process(self, now_ms: int) -> Output:
        """Process some of what is due and return what is to be written."""

    def positions(self) -> dict[str, int]:
        """Return, by topic, the offset from which to go on after a restart."""


def dead_letter(record: Record, bad: BadRecord, stage: str, watermark_ms: int | None = None) -> Out:
    """Return the dead letter of a record: its bytes, key and headers untouched, and why.

    ``watermark_ms`` is how far event time had come, where that is known.
    """
    told: dict[str, Any] = {
        "error": bad.detail,
        "reason": bad.reason,
        "source_topic": record.topic(),
        "source_partition": record.partition(),
        "source_offset": record.offset(),
        "stage": stage,
    }
    if watermark_ms is not None:
        told["watermark_ms"] = watermark_ms
    ours = [(name, str(value).encode()) for name, value in told.items()]
    return Out(key=record.key(), value=record.value(), headers=[*(record.headers() or ()), *ours])
