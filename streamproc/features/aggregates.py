"""Aggregates of a window from whole numbers of any size, as compiled code makes them of its words.

Each is rounded once; ``layout`` numbers them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from streamproc.features import layout
from streamproc.features.spec import PERCENTILE

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


_NAMES = (
    "count", "sum", "mean", "std", "var", "min", "max", "range", "zscore", "growth", "first",
    "last", "quantile", "distinct", "decayed_mean", "decayed_count", "since_last", "delta", "rate",
)  # fmt: skip


def kind_of(name: str) -> tuple[int, int]:
    """Return the number of an aggregate, and the percent where it is a quantile.

    >>> kind_of("sum") == (layout.SUM, 0), kind_of("p95") == (layout.QUANTILE, 95)
    (True, True)
    """
    if name == "median":
        return layout.QUANTILE, 50
    percentile = PERCENTILE.fullmatch(name)
    if percentile:
        return layout.QUANTILE, int(percentile[1])
    return _NAMES.index(name), 0


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
    layout.RANGE: lambda count, total, squares, low, high, scale: (
        (high - low) / scale if count else None
    ),
}
"""By kind, what follows from count, sum, sum of squares, least and greatest value, and scale."""


def shape_of(
    kind: int, times: Sequence[int], values: Sequence[float], has: bool, now_ms: int,
    span_ms: int, percent: int,
) -> Number:  # fmt: skip
    """Return what follows from a window's records one by one; see ``shapes.shape_of``."""
    if not values:
        return 0 if kind in (layout.DISTINCT, layout.DECAYED_COUNT) else None
    if kind in (layout.FIRST, layout.LAST):
        return values[0] if kind == layout.FIRST else values[-1]
    if kind == layout.QUANTILE:
        at = percent / 100.0 * (len(values) - 1)
        rank, ordered = int(at), sorted(values)
        below, above = ordered[rank], ordered[min(rank + 1, len(values) - 1)]
        return below + (above - below) * (at - rank) if at > rank else below
    if kind == layout.DISTINCT:
        return len(set(values))
    if kind == layout.SINCE_LAST:
        before = times[: len(times) - has]
        return (now_ms - before[-1]) / 1000.0 if before else None
    if kind in (layout.DECAYED_MEAN, layout.DECAYED_COUNT):
        weights = [2.0 ** (-8 * (now_ms - time_ms) / span_ms) for time_ms in times]
        total, weight = 0.0, 0.0
        for each, value in zip(weights, values, strict=True):
            weight, total = weight + each, total + each * value
        return total / weight if kind == layout.DECAYED_MEAN else weight
    if len(values) == 1:
        return None
    if kind == layout.DELTA:
        return values[-1] - values[-2]
    took_ms = times[-1] - times[0]
    return (values[-1] - values[0]) / (took_ms / 1000.0) if took_ms else None
