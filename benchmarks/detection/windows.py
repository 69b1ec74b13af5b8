"""Detectors that compare windows with a fixed reference: alibi-detect 0.13.0's CVM, and chi²."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.detection.compiled import Floats, Ints, compiled

CVM_WINDOWS = (25, 100, 400)


def cvm(values: Floats, reference: int) -> Floats:
    """``CVMDriftOnline(window_sizes=[25, 100, 400])``: its statistics, one column a window.

    alibi-detect draws its thresholds from ten times as many simulated streams as the mean time
    between false alarms asked for: a million for 100,000. So its threshold, which is constant once
    the windows are full, is fitted as those of the others are; its statistic is untouched. Sums are
    of whole numbers here, so equal to alibi-detect's but for its rounding. No two values are equal.
    """
    ordered = np.sort(values[:reference])
    below = np.searchsorted(ordered, values, "left").astype(np.int64)
    upto = np.searchsorted(ordered, values, "right").astype(np.int64)
    return _cvm(values, below, upto, np.array(CVM_WINDOWS, np.int64), reference)


@compiled
def _cvm(values: Floats, below: Ints, upto: Ints, sizes: Ints, n: int) -> Floats:
    found = np.full((len(values), len(sizes)), -np.inf)
    sums = np.zeros((len(sizes), 4), np.int64)
    for at in range(n, len(values)):
        for k in range(len(sizes)):
            size = sizes[k]
            if at - n >= size:
                _taken(values, below, upto, at - size, at, n, sums[k], -1)
            first = max(n, at - size + 1)
            _taken(values, below, upto, at, first, n, sums[k], 1)
            if at - n + 1 >= size:
                found[at, k] = np.float32(_statistic(sums[k], n, size))
    return found


@compiled
def crossings(statistics: Floats, sizes: Ints, threshold: float, since: int) -> Ints:
    """Return where a window's statistic exceeds a threshold, up to the first from ``since`` on.

    After an alarm windows are emptied; so each counts again once it is full of later events.
    """
    alarms, found, begun = np.empty(len(statistics), np.int64), 0, 0
    for at in range(len(statistics)):
        for k in range(len(sizes)):
            if at - begun + 1 >= sizes[k] and statistics[at, k] > threshold:
                alarms[found] = at
                found += 1
                begun = at + 1
                break
        if found and alarms[found - 1] == at and at >= since:
            break
    return alarms[:found]


@compiled
def _taken(
    values: Floats, below: Ints, upto: Ints, at: int, end: int, n: int, sums: Ints, sign: int
) -> None:
    """Take a value in (1) or out (-1): ``end`` is the other end of the window beside it.

    ``sums``: over the reference's r of rank i, sums of i·c and c², c being how many of the window
    are at most r; over the window's w, sums of u² and u·v, u being how many of the reference, and v
    how many of the window, are at most w.
    """
    low, high = (end, at) if end < at else (at + 1, end)
    pairs, product, rank = 0, 0, 1
    for j in range(low, high):
        pairs += n - max(below[at], below[j])
        product += upto[j] if values[j] >= values[at] else 0
        rank += values[j] <= values[at]
    sums[0] += sign * (n * (n + 1) // 2 - below[at] * (below[at] + 1) // 2)
    sums[1] += sign * (2 * pairs + n - below[at])
    sums[2] += sign * upto[at] * upto[at]
    sums[3] += sign * (product + upto[at] * rank)


@compiled
def _statistic(sums: Ints, n: int, size: int) -> float:
    """Anderson 1962 (Annals of Mathematical Statistics 33), standardised as alibi-detect does."""
    of_reference = size * size * (n * (n + 1) * (2 * n + 1) // 6)
    of_window = n * n * (size * (size + 1) * (2 * size + 1) // 6)
    whole = of_reference - 2 * size * n * sums[0] + n * n * sums[1]
    whole += size * size * sums[2] - 2 * size * n * sums[3] + of_window
    squares = whole / (n * size) / (n * size)
    both = n + size
    mean = 1 / 6 + 1 / (6 * both)
    variance = (
        (both + 1)
        * (4 * n * size * both - 3 * (n * n + size * size) - 2 * n * size)
        / (45 * both * both * 4 * n * size)
    )
    return float((squares * (n * size / (both * both)) - mean) / math.sqrt(variance))


def chi_square(
    codes: Floats, threshold: float, categories: int, reference: int, window: int, since: int
) -> Ints:
    """Pearson's chi² of each window against the reference's shares, each count half more.

    The half gives the category that comes after those known a share. Windows don't overlap.
    """
    k = categories + 1
    usual = np.bincount(codes[:reference].astype(np.int64), minlength=k) + 0.5
    usual *= window / usual.sum()
    whole = (len(codes) - reference) // window
    rows = codes[reference : reference + whole * window].astype(np.int64).reshape(whole, window)
    counts = np.stack([np.bincount(row, minlength=k) for row in rows])
    high = ((counts - usual) ** 2 / usual).sum(axis=1) > threshold
    alarms = np.flatnonzero(high) * window + reference + window - 1
    return alarms[: int(np.searchsorted(alarms, since)) + 1]
