"""The text that names an entity, and an id or a key: what a field has to hold for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streamproc.errors import BadRecord
from streamproc.features.values import describe

LONGEST_ID = 1_000
"""How many characters an id, a key or an entity may have."""

EntityReader = Callable[[dict[str, Any], str], str]


def entity_reader(by: tuple[str, ...], key_field: str | None) -> EntityReader:
    """Return what gives the text of the entity that windows are by; see :func:`entity_of`."""
    if key_field is None or by == (key_field,):
        return lambda fields, key: key
    if len(by) == 1:
        (name,) = by
        return lambda fields, key: text_of(fields, name, "entity")
    return lambda fields, key: entity_of(fields, by)


def entity_of(fields: dict[str, Any], by: tuple[str, ...]) -> str:
    """Return the text of an entity of several fields; no two have the same.

    >>> entity_of({"card": 12, "country": "NL"}, ("card", "country"))
    '2:12NL'
    """
    *texts, last = [text_of(fields, name, "entity") for name in by]
    return "".join(f"{len(text)}:{text}" for text in texts) + last


def text_of(fields: dict[str, Any], name: str, what: str) -> str:
    """Return an id, a key or an entity as text, an integer in decimal.

    Raises :class:`BadRecord` for others.

    >>> text_of({"card": 12}, "card", "key")
    '12'
    """
    value = fields.get(name)
    if type(value) is int:
        return str(value)
    if value is None:
        raise BadRecord(f"missing_{what}", f"field {name!r} is missing or null")
    if type(value) is not str or not 0 < len(value) <= LONGEST_ID:
        raise BadRecord(
            f"{what}_not_valid",
            f"field {name!r} is {describe(value)}; use an integer or text of 1 to 1000 characters",
        )
    return value
