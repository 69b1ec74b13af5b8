"""Columns of samples: what some events had as a feature, as an array where all are numbers.

A value is a number, a text (its beginning) or missing; what is none of these, such as an infinity,
is missing. In an array that is NaN, in a list None. Numbers are floats, so that a value is the same
whatever it was sent with.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np

from streamproc.monitors.fold import LONGEST
from streamproc.monitors.packing import pack_floats, unpack_floats
from streamproc.monitors.sums import Floats, Ints

Column = Floats | list[Any]

_NUMBERS = frozenset((int, float, bool, type(None)))
_BYTES = 8


def column_of(values: Sequence[Any]) -> Column:
    """Return values as a column.

    >>> column_of([1, True, None]).tolist(), column_of([1, "x" * 101, 1e400])[0::2]
    ([1.0, 1.0, nan], [1.0, None])
    """
    if _NUMBERS.issuperset(map(type, values)):
        try:
            array = np.array(values, np.float64)
        except OverflowError:
            return column_of([plain(value) for value in values])
        array[~np.isfinite(array)] = np.nan
        return array
    return [plain(value) for value in values]


def plain(value: Any) -> float | str | None:
    """Return a value as it is kept: a number, the beginning of a text, or None.

    >>> plain(True), plain("x" * 101) == "x" * 100, plain(10**400), plain([1])
    (1.0, True, None, None)
    """
    if isinstance(value, str):
        return value[:LONGEST]
    try:
        number = float(value) if isinstance(value, int | float) else None
    except OverflowError:
        return None
    return number if number is not None and isfinite(number) else None


def listed(column: Column) -> list[Any]:
    """Return the values of a column, None where it is missing.

    >>> listed(np.array([1.5, np.nan]))
    [1.5, None]
    """
    if isinstance(column, list):
        return column
    return [None if value != value else value for value in column.tolist()]


def chosen(column: Column, at: Ints) -> Column:
    """Return the values at some places."""
    return [column[i] for i in at.tolist()] if isinstance(column, list) else column[at]


def joined(parts: Sequence[Column]) -> Column:
    """Return the values of all parts, one after the other.

    >>> joined([np.array([1.0, np.nan]), ["x"]])
    [1.0, None, 'x']
    """
    if any(isinstance(part, list) for part in parts):
        return [value for part in parts for value in listed(part)]
    return np.concatenate(parts)


def aligned(
    names: Sequence[str], parts: Sequence[tuple[Sequence[str], Sequence[Column], int]]
) -> list[Column]:
    """Return the columns of these names, of parts that each have names, columns and a length.

    >>> aligned("ab", [("a", [np.array([1.0])], 1), ("b", [["x"]], 1)])
    [array([ 1., nan]), [None, 'x']]
    """
    if all(tuple(own) == tuple(names) for own, _, _ in parts):
        return [joined(column) for column in zip(*(of for _, of, _ in parts), strict=True)]
    found: list[list[Column]] = [[] for _ in names]
    for own, columns, n in parts:
        by_name = dict(zip(own, columns, strict=True))
        for held, name in zip(found, names, strict=True):
            held.append(by_name.get(name, np.full(n, np.nan)))
    return [joined(some) for some in found]


def pack(column: Column) -> str | list[Any]:
    """Return a column for JSON: an array as text."""
    return column if isinstance(column, list) else pack_floats(column)


def unpack(packed: str | list[Any]) -> Column:
    """Return what `pack` gave."""
    return packed if isinstance(packed, list) else unpack_floats(packed)


def halves(packed: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return two samples for a packed one, which add up to it; None where it is of one event.

    All it has is by event, 8 bytes each where it is text, but for the ``names`` of its ``columns``.

    >>> sample = {"names": ["x"], "columns": [["a", "b", "c"]], "yes": [1, 0, 1]}
    >>> first, second = halves(sample)
    >>> first["columns"], second["columns"], second["yes"]
    ([['a']], [['b', 'c']], [0, 1])
    """
    n = min(_size(each) for name, each in packed.items() if name not in ("names", "columns"))
    if n < 2:
        return None
    cuts = slice(0, n // 2), slice(n // 2, n)
    one, other = ({name: _cut(name, each, cut) for name, each in packed.items()} for cut in cuts)
    return one, other


def _cut(name: str, each: Any, cut: slice) -> Any:
    if name == "names":
        return each
    if name == "columns":
        return [_cut("", column, cut) for column in each]
    if isinstance(each, list):
        return each[cut]
    return b64encode(b64decode(each)[cut.start * _BYTES : cut.stop * _BYTES]).decode()


def _size(each: str | list[Any]) -> int:
    return len(each) if isinstance(each, list) else len(b64decode(each)) // _BYTES
