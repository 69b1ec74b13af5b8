"""Reading events and labels: from a record's bytes to the fields that the path needs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import repeat
from typing import Any, NamedTuple

from streamproc.codec import Codec
from streamproc.errors import BadRecord
from streamproc.eventtime import parse_time_ms
from streamproc.features.entities import LONGEST_ID, text_of
from streamproc.features.lookup import Versions
from streamproc.features.texts import read_times_ms
from streamproc.models.scoring import parse_label
from streamproc.pipeline import Pipeline
from streamproc.tasks.records import Record

FUTURE_MS = 3_600_000
"""How far ahead of the clock a time may be; brokers refuse timestamps beyond that too."""

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


_DEFAULTS = [repeat(value) for value in Event._field_defaults.values()]
_event = partial(tuple.__new__, Event)


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
        self._decode, self._decode_all = codec.decode_input, codec.decode_inputs

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
        check_not_ahead(names.time, time, time_ms, now_ms)
        return Event(record_id, key, time_ms, fields, record)

    def events(self, records: Sequence[Record], now_ms: int) -> list[Event] | None:
        """Read events as :meth:`event` does, column by column, which takes a third of the time.

        None where one of them can't be read, or is of a rarer form: then read each by itself.
        """
        values = [record.value() for record in records]
        names = self._pipeline.events
        id_name, key_name, time_name = names.id, names.key, names.time
        try:
            if max(map(len, values), default=0) > LARGEST_BYTES:  # type: ignore[arg-type]
                return None
            fields = self._decode_all(names.topic, values)
            ids = _texts_of([each[id_name] for each in fields])
            keys = _texts_of([each[key_name] for each in fields])
            times_ms = read_times_ms([each[time_name] for each in fields])
        except (TypeError, KeyError, BadRecord):  # no value, no such field, another form
            return None
        if ids is None or keys is None or max(times_ms) > now_ms + FUTURE_MS:
            return None
        rows = zip(ids, keys, times_ms, fields, records, *_DEFAULTS, strict=False)
        return list(map(_event, rows))

    def label(self, record: Record, now_ms: int) -> Label:
        """Read a label; one known after now would let monitors go on as if all had come."""
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
        time_ms = parse_time_ms(fields[names.time])
        check_not_ahead(names.time, fields[names.time], time_ms, now_ms)
        return Label(record_id, label, time_ms, record)


def check_not_ahead(name: str, time: Any, time_ms: int, now_ms: int) -> None:
    """Raise :class:`BadRecord` where a field's time is over an hour ahead of the clock.

    >>> check_not_ahead("at", 5, 5, now_ms=0)
    """
    if time_ms > now_ms + FUTURE_MS:
        raise BadRecord("time_in_future", f"field {name!r} is {time!r:.40}, over an hour ahead")


def _texts_of(column: Sequence[Any]) -> Sequence[str] | None:
    """Return texts as ``text_of`` does, where all are of one kind and none is refused."""
    kinds = set(map(type, column))
    if kinds == {int}:
        return list(map(str, column))
    if kinds != {str}:
        return None
    lengths = set(map(len, column))
    return column if min(lengths) > 0 and max(lengths) <= LONGEST_ID else None


def slices_of(fields: dict[str, Any], names: Sequence[str]) -> dict[str, str]:
    """Return the slices an event falls into, of the fields declared: those that are there.

    >>> slices_of({"country": "NL", "amount": 3.0}, ("country", "channel"))
    {'country': 'NL'}
    """
    return {name: str(fields[name])[:LONGEST_ID] for name in names if fields.get(name) is not None}
