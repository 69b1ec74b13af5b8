"""Hostile Avro: a registry for a field, records that are damaged in their frame or their datum.

What the pipeline writes is Avro then, too, and read here by fastavro and the published schemas.
"""

from __future__ import annotations

import io
import json
import random
import struct
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import fastavro
import orjson
from confluent_kafka import Message
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from tests.registry_server import RegistryServer
from tests.servers import ROOT

Fields = dict[str, Any]
_FRAME = struct.Struct(">bI")
_UNKNOWN = [0, 7_001, 7_002, 2**31, 2**32 - 1]
_OLD = "1970-01-02T03:04:05Z"

_PAYMENT = {
    "type": "record",
    "name": "Payment",
    "fields": [
        {"name": "transaction_id", "type": "string"},
        {"name": "event_time", "type": ["null", "string", "long"]},
        {"name": "customer_id", "type": "string"},
        {"name": "terminal_id", "type": "long"},
        {"name": "amount", "type": ["null", "double", "string"]},
        {"name": "note", "type": {"type": "array", "items": "string"}, "default": []},
    ],
}
_LABEL = {
    "type": "record",
    "name": "Fraud",
    "fields": [
        {"name": "transaction_id", "type": "string"},
        {"name": "fraud", "type": ["null", "int", "double"]},
    ],
}
_LIST = {"type": "array", "items": "string"}


@cache
def published(kind: str) -> Any:
    """Return the newest schema of a message that the pipeline publishes."""
    newest = sorted((ROOT / "schemas").glob(f"{kind}-v*.avsc"))[-1]
    return fastavro.parse_schema(json.loads(newest.read_text("utf-8")))


def decoded(message: Message, kind: str) -> dict[str, Any]:
    """Return a message of the pipeline's, whether it is Avro or JSON."""
    value = message.value() or b"{}"
    found: dict[str, Any] = (
        read_datum(value, published(kind)) if value[0] == 0 else orjson.loads(value)
    )
    return found


def read_datum(value: bytes, schema: Any) -> Any:
    """Return what is in a framed value; raises whatever fastavro does where it is damaged."""
    buffer = io.BytesIO(value)
    buffer.seek(_FRAME.size)
    found: Any = fastavro.schemaless_reader(buffer, schema, None)
    if buffer.tell() != len(value):
        raise ValueError("bytes are left over")
    return found


class AvroSide:
    """A registry with the schemas of the inputs; ``schemas`` are those, by id."""

    def __init__(self, folder: Path, name: str) -> None:
        self._server = RegistryServer(folder)
        self.url = self._server.url
        client = SchemaRegistryClient({"url": self.url})
        self.schemas: dict[int, Any] = {}
        self._ids: dict[str, int] = {}
        for topic, schema in (("transactions", _PAYMENT), ("labels", _LABEL), ("lists", _LIST)):
            written = Schema(json.dumps(schema), "AVRO")
            number = client.register_schema(f"{name}.{topic}-value", written)
            self._ids[topic] = number
            self.schemas[number] = fastavro.parse_schema(schema)
        client.close()

    def stop(self) -> None:
        """Stop the registry."""
        self._server.stop()

    def framed(self, topic: str, fields: Fields) -> bytes:
        """Return fields as Avro, framed."""
        number = self._ids[topic]
        buffer = io.BytesIO()
        buffer.write(_FRAME.pack(0, number))
        fastavro.schemaless_writer(buffer, self.schemas[number], fields)
        return buffer.getvalue()

    def mutate(self, topic: str, fields: Fields, chance: random.Random) -> bytes:
        """Return a hostile value made of valid fields; one of eight is valid all the same."""
        kinds: list[Callable[[str, Fields, random.Random], bytes]] = [
            self._frame, self._cut, self._flipped, self._longer, self._odd, self._list,
            self._counts, self._valid,
        ]  # fmt: skip
        return chance.choice(kinds)(topic, dict(fields), chance)

    def _valid(self, topic: str, fields: Fields, chance: random.Random) -> bytes:
        return self.framed(topic, fields)

    def _frame(self, topic: str, fields: Fields, chance: random.Random) -> bytes:
        datum = self.framed(topic, fields)[_FRAME.size :]
        return _FRAME.pack(0, chance.choice([*_UNKNOWN, *self._ids.values()])) + datum

    def _cut(self, topic: str, fields: Fields, chance: random.Random) -> bytes:
        whole = self.framed(topic, fields)
        return whole[: chance.randrange(1, len(whole))]

    def _flipped(self, topic: str, fields: Fields, chance: random.Random) -> bytes:
        if "event_time" in fields:
            fields["event_time"] = _OLD  # no flip of it comes near the payments
        whole = bytearray(self.framed(topic, fields))
        for _ in range(chance.randint(1, 3)):
            whole[chance.randrange(_FRAME.size, len(whole))] = chance.randrange(256)
        return bytes(whole)

    def _longer(self, topic: str, fields: Fields, chance: random.Random) -> bytes:
        return self.framed(topic, fields) + chance.randbytes(chance.randint(1, 40))

    def _odd(self, topic: str, fields: Fields, chance: random.Random) -> bytes:
        odd = chance.choice([float("nan"), float("inf"), -0.0, 1e308, 5e-324, None])
        if topic == "labels":
            return self.framed(topic, fields | {"fraud": odd})
        times = chance.choice([None, 0, -1, -(2**63), 2**63 - 1, "", "2018-02-30T00:00:00Z"])
        return self.framed(topic, fields | {"amount": odd, "event_time": times})

    def _list(self, topic: str, fields: Fields, chance: random.Random) -> bytes:
        return self.framed("lists", ["h"] * chance.randrange(5))  # type: ignore[arg-type]

    def _counts(self, topic: str, fields: Fields, chance: random.Random) -> bytes:
        """Announce more text, or more items, than there is."""
        number = chance.choice([2**20, 2**31, 2**40, 2**62, -1, -(2**62)])
        return _FRAME.pack(0, self._ids[topic]) + _zigzag(number) + chance.randbytes(20)


def fields_of(value: bytes | None, schemas: Mapping[int, Any]) -> Fields:
    """Return the fields of a framed event or label; none where it cannot be read."""
    try:
        _, number = _FRAME.unpack_from(value or b"")
        found = read_datum(value or b"", schemas[number])
    except Exception:  # whatever fastavro raises of damage
        return {}
    return found if isinstance(found, dict) else {}


def _zigzag(number: int) -> bytes:
    """Write a number as Avro does.

    >>> _zigzag(-1), _zigzag(64)
    (b'\\x01', b'\\x80\\x01')
    """
    left = (number << 1) ^ (number >> 63)
    found = bytearray()
    while left > 127:
        found.append(left & 127 | 128)
        left >>= 7
    found.append(left)
    return bytes(found)
