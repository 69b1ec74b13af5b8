"""The arrays that hold the windows of many entities, and what grows them; see ``layout``.

Nothing in here is an object of Python: a row an entity, its records in a segment of a size that is
a power of two, longer texts in a pool of bytes. So there is nothing for the garbage collector to
look at, and a micro-batch asks memory for all it needs before it needs it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamproc.features import layout
from streamproc.features.memory import LINE_WORDS, Lines
from streamproc.features.spans import Span
from streamproc.features.texts import Ids, decoded

Integers = NDArray[np.int64]

COMPILED = 2
"""What the bytes of an entity's records begin with."""

_HEAD = struct.Struct("<BIq")
_LENGTH = struct.Struct("<I")
_SEED = np.uint64(int.from_bytes(os.urandom(8), "little"))  # moves entities in the table, no more
_ROWS, _SLOTS, _TABLE, _POOL = 64, 256, 256, 1024
_LONG = np.int64(1)
LARGEST_FIT, FRACTION = 2.0**43, 118


Column = tuple[int, int, int, int]
"""An aggregate: of which span, its kind, a quantile's share in percent, and another span."""


@dataclass(frozen=True)
class Form:
    """What an arena's windows are: spans, and a column for each aggregate of one of them."""

    spans: tuple[Span, ...]
    plan: tuple[Column, ...]
    keep_ms: int

    @property
    def kinds(self) -> set[int]:
        """The kinds of aggregates in it."""
        return {kind for _, kind, _, _ in self.plan}


def fits(values: NDArray[np.float64]) -> bool:
    """Say whether all values have a place in the words of a sum.

    >>> fits(np.array([0.1, -1e12])), fits(np.array([1e-300])), fits(np.array([1e13]))
    (True, False, False)
    """
    scaled = values * 2.0**FRACTION
    return bool(np.all((scaled == np.floor(scaled)) & (np.abs(values) < LARGEST_FIT)))


class Arena:
    """Rows, records and texts of entities; grows as it has to."""

    def __init__(self, form: Form) -> None:
        from streamproc.features import entries

        self._entries = entries
        from streamproc.features.shapes import SCRATCH_WORDS

        self._squares = not form.kinds.isdisjoint((layout.STD, layout.VAR, layout.ZSCORE))
        self._extremes = not form.kinds.isdisjoint((layout.MIN, layout.MAX, layout.RANGE))
        stride = layout.SQUARES_STRIDE if self._squares else layout.PLAIN_STRIDE
        shape = (form.keep_ms, stride, self._extremes, len(form.spans))
        self.shape: Integers = np.array(shape, np.int64)
        self.spans: Integers = np.array(form.spans, np.int64)
        self.plan: Integers = np.array(form.plan, np.int64)
        columns = layout.SPANS + stride * len(form.spans) + 2 * self._extremes
        self._rows = Lines(_ROWS, -(-columns // LINE_WORDS) * LINE_WORDS)
        self._records = Lines(_SLOTS, layout.RECORD_WORDS)
        self.stacks = np.zeros((_SLOTS if self._extremes else 1, 2), np.int32)
        self.table: NDArray[np.uint64] = np.zeros(_TABLE, np.uint64)
        self.pool: NDArray[np.uint8] = np.zeros(_POOL, np.uint8)
        self.meta: Integers = np.zeros(layout.META_WORDS, np.int64)
        self.meta[layout.NEWEST] = -layout.NEVER
        self.meta[layout.ROWS_END] = 1
        self.meta[layout.SLOTS_END] = 2  # so that a segment begins where a line does
        self._scratch: NDArray[np.uint64] = np.zeros(SCRATCH_WORDS, np.uint64)
        self._edges: Integers = np.zeros((len(form.spans), 2), np.int64)
        self._view()

    def _view(self) -> None:
        self.rows: Integers = self._rows.rows
        self.words = self.rows.view(np.uint64)
        self.records: Integers = self._records.rows
        self.numbers = self.records.view(np.float64)

    def make_room(self, entities: int, text_bytes: int, long_bytes: int) -> None:
        """See to it that so many entities can come, and texts of so many bytes."""
        meta = self.meta
        if meta[layout.ROWS_END] + entities > len(self.rows):
            self._grow_rows(int(meta[layout.ROWS_END]) + entities)
        if 2 * (meta[layout.ENTITIES] + entities) > len(self.table):
            table = np.zeros(4 * len(self.table), np.uint64)
            while 2 * (meta[layout.ENTITIES] + entities) > len(table):
                table = np.zeros(2 * len(table), np.uint64)
            self._entries.spread_out(self.table, table)
            self.table = table
        need = int(meta[layout.POOL_END]) + text_bytes + long_bytes
        if need > len(self.pool):
            used = need - int(meta[layout.POOL_DEAD])
            pool = np.zeros(2 * used, np.uint8)
            self._entries.tidy(self.rows, self.words, self.records, self.pool, pool, meta)
            self.pool = pool

    def _grow_rows(self, least: int) -> None:
        rows = max(least, len(self.rows) * 3 // 2)
        del self.rows, self.words
        self._rows.grow(rows)
        self._view()

    def grow_records(self, least: int = 0) -> None:
        """Make room for half as many records more."""
        slots = max(len(self.records) * 3 // 2, least)
        del self.records, self.numbers
        self._records.grow(slots)
        if self._extremes:
            self.stacks.resize((len(self._records.rows), 2), refcheck=False)
        self._view()

    def find(self, text: Any, ends: Integers, make: bool = True) -> tuple[Integers, Integers]:
        """Return the rows of entities, and the numbers of those that were made just now."""
        if make:
            self.make_room(len(ends), len(text), 0)
        entity, made = np.empty(len(ends), np.int64), np.empty(len(ends), np.int64)
        new = self._entries.find(
            text, ends, _SEED, make, self.words, self.table, self.pool, self.meta, entity, made,
            np.empty((len(ends), 3), np.uint64),
        )  # fmt: skip
        return entity, made[:new]

    def advance(
        self, entity: Integers, ids: Ids, times: Integers, values: Any, what: Any
    ) -> tuple[NDArray[np.float64], Integers]:
        """Take records in; return their aggregates, and which of them are for slow rows.

        Of the latter it is the number of the record, and the newest time when it came.
        """
        n = len(entity)
        self.make_room(0, 0, ids.long_bytes)
        out = np.empty((n, len(self.plan)), np.float64)
        slow = np.empty((n + 1, 2), np.int64)
        slow[n, 0] = done = 0
        bits = values.view(np.int64)
        while True:
            done = self._entries.advance(
                done, entity, times, bits, what, ids.text, ids.ends, ids.codes, self.rows,
                self.words, self.records, self.numbers, self.stacks, self.pool, self.meta,
                self.spans, self.plan, self.shape, out, slow,
                self._scratch, self._edges,
            )  # fmt: skip
            if done == n:
                return out, slow[: slow[n, 0]]
            self.grow_records(2 * (1 << int(self.rows[entity[done], layout.CLASS])) + 1_000)

    def text_of(self, row: int) -> str:
        """Return an entity's text."""
        first, second = int(self.words[row, layout.KEY]), int(self.words[row, layout.KEY + 1])
        size = first >> 56
        if size == 255:
            return decoded(self.pool[second : second + (first & ((1 << 56) - 1))])
        head = (first & ((1 << 56) - 1)).to_bytes(7, "big") + second.to_bytes(8, "big")
        return decoded(head[:size])

    def records_of(self, row: int) -> Integers:
        """Return the records of an entity."""
        start, size = int(self.rows[row, layout.START]), int(self.rows[row, layout.SIZE])
        return self.records[start : start + size]

    def id_of(self, record: Integers) -> str:
        """Return the id of a record."""
        first, second = (int(word) for word in record[layout.ID :].view(np.uint64))
        if first & 1:
            size = int(self.pool[second : second + 4].view(np.uint32)[0])
            return decoded(self.pool[second + 4 : second + 4 + size])
        raw = (first >> 1 & ((1 << 48) - 1)).to_bytes(6, "big") + second.to_bytes(8, "big")
        text = raw.rstrip(b"\0").decode("utf-8", "surrogatepass")
        return text.ljust(first >> 49, "\0")  # zeros that were its own

    # ---------------------------------------------------------------- rows by themselves

    def packed(self, row: int) -> bytes:
        """Return an entity's records as bytes: the compiled form, and its long ids behind it."""
        records = self.records_of(row)
        head = _HEAD.pack(COMPILED, len(records), int(self.rows[row, layout.NOW]))
        long = records[records[:, layout.ID] & _LONG != 0]
        ids = [self.id_of(record).encode("utf-8", "surrogatepass") for record in long]
        return b"".join([head, records.tobytes(), *(_LENGTH.pack(len(i)) + i for i in ids)])

    def unpack(self, row: int, payload: memoryview) -> None:
        """Give an entity the records that :meth:`packed` wrote."""
        _, size, now_ms = _HEAD.unpack_from(payload)
        width = 8 * layout.RECORD_WORDS
        records = np.frombuffer(payload, np.int64, size * layout.RECORD_WORDS, _HEAD.size)
        texts = payload[_HEAD.size + size * width :]
        self.put(row, now_ms, records.reshape(size, layout.RECORD_WORDS), texts)

    def put(self, row: int, now_ms: int, records: Integers, texts: bytes | memoryview) -> None:
        """Give an entity some records; ``texts`` are the long ids, each behind its length."""
        size = len(records)
        self.make_room(0, 0, len(texts))
        size_class = max(layout.SMALLEST_CLASS, (size - 1).bit_length())
        start = self._entries.claim(size_class, self.records, self.meta)
        if start < 0:
            self.grow_records(int(self.meta[layout.SLOTS_END]) + (1 << size_class))
            start = self._entries.claim(size_class, self.records, self.meta)
        own = self.records[start : start + size]
        own[:] = records
        at, end = 0, int(self.meta[layout.POOL_END])
        self.pool[end : end + len(texts)] = np.frombuffer(texts, np.uint8)
        for i in np.flatnonzero(records[:, layout.ID] & _LONG).tolist():
            own[i, layout.ID + 1] = end + at
            (length,) = _LENGTH.unpack_from(texts, at)
            at += _LENGTH.size + length
        self.meta[layout.POOL_END] += at
        self.meta[layout.HELD] += size
        self.rows[row, [layout.START, layout.SIZE, layout.CLASS]] = (start, size, size_class)
        self.settle(row, now_ms)

    def put_log(
        self, row: int, now_ms: int, times: list[int], ids: list[str], values: list[float]
    ) -> None:
        """Give an entity records whose values fit."""
        records = np.empty((len(times), layout.RECORD_WORDS), np.int64)
        records[:, layout.TIME] = times
        records[:, layout.VALUE] = (np.array(values, np.float64) + 0.0).view(np.int64)
        texts = b""
        if ids:
            records[:, layout.ID :] = Ids(ids).codes.view(np.int64)
            long = np.flatnonzero(records[:, layout.ID] & _LONG).tolist()
            raw = [ids[i].encode("utf-8", "surrogatepass") for i in long]
            texts = b"".join(_LENGTH.pack(len(each)) + each for each in raw)
        self.put(row, now_ms, records, texts)

    def settle(self, row: int, now_ms: int) -> None:
        """Bring an entity's windows to a time, from its records alone."""
        self._entries.settle(
            row, now_ms, self.rows, self.words, self.records, self.numbers, self.stacks,
            self.spans, self.shape,
        )  # fmt: skip

    def sweep(self, begin: int, end: int, floor_ms: int, oldest_ms: int) -> tuple[int, list[int]]:
        """Forget idle entities of some rows; see ``segments.sweep``."""
        gone = np.empty(end - begin + 1, np.int64)
        oldest_ms = self._entries.sweep(
            begin, end, floor_ms, oldest_ms, self.rows, self.words, self.records, self.table,
            self.pool, self.meta, gone,
        )  # fmt: skip
        return oldest_ms, gone[1 : gone[0] + 1].tolist()

    def drop(self, row: int) -> None:
        """Forget an entity."""
        self._entries.drop(
            row, self.rows, self.words, self.records, self.table, self.pool, self.meta
        )

    def empty(self, row: int) -> None:
        """Forget an entity's records."""
        self._entries.empty(row, self.rows, self.records, self.pool, self.meta)

    def touch(self, entity: Integers, changed: Integers) -> list[int]:
        """Note that entities change; return those that are yet to be packed, as they are."""
        frozen = np.empty(len(entity), np.int64)
        found = self._entries.touch(self.words, self.meta, entity, changed, frozen)
        return [int(row) for row in frozen[:found]]

    @property
    def bytes_held(self) -> int:
        """How much memory the arrays take."""
        arrays: Sequence[Any] = (self.rows, self.records, self.stacks, self.table, self.pool)
        return sum(each.nbytes for each in arrays)
