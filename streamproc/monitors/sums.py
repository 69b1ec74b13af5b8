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
Ints = NDArray[np.int64]
Row = list[float]
"""``[n, sum, rest of the sum, next sum, rest of it, ...]``, of one series in one bucket."""


def exact_sums(values: Floats, groups: Ints | None = None, size: int = 1) -> Floats:
    """Return the sums of each row of finite ``values`` (rows x n), as pairs: size x rows x 2.

    ``groups`` says which of ``size`` sums each of the n belongs to; without it there is one.

    Error-free extraction: adding and subtracting a large power of two splits off the high bits of
    all values, which then add without rounding, in whatever order (Rump, Ogita and Oishi 2008,
    "Accurate floating-point summation, part I", SIAM J. Sci. Comput. 31(1)).

    >>> exact_sums(np.array([[0.1, 1e20, -1e20, 0.2]])).tolist()
    [[[0.30000000000000004, -2.7755575615628914e-17]]]
    """
    rows, n = values.shape
    bits = frexp(n)[1] + 1
    parts: list[Floats] = []
    rest, high, spare = values, np.empty_like(values), np.empty_like(values)
    while n:
        top = np.maximum(rest.max(axis=1), -rest.min(axis=1))
        if not top.any():
            break
        large = np.ldexp(1.0, np.frexp(top)[1] + bits)[:, None]
        np.add(rest, large, out=high)
        np.subtract(high, large, out=high)
        if groups is None:
            parts.append(high.sum(axis=1)[None])
        else:
            parts.append(np.stack([np.bincount(groups, row, size) for row in high], axis=1))
        rest = np.subtract(rest, high, out=spare)
    return _pairs(parts, (size, rows))


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


def _pairs(parts: list[Floats], shape: tuple[int, int]) -> Floats:
    """Add parts to pairs; two of them by Knuth's TwoSum, more, which is rare, one by one."""
    if len(parts) > 2:
        stacked = np.stack(parts, axis=-1).reshape(-1, len(parts)).tolist()
        return np.array([_pair(few) for few in stacked]).reshape(*shape, 2)
    a, b = [*parts, np.zeros(shape), np.zeros(shape)][:2]
    total = a + b
    of_b = total - a
    return np.stack((total, (a - (total - of_b)) + (b - of_b)), axis=-1)
