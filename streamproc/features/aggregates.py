"""Aggregates of a window from whole numbers of any size, as compiled code makes them of its words.

Each is rounded once; ``layout`` numbers them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from streamproc.features import layout

_TINY = 2.0**-960
Number = float | int | None


def _variance(count: int, total: int, squares: int, scale: int) -> tuple[int, int]:
    return count * squares - total * total, count * (count - 1) * scale * scale


def _std(count: int, total: int, squares: int, low: int, high: int, scale: int) -> float | None:
    if count < 2:
        return 0.0 if count else None
    above, below = _variance(count, total, squares, scale)
    variance = above / below
    if variance < _TINY and above:  # too small to be a float, or a float with all its digits
        shift = below.bit_length()
        return math.isqrt((above << 2 * shift) // below) / (1 << shift)
    return math.sqrt(variance)


def _var(count: int, total: int, squares: int, low: int, high: int, scale: int) -> float | None:
    if count < 2:
        return 0.0 if count else None
    above, below = _variance(count, total, squares, scale)
    return above / below


KINDS: dict[str, int] = {
    "count": layout.COUNT,
    "sum": layout.SUM,
    "mean": layout.MEAN,
    "std": layout.STD,
    "var": layout.VAR,
    "min": layout.MIN,
    "max": layout.MAX,
}
"""The number of each aggregate by its name."""

RESULTS: dict[int, Callable[[int, int, int, int, int, int], Number]] = {
    layout.COUNT: lambda count, total, squares, low, high, scale: count,
    layout.SUM: lambda count, total, squares, low, high, scale: total / scale,
    layout.MEAN: lambda count, total, squares, low, high, scale: (
        total / (scale * count) if count else None
    ),
    layout.STD: _std,
    layout.VAR: _var,
    layout.MIN: lambda count, total, squares, low, high, scale: low / scale if count else None,
    layout.MAX: lambda count, total, squares, low, high, scale: high / scale if count else None,
}
