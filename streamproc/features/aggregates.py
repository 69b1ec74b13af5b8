"""Aggregates of a window, from the whole numbers that it keeps: each is rounded once."""

from __future__ import annotations

import math
from collections.abc import Callable

_TINY = 2.0**-960
Number = float | int | None


def _std(count: int, total: int, squares: int, low: int, high: int, scale: int) -> float | None:
    if count < 2:
        return 0.0 if count else None
    above, below = count * squares - total * total, count * (count - 1) * scale * scale
    variance = above / below
    if variance < _TINY and above:  # too small to be a float, or a float with all its digits
        shift = below.bit_length()
        return math.isqrt((above << 2 * shift) // below) / (1 << shift)
    return math.sqrt(variance)


RESULTS: dict[str, Callable[[int, int, int, int, int, int], Number]] = {
    "count": lambda count, total, squares, low, high, scale: count,
    "sum": lambda count, total, squares, low, high, scale: total / scale,
    "mean": lambda count, total, squares, low, high, scale: (
        total / (scale * count) if count else None
    ),
    "std": _std,
    "min": lambda count, total, squares, low, high, scale: low / scale if count else None,
    "max": lambda count, total, squares, low, high, scale: high / scale if count else None,
}
