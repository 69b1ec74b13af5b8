"""Where an entity's records are, compiled: segments that are claimed, outgrown and let go."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamproc.features import layout
from streamproc.features.directory import forget, key_bytes, long_size
from streamproc.features.extremes import restack
from streamproc.features.jit import called, inlined
from streamproc.features.layout import (
    EXTREMES,
    ID,
    KEEP_MS,
    LEFT,
    SIZE,
    SPANS,
    SPANS_COUNT,
    START,
    STRIDE,
    TIME,
)

Array = Any


@called
def place_after(records: Array, start: int, size: int, time_ms: int) -> int:
    """Return how many of an entity's records have a time of at most ``time_ms``."""
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        if records[start + middle, TIME] <= time_ms:
            low = middle + 1
        else:
            high = middle
    return low


@called
def room(
    row: int, rows: Array, records: Array, numbers: Array, stacks: Array, pool: Array,
    meta: Array, shape: Array,
) -> bool:  # fmt: skip
    """See to it that an entity can have one more record; return False where the arena is full."""
    start, size, size_class = rows[row, START], rows[row, SIZE], rows[row, layout.CLASS]
    if size_class != 0 and _let_go(row, rows, records, pool, meta, shape):
        if shape[EXTREMES] != 0:
            restack(row, rows, numbers, stacks)
        return True
    larger = size_class + 1 if size_class != 0 else layout.SMALLEST_CLASS
    new = claim(larger, records, meta)
    if new < 0:
        return False
    for i in range(size):
        for column in range(layout.RECORD_WORDS):
            records[new + i, column] = records[start + i, column]
    if shape[EXTREMES] != 0:
        for i in range(size):
            stacks[new + i, 0], stacks[new + i, 1] = stacks[start + i, 0], stacks[start + i, 1]
    release(start, size_class, records, meta)
    rows[row, START], rows[row, layout.CLASS] = new, larger
    return True


@called
def _let_go(row: int, rows: Array, records: Array, pool: Array, meta: Array, shape: Array) -> bool:
    """Let go of records that no record still allowed can have in its windows, if it's many."""
    start, size = rows[row, START], rows[row, SIZE]
    old = place_after(records, start, size, meta[layout.NEWEST] - shape[KEEP_MS])
    for at in range(SPANS, SPANS + shape[SPANS_COUNT] * shape[STRIDE], shape[STRIDE]):
        old = min(old, rows[row, at + LEFT])
    if 4 * old < size:
        return False
    for i in range(old):
        if records[start + i, ID] & 1 != 0:
            long = np.uint64(records[start + i, ID + 1])
            meta[layout.POOL_DEAD] += 4 + long_size(pool, long)
    for i in range(old, size):
        for column in range(layout.RECORD_WORDS):
            records[start + i - old, column] = records[start + i, column]
    rows[row, SIZE] = size - old
    meta[layout.HELD] -= old
    for at in range(SPANS, SPANS + shape[SPANS_COUNT] * shape[STRIDE], shape[STRIDE]):
        rows[row, at + LEFT] -= old
    return True


@inlined
def claim(size_class: int, records: Array, meta: Array) -> int:
    """Return the first slot of a free segment, or -1 where there is none."""
    start = meta[layout.FREE_SLOTS + size_class]
    if start != 0:
        meta[layout.FREE_SLOTS + size_class] = records[start, 0]
        return int(start)
    start = meta[layout.SLOTS_END]
    if start + (1 << size_class) > len(records):
        return -1
    meta[layout.SLOTS_END] = start + (1 << size_class)
    return int(start)


@inlined
def release(start: int, size_class: int, records: Array, meta: Array) -> None:
    """Free a segment; there is none of class 0."""
    if size_class != 0:
        records[start, 0] = meta[layout.FREE_SLOTS + size_class]
        meta[layout.FREE_SLOTS + size_class] = start


@called
def sweep(
    begin: int, end: int, floor_ms: int, oldest_ms: int, rows: Array, words: Array,
    records: Array, table: Array, pool: Array, meta: Array, gone: Array,
) -> int:  # fmt: skip
    """Forget entities of some rows that have no record after ``floor_ms``.

    Slow ones that may have none are listed in ``gone``, behind their number. Returns the smaller of
    ``oldest_ms`` and the times of the last records of the others.
    """
    gone[0] = 0
    for row in range(begin, end):
        flags, size = rows[row, layout.FLAGS], rows[row, SIZE]
        if flags & layout.FREE != 0:
            continue
        if flags & layout.SLOW != 0:
            gone[0] += 1
            gone[gone[0]] = row
            continue
        last_ms = records[rows[row, START] + size - 1, TIME] if size > 0 else -layout.NEVER
        if last_ms <= floor_ms:
            drop(row, rows, words, records, table, pool, meta)
        elif last_ms < oldest_ms:
            oldest_ms = last_ms
    return oldest_ms


@called
def drop(
    row: int, rows: Array, words: Array, records: Array, table: Array, pool: Array, meta: Array
) -> None:
    """Forget an entity."""
    empty(row, rows, records, pool, meta)
    forget(words, table, meta, row)


@called
def empty(row: int, rows: Array, records: Array, pool: Array, meta: Array) -> None:
    """Forget an entity's records."""
    start, size = rows[row, START], rows[row, SIZE]
    for slot in range(start, start + size):
        if records[slot, ID] & 1 != 0:
            long = np.uint64(records[slot, ID + 1])
            meta[layout.POOL_DEAD] += 4 + long_size(pool, long)
    meta[layout.HELD] -= size
    release(start, rows[row, layout.CLASS], records, meta)
    rows[row, SIZE] = rows[row, layout.CLASS] = 0


@called
def tidy(rows: Array, words: Array, records: Array, pool: Array, new: Array, meta: Array) -> None:
    """Copy what is still in use of a pool into another."""
    end = 0
    for row in range(1, meta[layout.ROWS_END]):
        if rows[row, layout.FLAGS] & layout.FREE != 0:
            continue
        size = key_bytes(words[row, layout.KEY])
        if size > 0:
            end = _copied(pool, rows[row, layout.KEY + 1], size, new, end)
            rows[row, layout.KEY + 1] = end - size
        for slot in range(rows[row, START], rows[row, START] + rows[row, SIZE]):
            if records[slot, ID] & 1 != 0:
                old = records[slot, ID + 1]
                size = 4 + long_size(pool, np.uint64(old))
                end = _copied(pool, old, size, new, end)
                records[slot, ID + 1] = end - size
    meta[layout.POOL_END], meta[layout.POOL_DEAD] = end, 0


@called
def _copied(pool: Array, old: int, size: int, new: Array, end: int) -> int:
    for i in range(size):
        new[end + i] = pool[old + i]
    return end + size
