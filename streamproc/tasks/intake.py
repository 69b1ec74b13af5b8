"""Reading events and labels: from a record's bytes to the fields that the path needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from streamproc.codec import Codec
from streamproc.errors import BadRecord
from streamproc.eventtime import parse_time_ms
from streamproc.features.entities import LONGEST_ID, text_of
from streamproc.features.lookup import Versions
from streamproc.models.scoring import parse_label
from streamproc.pipeline import Pipeline
from streamproc.tasks.records import Record

FUTURE_MS = 3_600_000
"""How far ahead of the clock an event's time may be; brokers refuse timestamps beyond that too."""

LARGEST_BYTES = 900_000
"""Larger events are refused: their prediction might not fit a record of Kafka's default size."""


class Event(NamedTuple):
    """An event that can be scored; ``lookups`` says which rows were looked up for it."""

    id: str
    key: str
    time_ms: int
    fields: dict[str, Any]
    record: Record
    lookups: Versions | None = None


class Label(NamedTuple):
    """A label that can be joined; ``time_ms`` is when it became known."""

    id: str
    label: Any
    time_ms: int
    record: Record


class Unreadable(NamedTuple):
    """A record that is neither, kept in its place in the log until that is reached."""

    error: BadRecord
    record: Record


class Intake:
    """Reads the events and labels of one pipeline; raises :class:`BadRecord` for the others."""

    def __init__(self, pipeline: Pipeline, codec: Codec) -> None:
        self._pipeline = pipeline
        self._decode = codec.decode_input

    def event(self, record: Record, now_ms: int) -> Event:
        """Read an event."""
        value = record.value()
        if value is not None and len(value) > LARGEST_BYTES:
            raise BadRecord("too_large", f"the event has {len(value)} bytes, over {LARGEST_BYTES}")
        names = self._pipeline.events
        fields = self._decode(names.topic, value)
        record_id = text_of(fields, names.id, "id")
        key = text_of(fields, names.key, "key")
        time = fields.get(names.time)
        if time is None:
            raise BadRecord("missing_time", f"field {names.time!r} is missing or null")
        time_ms = parse_time_ms(time)
        if time_ms > now_ms + FUTURE_MS:
            raise BadRecord(
                "time_in_future", f"field {names.time!r} is {time!r:.40}, over an hour ahead"
            )
        return Event(record_id, key, time_ms, fields, record)

    def label(self, record: Record, now_ms: int) -> Label:
        """Read a label."""
        names = self._pipeline.labels
        assert names is not None  # nothing subscribes to labels where none are declared
        fields = self._decode(names.topic, record.value())
        record_id = text_of(fields, names.id, "id")
        if names.value not in fields:
            raise BadRecord("missing_label", f"field {names.value!r} is missing")
        label = parse_label(self._pipeline.kind, names.classes, fields[names.value])
        if isinstance(label, str) and len(label) > LONGEST_ID:
            raise BadRecord("label_not_valid", f"the label has over {LONGEST_ID} characters")
        if names.time is None:
            return Label(record_id, label, record.timestamp()[1], record)
        if fields.get(names.time) is None:
            raise BadRecord("missing_time", f"field {names.time!r} is missing or null")
        return Label(record_id, label, parse_time_ms(fields[names.time]), record)


def slices_of(fields: dict[str, Any], names: Sequence[str]) -> dict[str, str]:
    """Return the slices an event falls into, of the fields declared: those that are there.

    >>> slices_of({"country": "NL", "amount": 3.0}, ("country", "channel"))
    {'country': 'NL'}
    """
    return {name: str(fields[name])[:LONGEST_ID] for name in names if fields.get(name) is not None}
