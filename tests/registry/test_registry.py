"""Avro by a real schema registry, with confluent_kafka's own serializers as the oracle."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from streamproc.codec import KINDS, Kind, schema_files
from streamproc.errors import BadRecord, StreamprocError
from streamproc.kafka import registry as under_test
from streamproc.kafka.registry import Registry
from tests.registry_server import RegistryServer

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
PAYMENT = {
    "type": "record",
    "name": "Payment",
    "namespace": "shop",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "amount", "type": "double"},
    ],
}


@pytest.fixture
def ours(registry: RegistryServer) -> Iterator[Registry]:
    """Return our side of the registry."""
    with Registry(registry.url) as opened:
        yield opened


@pytest.fixture
def theirs(registry: RegistryServer) -> Iterator[SchemaRegistryClient]:
    """Return Confluent's own client, which knows nothing of us."""
    client = SchemaRegistryClient({"url": registry.url})
    yield client
    client.close()


@dataclass(frozen=True)
class Topics:
    """The names of the topics that matter here."""

    events: str
    predictions: str
    outcomes: str
    models: str
    alerts: str
    late: str
    metrics: str


@pytest.fixture
def topics() -> Any:
    """Return the topics of a pipeline that no other test has."""
    name = f"p{uuid.uuid4().hex[:8]}"
    return Topics(*(f"{name}.{role}" for role in Topics.__dataclass_fields__))


def topic_of(topics: Any, kind: Kind) -> str:
    """Return the topic that a kind of message goes to."""
    named = {"late": "late", "performance": "metrics"}
    return str(getattr(topics, named.get(kind, f"{kind}s")))


def in_value_of(topic: str) -> SerializationContext:
    """Return what Confluent's serializers want to know."""
    return SerializationContext(topic, MessageField.VALUE)


def example(kind: Kind) -> dict[str, Any]:
    """Return the message that the documentation shows."""
    found: dict[str, Any] = json.loads((EXAMPLES / f"{kind}.json").read_text("utf-8"))
    return found


def as_avro(kind: Kind, message: dict[str, Any]) -> dict[str, Any]:
    """Return a message as others see it in Avro: a model's sources are JSON text there."""
    if kind != "model":
        return message
    return message | {"sources": {k: json.dumps(v) for k, v in message["sources"].items()}}


def seen(kind: Kind, message: dict[str, Any]) -> dict[str, Any]:
    """Return a message that Confluent's deserializer gave, with its JSON text normalized."""
    if kind == "model":
        loaded = {k: json.dumps(json.loads(v)) for k, v in message["sources"].items()}
        return message | {"sources": loaded}
    return message


@pytest.mark.parametrize("kind", KINDS)
def test_what_we_write_confluents_deserializer_reads(
    ours: Registry, theirs: SchemaRegistryClient, topics: Any, kind: Kind
) -> None:
    """A consumer with the stock deserializer and the registry's address gets the message."""
    message, topic = example(kind), topic_of(topics, kind)

    data = ours.codec(topics).encode(kind, message)
    read = AvroDeserializer(theirs)(data, in_value_of(topic))

    assert isinstance(read, dict)
    assert as_avro(kind, message) == seen(kind, read)


@pytest.mark.parametrize("kind", KINDS)
def test_what_confluents_serializer_writes_we_read(
    ours: Registry, theirs: SchemaRegistryClient, topics: Any, kind: Kind
) -> None:
    """A message written by the stock serializer under our subject decodes, by the same id."""
    message, topic = example(kind), topic_of(topics, kind)
    codec = ours.codec(topics)
    text = schema_files(kind)[-1].read_text("utf-8")
    serializer = AvroSerializer(theirs, json.dumps(json.loads(text)))

    data = serializer(as_avro(kind, message), in_value_of(topic))

    assert data is not None
    assert codec.encode(kind, message)[:5] == data[:5]
    assert message == codec.decode(kind, data)


def test_an_event_by_confluents_serializer_is_read_by_its_writers_schema(
    ours: Registry, theirs: SchemaRegistryClient, topics: Any
) -> None:
    """The user's own schema needs no copy with us: the id in the record leads to it."""
    event = {"id": 7, "at": 1530403200123, "amount": 12.5}
    data = AvroSerializer(theirs, json.dumps(PAYMENT))(event, in_value_of(topics.events))

    assert event == ours.codec(topics).decode_input(topics.events, data)


def test_an_event_whose_schema_evolved_is_read_beside_the_old_ones(
    ours: Registry, theirs: SchemaRegistryClient, topics: Any
) -> None:
    """Old and new records of one topic are each read as they were written."""
    later = json.loads(json.dumps(PAYMENT))
    later["fields"].append({"name": "country", "type": "string", "default": "NL"})
    old, new = {"id": 7, "at": 1, "amount": 1.5}, {"id": 8, "at": 2, "amount": 2.5, "country": "FR"}
    context, codec = in_value_of(topics.events), ours.codec(topics)

    data = [
        AvroSerializer(theirs, json.dumps(PAYMENT))(old, context),
        AvroSerializer(theirs, json.dumps(later))(new, context),
    ]

    assert [old, new] == [codec.decode_input(topics.events, value) for value in data]


def test_registering_twice_gives_the_same_id_under_the_topics_name(
    ours: Registry, theirs: SchemaRegistryClient, topics: Any
) -> None:
    """A worker that starts again changes nothing; the subject is held to compatibility."""
    first = ours.register("alert", topics.alerts)

    assert first == ours.register("alert", topics.alerts)
    assert theirs.get_versions(f"{topics.alerts}-value") == [1]
    assert theirs.get_compatibility(f"{topics.alerts}-value") == "BACKWARD"


def test_a_stricter_promise_of_the_operators_is_kept(
    ours: Registry, theirs: SchemaRegistryClient, topics: Any
) -> None:
    """A subject held to FULL stays so; one held to NONE is not left without a guard."""
    theirs.set_compatibility(f"{topics.alerts}-value", "FULL")
    ours.register("model", topics.models)
    theirs.set_compatibility(f"{topics.models}-value", "NONE")

    ours.register("alert", topics.alerts)
    ours.register("model", topics.models)

    assert theirs.get_compatibility(f"{topics.alerts}-value") == "FULL"
    assert theirs.get_compatibility(f"{topics.models}-value") == "BACKWARD"


def test_an_incompatible_schema_is_refused_by_name(
    ours: Registry,
    topics: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker whose schema can't read what is there gets one line with the subject and remedy."""
    ours.register("alert", topics.alerts)
    broken = json.loads(schema_files("alert")[-1].read_text("utf-8"))
    broken["fields"][0]["type"] = "long"
    file = tmp_path / "alert-v2.avsc"
    file.write_text(json.dumps(broken))
    monkeypatch.setattr(under_test, "schema_files", lambda kind: [file])

    with pytest.raises(StreamprocError) as caught:
        ours.register("alert", topics.alerts)

    told = str(caught.value)
    assert f"{topics.alerts}-value" in told
    assert "only with a default" in told
    assert "\n" not in told


def test_an_id_that_the_registry_does_not_know_is_a_bad_record(ours: Registry) -> None:
    """Bytes that only look like Avro become a dead letter, with the id in words."""
    with pytest.raises(BadRecord, match="no schema with id 987654") as caught:
        ours.lookup(987654)

    assert caught.value.reason == "unknown_schema"


def test_a_schema_is_fetched_once(
    ours: Registry, theirs: SchemaRegistryClient, topics: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known and unknown ids are remembered, so that a record does not cost a request."""
    known = theirs.register_schema(f"{topics.events}-value", Schema(json.dumps(PAYMENT), "AVRO"))
    parsed = ours.lookup(known)
    with pytest.raises(BadRecord):
        ours.lookup(987655)
    monkeypatch.setattr(ours, "_client", None)  # nobody to ask from here on

    assert parsed is ours.lookup(known)
    with pytest.raises(BadRecord, match="no schema with id 987655"):
        ours.lookup(987655)


def test_a_schema_that_is_no_avro_is_a_bad_record(
    ours: Registry, theirs: SchemaRegistryClient, topics: Any
) -> None:
    """A JSON Schema in the registry is told as what it is."""
    schema = Schema('{"$schema": "http://json-schema.org/draft-07/schema#"}', "JSON")
    number = theirs.register_schema(f"{topics.events}-value", schema)

    with pytest.raises(BadRecord, match="is JSON"):
        ours.lookup(number)


def test_a_path_without_the_api_is_told_with_the_remedy(registry: RegistryServer) -> None:
    """Apicurio's address without its path is the likeliest mistake; the line names the path."""
    address = registry.url.removesuffix("/apis/ccompat/v7")

    with (
        Registry(address) as wrong,
        pytest.raises(StreamprocError, match="Apicurio: /apis/ccompat/v7"),
    ):
        wrong.register("alert", "x.alerts")
