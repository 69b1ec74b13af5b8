"""Sums that do not depend on the order of what is added.

A monitor's verdict must be the same however records were spread over partitions and batches, and
floating-point addition is not associative. A sum is therefore kept as a pair of floats whose sum
is the exact one, as long as the values span no more than some fifteen orders of magnitude, and
one of some 32 digits beyond that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import frexp, fsum

import numpy as np
from numpy.typing import NDArray

LARGEST = 1e100
"""Values beyond this, infinities and NaN are left out of sums, as if they were missing."""

Floats = NDArray[np.float64]
Row = list[float]
"""``[n, sum, rest of the sum, next sum, rest of it, ...]``, of one series in one bucket."""


def exact_sums(values: Floats) -> list[tuple[float, float]]:
    """Return the sum of each column of finite ``values`` (n x columns) as a pair.

    Error-free extraction: adding and subtracting a large power of two splits off the high bits of
    all values, which then add without rounding, in whatever order (Rump, Ogita and Oishi 2008,
    "Accurate floating-point summation, part I", SIAM J. Sci. Comput. 31(1)).

    >>> exact_sums(np.array([[0.1], [1e20], [-1e20], [0.2]]))
    [(0.30000000000000004, -2.7755575615628914e-17)]
    """
    bits = frexp(len(values))[1] + 1
    parts: list[list[float]] = [[] for _ in range(values.shape[1])]
    rest = values
    while True:
        top = np.abs(rest).max(axis=0, initial=0.0)
        if not top.any():
            return [_pair(column) for column in parts]
        large = np.ldexp(1.0, np.frexp(top)[1] + bits)
        high = (rest + large) - large
        for column, part in zip(parts, high.sum(axis=0).tolist(), strict=True):
            column.append(part)
        rest = rest - high


def add_rows(rows: Sequence[Row]) -> Row:
    """Return the sum of rows of one length.

    >>> add_rows([[1, 0.1, 0.0], [2, 0.2, 0.0]])
    [3, 0.30000000000000004, -2.7755575615628914e-17]
    """
    total: Row = [sum(row[0] for row in rows)]
    for i in range(1, len(rows[0]), 2):
        total.extend(_pair([part for row in rows for part in row[i : i + 2]]))
    return total


def rounded(row: Row) -> tuple[float, ...]:
    """Return count and sums of a row to 10 significant digits: what tests are made on.

    >>> rounded([3, 0.30000000000000004, -2.7755575615628914e-17])
    (3, 0.3)
    """
    return (row[0], *(float(f"{value:.10g}") for value in row[1::2]))


def _pair(parts: Iterable[float]) -> tuple[float, float]:
    parts = list(parts)
    high = fsum(parts)
    parts.append(-high)
    return high, fsum(parts)
