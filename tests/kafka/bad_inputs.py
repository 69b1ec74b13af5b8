"""Every bad input there is, each with what must become of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import orjson

START_MS = 1_530_403_200_000  # 2018-07-01T00:00:00Z
MINUTE_MS = 60_000
DAY_MS = 1_440 * MINUTE_MS
BAD_KEY = b"3"
"""All bad records have this key, so that one partition has to bear them all."""


@dataclass(frozen=True)
class Case:
    """A bad record: where it goes, its bytes, its timestamp, and what must become of it.

    ``reason`` is the dead letter's; None where the record is used all the same, and then ``id`` is
    that of the prediction, or of the outcome for a label.
    """

    name: str
    topic: Literal["events", "labels"]
    value: bytes | None
    timestamp_ms: int
    reason: str | None
    id: str | None = None

    def __str__(self) -> str:
        return self.name


def event(event_id: str, at_ms: int, card: int, amount: float | None) -> bytes:
    """Return a good event."""
    return orjson.dumps({"id": event_id, "card": card, "at": at_ms, "amount": amount})


def label(event_id: str, fraud: int) -> bytes:
    """Return a good label."""
    return orjson.dumps({"id": event_id, "fraud": fraud})


_AT_MS = START_MS + 300 * MINUTE_MS
_CARD = int(BAD_KEY)
_OWN = b'{"id":"%b","card":3,"at":' + b"%d" % _AT_MS


def _like(name: str, **changed: Any) -> bytes:
    """Return a good event but for some fields; one that is ``...`` is left out."""
    good = {"id": name, "card": _CARD, "at": _AT_MS, "amount": 10.0}
    return orjson.dumps({k: v for k, v in (good | changed).items() if v is not ...})


def _dead(name: str, value: bytes | None, reason: str) -> Case:
    return Case(name, "events", value, _AT_MS, reason)


def _raw(name: str, amount: bytes) -> bytes:
    return _OWN % name.encode() + b',"amount":' + amount + b"}"


EVENTS = [
    _dead("not JSON", b"amount=12", "not_json"),
    _dead("JSON cut off", b'{"id":"cut","card":3,"at":', "not_json"),
    _dead("not UTF-8", b'{"id":"\xff\xfe","card":3}', "not_json"),
    _dead("nested too deep", b"[" * 100_000, "not_json"),
    _dead("JSON that is an array", b'["id", 1]', "not_an_object"),
    _dead("JSON that is null", b"null", "not_an_object"),
    _dead("missing id", _like("x", id=...), "missing_id"),
    _dead("null id", _like("x", id=None), "missing_id"),
    _dead("id that is a boolean", _like("x", id=True), "id_not_valid"),
    _dead("missing key", _like("no-key", card=...), "missing_key"),
    _dead("null key", _like("null-key", card=None), "missing_key"),
    _dead("key that is a list", _like("list-key", card=[3]), "key_not_valid"),
    _dead("key of 500 kB", _like("long-key", card="3" * 500_000), "key_not_valid"),
    _dead("key of 1 MB", _like("longer-key", card="3" * 1_000_000), "too_large"),
    _dead("missing time", _like("no-time", at=...), "missing_time"),
    _dead("time in another form", _like("form", at="07/01/2018 05:00"), "time_not_valid"),
    _dead("time that is a float", _like("float", at=_AT_MS / 1000), "time_not_valid"),
    _dead("date that is none", _like("date", at="2018-02-30T00:00:00Z"), "time_not_valid"),
    _dead("far future", _like("future", at="2999-01-01T00:00:00Z"), "time_in_future"),
    _dead("NaN", _raw("nan", b"NaN"), "not_json"),
    _dead("Infinity", _raw("inf", b"-Infinity"), "not_json"),
    _dead("number beyond a float", _raw("huge", b"1e999"), "not_json"),
    _dead("number out of range", _raw("large", b"1e300"), "number_out_of_range"),
    _dead("number as text", _like("text", amount="12.5"), "field_not_number"),
    _dead("field becomes a boolean", _like("bool", amount=True), "field_not_number"),
    _dead("field becomes an object", _like("object", amount={"eur": 12}), "field_not_number"),
    _dead("10 MB", _like("big", note="x" * 10_000_000), "too_large"),
    _dead("empty value", b"", "empty_value"),
    _dead("tombstone", None, "tombstone"),
    _dead("repeated id", event("good-13", _AT_MS, _CARD, 99.0), "repeated_id"),
    Case("null number", "events", event("null", _AT_MS, _CARD, None), _AT_MS, None, "null"),
    Case("number absent", "events", _like("absent", amount=...), _AT_MS, None, "absent"),
    Case(
        "older than the lateness",
        "events",
        event("late", START_MS + MINUTE_MS, _CARD, 10.0),
        _AT_MS,
        None,
        "late",
    ),
]
"""Bad events; some are scored all the same."""

LABELS = [
    Case("label for an unknown id", "labels", label("nobody", 1), _AT_MS, "unknown_id"),
    Case("second label", "labels", label("good-3", 0), _AT_MS, "second_label"),
    Case("label of no class", "labels", label("good-23", 7), _AT_MS, "label_not_valid"),
    Case("label without a value", "labels", b'{"id":"good-23"}', _AT_MS, "missing_label"),
    Case("label that is no JSON", "labels", b"fraud", _AT_MS, "not_json"),
    Case("label that is a tombstone", "labels", None, _AT_MS, "tombstone"),
    Case("label before its event", "labels", label("early", 1), START_MS, None, "early"),
]
"""Bad labels; one is joined all the same."""

CASES = [*EVENTS, *LABELS]
