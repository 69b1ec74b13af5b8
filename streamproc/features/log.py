"""The records of an entity with values that have no place in fixed words: slow, and as exact.

Values are Python's integers at one power of two, which grow as they have to. The results are, to
the bit, those of the compiled windows, wherever both can be had.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import lru_cache

import orjson

from streamproc.features import layout
from streamproc.features.aggregates import RESULTS, Number, shape_of
from streamproc.features.spans import Span, begin_ms

_BINARY, _JSON = 1, b"\0"
_HEAD = struct.Struct("<BIIq")
"""A one, the shift, the number of records, and the time that the windows stand at."""

_LAST = 1 << 62  # longer than any id
_TRIM_AT = 64


class Log:
    """One entity's records in order, and for each span where its window begins and what it sums.

    ``values`` holds integers in units of ``2**-shift``; the window of span i as of ``now_ms`` is
    ``[lefts[i]:]``. ``plan`` lists the columns; see ``arena.Column``.

    >>> plan = ((0, layout.COUNT, 0, 0), (0, layout.SUM, 0, 0))
    >>> log = Log([(10, 1)], plan, keep_ms=10)
    >>> log.observe(1, "a", 1e-30, False, 1), log.observe(2, "b", 1e30, False, 2)
    ([1, 1e-30], [2, 1e+30])
    """

    __slots__ = ("ids", "keep_ms", "lefts", "now_ms", "plan", "shift", "spans", "squares", "sums",
                 "times", "values")  # fmt: skip

    def __init__(
        self, spans: Sequence[Span], plan: Sequence[tuple[int, int, int, int]], keep_ms: int
    ) -> None:
        self.spans, self.plan, self.keep_ms = spans, plan, keep_ms
        self.times: list[int] = []
        self.ids: list[str] = []
        self.values: list[int] = []
        self.lefts = [0] * len(spans)
        self.sums = [0] * len(spans)
        self.squares = [0] * len(spans)
        self.now_ms = -layout.NEVER
        self.shift = 0

    def observe(
        self, time_ms: int, record_id: str | None, value: Number, late: bool, newest_ms: int
    ) -> list[Number]:
        """Take a record in and return its aggregates, by column; see ``KeyedWindow.observe``.

        One without an id, which has no value either, comes after all of its time.
        """
        scaled = None if value is None else self._scaled(value)
        order = (time_ms, _LAST, "") if record_id is None else (time_ms, len(record_id), record_id)
        in_order = not late and (
            time_ms > self.now_ms or (time_ms == self.now_ms and order > self._last)
        )
        if not in_order:
            return self._out_of_order(order, scaled, late, newest_ms)
        if scaled is not None and record_id is not None:
            self._append(time_ms, record_id, scaled)
        self.move_to(time_ms)
        windows = [
            (len(self.times) - left, self.sums[i], self.squares[i], left, len(self.times))
            for i, left in enumerate(self.lefts)
        ]
        found = self._results(self.times, self.values, time_ms, scaled is not None, windows)
        if min(self.lefts) > _TRIM_AT:
            self._trim(newest_ms)
        return found

    @property
    def _last(self) -> tuple[int, int, str]:
        if not self.times:
            return (-layout.NEVER, 0, "")
        return (self.times[-1], len(self.ids[-1]), self.ids[-1])

    def _append(self, time_ms: int, record_id: str, scaled: int) -> None:
        self.times.append(time_ms)
        self.ids.append(record_id)
        self.values.append(scaled)
        for i in range(len(self.spans)):
            self.sums[i] += scaled
            self.squares[i] += scaled * scaled

    def move_to(self, now_ms: int) -> None:
        """Let go, in every window, of what is too old for it at ``now_ms``."""
        self.now_ms = now_ms
        times, values = self.times, self.values
        for i, span in enumerate(self.spans):
            left, begin = self.lefts[i], begin_ms(now_ms, *span)
            while left < len(times) and times[left] < begin:
                self.sums[i] -= values[left]
                self.squares[i] -= values[left] * values[left]
                left += 1
            self.lefts[i] = left

    def _results(
        self, times: list[int], values: list[int], now_ms: int, has: bool,
        windows: Sequence[tuple[int, int, int, int, int]],
    ) -> list[Number]:  # fmt: skip
        """Return the aggregates of windows: count, sum, sum of squares, first, end in values."""
        found: list[Number] = []
        scale = 1 << self.shift
        for i, kind, percent, other in self.plan:
            count, total, squares, first, end = windows[i]
            low = high = 0
            if count and kind in (layout.MIN, layout.MAX, layout.RANGE):
                held = values[first:end]
                low, high = min(held), max(held)
            if kind in RESULTS:
                found.append(RESULTS[kind](count, total, squares, low, high, scale))
            elif kind == layout.ZSCORE:
                found.append(self._zscore(values[end - 1], windows[i]) if has else None)
            elif kind == layout.GROWTH:
                before = (windows[other][1] - total) / scale
                found.append((total / scale - before) / before if before and count else None)
            else:
                held_floats = [value / scale for value in values[first:end]]
                span_ms, _ = self.spans[i]
                found.append(
                    shape_of(kind, times[first:end], held_floats, has, now_ms, span_ms, percent)
                )
        return found

    def _zscore(self, own: int, window: tuple[int, int, int, int, int]) -> float:
        count, total, squares, _, _ = window
        scale = 1 << self.shift
        deviation = RESULTS[layout.STD](count, total, squares, 0, 0, scale)
        mean = RESULTS[layout.MEAN](count, total, squares, 0, 0, scale)
        return (own / scale - mean) / deviation if deviation and mean is not None else 0.0

    def _out_of_order(
        self, order: tuple[int, int, str], scaled: int | None, late: bool, newest_ms: int
    ) -> list[Number]:
        """Aggregate as of a time behind the newest, then take the record in where it belongs."""
        time_ms, _, record_id = order
        times, ids = self.times, self.ids
        place = bisect_right(times, time_ms)
        while place and (times[place - 1], len(ids[place - 1]), ids[place - 1]) > order:
            place -= 1
        values = self.values[:place] + ([] if scaled is None else [scaled])
        # What may have been let go is left out where it was not, so that it makes no difference.
        kept = bisect_right(times, newest_ms - self.keep_ms)
        windows = []
        for span in self.spans:
            left = min(max(bisect_left(times, begin_ms(time_ms, *span)), kept), place)
            held = values[left:]
            squares = sum(value * value for value in held)
            windows.append((len(held), sum(held), squares, left, len(values)))
        known = times[:place] + ([] if scaled is None else [time_ms])
        found = self._results(known, values, time_ms, scaled is not None, windows)
        if scaled is not None and not late:
            times.insert(place, time_ms)
            ids.insert(place, record_id)
            self.values.insert(place, scaled)
            for i, span in enumerate(self.spans):
                if time_ms < begin_ms(self.now_ms, *span):
                    self.lefts[i] += 1
                else:
                    self.sums[i] += scaled
                    self.squares[i] += scaled * scaled
        return found

    def _trim(self, newest_ms: int) -> None:
        """Let go of records that no record still allowed can have in its windows."""
        old = min(bisect_right(self.times, newest_ms - self.keep_ms), min(self.lefts))
        if old > _TRIM_AT // 2:
            del self.times[:old], self.ids[:old], self.values[:old]
            self.lefts = [left - old for left in self.lefts]

    def _scaled(self, value: float) -> int:
        """Return ``value`` as an integer in units of this log, made finer where it has to be."""
        numerator, denominator = value.as_integer_ratio()
        digits = denominator.bit_length() - 1
        if digits > self.shift:
            by, self.shift = digits - self.shift, digits
            self.values = [each << by for each in self.values]
            self.sums = [total << by for total in self.sums]
            self.squares = [total << 2 * by for total in self.squares]
        return numerator << (self.shift - digits)

    def fill(self, times: list[int], ids: list[str], values: Sequence[float], now_ms: int) -> None:
        """Take records in that are in order, and bring the windows to ``now_ms``."""
        for time_ms, record_id, value in zip(times, ids, values, strict=True):
            self._append(time_ms, record_id, self._scaled(value))
        self.move_to(now_ms)

    def floats(self) -> list[float] | None:
        """Return the values as floats, or None where one is none."""
        scale = 1 << self.shift
        found = []
        for value in self.values:
            try:
                number = value / scale
            except OverflowError:
                return None
            above, below = number.as_integer_ratio()
            if above * scale != value * below:
                return None
            found.append(number)
        return found

    # ---------------------------------------------------------------- as bytes

    def packed(self) -> bytes:
        """Return what cannot be computed anew from the rest.

        That is :data:`_HEAD`, times and values as 64-bit integers, and the ids, a line each; or
        JSON, where an id has a line's end in it or a value is larger.
        """
        times, ids, values = self.times, self.ids, self.values
        lines = "\n".join(ids)
        if lines.count("\n") == len(ids) - 1:
            try:
                packing = _packing(len(times))
                head = (_BINARY, self.shift, len(times), self.now_ms)
                return packing.pack(*head, *times, *values) + lines.encode()
            except struct.error:
                pass
        rest = (self.now_ms, self.shift, times, ids, [hex(value) for value in values])
        return _JSON + orjson.dumps(rest)

    def unpack(self, packed: memoryview) -> None:
        """Become what was packed, the sums computed anew."""
        if packed[0] == _BINARY:
            _, _, records, _ = _HEAD.unpack_from(packed)
            packing = _packing(records)
            _, self.shift, _, now_ms, *numbers = packing.unpack_from(packed)
            times, values = numbers[:records], numbers[records:]
            ids = str(packed[packing.size :], "utf-8").split("\n")
        else:
            now_ms, self.shift, times, ids, numbers = orjson.loads(packed[1:])
            values = [int(each, 16) for each in numbers]
        for time_ms, record_id, value in zip(times, ids, values, strict=True):
            self._append(time_ms, record_id, value)
        self.move_to(now_ms)


@lru_cache(maxsize=1000)
def _packing(records: int) -> struct.Struct:
    return struct.Struct(f"{_HEAD.format}{2 * records}q")
