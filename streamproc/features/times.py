"""Times as text, compiled: those of the commonest forms."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamproc.features.directory import find_ends
from streamproc.features.jit import called, inlined

Array = Any
_NONE = -(1 << 62)


@inlined
def times_of(blob: Array, ends: Array, found: Array) -> bool:
    """Read times such as 2018-07-01T00:00:31Z, with milliseconds or without.

    Returns False where one is of another form, or no time.
    """
    find_ends(blob, ends)
    start = 0
    for i in range(len(ends)):
        size = ends[i] - start
        if size != 20 and size != 24:
            return False
        time_ms = _time_ms(blob, start, size == 24)
        if time_ms == _NONE:
            return False
        found[i] = time_ms
        start = ends[i] + 1
    return True


@called
def _time_ms(blob: Array, at: int, fraction: bool) -> Any:
    year, month = 100 * _two(blob, at) + _two(blob, at + 2), _two(blob, at + 5)
    day, hour = _two(blob, at + 8), _two(blob, at + 11)
    minute, second = _two(blob, at + 14), _two(blob, at + 17)
    marks = (
        blob[at + 4] == 45 and blob[at + 7] == 45 and blob[at + 10] == 84  # - - T
        and blob[at + 13] == 58 and blob[at + 16] == 58  # : :
    )  # fmt: skip
    part: Any = 0
    if fraction:
        tenths = np.int64(blob[at + 20]) - 48
        part = 100 * tenths + _two(blob, at + 21)
        marks = marks and blob[at + 19] == 46 and 0 <= tenths <= 9 and part >= 0  # .
    marks = marks and blob[at + (23 if fraction else 19)] == 90  # Z
    if not marks or min(year, month, day, hour, minute, second, _two(blob, at + 2)) < 0:
        return _NONE
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    longest = 30 + ((month + month // 8) & 1)
    if month == 2:
        longest = 29 if leap else 28
    fits = year >= 1 and 1 <= month <= 12 and 1 <= day <= longest
    if not fits or hour > 23 or minute > 59 or second > 59:
        return _NONE
    # Days since 1970, counted in years that begin in March (Hinnant, chrono-compatible dates).
    since = year - 1 if month <= 2 else year
    in_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    days = 365 * since + since // 4 - since // 100 + since // 400 + in_year - 719_468
    return 1_000 * (86_400 * days + 3_600 * hour + 60 * minute + second) + part


@inlined
def _two(blob: Array, at: int) -> Any:
    """Return two digits as a number, or one far below zero."""
    tens, ones = np.int64(blob[at]) - 48, np.int64(blob[at + 1]) - 48
    if tens < 0 or tens > 9 or ones < 0 or ones > 9:
        return -1_000_000
    return 10 * tens + ones
