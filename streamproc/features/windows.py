"""Sliding windows in event time, exact, a micro-batch at a time.

A window's sums are kept as whole numbers: a float is an integer times a power of two, so numbers
brought to one power of two add and subtract without rounding, whatever comes in whatever order and
however long the window runs. The one rounding is the last, from the exact sum to the float that is
published; so a window that was rebuilt, or that a late record reached, has the very bits of one
that was not. (Compare ``math.fsum``, Shewchuk 1997, which is exact once but cannot forget a value.)

Values that have a place in a few 64-bit words are added by compiled code, see ``words``; an entity
that ever gets another one is moved to Python's integers, see ``log``. The results don't tell which.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamproc.features import layout
from streamproc.features.aggregates import Number, kind_of
from streamproc.features.arena import COMPILED, Arena, Column, Form, fits
from streamproc.features.log import Log
from streamproc.features.spans import Span
from streamproc.features.spec import Window
from streamproc.features.texts import Ids, joined
from streamproc.state.tables import Floor, Rows, Stack, Table

_PLAIN = np.zeros(1, np.uint8)
_LATE = np.full(1, layout.LATE, np.uint8)


class KeyedWindow:
    """All windows over one value by one entity, which share one log of records.

    ``specs`` are the :class:`Window` that declare them. ``lateness_ms`` is how far behind the
    newest time a record may come and still count; state older than the longest span and that is
    let go.

    >>> window = KeyedWindow(Window("x", "k", ("10ms",), ("count", "sum")), lateness_ms=0)
    >>> for time_ms in (1, 5, 11):
    ...     window.observe("a", time_ms, str(time_ms), 2.0)
    [1, 2.0]
    [2, 4.0]
    [2, 4.0]
    """

    def __init__(
        self, specs: Window | Sequence[Window], lateness_ms: int, track: bool = False
    ) -> None:
        self.specs = (specs,) if isinstance(specs, Window) else tuple(specs)
        self.lateness_ms = lateness_ms
        self.over_labels = False
        """Whether its records are labels: their state goes by another name."""
        self.expired_entities = 0
        self.names = tuple(name for spec in self.specs for name in spec.names)
        self._form = form_of(self.specs, lateness_ms)
        self.counts = [kind in (layout.COUNT, layout.DISTINCT) for _, kind, _, _ in self._form.plan]
        self._keep_ms = self._form.keep_ms
        self._arena = Arena(self._form)
        self._logs: dict[int, Log] = {}  # of slow entities, by row
        self._stored_held = 0
        self._track = track
        self._changes = np.empty(64 if track else 0, np.int64)
        self._frozen: list[int] = []  # what changed before the last freeze, yet to be packed
        self._rows = Rows()
        self._stored: Stack | None = None
        self._stored_rows: dict[str, int] = {}  # of the entities that were not seen since a start
        self._sweep_stored: list[str] = []
        self._sweep_at = self._sweep_end = 1
        self._oldest_ms = -layout.NEVER  # no entity's last record is older, bar those yet to sweep

    def __len__(self) -> int:
        """The number of records held, over all entities."""
        slow = sum(len(log.times) for log in self._logs.values())
        return int(self._arena.meta[layout.HELD]) + slow + self._stored_held

    @property
    def entities(self) -> int:
        """The number of entities with state."""
        return int(self._arena.meta[layout.ENTITIES]) + len(self._stored_rows)

    @property
    def newest_ms(self) -> int:
        """The newest time seen."""
        return int(self._arena.meta[layout.NEWEST])

    @newest_ms.setter
    def newest_ms(self, time_ms: int) -> None:
        self._arena.meta[layout.NEWEST] = time_ms

    @property
    def bytes_held(self) -> int:
        """How much memory the compiled windows take."""
        return self._arena.bytes_held

    def observe(
        self, key: str, time_ms: int, record_id: str, value: Number, late: bool = False
    ) -> list[Number]:
        """Take a record in and return its windows' aggregates, as :attr:`names` lists them.

        A null value is not taken in; nor is a record that is ``late`` (later than allowed), which
        still gets the aggregates of its own time, with itself among them.
        """
        times = np.array([time_ms], np.int64)
        found = self.observe_many(
            [key], Ids([record_id]), times, [value], _LATE if late else _PLAIN
        )
        return [
            int(each) if count else None if each != each else each
            for each, count in zip(found[0].tolist(), self.counts, strict=True)
        ]

    def observe_many(
        self,
        keys: Sequence[str],
        ids: Ids,
        times: NDArray[np.int64],
        values: Sequence[Number] | NDArray[np.float64],
        what: NDArray[np.uint8],
    ) -> NDArray[np.float64]:
        """Take records in, one after the other; return a row a record, a column an aggregate.

        A null value, and a null aggregate, is NaN. ``what`` is 0, or :data:`layout.LATE`.
        """
        arena = self._arena
        entity, made = arena.find(*joined(keys))
        if len(made) and self._stored_rows:
            for i in made.tolist():
                self._bring_back(keys[i], int(entity[i]))
        if self._track:
            self._note(entity)
        numbers = np.asarray(values, np.float64)
        found, slow = arena.advance(entity, ids, times, numbers, what)
        for i, newest_ms in slow.tolist():
            log = self._slow(int(entity[i]))
            late = bool(what[i] & layout.LATE)
            value = values[i]
            number = None if value is None or value != value else value
            time_ms, record_id = int(times[i]), ids.texts[i]
            found[i] = log.observe(time_ms, record_id, number, late, newest_ms)
        return found

    def holds(self, key: str) -> bool:
        """Say whether an entity has state."""
        rows, _ = self._arena.find(*joined([key]), make=False)
        return key in self._stored_rows or rows[0] > 0

    def _slow(self, row: int) -> Log:
        """Return the log of a slow entity: what the arena had of it, if it is slow just now."""
        log = self._logs.get(row)
        if log is None:
            log = self._logs[row] = Log(self._form.spans, self._form.plan, self._keep_ms)
            arena = self._arena
            records = arena.records_of(row)
            times, values = (records[:, at] for at in (layout.TIME, layout.VALUE))
            ids = [arena.id_of(record) for record in records]
            numbers = values.copy().view(np.float64).tolist()
            log.fill(times.tolist(), ids, numbers, int(arena.rows[row, layout.NOW]))
            arena.empty(row)
        return log

    # ---------------------------------------------------------------- what is idle

    def sweep(self, entities: int) -> None:
        """Look at the next ``entities`` entities and forget those with nothing left to remember.

        Once all were looked at, none is until the one longest idle may be forgotten.
        """
        floor_ms = self.newest_ms - self._keep_ms
        if self._sweep_at >= self._sweep_end and not self._sweep_stored:
            if floor_ms < self._oldest_ms:
                return
            self._sweep_at, self._sweep_end = 1, int(self._arena.meta[layout.ROWS_END])
            self._sweep_stored = list(self._stored_rows)
            self._oldest_ms = self.newest_ms - self.lateness_ms
        before = self.entities
        begin, end = self._sweep_at, min(self._sweep_at + entities, self._sweep_end)
        if end > begin:
            self._oldest_ms, slow = self._arena.sweep(begin, end, floor_ms, self._oldest_ms)
            for row in slow:
                self._sweep_slow(row, floor_ms)
            self._sweep_at = end
        left = entities - (end - begin)
        if left > 0 and self._sweep_stored:
            for key in self._sweep_stored[-left:]:
                self._sweep_one_stored(key, floor_ms)
            del self._sweep_stored[-left:]
        self.expired_entities += before - self.entities

    def _sweep_slow(self, row: int, floor_ms: int) -> None:
        log = self._slow(row)
        if not log.times or log.times[-1] <= floor_ms:
            del self._logs[row]
            self._arena.drop(row)
        elif log.times[-1] < self._oldest_ms:
            self._oldest_ms = log.times[-1]

    def _sweep_one_stored(self, key: str, floor_ms: int) -> None:
        row = self._stored_rows.get(key)
        if row is None or self._stored is None:
            return
        last_ms = int(self._stored.times_ms[row])
        if last_ms <= floor_ms:
            self._stored_held -= int(self._stored.numbers[self._stored_rows.pop(key)])
        elif last_ms < self._oldest_ms:
            self._oldest_ms = last_ms

    # ---------------------------------------------------------------- what outlives the process

    @property
    def floor(self) -> Floor:
        """Which entities need not be remembered: those whose last record is so old."""
        return Floor(time_ms=self.newest_ms - self._keep_ms)

    @property
    def changes(self) -> int:
        """The number of entities that changed since the last freeze."""
        return int(self._arena.meta[layout.CHANGES])

    def _note(self, entity: NDArray[np.int64]) -> None:
        """Note that entities are about to change; those that were frozen are packed before."""
        if self.changes + len(entity) > len(self._changes):
            more = 2 * (self.changes + len(entity))
            self._changes = np.concatenate(
                [self._changes[: self.changes], np.empty(more, np.int64)]
            )
        for row in self._arena.touch(entity, self._changes):
            self._pack(row)

    def freeze(self, everything: bool = False) -> None:
        """Let :meth:`pack` give what changed since the last time, as it is now."""
        flags = self._arena.rows[:, layout.FLAGS]
        flags[self._frozen] &= ~layout.FROZEN
        rows = np.unique(self._changes[: self.changes])
        rows = rows[flags[rows] & layout.CHANGED != 0]
        flags[rows] &= ~layout.CHANGED
        self._arena.meta[layout.CHANGES] = 0
        self._rows = Rows()
        if everything:
            rows = np.arange(1, self._arena.meta[layout.ROWS_END])
            rows = rows[flags[rows] & layout.FREE == 0]
            self._freeze_stored()
        flags[rows] |= layout.FROZEN
        self._frozen = rows.tolist()

    def _freeze_stored(self) -> None:
        stored = self._stored
        for key, row in self._stored_rows.items() if stored else ():
            assert stored is not None
            numbers = (int(stored.times_ms[row]), int(stored.numbers[row]))
            self._rows.append(key, *numbers, bytes(stored.payload(row)))

    def pack(self, most: int) -> int:
        """Pack up to ``most`` of the entities that were frozen; return how many are left.

        One that changes meanwhile is packed before it does.
        """
        flags = self._arena.rows[:, layout.FLAGS]
        for row in self._frozen[-most:]:
            if flags[row] & layout.FROZEN:
                flags[row] &= ~layout.FROZEN
                self._pack(row)
        del self._frozen[-most:]
        return len(self._frozen)

    def packed(self) -> Table:
        """Return the entities that were frozen, now that none is left to pack."""
        rows, self._rows = self._rows, Rows()
        return rows.table()

    def _pack(self, row: int) -> None:
        key = self._arena.text_of(row)
        if self._arena.rows[row, layout.FLAGS] & layout.SLOW:
            log = self._slow(row)
            if log.times:  # else it is as if it were forgotten
                self._rows.append(key, log.times[-1], len(log.times), log.packed())
            return
        records = self._arena.records_of(row)
        if len(records):
            last_ms = int(records[-1, layout.TIME])
            self._rows.append(key, last_ms, len(records), self._arena.packed(row))

    def thaw(self, stored: Stack, newest_ms: int) -> None:
        """Become what was frozen; an entity's records are looked at when it is seen again."""
        self.newest_ms = newest_ms
        self._stored, self._stored_rows = stored, stored.rows
        rows = np.fromiter(stored.rows.values(), np.int64, len(stored.rows))
        self._stored_held = int(stored.numbers[rows].sum())

    def _bring_back(self, key: str, row: int) -> None:
        """Give a new row what is known of an entity that was not seen since the start, if any."""
        stored_row = self._stored_rows.pop(key, None)
        if stored_row is None or self._stored is None:
            return
        payload = self._stored.payload(stored_row)
        self._stored_held -= int(self._stored.numbers[stored_row])
        if not self._stored_rows:
            self._stored = None  # that was the last
        if payload[0] == COMPILED:
            self._arena.unpack(row, payload)
            return
        log = Log(self._form.spans, self._form.plan, self._keep_ms)
        log.unpack(payload)
        values = log.floats()
        if values is not None and fits(np.array(values, np.float64)):
            self._arena.put_log(row, log.now_ms, log.times, log.ids, values)
            return
        self._arena.rows[row, layout.FLAGS] |= layout.SLOW
        self._logs[row] = log


def form_of(specs: Iterable[Window], lateness_ms: int) -> Form:
    """Return the form of an arena for these windows; its columns are those of their names."""
    spans: dict[Span, int] = {}
    plan: list[Column] = []
    for spec in specs:
        every_ms = spec.every_ms
        for span_ms in spec.spans_ms:
            at = spans.setdefault((span_ms, every_ms), len(spans))
            for name in spec.aggregates:
                kind, percent = kind_of(name)
                other = 0
                if kind == layout.GROWTH:
                    # What was before this window is what is in one twice as long, less this.
                    other = spans.setdefault((2 * span_ms, every_ms), len(spans))
                plan.append((at, kind, percent, other))
    return Form(tuple(spans), tuple(plan), max(spans)[0] + lateness_ms)


def groups_of(features: Iterable[Any]) -> list[tuple[Window, ...]]:
    """Return windows that share a log together: those of one value and one entity."""
    found: dict[Any, list[Window]] = {}
    for feature in features:
        if isinstance(feature, Window):
            found.setdefault((feature.entity, feature.value), []).append(feature)
    return [tuple(group) for group in found.values()]
