"""The score of the Numenta Anomaly Benchmark, standard profile.

Lavin and Ahmad 2015, "Evaluating real-time anomaly detection algorithms: the Numenta Anomaly
Benchmark" (arXiv 1510.03336), as its scoring program counts: the first detection in a window earns
up to 1, the earlier the more; a window without any costs 1; each detection outside costs up to
0.11, the less the nearer it follows a window. The first 15 % of a series, at most 750 rows, are
given to learn from and count for nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from math import exp

TRUE, FALSE, MISSED = 1.0, 0.11, 1.0
LEARNT, MOST_LEARNT = 0.15, 750

Window = tuple[int, int]
"""The first and the last row of a window."""


def score(rows: int, detected: Collection[int], windows: Sequence[Window]) -> float:
    """Return the score of the rows ``detected`` in a series with these windows, in order.

    >>> score(1_000, [500], [(500, 599)]), score(1_000, [], [(500, 599)]), score(1_000, [900], [])
    (1.0, -1.0, -0.11)
    """
    sure = sorted(row for row in set(detected) if row >= learnt(rows))
    inside = {window: [row for row in sure if window[0] <= row <= window[1]] for window in windows}
    total = 0.0
    for (first, last), hits in inside.items():
        width = last - first + 1
        total += TRUE * _earned((hits[0] - last - 1) / width) / _earned(-1) if hits else -MISSED
    outside = set(sure).difference(*inside.values())
    return total + sum(FALSE * _after(row, windows) for row in sorted(outside))


def learnt(rows: int) -> int:
    """Return how many rows of a series are given to learn from.

    >>> learnt(1_127), learnt(22_695)
    (169, 750)
    """
    return min(int(LEARNT * rows), MOST_LEARNT)


def normalised(scores: Iterable[float], windows: int) -> float:
    """Return the sum of scores so that no detection at all is 0, and all at once without fail 100.

    >>> normalised([-1.0, 1.0], 2)
    50.0
    """
    return 100 * (sum(scores) + MISSED * windows) / ((TRUE + MISSED) * windows)


def _after(row: int, windows: Sequence[Window]) -> float:
    """Return what a detection outside costs, by its distance to the window before."""
    before = [window for window in windows if window[1] < row]
    if not before:
        return -1.0
    first, last = before[-1]
    return _earned((row - last) / max(last - first, 1))


def _earned(position: float) -> float:
    """Return the sigmoid of a position: -1 is the start of a window, 0 its end."""
    return -1.0 if position >= 3 else 2 / (1 + exp(5 * position)) - 1
