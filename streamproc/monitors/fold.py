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


def _number(value: object) -> float:
    try:
        return float(value) if isinstance(value, int | float) else float("nan")
    except OverflowError:
        return float("nan")


def groups(keys: Ints) -> tuple[Ints, Ints]:
    """Return the keys there are and the number of each one's; most often there is one key."""
    if keys[0] == keys[-1] and keys.min() == keys.max():
        return keys[:1], np.zeros(len(keys), np.int64)
    return np.unique(keys, return_inverse=True)
