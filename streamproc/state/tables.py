"""Tables: rows of a key, two integers and some bytes; and several of them read as one.

A snapshot is a stack of tables: each holds the rows that changed since the one before, and of a key
the newest row counts. So writing costs what changed, and reading them costs one pass over the keys:
the bytes of a row are looked at when the row is needed. (The idea is that of log-structured merge
trees, O'Neil et al. 1996.)
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from streamproc.errors import StreamprocError

MAGIC = b"streamproc tables 1\n"
GONE = -1
"""The number of a row that says that its key is there no longer."""

_LENGTH = struct.Struct("<I")
Integers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Floor:
    """What of a table is dead: rows up to a time, and rows whose number is below another."""

    time_ms: int = -(1 << 62)
    number: int = 0

    def alive(self, times_ms: Integers, numbers: Integers) -> Any:
        """Return a mask of the rows that are not."""
        return (times_ms > self.time_ms) & (numbers >= self.number)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows; the bytes of row ``i`` are ``blob[ends[i - 1] : ends[i]]``."""

    keys: list[str]
    times_ms: Integers
    numbers: Integers
    ends: Integers
    blob: bytes | memoryview


class Rows:
    """Rows on their way into a table.

    >>> rows = Rows()
    >>> rows.append("a", 5, 0, b"xyz")
    >>> table = rows.table()
    >>> table.keys, table.times_ms.tolist(), bytes(table.blob)
    (['a'], [5], b'xyz')
    """

    def __init__(self) -> None:
        self._rows: list[tuple[str, int, int, bytes | memoryview]] = []

    def append(self, key: str, time_ms: int, number: int, payload: bytes | memoryview) -> None:
        """Add a row."""
        self._rows.append((key, time_ms, number, payload))

    def table(self) -> Table:
        """Return what was appended."""
        rows = self._rows
        payloads = [row[3] for row in rows]
        return Table(
            [row[0] for row in rows],
            np.array([row[1] for row in rows], np.int64),
            np.array([row[2] for row in rows], np.int64),
            np.cumsum(np.array([*map(len, payloads)], np.int64), dtype=np.int64),
            b"".join(payloads),
        )


class Stack:
    """Tables, oldest first, as one: of each key the newest row, unless it is dead.

    >>> old, new = Rows(), Rows()
    >>> old.append("a", 1, 0, b"old"); old.append("b", 2, 1, b"two"); new.append("a", 3, 2, b"new")
    >>> stack = Stack([old.table(), new.table()], Floor(time_ms=2))
    >>> {key: bytes(stack.payload(row)) for key, row in stack.rows.items()}
    {'a': b'new'}
    """

    def __init__(self, tables: Sequence[Table], floor: Floor) -> None:
        keys: list[str] = []
        for table in tables:
            keys += table.keys
        empty = np.zeros(0, np.int64)
        self.times_ms: Integers = np.concatenate([empty, *(each.times_ms for each in tables)])
        self.numbers: Integers = np.concatenate([empty, *(each.numbers for each in tables)])
        self._blobs = [memoryview(each.blob) for each in tables]
        rows = [len(each.keys) for each in tables]
        self._first: list[int] = np.cumsum([0, *rows[:-1]]).tolist() if rows else []
        self._starts = np.concatenate([empty, *(_starts(each) for each in tables)])
        self._ends = np.concatenate([empty, *(each.ends for each in tables)])
        self.lengths: Integers = self._ends - self._starts
        alive = floor.alive(self.times_ms, self.numbers)
        self.rows: dict[str, int] = dict(zip(keys, range(len(keys)), strict=True))
        newest = np.fromiter(self.rows.values(), np.int64, len(self.rows))
        if not alive[newest].all():
            kept = alive.tolist()
            self.rows = {key: row for key, row in self.rows.items() if kept[row]}

    def payload(self, row: int) -> memoryview:
        """Return a row's bytes."""
        blob = self._blobs[_last_at_most(self._first, row)]
        return blob[self._starts[row] : self._ends[row]]


def _starts(table: Table) -> Integers:
    return np.concatenate([np.zeros(min(1, len(table.ends)), np.int64), table.ends[:-1]])


def _last_at_most(firsts: list[int], row: int) -> int:
    """Return the index of the last of ``firsts``, which are few, that is at most ``row``."""
    index = len(firsts) - 1
    while firsts[index] > row:
        index -= 1
    return index


def encode(tables: Mapping[str, Table]) -> bytes:
    """Return named tables as bytes; see :func:`decode`."""
    heads: list[dict[str, Any]] = []
    parts: list[bytes | memoryview] = []
    for name, table in tables.items():
        keys = orjson.dumps(table.keys)
        sizes = {"keys": len(keys), "rows": len(table.keys), "blob": len(table.blob)}
        heads.append({"name": name, **sizes})
        columns = (table.times_ms, table.numbers, table.ends)
        parts += [keys, *(column.astype("<i8").tobytes() for column in columns), table.blob]
    head = orjson.dumps(heads)
    return b"".join([MAGIC, _LENGTH.pack(len(head)), head, *parts])


def decode(blob: bytes) -> dict[str, Table]:
    """Return the tables in some bytes; raise :class:`StreamprocError` where they are none.

    The format is :data:`MAGIC`, the length of a JSON list as four bytes, that list of names and
    sizes, and for each table its keys as a JSON list, three columns of 64-bit integers, and its
    blob. Nothing in it is code.

    >>> rows = Rows(); rows.append("a", 5, 0, b"xyz")
    >>> decode(encode({"t": rows.table()}))["t"].keys
    ['a']
    >>> decode(b"something else")
    Traceback (most recent call last):
    streamproc.errors.StreamprocError: not written by streamproc, or by a later version of it
    """
    if not blob.startswith(MAGIC):
        raise StreamprocError("not written by streamproc, or by a later version of it")
    try:
        view = memoryview(blob)
        at = len(MAGIC) + _LENGTH.size
        (length,) = _LENGTH.unpack_from(blob, len(MAGIC))
        found: dict[str, Table] = {}
        heads = orjson.loads(view[at : at + length])
        at += length
        for head in heads:
            found[head["name"]], at = _table(view, at, head)
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise StreamprocError(f"cut off or damaged ({type(error).__name__}: {error})") from error
    return found


def _table(view: memoryview, at: int, head: Mapping[str, Any]) -> tuple[Table, int]:
    rows = head["rows"]
    keys: list[str] = orjson.loads(view[at : at + head["keys"]])
    at += head["keys"]
    times_ms, numbers, ends = (
        np.frombuffer(view, "<i8", rows, at + 8 * rows * i) for i in (0, 1, 2)
    )
    at += 3 * 8 * rows
    blob = view[at : at + head["blob"]]
    last = int(ends[-1]) if rows else 0
    if len(keys) != rows or len(blob) != head["blob"] or last != len(blob) or _falls(ends):
        raise ValueError("its sizes do not agree")
    return Table(keys, times_ms, numbers, ends, blob), at + head["blob"]


def _falls(ends: Integers) -> bool:
    return bool(len(ends)) and (int(ends[0]) < 0 or bool((np.diff(ends) < 0).any()))


def merge(stack: Iterable[Mapping[str, Table]], floors: Mapping[str, Floor]) -> dict[str, Table]:
    """Return tables, oldest first, as one of each name, without what is dead."""
    by_name: dict[str, list[Table]] = {}
    for tables in stack:
        for name, table in tables.items():
            by_name.setdefault(name, []).append(table)
    return {name: _merged(each, floors.get(name, Floor())) for name, each in by_name.items()}


def _merged(tables: Sequence[Table], floor: Floor) -> Table:
    """Return the rows that count, in the order of the tables."""
    stack = Stack(tables, floor)
    kept = np.sort(np.fromiter(stack.rows.values(), np.int64, len(stack.rows)))
    keys: list[str] = []
    payloads: list[memoryview] = []
    first = 0
    for table in tables:
        blob, last = memoryview(table.blob), first + len(table.keys)
        rows = kept[np.searchsorted(kept, first) : np.searchsorted(kept, last)] - first
        starts, ends = _starts(table)[rows].tolist(), table.ends[rows].tolist()
        keys += [table.keys[row] for row in rows.tolist()]
        payloads += [blob[start:end] for start, end in zip(starts, ends, strict=True)]
        first = last
    ends_of_all = np.cumsum(stack.lengths[kept], dtype=np.int64)
    return Table(keys, stack.times_ms[kept], stack.numbers[kept], ends_of_all, b"".join(payloads))
