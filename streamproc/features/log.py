"""The records of one entity that its windows hold, and the sums of each window; see ``windows``."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from functools import lru_cache

import orjson

_FLOAT_SHIFT = 400
"""Scales up to 2**400 times a value, of 1e150 at most, are floats, and so are means times one."""


_BINARY, _JSON = 1, b"\0"
_HEAD = struct.Struct("<BIIq")
"""A one, the shift, the number of records, and the time that the windows stand at."""

_NONE: list[deque[tuple[int, int]]] = []


class Log:
    """One entity's records in order, and for each span where its window begins and what it sums.

    ``values`` holds integers in units of ``1 / scale``; the window of span i as of ``now_ms`` is
    ``[lefts[i]:]``. ``factor`` is the scale as a float and ``unit`` is ``1 / factor``, both powers
    of two, with which a product is exact; both are 0.0 where the scale is too fine for that.
    """

    __slots__ = (
        "factor",
        "ids",
        "lefts",
        "maxima",
        "minima",
        "now_ms",
        "scale",
        "shift",
        "squares",
        "sums",
        "times",
        "unit",
        "values",
    )

    def __init__(self, spans: int, extremes: bool) -> None:
        self.times: list[int] = []
        self.ids: list[str] = []
        self.values: list[int] = []
        self.lefts = [0] * spans
        self.sums = [0] * spans
        self.squares = [0] * spans
        # An empty deque takes 600 bytes, and an empty list 56: only where needed.
        self.minima: list[deque[tuple[int, int]]] = _NONE
        self.maxima: list[deque[tuple[int, int]]] = _NONE
        if extremes:
            self.minima = [deque() for _ in range(spans)]
            self.maxima = [deque() for _ in range(spans)]
        self.now_ms = -(1 << 62)
        self.shift = 0
        self.scale = 1
        self.factor = self.unit = 1.0

    def scaled(self, value: float) -> int:
        """Return ``value`` as an integer in units of this log, made finer where it has to be."""
        if self.factor and type(value) is float:
            product = value * self.factor  # exact, as the factor is a power of two
            if product.is_integer():
                return int(product)
        numerator, denominator = value.as_integer_ratio()
        digits = denominator.bit_length() - 1
        if digits > self.shift:
            self._refine(digits)
        return numerator << (self.shift - digits)

    def _refine(self, shift: int) -> None:
        by = shift - self.shift
        self.values = [value << by for value in self.values]
        self.sums = [total << by for total in self.sums]
        self.squares = [total << 2 * by for total in self.squares]
        if self.minima:
            self.minima = [deque((t, v << by) for t, v in kept) for kept in self.minima]
            self.maxima = [deque((t, v << by) for t, v in kept) for kept in self.maxima]
        self._set_scale(shift)

    def _set_scale(self, shift: int) -> None:
        self.shift, self.scale = shift, 1 << shift
        self.factor, self.unit = 0.0, 0.0
        if shift <= _FLOAT_SHIFT:
            self.factor, self.unit = 2.0**shift, 2.0**-shift

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

    @classmethod
    def unpacked(
        cls, packed: memoryview, spans_ms: Sequence[int], squares: bool, extremes: bool
    ) -> Log:
        """Return a log as it was when it was packed, its sums computed anew."""
        log = cls(len(spans_ms), extremes)
        if packed[0] == _BINARY:
            _, _, records, _ = _HEAD.unpack_from(packed)
            packing = _packing(records)
            _, shift, _, log.now_ms, *numbers = packing.unpack_from(packed)
            log.times, log.values = numbers[:records], numbers[records:]
            log.ids = str(packed[packing.size :], "utf-8").split("\n")
        else:
            log.now_ms, shift, log.times, log.ids, values = orjson.loads(packed[1:])
            log.values = [int(each, 16) for each in values]
        log._set_scale(shift)
        for i, span_ms in enumerate(spans_ms):
            left = log.lefts[i] = bisect_right(log.times, log.now_ms - span_ms)
            held = log.values[left:]
            log.sums[i] = sum(held)
            if squares:
                log.squares[i] = sum(value * value for value in held)
            if extremes:
                for time_ms, value in zip(log.times[left:], held, strict=True):
                    keep_extreme(log.minima[i], time_ms, value, 1)
                    keep_extreme(log.maxima[i], time_ms, value, -1)
        return log


@lru_cache(maxsize=1000)
def _packing(records: int) -> struct.Struct:
    return struct.Struct(f"{_HEAD.format}{2 * records}q")


def keep_extreme(kept: deque[tuple[int, int]], time_ms: int, value: int, sign: int) -> None:
    """Append to a monotonic queue: what the new value outlives and beats can never win again."""
    while kept and sign * kept[-1][1] >= sign * value:
        kept.pop()
    kept.append((time_ms, value))
