"""Which row is an entity's, compiled: a hash table from texts to rows, open and linearly probed."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamproc.features import layout
from streamproc.features.jit import called, inlined, prefetch

Array = Any
Word = Any

_U0, _U1, _U8, _U29, _U32 = (np.uint64(n) for n in (0, 1, 8, 29, 32))
_LOW = np.uint64(0xFFFFFFFF)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_SHORT_KEY, _SHORT_ID = 15, 14
"""How many bytes of a text there is room for in two words; longer ones are in the pool."""

_LONG_KEY = np.uint64(255 << 56)
_SIX, _EIGHT = 6, 8
LAST_ID = np.uint64(2**64 - 1)


@inlined
def _bytes(blob: Array, start: int, end: int, most: int) -> Word:
    """Return up to ``most`` bytes as a number, as if zeros followed."""
    found = _U0
    if start + _EIGHT <= len(blob):  # read at once, as one word
        for i in range(_EIGHT):
            found = (found << _U8) | np.uint64(blob[start + i])
        size = min(end - start, most)
        if size <= 0:
            return _U0
        return (found >> np.uint64(8 * (_EIGHT - size))) << np.uint64(8 * (most - size))
    for i in range(most):
        found <<= _U8
        if start + i < end:
            found |= np.uint64(blob[start + i])
    return found


@inlined
def _mixed(word: Word, seed: Word) -> Word:
    word = (word ^ seed) * _MIX
    word ^= word >> _U29
    word *= _MIX
    return word ^ (word >> _U32)


@inlined
def key_code(blob: Array, start: int, end: int, seed: Word) -> tuple[Word, Word, Word]:
    """Return an entity's two words and its tag; the second word of a long one is where it is."""
    size = end - start
    if size <= _SHORT_KEY:
        first = (np.uint64(size) << np.uint64(56)) | _bytes(blob, start, end, 7)
        second = _bytes(blob, start + 7, end, _EIGHT)
        tag = _mixed(second, _mixed(first, seed))
    else:
        first, second = _LONG_KEY | np.uint64(size), np.uint64(start)
        tag = _mixed(first, seed)
        for at in range(start, end, _EIGHT):
            tag = _mixed(_bytes(blob, at, end, _EIGHT), tag)
    return first, second, tag & _LOW


@inlined
def _same(rows: Array, row: Any, first: Word, second: Word, blob: Array, pool: Array) -> bool:
    if rows[row, layout.KEY] != first:
        return False
    if first < _LONG_KEY:
        return bool(rows[row, layout.KEY + 1] == second)
    ours, theirs = np.int64(rows[row, layout.KEY + 1]), np.int64(second)
    for i in range(np.int64(first & ~_LONG_KEY)):  # noqa: SIM110
        if pool[ours + i] != blob[theirs + i]:
            return False
    return True


@inlined
def find_ends(blob: Array, ends: Array) -> None:
    """Set where each line ends, unless ``ends`` says so already."""
    if ends[0] >= 0:
        return
    line = 0
    for at in range(len(blob)):
        if blob[at] == 10:
            ends[line] = at
            line += 1
    ends[line] = len(blob)


@inlined
def find(
    blob: Array,
    ends: Array,
    seed: Word,
    make: bool,
    rows: Array,
    table: Array,
    pool: Array,
    meta: Array,
    entity: Array,
    made: Array,
    codes: Array,
) -> int:
    """Set ``entity`` to the row of each text; make rows for new ones, and list them in ``made``.

    Returns how many were made. There is room for all. Where none is to be made, it is row 0.
    """
    find_ends(blob, ends)
    flat = rows.reshape(rows.size)
    n, mask = len(ends), np.uint64(len(table) - 1)
    start = 0
    for i in range(n):
        codes[i, 0], codes[i, 1], codes[i, 2] = key_code(blob, start, ends[i], seed)
        start = ends[i] + 1
    # What is asked for now is there when it's needed: see prefetch.
    for i in range(n):
        prefetch(table, np.int64(codes[i, 2] & mask))
    for i in range(n):
        row = np.int64(table[codes[i, 2] & mask] & _LOW)
        for line in range(0, rows.shape[1], 8):
            prefetch(flat, row * rows.shape[1] + line)
    new = 0
    for i in range(n):
        first, second, tag = codes[i, 0], codes[i, 1], codes[i, 2]
        at = tag & mask
        found: Any = 0
        while table[at] != _U0:
            if table[at] >> _U32 == tag:
                row = np.int64(table[at] & _LOW)
                if _same(rows, row, first, second, blob, pool):
                    found = row
                    break
            at = (at + _U1) & mask
        if found == 0 and make:
            found = _made(rows, pool, meta, blob, first, second, tag)
            table[at] = (tag << _U32) | np.uint64(found)
            made[new] = i
            new += 1
        entity[i] = found
    return new


@called
def _made(
    rows: Array, pool: Array, meta: Array, blob: Array, first: Word, second: Word, tag: Word
) -> Any:
    row = meta[layout.ROWS_FREE]
    if row != 0:
        meta[layout.ROWS_FREE] = np.int64(rows[row, layout.START])
    else:
        row = meta[layout.ROWS_END]
        meta[layout.ROWS_END] += 1
    meta[layout.ENTITIES] += 1
    for column in range(rows.shape[1]):
        rows[row, column] = _U0
    if first >= _LONG_KEY:
        at, theirs = meta[layout.POOL_END], np.int64(second)
        size = np.int64(first & ~_LONG_KEY)
        for i in range(size):
            pool[at + i] = blob[theirs + i]
        meta[layout.POOL_END] = at + size
        second = np.uint64(at)
    rows[row, layout.KEY], rows[row, layout.KEY + 1] = first, second
    rows[row, layout.TAG] = tag
    rows[row, layout.NOW] = np.uint64(-layout.NEVER)
    return row


@inlined
def touch(rows: Array, meta: Array, entity: Array, changed: Array, frozen: Array) -> int:
    """Note that entities change; list those that are yet to be packed, and return how many."""
    found = 0
    for row in entity:
        flags = np.int64(rows[row, layout.FLAGS])
        if flags & layout.FROZEN != 0:
            frozen[found] = row
            found += 1
        if flags & layout.CHANGED == 0:
            changed[meta[layout.CHANGES]] = row
            meta[layout.CHANGES] += 1
        flags = (flags | layout.CHANGED) & ~layout.FROZEN
        rows[row, layout.FLAGS] = np.uint64(flags)
    return found


@called
def forget(rows: Array, table: Array, meta: Array, row: int) -> None:
    """Take an entity out of the table and free its row."""
    mask = np.uint64(len(table) - 1)
    tag = rows[row, layout.TAG]
    at = tag & mask
    while table[at] != (tag << _U32) | np.uint64(row):
        at = (at + _U1) & mask
    gap = at
    while True:  # what was pushed behind by it moves up
        at = (at + _U1) & mask
        if table[at] == _U0:
            break
        home = (table[at] >> _U32) & mask
        if (at - home) & mask >= (at - gap) & mask:
            table[gap] = table[at]
            gap = at
    table[gap] = _U0
    if rows[row, layout.KEY] >= _LONG_KEY:
        meta[layout.POOL_DEAD] += np.int64(rows[row, layout.KEY] & ~_LONG_KEY)
    rows[row, layout.FLAGS] = np.uint64(layout.FREE)
    rows[row, layout.START] = np.uint64(meta[layout.ROWS_FREE])
    meta[layout.ROWS_FREE] = row
    meta[layout.ENTITIES] -= 1


@called
def spread_out(old: Array, new: Array) -> None:
    """Move a table's entries into a larger, empty one."""
    mask = np.uint64(len(new) - 1)
    for entry in old:
        if entry != _U0:
            at = (entry >> _U32) & mask
            while new[at] != _U0:
                at = (at + _U1) & mask
            new[at] = entry


# ---------------------------------------------------------------- ids of records


@inlined
def id_codes(blob: Array, ends: Array, codes: Array) -> int:
    """Set the codes of ids, which compare as ids do: by length in characters, then as text.

    15 bits are the length, 48 the first six bytes, one says whether the second word is the place
    of the whole text or the next eight bytes. Returns how many bytes the long ones have.
    """
    find_ends(blob, ends)
    start, long_bytes = 0, 0
    for i in range(len(ends)):
        end, length = ends[i], 0
        for at in range(start, end):
            length += (blob[at] & 0xC0) != 0x80
        first = (np.uint64(length) << np.uint64(49)) | (_bytes(blob, start, end, _SIX) << _U1)
        second = _bytes(blob, start + _SIX, end, _EIGHT)
        if end - start > _SHORT_ID:
            first, second = first | _U1, np.uint64(start)
            long_bytes += end - start + 4
        codes[i, 0], codes[i, 1] = first, second
        start = end + 1
    return long_bytes


@called
def keep_id(pool: Array, meta: Array, blob: Array, start: Any, size: Any) -> Word:
    """Write a long id behind what is kept in the pool, and return its place; it may be dropped."""
    at = meta[layout.POOL_END]
    for i in range(4):
        pool[at + i] = (size >> (8 * i)) & 0xFF
    for i in range(size):
        pool[at + 4 + i] = blob[start + i]
    return np.uint64(at)


@called
def long_size(pool: Array, second: Word) -> Any:
    """Return how many bytes a long id has in the pool."""
    at, size = np.int64(second), np.int64(0)
    for i in range(4):
        size |= np.int64(pool[at + i]) << (8 * i)
    return size


@called
def is_after(pool: Array, a0: Word, a1: Word, b0: Word, b1: Word) -> bool:
    """Say whether the id with the code ``a`` comes after that with the code ``b``."""
    if a0 >> _U1 != b0 >> _U1:
        return bool(a0 >> _U1 > b0 >> _U1)
    if (a0 | b0) & _U1 == _U0:
        return bool(a1 > b1)
    a_size = long_size(pool, a1) if a0 & _U1 != _U0 else _SHORT_ID
    b_size = long_size(pool, b1) if b0 & _U1 != _U0 else _SHORT_ID
    for i in range(_SIX, max(a_size, b_size)):
        a, b = _byte(pool, a0, a1, a_size, i), _byte(pool, b0, b1, b_size, i)
        if a != b:
            return bool(a > b)
    return False


@inlined
def _byte(pool: Array, first: Word, second: Word, size: int, i: int) -> Word:
    if i >= size:
        return _U0
    if first & _U1 != _U0:
        return np.uint64(pool[np.int64(second) + 4 + i])
    return (second >> np.uint64(8 * (13 - i))) & np.uint64(0xFF)


@inlined
def key_bytes(first: Word) -> Any:
    """Return how many bytes an entity's text has in the pool, by its first word."""
    return np.int64(first & ~_LONG_KEY) if first >= _LONG_KEY else np.int64(0)
