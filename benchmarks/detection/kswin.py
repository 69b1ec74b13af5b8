"""River 0.26.1's KSWIN, compiled: the same draws of the same generator, the same p-values.

River's takes most of a millisecond an event. A p-value hangs on the greatest distance alone, a
whole number of steps; so SciPy is asked once for each of these.
"""

from __future__ import annotations

import random
import warnings
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.detection.compiled import Floats, Ints, compiled

_WORDS = 624


def kswin(values: Floats, alpha: float, window: int, recent: int, seed: int, since: int) -> Ints:
    """``drift.KSWIN(alpha, window_size=window, stat_size=recent, seed=seed)``."""
    words = np.array(random.Random(seed).getstate()[1], np.uint32)
    # River alarms when p <= alpha and the distance is above a tenth: from this many steps on.
    steps = next(
        (it for it, p in enumerate(p_values(recent)) if p <= alpha and it / recent > 0.1),
        recent + 1,
    )
    return _alarms(values, steps, window, recent, words, since)


@cache
def p_values(size: int) -> tuple[float, ...]:
    """Return the p-value of two samples of a size whose distance is 0, 1, ... steps of 1/size."""
    whole = np.arange(size)
    shifted = (whole + step - 0.5 * (step > 0) for step in range(size + 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # as River does: SciPy tells its method
        return tuple(float(stats.ks_2samp(whole, it, method="auto").pvalue) for it in shifted)


@compiled
def _alarms(
    values: Floats, steps: int, window: int, recent: int, seeded: NDArray[np.uint32], since: int
) -> Ints:
    alarms, found = np.empty(len(values), np.int64), 0
    words = seeded[:_WORDS].copy()
    place = int(seeded[_WORDS])
    kept, order = np.empty(window), np.empty(window, np.int64)
    side, pool = np.zeros(window, np.int64), np.empty(window - recent, np.int64)
    held, head = 0, 0
    for at in range(len(values)):
        slot = (head + held) % window
        if held == window:
            slot = head
            head = (head + 1) % window
            _removed(order, held, slot)
            held -= 1
        kept[slot] = values[at]
        _inserted(order, held, kept, slot)
        held += 1
        if held < window:
            continue
        place = _drawn(words, place, pool, recent)
        side[:] = 0
        for i in range(recent):
            side[(head + pool[len(pool) - 1 - i]) % window] = -1
            side[(head + window - 1 - i) % window] = 1
        if _distance(kept, order, side) >= steps:
            alarms[found] = at
            found += 1
            if at >= since:
                break
            words[:] = seeded[:_WORDS]
            place = int(seeded[_WORDS])
            held, head = 0, 0
    return alarms[:found]


@compiled
def _inserted(order: Ints, held: int, kept: Floats, slot: int) -> None:
    """Put a slot where its value belongs among those held, which are in order of value."""
    low, high = 0, held
    while low < high:
        middle = (low + high) // 2
        if kept[order[middle]] < kept[slot]:
            low = middle + 1
        else:
            high = middle
    for i in range(held, low, -1):
        order[i] = order[i - 1]
    order[low] = slot


@compiled
def _removed(order: Ints, held: int, slot: int) -> None:
    i = 0
    while order[i] != slot:
        i += 1
    for j in range(i, held - 1):
        order[j] = order[j + 1]


@compiled
def _distance(kept: Floats, order: Ints, side: Ints) -> int:
    """Return the greatest distance of the two samples, in steps of one value."""
    greatest, now = 0, 0
    for i in range(len(order)):
        now += side[order[i]]
        if i + 1 == len(order) or kept[order[i + 1]] != kept[order[i]]:
            greatest = max(greatest, abs(now))
    return greatest


@compiled
def _drawn(words: NDArray[np.uint32], place: int, pool: Ints, size: int) -> int:
    """Draw as ``random.sample(range(len(pool)), size)``; the drawn are the pool's last, reversed.

    Returns the generator's place. Only for pools that CPython doesn't sample by a set.
    """
    n = len(pool)
    for i in range(n):
        pool[i] = i
    for i in range(size):
        left = n - i
        bits = 0
        while left >> bits:
            bits += 1
        while True:
            if place >= _WORDS:
                _twisted(words)
                place = 0
            word = np.uint64(words[place])
            place += 1
            word ^= word >> np.uint64(11)
            word ^= (word << np.uint64(7)) & np.uint64(0x9D2C5680)
            word ^= (word << np.uint64(15)) & np.uint64(0xEFC60000)
            word ^= word >> np.uint64(18)
            drawn = np.int64(word >> np.uint64(32 - bits))
            if drawn < left:
                break
        pool[drawn], pool[left - 1] = pool[left - 1], pool[drawn]
    return place


@compiled
def _twisted(words: NDArray[np.uint32]) -> None:
    """The Mersenne Twister's next 624 words (Matsumoto and Nishimura 1998, ACM TOMACS 8)."""
    for i in range(_WORDS):
        both = (np.uint64(words[i]) & np.uint64(0x80000000)) | (
            np.uint64(words[(i + 1) % _WORDS]) & np.uint64(0x7FFFFFFF)
        )
        new = np.uint64(words[(i + 397) % _WORDS]) ^ (both >> np.uint64(1))
        if both & np.uint64(1):
            new ^= np.uint64(0x9908B0DF)
        words[i] = np.uint32(new)
