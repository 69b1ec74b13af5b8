"""A micro-batch of records through the windows of their entities, compiled."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from streamproc.features import layout
from streamproc.features.directory import forget, is_after, keep_id, key_bytes, long_size
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
    SPANS_COUNT,
    START,
    STRIDE,
    SUMS,
    TIME,
    VALUE,
)
from streamproc.features.shapes import shape_of
from streamproc.features.spans import begin_ms, due_ms
from streamproc.features.words import (
    SUM_WORDS,
    add,
    add_square,
    limbs,
    ratio,
    split,
    spread,
    take_away,
)

Array = Any
Word = Any
_U0, _U1 = np.uint64(0), np.uint64(1)
_AHEAD = 16
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
        if not null and full and not _room(row, rows, records, numbers, stacks, pool, meta, shape):
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
            _emit(
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
        start = rows[row, START]
        for s in range(len(spans)):
            left = start + rows[row, SPANS + s * shape[STRIDE] + LEFT]
            prefetch(records, left)
            prefetch(records, left + 1)
        prefetch(records, start + rows[row, SIZE])


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
        _push(row, size - 1, rows, numbers, stacks)


@inlined
def _push(row: int, index: int, rows: Array, numbers: Array, stacks: Array) -> None:
    """Put a record on the stacks of those that no later one is below, or above."""
    start, depths = rows[row, START], rows.shape[1] - 2
    value = numbers[start + index, VALUE]
    depth = rows[row, depths]
    while depth > 0 and numbers[start + stacks[start + depth - 1, 0], VALUE] >= value:
        depth -= 1
    stacks[start + depth, 0] = index
    rows[row, depths] = depth + 1
    depth = rows[row, depths + 1]
    while depth > 0 and numbers[start + stacks[start + depth - 1, 1], VALUE] <= value:
        depth -= 1
    stacks[start + depth, 1] = index
    rows[row, depths + 1] = depth + 1


@called
def restack(row: int, rows: Array, numbers: Array, stacks: Array) -> None:
    """Make an entity's stacks anew."""
    depths = rows.shape[1] - 2
    rows[row, depths] = rows[row, depths + 1] = 0
    for index in range(rows[row, SIZE]):
        _push(row, index, rows, numbers, stacks)


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
    _emit(
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
def _room(
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


@inlined
def _extreme(
    row: int, low: int, high: int, top: int, stacked: bool, rows: Array, numbers: Array,
    stacks: Array,
) -> float:  # fmt: skip
    """Return the least value (``top`` 0) or the greatest (1) of some of an entity's records."""
    start = rows[row, START]
    if stacked:
        first, end = 0, rows[row, rows.shape[1] - 2 + top]
        while first < end:
            middle = (first + end) // 2
            if stacks[start + middle, top] < low:
                first = middle + 1
            else:
                end = middle
        return float(numbers[start + stacks[start + first, top], VALUE])
    found = numbers[start + low, VALUE]
    for index in range(low + 1, high):
        value = numbers[start + index, VALUE]
        if (value > found) == (top == 1):
            found = value
    return float(found)


@inlined
def _emit(
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
        elif kind == layout.SUM or (kind == layout.MEAN and count > 0):
            by = 1 if kind == layout.SUM else count
            out[i, c] = _mean(words, sums, at, by, scratch)
        elif count == 0:
            none_is_0 = kind == layout.DISTINCT or kind == layout.DECAYED_COUNT
            out[i, c] = 0.0 if none_is_0 else math.nan
        elif kind == layout.STD or kind == layout.VAR:
            found = _variance(words, sums, at, count, scratch)
            out[i, c] = math.sqrt(found) if kind == layout.STD else found
        elif kind == layout.MIN or kind == layout.MAX:
            top = 1 if kind == layout.MAX else 0
            out[i, c] = _extreme(
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
        high = _extreme(row, first, end, 1, stacked, rows, numbers, stacks)
        return high - _extreme(row, first, end, 0, stacked, rows, numbers, stacks)
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
        return (_mean(words, sums, at, 1, scratch) - before) / before
    share = plan[c, 2] / 100.0
    return shape_of(
        kind, start + first, start + end, has, time_ms, spans[s, SPAN_MS], share, records, numbers,
        scratch,
    )  # fmt: skip


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
