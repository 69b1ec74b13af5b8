"""What a field of an event holds, as a feature takes it: a number, or a category."""

from __future__ import annotations

from math import isfinite
from typing import Any

from streamproc.errors import BadRecord

LARGEST = 1e150
"""Numbers beyond this are refused: the square of a sum of them would not be a float."""


def number_of(fields: dict[str, Any], name: str) -> float | int | None:
    """Return the number in a field, or None where it is null or absent.

    Raises :class:`BadRecord` for text, booleans, numbers that are not finite, and those beyond
    :data:`LARGEST`.
    """
    value = fields.get(name)
    if type(value) is float or type(value) is int:
        if -LARGEST <= value <= LARGEST:
            return value
        raise BadRecord("number_out_of_range", f"field {name!r} is {value!r:.40}, beyond ±1e150")
    if value is None:
        return None
    raise BadRecord("field_not_number", f"field {name!r} is {describe(value)}, not a number")


def category_of(fields: dict[str, Any], name: str) -> str | None:
    """Return the category in a field as text, or None where it is null or absent.

    Text stands for itself. A number is its decimal, a whole one without a fraction, and a boolean
    is ``true`` or ``false``: a code is the same category whether it was sent as 5411, 5411.0 or
    "5411". Raises :class:`BadRecord` for anything else.

    >>> [category_of({"code": value}, "code") for value in ("NL", 5411, 5411.0, True, None)]
    ['NL', '5411', '5411', 'true', None]
    """
    value = fields.get(name)
    if value is None or type(value) is str:
        return value
    text = as_category(value)
    if text is None:
        raise BadRecord(
            "field_not_category",
            f"field {name!r} is {describe(value)}, neither text nor a number or boolean",
        )
    return text


def as_category(value: object) -> str | None:
    """Return a value as the text of a category; None for null and what is no category."""
    if type(value) is str:
        return value
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is int:
        return str(value)
    if type(value) is float and isfinite(value):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return None


def describe(value: object) -> str:
    """Say what a JSON value is, for an error: its kind and the start of it."""
    kind = {str: "text", bool: "a boolean", list: "an array", dict: "an object"}.get(
        type(value), type(value).__name__
    )
    return f"{kind} ({value!r:.40})"
