"""Messages to bytes and back, as JSON and as Avro; and what cannot be read."""

from __future__ import annotations

import io
import json
import math
import struct
from pathlib import Path
from typing import Any

import fastavro
import orjson
import pytest
from fastavro.types import Schema
from hypothesis import given
from hypothesis import strategies as st

from streamproc.codec import KINDS, AvroCodec, Codec, JsonCodec, Kind, message_schema, schema_files
from streamproc.errors import BadRecord, StreamprocError

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
EVENT_ID = 77
EVENT = fastavro.parse_schema(
    {
        "type": "record",
        "name": "Payment",
        "fields": [
            {"name": "id", "type": "long"},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "amount", "type": ["null", "double"]},
        ],
    }
)


def avro_codec(extra: dict[int, Schema] | None = None) -> AvroCodec:
    """Return a codec with the ids 1 to 4 for our messages, and others that can be looked up."""
    ids: dict[Kind, int] = {kind: number for number, kind in enumerate(KINDS, 1)}
    known = {number: message_schema(kind) for kind, number in ids.items()} | (extra or {})

    def lookup(number: int) -> Schema:
        if number not in known:
            raise BadRecord("unknown_schema", f"no schema {number}")
        return known[number]

    return AvroCodec(ids, lookup)


def example(kind: Kind) -> dict[str, Any]:
    """Return the message that the documentation shows."""
    found: dict[str, Any] = json.loads((EXAMPLES / f"{kind}.json").read_text("utf-8"))
    return found


def framed(schema_id: int, schema: Schema, datum: Any) -> bytes:
    """Return a datum in the Confluent wire format, by fastavro alone."""
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, schema, datum)
    return struct.pack(">bI", 0, schema_id) + buffer.getvalue()


def reason_of(codec: Codec, data: bytes | None) -> str:
    """Return why an event cannot be read."""
    with pytest.raises(BadRecord) as caught:
        codec.decode_input("events", data)
    return caught.value.reason


CODECS = pytest.mark.parametrize("codec", [JsonCodec(), avro_codec()], ids=["json", "avro"])


@CODECS
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_encoded_decodes_to_the_same(codec: Codec, kind: Kind) -> None:
    """Each documented message survives the way out and back, types of numbers included."""
    message = example(kind)

    back = codec.decode(kind, codec.encode(kind, message))

    assert message == back
    assert orjson.dumps(message) == orjson.dumps(back)


@pytest.mark.parametrize("kind", KINDS)
def test_published_json_is_what_encode_makes_of_the_message(kind: Kind) -> None:
    """JSON that is ready goes out as it is, or as the same Avro that its message gives."""
    message = example(kind)
    ready = orjson.dumps(message)
    avro = avro_codec()

    assert ready == JsonCodec().publish(kind, ready)
    assert avro.encode(kind, message) == avro.publish(kind, ready)


@pytest.mark.parametrize(
    ("score", "decision"),
    [
        (0.5, True),
        (-3.0, None),
        ({"red": 0.25, "blue": 0.75}, "blue"),
        ({"1": 0.25, "2": 0.75}, 2),
    ],
)
@CODECS
def test_every_kind_of_score_and_decision_keeps_its_type(
    codec: Codec, score: object, decision: object
) -> None:
    """Binary, regression and multiclass predictions keep numbers, booleans and text apart."""
    message = example("prediction") | {"score": score, "decision": decision}

    back = codec.decode("prediction", codec.encode("prediction", message))

    assert (score, decision) == (back["score"], back["decision"])
    assert type(decision) is type(back["decision"])


_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
_NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(features=st.dictionaries(_NAMES, _VALUES), label=_VALUES)
def test_json_and_avro_agree_on_any_features_and_label(
    features: dict[str, Any], label: Any
) -> None:
    """Whatever a feature and a label hold, Avro gives back what JSON gives back, to the type."""
    message = example("outcome") | {"features": features, "label": label}
    avro, plain = avro_codec(), JsonCodec()

    by_json = plain.decode("outcome", plain.encode("outcome", message))
    by_avro = avro.decode("outcome", avro.encode("outcome", message))

    assert repr(sorted(by_json["features"].items())) == repr(sorted(by_avro["features"].items()))
    assert repr(by_json["label"]) == repr(by_avro["label"])


@given(data=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Arbitrary bytes never raise anything but BadRecord, alone or behind a known schema's id."""
    codec = avro_codec({EVENT_ID: EVENT})

    reasons = {"empty_value", "not_json", "not_an_object", "not_avro", "unknown_schema"}

    def outcome_of(value: bytes) -> str:
        try:
            return type(codec.decode_input("events", value)).__name__
        except BadRecord as bad:
            return bad.reason

    assert outcome_of(data) in reasons | {"dict"}
    assert outcome_of(struct.pack(">bI", 0, EVENT_ID) + data) in {"not_avro", "dict"}


@CODECS
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "tombstone"),
        (b"", "empty_value"),
        (b" ", "not_json"),
        (b"{", "not_json"),
        (b"plain text", "not_json"),
        (b'{"amount": NaN}', "not_json"),
        (b'{"amount": -Infinity}', "not_json"),
        (b'{"amount": 1e999}', "not_json"),
        (b'{"amount": 1} {}', "not_json"),
        (b'{"name": "\xff"}', "not_json"),
        (b"[1, 2]", "not_an_object"),
        (b"17", "not_an_object"),
        (b"null", "not_an_object"),
    ],
)
def test_what_is_no_json_object_is_refused_with_its_reason(
    codec: Codec, data: bytes | None, reason: str
) -> None:
    """Each way of being no JSON object has a slug, the same whichever codec is set."""
    assert reason == reason_of(codec, data)


def test_avro_without_a_registry_tells_how_to_set_one() -> None:
    """A framed value that meets the JSON codec is refused with the remedy."""
    with pytest.raises(BadRecord, match="STREAMPROC_REGISTRY"):
        JsonCodec().decode_input("events", b"\0\0\0\0\1abc")


@CODECS
def test_json_is_read_whichever_codec_is_set(codec: Codec) -> None:
    """JSON events and messages stay readable after a registry was set."""
    message = example("outcome")

    assert codec.decode_input("events", b'{"id": 1}') == {"id": 1}
    assert message == codec.decode("outcome", orjson.dumps(message))


def test_an_avro_event_gives_what_a_json_event_would() -> None:
    """A timestamp is integer milliseconds, not a datetime that the pipeline does not know."""
    fields = {"id": 5, "at": 1530403200123, "amount": None}

    got = avro_codec({EVENT_ID: EVENT}).decode_input("events", framed(EVENT_ID, EVENT, fields))

    assert fields == got
    assert type(got["at"]) is int


@pytest.mark.parametrize(
    ("avro_type", "raw", "plain"),
    [
        ({"type": "long", "logicalType": "timestamp-micros"}, 1530403200123999, 1530403200123),
        ({"type": "long", "logicalType": "timestamp-millis"}, -1, -1),
        ({"type": "long", "logicalType": "local-timestamp-millis"}, 1530403200123, 1530403200123),
        ({"type": "int", "logicalType": "date"}, 17713, "2018-07-01"),
        ({"type": "string", "logicalType": "uuid"}, "6" * 8 + "-7777-4888-8999-" + "0" * 12,
         "6" * 8 + "-7777-4888-8999-" + "0" * 12),
        ({"type": "array", "items": {"type": "long", "logicalType": "timestamp-millis"}}, [5], [5]),
        ({"type": "map", "values": {"type": "int", "logicalType": "date"}}, {"a": 0},
         {"a": "1970-01-01"}),
    ],
)  # fmt: skip
def test_logical_types_become_what_json_has(avro_type: Any, raw: Any, plain: Any) -> None:
    """Times, dates and UUIDs come out as integers and text, inside lists and maps too."""

    def event(of: Any) -> Schema:
        return fastavro.parse_schema(
            {"type": "record", "name": "E", "fields": [{"name": "x", "type": of}]}
        )

    def bare(of: Any) -> Any:
        if of["type"] in ("array", "map"):
            inner = "items" if of["type"] == "array" else "values"
            return {**of, inner: of[inner]["type"]}
        return of["type"]

    data = framed(EVENT_ID, event(bare(avro_type)), {"x": raw})

    got = avro_codec({EVENT_ID: event(avro_type)}).decode_input("events", data)

    assert {"x": plain} == got


def test_an_avro_decimal_becomes_a_number() -> None:
    """A decimal amount is a float, as it would be in JSON."""
    schema = fastavro.parse_schema(
        {"type": "record", "name": "E", "fields": [
            {"name": "x", "type": {"type": "bytes", "logicalType": "decimal",
                                   "precision": 8, "scale": 2}}]}
    )  # fmt: skip
    plain = fastavro.parse_schema(
        {"type": "record", "name": "E", "fields": [{"name": "x", "type": "bytes"}]}
    )
    data = framed(EVENT_ID, plain, {"x": (1234).to_bytes(2, "big")})

    assert avro_codec({EVENT_ID: schema}).decode_input("events", data) == {"x": 12.34}


def test_damaged_avro_is_refused() -> None:
    """Bytes cut off, left over, or too few for an id are not_avro; an id nobody knows is named."""
    codec = avro_codec({EVENT_ID: EVENT, 78: fastavro.parse_schema("long")})
    whole = framed(EVENT_ID, EVENT, {"id": 5, "at": 0, "amount": 1.5})

    reasons = [
        reason_of(codec, whole[:-1]),
        reason_of(codec, whole + b"x"),
        reason_of(codec, whole[:3]),
        reason_of(codec, struct.pack(">bI", 0, 4711) + whole[5:]),
        reason_of(codec, framed(78, fastavro.parse_schema("long"), 5)),
    ]

    assert reasons == ["not_avro"] * 3 + ["unknown_schema", "not_an_object"]


def test_a_registry_that_is_away_is_no_fault_of_the_record() -> None:
    """A lookup that fails for want of a registry is not turned into a dead letter."""

    def away(number: int) -> Schema:
        raise StreamprocError("no schema registry answered")

    codec = AvroCodec({kind: n for n, kind in enumerate(KINDS)}, away)

    with pytest.raises(StreamprocError, match="no schema registry answered"):
        codec.decode_input("events", b"\0\0\0\0\x63abc")


def test_a_message_of_another_version_is_read_in_the_form_of_ours() -> None:
    """A later writer's added field is dropped by the reader's schema, and nothing else changes."""
    ours: Any = json.loads(schema_files("alert")[-1].read_text("utf-8"))
    ours["fields"].append({"name": "owner", "type": ["null", "string"], "default": None})
    newer = fastavro.parse_schema(ours)
    message = example("alert")
    data = framed(9, newer, message | {"owner": "risk"})

    assert message == avro_codec({9: newer}).decode("alert", data)


@CODECS
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", ["score", "feature", "class", "statistic", "metric"])
def test_a_number_that_is_not_finite_is_never_emitted(codec: Codec, bad: float, place: str) -> None:
    """NaN and the infinities are refused wherever they stand, not written as null."""
    places: dict[str, tuple[Kind, dict[str, Any]]] = {
        "score": ("prediction", {"score": bad}),
        "feature": ("prediction", {"features": {"a": 1.0, "b": bad}}),
        "class": ("outcome", {"score": {"a": 0.5, "b": bad}}),
        "statistic": ("alert", {"statistic": bad}),
        "metric": ("model", {"metrics": {"roc_auc": bad}}),
    }
    kind, change = places[place]

    with pytest.raises(BadRecord) as caught:
        codec.encode(kind, example(kind) | change)

    assert caught.value.reason == "not_finite"


def test_a_score_that_became_null_in_json_is_refused_by_avro() -> None:
    """A score that was NaN before it was made JSON is told as such when Avro is published."""
    ready = orjson.dumps(example("prediction") | {"score": math.nan})

    with pytest.raises(BadRecord) as caught:
        avro_codec().publish("prediction", ready)

    assert caught.value.reason == "not_finite"


@pytest.mark.parametrize(
    "change",
    [{"event_time_ms": "text"}, {"unheard_of": 1}, {"features": {"a": [1]}}, {"id": None}],
)
def test_a_message_that_does_not_fit_its_schema_is_refused(change: dict[str, Any]) -> None:
    """A wrong type or a field that the schema lacks fails loudly in Avro, and is not dropped."""
    with pytest.raises(BadRecord) as caught:
        avro_codec().encode("prediction", example("prediction") | change)

    assert caught.value.reason == "not_encodable"


def test_what_json_cannot_hold_is_refused() -> None:
    """A value that orjson does not know is a BadRecord, not a TypeError in the agent."""
    with pytest.raises(BadRecord) as caught:
        JsonCodec().encode("prediction", {"id": object()})

    assert caught.value.reason == "not_encodable"
