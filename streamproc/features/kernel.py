"""A micro-batch of records through the windows of their entities, compiled."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamproc.features import layout
from streamproc.features.directory import is_after, keep_id, long_size
from streamproc.features.extremes import push, restack
from streamproc.features.jit import called, inlined, prefetch
from streamproc.features.layout import (
    DUE,
    EVERY_MS,
    EXTREMES,
    ID,
    KEEP_MS,
    LEFT,
    NOW,
    SIZE,
    SPAN_MS,
    SPANS,
    START,
    STRIDE,
    SUMS,
    TIME,
    VALUE,
)
from streamproc.features.results import emit
from streamproc.features.segments import place_after, room
from streamproc.features.spans import begin_ms, due_ms
from streamproc.features.words import add, add_square, limbs, split

Array = Any
Word = Any
_U0 = np.uint64(0)
_U1 = np.uint64(1)
_AHEAD, _FEW, _A_LINE = 16, 12, 2
_INFINITY = 0x7FF0000000000000
_SIGN = np.int64(-(1 << 63))
_begin, _due = inlined(begin_ms), inlined(due_ms)


@inlined
def _begin_ms(spans: Array, s: int, time_ms: int) -> int:
    return _begin(time_ms, spans[s, SPAN_MS], spans[s, EVERY_MS])


@inlined
def _due_ms(spans: Array, s: int, time_ms: int) -> int:
    return _due(time_ms, spans[s, SPAN_MS], spans[s, EVERY_MS])


@inlined
def advance(
    first: int,
    entity: Array,
    times: Array,
    values: Array,
    what: Array,
    blob: Array,
    ends: Array,
    codes: Array,
    rows: Array,
    words: Array,
    records: Array,
    numbers: Array,
    stacks: Array,
    pool: Array,
    meta: Array,
    spans: Array,
    plan: Array,
    shape: Array,
    out: Array,
    slow: Array,
    scratch: Array,
    edges: Array,
) -> int:
    """Take records in and write their aggregates, from number ``first`` on.

    Returns the number of the one before which more room is needed, or how many there are. Those of
    slow rows are listed in ``slow``, with the newest time then. ``words`` and ``numbers`` are
    ``rows`` and ``records`` as other types; ``shape`` is as ``layout`` has it; what is in
    ``scratch`` and ``edges`` counts for nothing.
    """
    for i in range(first, len(entity)):
        _ask_for(i, entity, rows, records, spans, shape)
        row, time_ms = entity[i], times[i]
        if what[i] & layout.ASIDE == 0 and time_ms > meta[layout.NEWEST]:
            meta[layout.NEWEST] = time_ms
        bits = values[i]
        null = bits & ~_SIGN > _INFINITY
        digits, place, fits = split(bits)
        if rows[row, layout.FLAGS] & layout.SLOW != 0 or not (fits or null):
            rows[row, layout.FLAGS] |= layout.SLOW
            listed = slow[len(entity), 0]
            slow[listed, 0], slow[listed, 1] = i, meta[layout.NEWEST]
            slow[len(entity), 0] = listed + 1
            continue
        full = rows[row, SIZE] >= 1 << rows[row, layout.CLASS] or rows[row, layout.CLASS] == 0
        if not null and full and not room(row, rows, records, numbers, stacks, pool, meta, shape):
            return i
        id0, id1 = codes[i, 0], codes[i, 1]
        if id0 & _U1 != _U0 and id1 != np.uint64(-1):
            start = np.int64(id1)
            id1 = keep_id(pool, meta, blob, start, ends[i] - start)
        late = what[i] & layout.LATE != 0
        at = rows[row, START] + rows[row, SIZE] - 1
        in_order = not late and (
            time_ms > rows[row, NOW]
            or (
                time_ms == rows[row, NOW]
                and (
                    rows[row, SIZE] == 0
                    or time_ms > records[at, TIME]
                    or is_after(
                        pool, id0, id1, np.uint64(records[at, ID]), np.uint64(records[at, ID + 1])
                    )
                )
            )
        )
        if digits == _U0:
            bits = np.int64(0)
        if in_order:
            if not null:
                _write(records, at + 1, time_ms, bits, id0, id1)
                _taken(rows, row, meta, pool, id0, 1)
            _move(
                row,
                time_ms,
                not null,
                bits,
                digits,
                place,
                rows,
                words,
                records,
                numbers,
                stacks,
                spans,
                shape,
            )
            for s in range(len(spans)):
                edges[s, 0] = rows[row, SPANS + s * shape[STRIDE] + LEFT]
                edges[s, 1] = rows[row, SIZE]
            emit(
                row, row, i, time_ms, not null, edges, rows, words, records, numbers, stacks, spans,
                plan, shape, scratch, out,
            )  # fmt: skip
        else:
            _insert(
                row,
                time_ms,
                null,
                bits,
                digits,
                place,
                id0,
                id1,
                late,
                i,
                edges,
                rows,
                words,
                records,
                numbers,
                stacks,
                pool,
                meta,
                spans,
                plan,
                shape,
                scratch,
                out,
            )
    return len(entity)


@inlined
def _ask_for(
    i: int, entity: Array, rows: Array, records: Array, spans: Array, shape: Array
) -> None:
    """Have fetched what a record will need that comes a little later; its row is there already."""
    if i + _AHEAD < len(entity):
        row = entity[i + _AHEAD]
        start, size = rows[row, START], rows[row, SIZE]
        if size < _FEW:
            for at in range(start, start + size + 1, _A_LINE):
                prefetch(records, at)
            return
        for s in range(len(spans)):
            left = start + rows[row, SPANS + s * shape[STRIDE] + LEFT]
            prefetch(records, left)
            prefetch(records, left + 1)
        prefetch(records, start + size)


@inlined
def _write(records: Array, at: int, time_ms: int, bits: int, id0: Word, id1: Word) -> None:
    records[at, TIME] = time_ms
    records[at, VALUE] = bits
    records[at, ID] = np.int64(id0)
    records[at, ID + 1] = np.int64(id1)


@inlined
def _taken(rows: Array, row: int, meta: Array, pool: Array, id0: Word, more: int) -> None:
    """Count a record that was put in (1) or taken out again (-1), and its long id."""
    rows[row, SIZE] += more
    meta[layout.HELD] += more
    if id0 & _U1 != _U0 and more > 0:
        meta[layout.POOL_END] += 4 + long_size(pool, np.uint64(meta[layout.POOL_END]))


@inlined
def _move(
    row: int, time_ms: int, has: bool, bits: int, digits: Word, place: int, rows: Array,
    words: Array, records: Array, numbers: Array, stacks: Array, spans: Array, shape: Array,
) -> None:  # fmt: skip
    """Move every window of an entity to ``time_ms``, with the record that was just appended."""
    start, size, stride = rows[row, START], rows[row, SIZE], shape[STRIDE]
    squares = stride == layout.SQUARES_STRIDE
    rows[row, NOW] = time_ms
    a, b, c = limbs(digits, place, bits < 0)
    for s in range(len(spans)):
        at = SPANS + s * stride
        left, due = rows[row, at + LEFT], rows[row, at + DUE]
        if has:
            add(words, row, at + SUMS, a, b, c)
            if squares:
                add_square(words, row, at + layout.SQUARES, digits, place, False)
            if left == size - 1:
                due = _due_ms(spans, s, time_ms)
        while left < size and due <= time_ms:
            old = records[start + left, VALUE]
            gone, where, _ = split(old)
            x, y, z = limbs(gone, where, old >= 0)
            add(words, row, at + SUMS, x, y, z)
            if squares:
                add_square(words, row, at + layout.SQUARES, gone, where, True)
            left += 1
            if left < size:
                due = _due_ms(spans, s, records[start + left, TIME])
        rows[row, at + LEFT], rows[row, at + DUE] = left, due
    if has and shape[EXTREMES]:
        push(row, size - 1, rows, numbers, stacks)


@called
def _insert(
    row: int, time_ms: int, null: bool, bits: int, digits: Word, place: int, id0: Word, id1: Word,
    late: bool, i: int, edges: Array, rows: Array, words: Array, records: Array, numbers: Array,
    stacks: Array, pool: Array, meta: Array, spans: Array, plan: Array, shape: Array,
    scratch: Array, out: Array,
) -> None:  # fmt: skip
    """Aggregate as of a time behind the newest, and put the record in where it belongs."""
    start, size = rows[row, START], rows[row, SIZE]
    spot = place_after(records, start, size, time_ms)
    while (
        spot > 0
        and records[start + spot - 1, TIME] == time_ms
        and is_after(
            pool,
            np.uint64(records[start + spot - 1, ID]),
            np.uint64(records[start + spot - 1, ID + 1]),
            id0,
            id1,
        )
    ):
        spot -= 1
    if not null:
        for at in range(start + size, start + spot, -1):
            for column in range(layout.RECORD_WORDS):
                records[at, column] = records[at - 1, column]
        _write(records, start + spot, time_ms, bits, id0, id1)
        size += 1
    # What may have been let go is left out where it was not, so that it makes no difference.
    kept = place_after(records, start, size, meta[layout.NEWEST] - shape[KEEP_MS])
    for s in range(len(spans)):
        left = place_after(records, start, size, _begin_ms(spans, s, time_ms) - 1)
        edges[s, 0] = min(max(left, kept), spot)
        edges[s, 1] = spot if null else spot + 1
        add_up(0, s, start + edges[s, 0], start + edges[s, 1], words, records, shape)
    emit(
        row, 0, i, time_ms, not null, edges, rows, words, records, numbers, stacks, spans, plan,
        shape, scratch, out,
    )  # fmt: skip
    if late and not null:
        for at in range(start + spot, start + size - 1):
            for column in range(layout.RECORD_WORDS):
                records[at, column] = records[at + 1, column]
    elif not null:
        _taken(rows, row, meta, pool, id0, 1)
        _widen(row, time_ms, bits, digits, place, rows, words, records, spans, shape)
        if shape[EXTREMES] != 0:
            restack(row, rows, numbers, stacks)


@called
def _widen(
    row: int, time_ms: int, bits: int, digits: Word, place: int, rows: Array, words: Array,
    records: Array, spans: Array, shape: Array,
) -> None:  # fmt: skip
    """Let the windows of an entity know of a record that was put in behind where they stand."""
    a, b, c = limbs(digits, place, bits < 0)
    for s in range(len(spans)):
        at = SPANS + s * shape[STRIDE]
        if time_ms < _begin_ms(spans, s, rows[row, NOW]):
            rows[row, at + LEFT] += 1
            continue
        add(words, row, at + SUMS, a, b, c)
        if shape[STRIDE] == layout.SQUARES_STRIDE:
            add_square(words, row, at + layout.SQUARES, digits, place, False)
        first = rows[row, START] + rows[row, at + LEFT]
        rows[row, at + DUE] = _due_ms(spans, s, records[first, TIME])


@called
def add_up(
    row: int, s: int, first: int, end: int, words: Array, records: Array, shape: Array
) -> None:
    """Set the sums of a span to those of some records."""
    at = SPANS + s * shape[STRIDE]
    squares = shape[STRIDE] == layout.SQUARES_STRIDE
    for column in range(at + SUMS, at + shape[STRIDE]):
        words[row, column] = _U0
    for slot in range(first, end):
        bits = records[slot, VALUE]
        digits, place, _ = split(bits)
        a, b, c = limbs(digits, place, bits < 0)
        add(words, row, at + SUMS, a, b, c)
        if squares:
            add_square(words, row, at + layout.SQUARES, digits, place, False)


@called
def settle(
    row: int, now_ms: int, rows: Array, words: Array, records: Array, numbers: Array,
    stacks: Array, spans: Array, shape: Array,
) -> None:  # fmt: skip
    """Bring an entity's windows to ``now_ms``, from its records alone."""
    start, size = rows[row, START], rows[row, SIZE]
    rows[row, NOW] = now_ms
    for s in range(len(spans)):
        at = SPANS + s * shape[STRIDE]
        left = place_after(records, start, size, _begin_ms(spans, s, now_ms) - 1)
        rows[row, at + LEFT] = left
        if left < size:
            rows[row, at + DUE] = _due_ms(spans, s, records[start + left, TIME])
        add_up(row, s, start + left, start + size, words, records, shape)
    if shape[EXTREMES] != 0:
        restack(row, rows, numbers, stacks)
