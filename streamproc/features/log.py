"""The records of one entity that its windows hold, and the sums of each window; see ``windows``."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence

import orjson

_FLOAT_SHIFT = 400
"""Scales up to 2**400 times a value, of 1e150 at most, are floats, and so are means times one."""


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
        queues = spans if extremes else 0  # an empty deque takes 600 bytes: only where needed
        self.minima: list[deque[tuple[int, int]]] = [deque() for _ in range(queues)]
        self.maxima: list[deque[tuple[int, int]]] = [deque() for _ in range(queues)]
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
        self.minima = [deque((t, v << by) for t, v in kept) for kept in self.minima]
        self.maxima = [deque((t, v << by) for t, v in kept) for kept in self.maxima]
        self._set_scale(shift)

    def _set_scale(self, shift: int) -> None:
        self.shift, self.scale = shift, 1 << shift
        self.factor, self.unit = 0.0, 0.0
        if shift <= _FLOAT_SHIFT:
            self.factor, self.unit = 2.0**shift, 2.0**-shift

    def packed(self) -> bytes:
        """Return what cannot be computed anew from the rest, as JSON.

        >>> log = Log(spans=1, extremes=False)
        >>> log.packed()
        b'[-4611686018427387904,0,[],[],[]]'
        """
        rest = (self.now_ms, self.shift, self.times, self.ids)
        try:
            return orjson.dumps((*rest, self.values))
        except TypeError:  # integers beyond 64 bits
            return orjson.dumps((*rest, [hex(value) for value in self.values]))

    @classmethod
    def unpacked(
        cls, packed: memoryview, spans_ms: Sequence[int], squares: bool, extremes: bool
    ) -> Log:
        """Return a log as it was when it was packed, its sums computed anew."""
        log = cls(len(spans_ms), extremes)
        log.now_ms, shift, log.times, log.ids, values = orjson.loads(packed)
        log.values = [int(each, 16) if type(each) is str else each for each in values]
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


def keep_extreme(kept: deque[tuple[int, int]], time_ms: int, value: int, sign: int) -> None:
    """Append to a monotonic queue: what the new value outlives and beats can never win again."""
    while kept and sign * kept[-1][1] >= sign * value:
        kept.pop()
    kept.append((time_ms, value))
