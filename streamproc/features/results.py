"""Aggregates of a window from what it sums and holds, compiled, each rounded once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from streamproc.features import layout
from streamproc.features.extremes import extreme
from streamproc.features.jit import called, inlined
from streamproc.features.layout import SPAN_MS, SPANS, START, STRIDE, SUMS, VALUE
from streamproc.features.shapes import shape_of
from streamproc.features.words import SUM_WORDS, ratio, rounded, spread, take_away

Array = Any
_U1 = np.uint64(1)


@inlined
def emit(
    row: int, sums: int, i: int, time_ms: int, has: bool, edges: Array, rows: Array, words: Array,
    records: Array, numbers: Array, stacks: Array, spans: Array, plan: Array, shape: Array,
    scratch: Array, out: Array,
) -> None:  # fmt: skip
    """Write the aggregates of windows: record ``edges`` of ``row``, sums in the row ``sums``.

    ``has`` says whether the last of these records is the one that came.
    """
    for c in range(len(plan)):
        s, kind = plan[c, 0], plan[c, 1]
        at = SPANS + s * shape[STRIDE] + SUMS
        count = edges[s, 1] - edges[s, 0]
        if kind == layout.COUNT:
            out[i, c] = count
        elif kind == layout.SUM:
            out[i, c] = rounded(words, sums, at)
        elif kind == layout.MEAN and count > 0:
            out[i, c] = _mean(words, sums, at, count, scratch)
        elif count == 0:
            none_is_0 = kind == layout.DISTINCT or kind == layout.DECAYED_COUNT
            out[i, c] = 0.0 if none_is_0 else math.nan
        elif kind == layout.STD or kind == layout.VAR:
            found = _variance(words, sums, at, count, scratch)
            out[i, c] = math.sqrt(found) if kind == layout.STD else found
        elif kind == layout.MIN or kind == layout.MAX:
            top = 1 if kind == layout.MAX else 0
            out[i, c] = extreme(
                row, edges[s, 0], edges[s, 1], top, row == sums, rows, numbers, stacks
            )
        else:
            out[i, c] = _other(
                c, row, sums, time_ms, has, edges, rows, words, records, numbers, stacks, spans,
                plan, shape, scratch,
            )  # fmt: skip


@inlined
def _mean(words: Array, row: int, at: int, count: int, scratch: Array) -> Any:
    for word in range(SUM_WORDS):
        scratch[word] = words[row, at + word]
    return ratio(scratch, SUM_WORDS, np.uint64(count), 118)


@inlined
def _variance(words: Array, row: int, at: int, count: int, scratch: Array) -> Any:
    if count < 2:
        return 0.0
    spread(words, row, at, count, scratch)
    return ratio(scratch, 7, np.uint64(count) * np.uint64(count - 1), 236)


@called
def _other(
    c: int, row: int, sums: int, time_ms: int, has: bool, edges: Array, rows: Array, words: Array,
    records: Array, numbers: Array, stacks: Array, spans: Array, plan: Array, shape: Array,
    scratch: Array,
) -> Any:  # fmt: skip
    """Return an aggregate that is asked for less often, of a window that holds something."""
    s, kind, start = plan[c, 0], plan[c, 1], rows[row, START]
    first, end = edges[s, 0], edges[s, 1]
    at = SPANS + s * shape[STRIDE] + SUMS
    if kind == layout.RANGE:
        stacked = row == sums
        high = extreme(row, first, end, 1, stacked, rows, numbers, stacks)
        return high - extreme(row, first, end, 0, stacked, rows, numbers, stacks)
    if kind == layout.ZSCORE:
        if not has:
            return math.nan
        deviation = math.sqrt(_variance(words, sums, at, end - first, scratch))
        if deviation == 0.0:
            return 0.0
        own = numbers[start + end - 1, VALUE]
        return (own - _mean(words, sums, at, end - first, scratch)) / deviation
    if kind == layout.GROWTH:  # against the window that ends where this one begins
        other = SPANS + plan[c, 3] * shape[STRIDE] + SUMS
        take_away(words, sums, other, at, scratch)
        before = ratio(scratch, SUM_WORDS, _U1, 118)
        if before == 0.0:
            return math.nan
        return (rounded(words, sums, at) - before) / before
    share = plan[c, 2] / 100.0
    return shape_of(
        kind, start + first, start + end, has, time_ms, spans[s, SPAN_MS], share, records, numbers,
        scratch,
    )  # fmt: skip
