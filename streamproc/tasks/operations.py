"""What people ask of the monitors: read from the topic of operations, checked, and no more."""

from __future__ import annotations

from typing import Any, get_args

import orjson

from streamproc.errors import BadRecord
from streamproc.messages import Command, Operation

MOST_BYTES = 100_000
"""How large an operation may be: it is passed on within a record of the log of sums."""

_TEXTS = ("by", "alert_id", "key", "comment")
_TIMES = ("at_ms", "until_ms")
_TARGETS = ("alert_id", "key", "matchers")


def read_operation(value: bytes | None) -> Operation:
    """Return the operation in a record's value; fields that are not known are left out.

    Raises :class:`BadRecord` where it is none.

    >>> read_operation(b'{"command": "acknowledge", "key": "x", "by": "ada", "at_ms": 5, "a": 1}')
    {'command': 'acknowledge', 'by': 'ada', 'at_ms': 5, 'key': 'x'}
    >>> read_operation(b'{"command": "stop", "key": "x", "by": "ada", "at_ms": 5}')
    Traceback (most recent call last):
    streamproc.errors.BadRecord: unknown_command: the command 'stop' is none of acknowledge, ...
    """
    said = _object_in(value)
    command = said.get("command")
    if command not in get_args(Command):
        known = ", ".join(get_args(Command))
        raise BadRecord("unknown_command", f"the command {command!r:.60} is none of {known}")
    for names, type_, what in ((_TEXTS, str, "text"), (_TIMES, int, "integer milliseconds")):
        for name in names:
            found = said.get(name)
            if found is not None and type(found) is not type_:
                raise _not_valid(f"{name} is {found!r:.60}, which is not {what}")
    matchers = said.get("matchers")
    if matchers is not None and not _is_matchers(matchers):
        raise _not_valid(f"matchers is {matchers!r:.60}, which is no map of text to text")
    if not said.get("by") or said.get("at_ms") is None:
        raise _not_valid("by and at_ms are to say who asks, and when")
    if all(not said.get(name) for name in _TARGETS):
        raise _not_valid("one of alert_id, key and matchers is to say what it is about")
    fields = Operation.__annotations__
    return {name: said[name] for name in fields if said.get(name) is not None}  # type: ignore[return-value]


def _object_in(value: bytes | None) -> dict[str, Any]:
    if not value:
        raise BadRecord("empty_value", "an operation has a value")
    if len(value) > MOST_BYTES:
        raise _not_valid(f"it has {len(value)} bytes, where {MOST_BYTES} are allowed")
    try:
        said = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise BadRecord("not_json", f"the value is no JSON: {error}") from None
    if not isinstance(said, dict):
        raise BadRecord("not_an_object", "the value is JSON, but no object")
    return said


def _is_matchers(found: object) -> bool:
    return isinstance(found, dict) and all(type(value) is str for value in found.values())


def _not_valid(detail: str) -> BadRecord:
    return BadRecord("operation_not_valid", detail)
