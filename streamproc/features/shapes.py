"""Aggregates that look at a window's records one by one, compiled: its order, edges and pace.

All but the first few cost as much as the window is long. Up to :data:`EXACT` records quantiles and
distinct counts are exact. Beyond that a quantile is off by 2**-12 of itself at most, and a distinct
count by 2.3 % (its standard error); both depend on what is in the window alone.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from streamproc.features import layout
from streamproc.features.jit import called, inlined
from streamproc.features.layout import TIME, VALUE

EXACT = 1_024
_REGISTERS = 2_048
SCRATCH_WORDS = 16 + 2 * _REGISTERS
HALF_LIVES = 8
"""How many half-lives of a decayed aggregate its span is: at its edge a record weighs 1/256."""

Array = Any
Word = Any
_U0, _U1, _U53, _U63 = (np.uint64(n) for n in (0, 1, 53, 63))
_SIGN = np.uint64(1 << 63)
_COARSE = np.uint64((1 << 40) - 1)
_MIX, _MIX2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)
_BASE = 16
_ALPHA = 0.7213 / (1 + 1.079 / _REGISTERS)


@inlined
def _key(bits: int) -> Word:
    """Return a number that compares as the float of these bits does."""
    word = np.uint64(bits)
    return ~word if word >> _U63 != _U0 else word | _SIGN


@inlined
def _value(key: Word, records: Array, numbers: Array) -> Any:
    word = key & ~_SIGN if key >> _U63 != _U0 else ~key
    records[0, VALUE] = np.int64(word)  # a slot that is nobody's
    return numbers[0, VALUE]


@called
def quantile(
    first: int, end: int, share: float, records: Array, numbers: Array, scratch: Array
) -> Any:
    """Return the value below which ``share`` of some records lie, between two in proportion."""
    at = share * (end - first - 1)
    rank = int(at)
    if end - first <= EXACT:
        for i in range(first, end):
            scratch[_BASE + i - first] = _key(records[i, VALUE])
        _select(scratch, end - first, rank)
        low = scratch[_BASE + rank]
        high = low
        if at > rank:
            high = scratch[_BASE + rank + 1]
            for i in range(rank + 2, end - first):
                high = min(high, scratch[_BASE + i])
    else:
        low = _coarse(first, end, rank, records, scratch)
        high = _coarse(first, end, rank + 1, records, scratch) if at > rank else low
    below, above = _value(low, records, numbers), _value(high, records, numbers)
    below, above = float(below), float(above)
    return below + (above - below) * (at - rank)


@called
def _select(scratch: Array, size: int, rank: int) -> None:
    """Bring what is at ``rank`` in order to its place, smaller ones before it (Hoare 1961)."""
    left, right = 0, size - 1
    while left < right:
        pivot = scratch[_BASE + (left + right) // 2]
        i, j = left, right
        while i <= j:
            while scratch[_BASE + i] < pivot:
                i += 1
            while scratch[_BASE + j] > pivot:
                j -= 1
            if i <= j:
                scratch[_BASE + i], scratch[_BASE + j] = scratch[_BASE + j], scratch[_BASE + i]
                i, j = i + 1, j - 1
        if rank <= j:
            right = j
        elif rank >= i:
            left = i
        else:
            return


@called
def _coarse(first: int, end: int, rank: Any, records: Array, scratch: Array) -> Word:
    """Return the middle of the 2**40 keys among which that of a rank is, by two histograms."""
    prefix = _U0
    for shift in (52, 40):
        for i in range(4_096):
            scratch[_BASE + i] = _U0
        for i in range(first, end):
            key = _key(records[i, VALUE])
            if shift == 52 or key >> np.uint64(52) == prefix:
                scratch[_BASE + np.int64((key >> np.uint64(shift)) & np.uint64(0xFFF))] += _U1
        digit: Any = 0
        while rank >= np.int64(scratch[_BASE + digit]):
            rank = rank - np.int64(scratch[_BASE + digit])
            digit += 1
        prefix = (prefix << np.uint64(12)) | np.uint64(digit)
    return (prefix << np.uint64(40)) | (_COARSE >> _U1)


@called
def distinct(first: int, end: int, records: Array, scratch: Array) -> float:
    """Count distinct values: in a table, or, of many, by HyperLogLog (Flajolet et al. 2007)."""
    few = end - first <= EXACT
    for i in range(_REGISTERS):
        scratch[_BASE + i] = _U0
    found = 0
    for i in range(first, end):
        key = _key(records[i, VALUE])
        mixed = (key ^ (key >> np.uint64(30))) * _MIX2
        mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX
        mixed ^= mixed >> np.uint64(31)
        at: Any = np.int64(mixed >> _U53)
        if not few:
            rest, zeros = mixed << np.uint64(11), 1
            while rest >> _U63 == _U0 and zeros < 54:
                rest, zeros = rest << _U1, zeros + 1
            scratch[_BASE + at] = max(scratch[_BASE + at], np.uint64(zeros))
            continue
        while scratch[_BASE + at] != _U0 and scratch[_BASE + at] != key:
            at = (at + 1) % _REGISTERS
        if scratch[_BASE + at] == _U0:  # no key of a finite number is 0
            scratch[_BASE + at] = key
            found += 1
    return float(found) if few else _estimate(scratch)


@called
def _estimate(scratch: Array) -> float:
    total, empty = 0.0, 0
    for i in range(_REGISTERS):
        total += 2.0 ** -np.float64(scratch[_BASE + i])
        empty += scratch[_BASE + i] == _U0
    estimate = _ALPHA * _REGISTERS * _REGISTERS / total
    if estimate < 2.5 * _REGISTERS and empty > 0:
        estimate = _REGISTERS * math.log(_REGISTERS / empty)
    return float(np.floor(estimate + 0.5))


@called
def decayed(
    first: int, end: int, now_ms: int, span_ms: int, mean: bool, records: Array, numbers: Array
) -> float:
    """Return the weights of some records, added up, or the mean that they weigh."""
    weights = total = 0.0
    for i in range(first, end):
        weight = 2.0 ** (-HALF_LIVES * (now_ms - records[i, TIME]) / span_ms)
        weights += weight
        total += weight * numbers[i, VALUE]
    return total / weights if mean else weights


@called
def shape_of(
    kind: int, first: int, end: int, has: bool, now_ms: int, span_ms: int, share: float,
    records: Array, numbers: Array, scratch: Array,
) -> Any:  # fmt: skip
    """Return an aggregate of a window that holds something, NaN where it has none.

    ``has`` says whether the last record is the event's own.
    """
    last = end - 1
    if kind == layout.FIRST:
        return numbers[first, VALUE]
    if kind == layout.LAST:
        return numbers[last, VALUE]
    if kind == layout.QUANTILE:
        return quantile(first, end, share, records, numbers, scratch)
    if kind == layout.DISTINCT:
        return distinct(first, end, records, scratch)
    if kind == layout.DECAYED_MEAN or kind == layout.DECAYED_COUNT:
        mean = kind == layout.DECAYED_MEAN
        return decayed(first, end, now_ms, span_ms, mean, records, numbers)
    if kind == layout.SINCE_LAST:
        before = last - 1 if has else last
        return (now_ms - records[before, TIME]) / 1000.0 if before >= first else math.nan
    if last == first:
        return math.nan
    if kind == layout.DELTA:
        return numbers[last, VALUE] - numbers[last - 1, VALUE]
    took_ms = records[last, TIME] - records[first, TIME]
    change = numbers[last, VALUE] - numbers[first, VALUE]
    return change / (took_ms / 1000.0) if took_ms > 0 else math.nan
