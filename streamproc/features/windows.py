"""Sliding windows in event time, exact.

A window's sums are kept as whole numbers: a float is an integer times a power of two, so numbers
brought to one power of two add and subtract without rounding, whatever comes in whatever order and
however long the window runs. The one rounding is the last, from the exact sum to the float that is
published; so a window that was rebuilt, or that a late record reached, has the very bits of one
that was not. (Compare ``math.fsum``, Shewchuk 1997, which is exact once but cannot forget a value.)
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from itertools import islice

import numpy as np

from streamproc.features.aggregates import RESULTS, Number
from streamproc.features.log import Log, keep_extreme
from streamproc.features.spec import Window
from streamproc.state.tables import Floor, Rows, Stack, Table

_TRIM_AT = 64


class KeyedWindow:
    """All windows that one :class:`Window` declares, for every entity seen.

    ``lateness_ms`` is how far behind the newest time a record may come and still count; state
    older than the longest span and that is let go.

    >>> window = KeyedWindow(Window("x", "k", ("10ms",), ("count", "sum")), lateness_ms=0)
    >>> for time_ms in (1, 5, 11):
    ...     window.observe("a", time_ms, str(time_ms), 2.0)
    [1, 2.0]
    [2, 4.0]
    [2, 4.0]
    """

    def __init__(self, spec: Window, lateness_ms: int, track: bool = False) -> None:
        self.spec = spec
        self.lateness_ms = lateness_ms
        self.newest_ms = -(1 << 62)
        self._spans = spec.spans_ms
        self._longest = max(range(len(self._spans)), key=self._spans.__getitem__)
        self._keep_ms = self._spans[self._longest] + lateness_ms
        self._logs: dict[str, Log] = {}
        self._held = 0
        self._track = track
        self._changed: dict[str, None] = {}
        self._frozen: dict[str, None] = {}  # what changed before the last freeze, yet to be packed
        self._rows = Rows()
        self._stored: Stack | None = None
        self._stored_rows: dict[str, int] = {}  # of the entities that were not seen since a start
        self._to_sweep: list[str] = []
        self._oldest_ms = -(1 << 62)  # no entity's last record is older, bar those yet to sweep
        self._squares = "std" in spec.aggregates
        self._extremes = "min" in spec.aggregates or "max" in spec.aggregates
        self._results = [RESULTS[kind] for kind in spec.aggregates]
        self._plain = spec.aggregates == ("count", "mean")

    def __len__(self) -> int:
        """The number of records held, over all entities."""
        return self._held

    @property
    def entities(self) -> int:
        """The number of entities with state."""
        return len(self._logs) + len(self._stored_rows)

    def observe(
        self, key: str, time_ms: int, record_id: str, value: Number, late: bool = False
    ) -> list[Number]:
        """Take a record in and return its windows' aggregates, as :attr:`Window.names` lists them.

        A null value is not taken in; nor is a record that is ``late`` (later than allowed), which
        still gets the aggregates of its own time, with itself among them.
        """
        if time_ms > self.newest_ms:
            self.newest_ms = time_ms
        log = self._logs.get(key)
        if log is None:
            log = self._logs[key] = self._thawed(key)
        if self._track:
            if key in self._frozen:
                del self._frozen[key]
                self._pack(key)
            self._changed[key] = None
        times = log.times
        in_order = time_ms >= log.now_ms and (
            not times
            or time_ms > times[-1]
            or (len(record_id), record_id) > (len(log.ids[-1]), log.ids[-1])
        )
        scaled = None if value is None else log.scaled(value)
        if not in_order or late:
            return self._out_of_order(log, time_ms, record_id, scaled, late)
        if scaled is not None:
            times.append(time_ms)
            log.ids.append(record_id)
            log.values.append(scaled)
            self._held += 1
            if self._plain and log.unit:
                return self._advance_plain(log, time_ms, scaled)
        return self._advance(log, time_ms, scaled)

    def _advance_plain(self, log: Log, time_ms: int, scaled: int) -> list[Number]:
        """Do as :meth:`_advance` does for counts and means, after a record that is not null."""
        log.now_ms = time_ms
        times, values, lefts, sums, unit = log.times, log.values, log.lefts, log.sums, log.unit
        end = len(times)
        out: list[Number] = []
        for i, span_ms in enumerate(self._spans):
            total, left, floor = sums[i] + scaled, lefts[i], time_ms - span_ms
            while times[left] <= floor:  # the record itself ends it
                total -= values[left]
                left += 1
            lefts[i], sums[i] = left, total
            count = end - left
            out.append(count)
            out.append(total / count * unit)  # rounded once: a product with a power of two is exact
        if lefts[self._longest] > _TRIM_AT:
            self._trim(log)
        return out

    def _advance(self, log: Log, time_ms: int, scaled: int | None) -> list[Number]:
        """Move every span's window to ``time_ms``; ``scaled`` was just appended to the log."""
        log.now_ms = time_ms
        times, values, lefts, sums = log.times, log.values, log.lefts, log.sums
        if self._squares or self._extremes:
            self._advance_rest(log, time_ms, scaled)
        out: list[Number] = []
        added = 0 if scaled is None else scaled
        end = len(times)
        for i, span_ms in enumerate(self._spans):
            total, left, floor = sums[i] + added, lefts[i], time_ms - span_ms
            while left < end and times[left] <= floor:
                total -= values[left]
                left += 1
            lefts[i], sums[i] = left, total
            count = end - left
            low = high = 0
            if self._extremes and count:
                low, high = log.minima[i][0][1], log.maxima[i][0][1]
            window = (count, total, log.squares[i], low, high, log.scale)
            out.extend([result(*window) for result in self._results])
        if lefts[self._longest] > _TRIM_AT:
            self._trim(log)
        return out

    def _advance_rest(self, log: Log, time_ms: int, scaled: int | None) -> None:
        """Move sums of squares and the running minima and maxima, before ``lefts`` move."""
        times, values = log.times, log.values
        for i, span_ms in enumerate(self._spans):
            floor = time_ms - span_ms
            if self._squares:
                square = log.squares[i] + (scaled * scaled if scaled is not None else 0)
                left = log.lefts[i]
                while left < len(times) and times[left] <= floor:
                    square -= values[left] * values[left]
                    left += 1
                log.squares[i] = square
            if self._extremes:
                low, high = log.minima[i], log.maxima[i]
                if scaled is not None:
                    keep_extreme(low, time_ms, scaled, 1)
                    keep_extreme(high, time_ms, scaled, -1)
                for kept in (low, high):
                    while kept and kept[0][0] <= floor:
                        kept.popleft()

    def _out_of_order(
        self, log: Log, time_ms: int, record_id: str, scaled: int | None, late: bool
    ) -> list[Number]:
        """Aggregate as of a time behind the newest, then take the record in where it belongs."""
        times, values = log.times, log.values
        place = bisect_right(times, time_ms)
        while (
            place
            and times[place - 1] == time_ms
            and ((len(log.ids[place - 1]), log.ids[place - 1]) > (len(record_id), record_id))
        ):
            place -= 1
        own = [] if scaled is None else [scaled]
        out: list[Number] = []
        # What may have been let go is left out where it was not, so that it makes no difference.
        kept = bisect_right(times, self.newest_ms - self._keep_ms)
        for span_ms in self._spans:
            left = min(max(bisect_right(times, time_ms - span_ms), kept), place)
            held = [*islice(values, left, place), *own]
            squares = sum(value * value for value in held) if self._squares else 0
            low, high = (min(held), max(held)) if held else (0, 0)
            window = (len(held), sum(held), squares, low, high, log.scale)
            out.extend([result(*window) for result in self._results])
        if scaled is not None and not late:
            times.insert(place, time_ms)
            log.ids.insert(place, record_id)
            values.insert(place, scaled)
            self._held += 1
            self._widen(log, time_ms, scaled)
        return out

    def _widen(self, log: Log, time_ms: int, scaled: int) -> None:
        """Let the windows that stand at ``log.now_ms`` know of a record put in behind it."""
        for i, span_ms in enumerate(self._spans):
            if time_ms <= log.now_ms - span_ms:
                log.lefts[i] += 1
                continue
            log.sums[i] += scaled
            log.squares[i] += scaled * scaled if self._squares else 0
            if self._extremes:
                log.minima[i], log.maxima[i] = deque(), deque()
                for j in range(log.lefts[i], len(log.times)):
                    keep_extreme(log.minima[i], log.times[j], log.values[j], 1)
                    keep_extreme(log.maxima[i], log.times[j], log.values[j], -1)

    def _trim(self, log: Log) -> None:
        """Let go of records that no record still allowed can have in its windows."""
        old = bisect_right(log.times, self.newest_ms - self._keep_ms)
        old = min(old, min(log.lefts))
        if old > _TRIM_AT // 2:
            del log.times[:old], log.ids[:old], log.values[:old]
            log.lefts = [left - old for left in log.lefts]
            self._held -= old

    def sweep(self, entities: int) -> None:
        """Look at the next ``entities`` entities and forget those with nothing left to remember.

        Once all were looked at, none is until the one longest idle may be forgotten.
        """
        floor = self.newest_ms - self._keep_ms
        if not self._to_sweep:
            if floor < self._oldest_ms:
                return
            self._to_sweep = [*self._stored_rows, *self._logs]
            self._oldest_ms = self.newest_ms - self.lateness_ms
        for key in self._to_sweep[-entities:]:
            log = self._logs.get(key)
            if log is None:
                self._sweep_stored(key, floor)
            elif not log.times or log.times[-1] <= floor:
                self._held -= len(log.times)
                del self._logs[key]
            elif log.times[-1] < self._oldest_ms:
                self._oldest_ms = log.times[-1]
        del self._to_sweep[-entities:]

    def _sweep_stored(self, key: str, floor: int) -> None:
        row = self._stored_rows.get(key)
        if row is None or self._stored is None:
            return
        last_ms = int(self._stored.times_ms[row])
        if last_ms <= floor:
            self._held -= int(self._stored.numbers[self._stored_rows.pop(key)])
        elif last_ms < self._oldest_ms:
            self._oldest_ms = last_ms

    # ---------------------------------------------------------------- what outlives the process

    @property
    def floor(self) -> Floor:
        """Which entities need not be remembered: those whose last record is so old."""
        return Floor(time_ms=self.newest_ms - self._keep_ms)

    def freeze(self, everything: bool = False) -> None:
        """Let :meth:`pack` give what changed since the last time, as it is now."""
        self._frozen, self._changed = self._changed, {}
        self._rows = Rows()
        if everything:
            self._frozen = dict.fromkeys(self._logs)
            stored = self._stored
            for key, row in self._stored_rows.items() if stored else ():
                assert stored is not None
                numbers = (int(stored.times_ms[row]), int(stored.numbers[row]))
                self._rows.append(key, *numbers, bytes(stored.payload(row)))

    def pack(self, most: int) -> int:
        """Pack up to ``most`` of the entities that were frozen; return how many are left.

        One that changes meanwhile is packed before it does.
        """
        for _ in range(min(most, len(self._frozen))):
            self._pack(self._frozen.popitem()[0])  # the last one first: it may be at hand yet
        return len(self._frozen)

    def packed(self) -> Table:
        """Return the entities that were frozen, now that none is left to pack."""
        rows, self._rows = self._rows, Rows()
        return rows.table()

    def thaw(self, stored: Stack, newest_ms: int) -> None:
        """Become what was frozen; an entity's records are looked at when it is seen again."""
        self.newest_ms = newest_ms
        self._stored, self._stored_rows = stored, stored.rows
        rows = np.fromiter(stored.rows.values(), np.int64, len(stored.rows))
        self._held = int(stored.numbers[rows].sum())

    def _pack(self, key: str) -> None:
        log = self._logs.get(key)
        if log is not None and log.times:  # else it was forgotten, as it would be again
            self._rows.append(key, log.times[-1], len(log.times), log.packed())

    def _thawed(self, key: str) -> Log:
        """Return what is known of an entity that was not seen since the start, if anything is."""
        row = self._stored_rows.pop(key, None)
        if row is None or self._stored is None:
            return Log(len(self._spans), self._extremes)
        payload = self._stored.payload(row)
        if not self._stored_rows:
            self._stored = None  # that was the last
        return Log.unpacked(payload, self._spans, self._squares, self._extremes)
