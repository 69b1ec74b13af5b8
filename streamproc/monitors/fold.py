"""What folds have in common: columns of numbers from messages.

A fold keeps nothing but sums that add up across partitions, and hands out what is new since it
was last asked. It works on columns, some thousand records at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import orjson

from streamproc.monitors.sums import LARGEST, Floats, Ints

LONGEST = 100
"""How many characters of a slice's value are kept."""

NEVER = -(1 << 62)


def columns(maps: Sequence[dict[str, Any]], names: tuple[str, ...]) -> Floats:
    """Return the named values as an array, names x maps; what is no usable number is NaN.

    >>> columns([{"a": 1, "b": 2.5}, {"a": None, "b": "x"}], ("a", "b")).tolist()
    [[1.0, nan], [2.5, nan]]
    """
    if len(names) < 2:
        found = [column([values.get(name) for values in maps]) for name in names]
        return np.array(found).reshape(len(names), len(maps))
    rows = map(itemgetter(*names), maps)
    size = len(maps) * len(names)
    try:
        table = np.fromiter(chain.from_iterable(rows), np.float64, size)
    except (KeyError, TypeError, ValueError, OverflowError):
        cleaned = (_number(values.get(name)) for values in maps for name in names)
        table = np.fromiter(cleaned, np.float64, size)
    table[~(np.abs(table) < LARGEST)] = np.nan
    return np.ascontiguousarray(table.reshape(len(maps), len(names)).T)


def column(values: Sequence[Any]) -> Floats:
    """Return values as an array; what is no usable number is NaN.

    >>> column([True, 2, 3.5, "4", None, 1e300]).tolist()
    [1.0, 2.0, 3.5, nan, nan, nan]
    """
    try:
        if str in set(map(type, values)):
            raise ValueError
        array = np.fromiter(values, np.float64, len(values))
    except (TypeError, ValueError, OverflowError):
        array = np.fromiter(map(_number, values), np.float64, len(values))
    array[~(np.abs(array) < LARGEST)] = np.nan
    return array


def slice_name(fields: Sequence[str], values: Sequence[str]) -> str:
    """Return the name of a slice's series: its map as JSON, empty overall.

    >>> slice_name(("country",), ("NL",)), slice_name((), ())
    ('{"country":"NL"}', '')
    """
    if not fields:
        return ""
    short = [str(value)[:LONGEST] for value in values]
    return orjson.dumps(dict(zip(fields, short, strict=True))).decode()


def _number(value: object) -> float:
    try:
        return float(value) if isinstance(value, int | float) else float("nan")
    except OverflowError:
        return float("nan")


def slices_by_code(fields: Sequence[str], told: list[dict[str, str]]) -> tuple[list[str], Ints]:
    """Return the names of the slices that are there, and the number of each record's, or -1."""
    if not fields:
        return [""], np.zeros(len(told), np.int64)
    get = itemgetter(*fields)
    numbers: dict[Any, int] = {}
    codes = []
    for values in told:
        try:
            codes.append(numbers.setdefault(get(values), len(numbers)))
        except KeyError:
            codes.append(-1)
    names = [slice_name(fields, key if len(fields) > 1 else (key,)) for key in numbers]
    return names or [""], np.array(codes, np.int64)


def groups(keys: Ints) -> tuple[Ints, Ints]:
    """Return the keys there are and the number of each one's; most often there is one key."""
    if keys[0] == keys[-1] and keys.min() == keys.max():
        return keys[:1], np.zeros(len(keys), np.int64)
    return np.unique(keys, return_inverse=True)
