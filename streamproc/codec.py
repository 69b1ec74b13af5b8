"""Bytes to messages and back: JSON by orjson, or Avro by the schemas in ``schemas/``.

Avro goes in the Confluent wire format: a zero byte, the schema's id in the registry as a big-endian
32-bit integer, the datum. Nothing here reaches the network: the ids, and the way to look up a
schema, are handed in (see :mod:`streamproc.kafka.registry`). JSON is read everywhere, also where
Avro is written, as no JSON begins with a zero byte; so a registry can be set on topics with JSON.
"""

from __future__ import annotations

import io
import json
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any, Literal, Protocol

import fastavro
import orjson
from fastavro.types import Schema

from streamproc.errors import BadRecord

Kind = Literal["prediction", "outcome", "alert", "model", "late", "performance"]
KINDS: tuple[Kind, ...] = ("prediction", "outcome", "alert", "model", "late", "performance")

_FRAME = struct.Struct(">bI")
_MAGIC = 0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_AS_IT_IS = frozenset({str, int, float, bool, type(None)})


class Codec(Protocol):
    """What turns messages into bytes and back. Every method raises :class:`BadRecord`."""

    def encode(self, kind: Kind, message: Mapping[str, Any]) -> bytes:
        """Return the bytes of a message of ours; ``not_finite`` if a float in it isn't finite."""

    def publish(self, kind: Kind, message: bytes) -> bytes:
        """Return the bytes to publish for a message that is JSON already, made by orjson.

        The caller sees to it that the score is finite: orjson has turned NaN into null by now.
        """

    def decode(self, kind: Kind, data: bytes | None) -> dict[str, Any]:
        """Return a message of ours; its fields are not checked beyond what the schema does."""

    def decode_many(self, kind: Kind, datas: Sequence[bytes | None]) -> list[dict[str, Any]]:
        """Return many messages; raises where one can't be read, not saying which."""

    def decode_input(self, topic: str, data: bytes | None) -> dict[str, Any]:
        """Return the fields of an event or a label from one of the user's topics."""

    def decode_inputs(self, topic: str, datas: Sequence[bytes | None]) -> list[dict[str, Any]]:
        """Return the fields of many; raises where one can't be read, not saying which."""


class JsonCodec:
    """JSON, one orjson call a message.

    >>> codec = JsonCodec()
    >>> codec.encode("prediction", {"id": "7", "score": 0.25})
    b'{"id":"7","score":0.25}'
    >>> codec.decode_input("payments.transactions", b'{"amount": 12.5}')
    {'amount': 12.5}
    """

    def encode(self, kind: Kind, message: Mapping[str, Any]) -> bytes:
        """Return the message as JSON; raises ``not_finite`` and ``not_encodable``."""
        try:
            data = orjson.dumps(message)
        except TypeError as error:
            raise BadRecord("not_encodable", f"this {kind} is no JSON: {error}") from None
        if b"null" in data:  # what orjson makes of NaN and the infinities, too
            _check_finite(kind, message)
        return data

    def publish(self, kind: Kind, message: bytes) -> bytes:
        """Return the message as it is."""
        return message

    def decode(self, kind: Kind, data: bytes | None) -> dict[str, Any]:
        """Return the message; raises as :meth:`decode_input` does."""
        return _object_of(data)

    def decode_many(self, kind: Kind, datas: Sequence[bytes | None]) -> list[dict[str, Any]]:
        """Return many messages; raises where one can't be read, not saying which."""
        return self.decode_inputs(kind, datas)

    def decode_input(self, topic: str, data: bytes | None) -> dict[str, Any]:
        """Return the fields; raises ``tombstone, empty_value, not_json, not_an_object``."""
        return _object_of(data)

    def decode_inputs(self, topic: str, datas: Sequence[bytes | None]) -> list[dict[str, Any]]:
        """Return the fields of many; raises where one can't be read, not saying which."""
        try:
            found = list(map(orjson.loads, datas))  # type: ignore[arg-type]
        except orjson.JSONDecodeError as error:
            raise BadRecord("not_json", f"one of these values is no JSON: {error}") from None
        if set(map(type, found)) != {dict}:
            raise BadRecord("not_an_object", "one of these values is JSON, but no object")
        return found


class AvroCodec:
    """Avro in the Confluent wire format.

    ``ids`` are the ids under which the registry has our newest schemas. ``lookup`` returns a
    parsed schema by its id, and raises :class:`BadRecord` (``unknown_schema``) where there is none;
    what else it raises passes through, since a registry that is away is no fault of the record.

    >>> schemas = {n: message_schema(kind) for n, kind in enumerate(KINDS)}
    >>> codec = AvroCodec({kind: n for n, kind in enumerate(KINDS)}, schemas.__getitem__)
    >>> alert = {
    ...     "alert_id": "a1", "key": "covariate_drift amount", "status": "open",
    ...     "kind": "covariate_drift", "subject": "amount", "slice": None, "severity": "warning",
    ...     "statistic": 9.5, "threshold": 5.0, "expected": 53.1, "observed": 80.0,
    ...     "samples": 4000, "first_seen_ms": 0, "detected_at_ms": 1, "summary": "Look at amount.",
    ... }
    >>> data = codec.encode("alert", alert)
    >>> data[:5]
    b'\\x00\\x00\\x00\\x00\\x02'
    >>> codec.decode("alert", data).items() >= alert.items()
    True
    """

    def __init__(self, ids: Mapping[Kind, int], lookup: Callable[[int], Schema]) -> None:
        self._lookup = lookup
        self._schemas = {kind: message_schema(kind) for kind in ids}
        self._ids = dict(ids)
        self._frames = {kind: _FRAME.pack(_MAGIC, number) for kind, number in ids.items()}

    def encode(self, kind: Kind, message: Mapping[str, Any]) -> bytes:
        """Return the framed message; raises ``not_finite`` and ``not_encodable``."""
        _check_finite(kind, message)
        if kind == "model":
            message = _with_sources(message, lambda value: orjson.dumps(value).decode())
        buffer = io.BytesIO()
        buffer.write(self._frames[kind])
        try:
            fastavro.schemaless_writer(
                buffer, self._schemas[kind], message, strict_allow_default=True
            )
        except Exception as error:  # whatever type the misfit happened to raise in fastavro
            raise BadRecord(
                "not_encodable", f"this {kind} doesn't fit its schema: {_first_line(error)}"
            ) from None
        return buffer.getvalue()

    def publish(self, kind: Kind, message: bytes) -> bytes:
        """Return the framed message; raises as :meth:`encode` does."""
        return self.encode(kind, orjson.loads(message))

    def decode(self, kind: Kind, data: bytes | None) -> dict[str, Any]:
        """Return the message, in the form of our newest schema, whichever version wrote it.

        Raises ``tombstone, empty_value, not_avro, unknown_schema``; for JSON as JsonCodec does.
        """
        if not data or data[0] != _MAGIC:
            return _object_of(data)
        number = _schema_id(data)
        ours = self._schemas[kind]
        if number == self._ids[kind]:
            message = _datum(data, ours, None)
        else:
            message = _datum(data, self._lookup(number), ours)
        return dict(_with_sources(message, orjson.loads)) if kind == "model" else message

    def decode_many(self, kind: Kind, datas: Sequence[bytes | None]) -> list[dict[str, Any]]:
        """Return many messages; raises as :meth:`decode` does."""
        return [self.decode(kind, data) for data in datas]

    def decode_input(self, topic: str, data: bytes | None) -> dict[str, Any]:
        """Return the fields, from Avro by its writer's schema or from JSON.

        Logical types become what a JSON event would have: timestamps integer milliseconds, decimals
        floats, dates, times and UUIDs text. Raises as :meth:`decode` does, and ``not_an_object``.
        """
        if not data or data[0] != _MAGIC:
            return _object_of(data)
        fields = _datum(data, self._lookup(_schema_id(data)), None)
        return {name: _plain(value) for name, value in fields.items()}

    def decode_inputs(self, topic: str, datas: Sequence[bytes | None]) -> list[dict[str, Any]]:
        """Return the fields of many; raises as :meth:`decode_input` does."""
        return [self.decode_input(topic, data) for data in datas]


@cache
def message_schema(kind: Kind) -> Schema:
    """Return the newest schema of a message of ours, parsed.

    >>> message_schema("alert")["name"]
    'streamproc.Alert'
    """
    return fastavro.parse_schema(json.loads(schema_files(kind)[-1].read_text("utf-8")))


def schema_files(kind: Kind) -> list[Path]:
    """Return the files of all versions of a message's schema, oldest first.

    >>> [path.name for path in schema_files("prediction")][0]
    'prediction-v1.avsc'
    """
    installed = Path(__file__).with_name("schemas")
    folder = installed if installed.is_dir() else Path(__file__).parents[1] / "schemas"
    found = {
        int(match[1]): path
        for path in folder.iterdir()
        if (match := re.fullmatch(rf"{kind}-v([0-9]+)\.avsc", path.name))
    }
    return [path for _, path in sorted(found.items())]


def _object_of(data: bytes | None) -> dict[str, Any]:
    try:
        value = orjson.loads(data)  # type: ignore[arg-type]  # None ends in the except, too
    except orjson.JSONDecodeError as error:
        raise _why_not_json(data, error) from None
    if type(value) is not dict:
        raise BadRecord("not_an_object", f"the value is JSON, but a {type(value).__name__}")
    return value


def _why_not_json(data: bytes | None, error: orjson.JSONDecodeError) -> BadRecord:
    if data is None:
        return BadRecord("tombstone", "the record has no value")
    if not data:
        return BadRecord("empty_value", "the value is 0 bytes long")
    if data[0] == _MAGIC:
        return BadRecord(
            "not_json", "the value begins with a zero byte; if it is Avro, set STREAMPROC_REGISTRY"
        )
    return BadRecord("not_json", f"the value is no JSON: {error}")


def _schema_id(data: bytes) -> int:
    if len(data) < _FRAME.size:
        raise BadRecord("not_avro", f"{len(data)} bytes are too few for the id of a schema")
    return int(_FRAME.unpack_from(data)[1])


def _datum(data: bytes, writer: Schema, reader: Schema | None) -> dict[str, Any]:
    buffer = io.BytesIO(data)
    buffer.seek(_FRAME.size)
    try:
        value = fastavro.schemaless_reader(buffer, writer, reader)
    except Exception as error:  # whatever type the damage happened to raise in fastavro
        raise BadRecord(
            "not_avro", f"the value doesn't fit its schema: {_first_line(error)}"
        ) from None
    if buffer.tell() != len(data):
        left = len(data) - buffer.tell()
        raise BadRecord("not_avro", f"{left} bytes are left over after the schema's last field")
    if type(value) is not dict:
        raise BadRecord("not_an_object", f"the value is Avro, but a {type(value).__name__}")
    return value


def _plain(value: Any) -> Any:
    """Return what JSON would have had in place of an Avro value."""
    if type(value) in _AS_IT_IS or isinstance(value, bytes):
        return value
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return (aware - _EPOCH) // _MS
    if isinstance(value, Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, date) else str(value)


def _check_finite(kind: Kind, message: Mapping[str, Any]) -> None:
    for name, value in message.items():
        if type(value) is float:
            if not isfinite(value):
                raise BadRecord("not_finite", f"this {kind}'s {name} is {value}")
        elif type(value) is dict:
            for inner, number in value.items():
                if type(number) is float and not isfinite(number):
                    raise BadRecord("not_finite", f"this {kind}'s {name}, {inner!r}, is {number}")
    if message.get("score", 0.0) is None:  # it was NaN before it was JSON
        raise BadRecord("not_finite", f"this {kind}'s score is null")


def _with_sources(message: Mapping[str, Any], change: Callable[[Any], Any]) -> Mapping[str, Any]:
    """Return a model message with its sources changed: in Avro each is JSON as text."""
    return {**message, "sources": {name: change(it) for name, it in message["sources"].items()}}


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__} {error}".splitlines()[0][:200].strip()
