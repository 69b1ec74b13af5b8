"""Histograms that add up: the finest dyadic grid on which values fill no more than some cells.

A float64 is turned into a whole number that is ordered as the floats are; dropping its lowest
``shift`` bits makes a cell of all floats that share the rest. Each grid is nested in the finer
ones. So the finest grid on which a set of values fills at most `CELLS` cells is a property of the
set: it does not depend on how the set was spread over partitions, nor on the order in which parts
are added. Counts are whole numbers, and add exactly. Up to `CELLS` different values are kept as
they are; beyond that a cell is about 3 % wide.

Categories are hashed to 63 bits and kept in the same way: where there are too many, cells are
groups of categories.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamproc.monitors.packing import pack_counts, pack_ints, unpack_counts, unpack_ints

CELLS = 1_024
"""The most cells of one sketch."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_MAGNITUDE = np.int64((1 << 63) - 1)
_BITS = 63


@dataclass(frozen=True)
class Sketch:
    """Counts by cell, in ascending order of cell; ``missing`` counts what was no value.

    >>> few = Sketch.of(np.array([1.0, 2.0, 2.0, np.nan]))
    >>> few.values.tolist(), few.counts.tolist(), few.missing
    ([1.0, 2.0], [1, 2], 1)
    >>> added([few, Sketch.of(np.array([3.0]))]).values.tolist()
    [1.0, 2.0, 3.0]
    """

    shift: int
    cells: Ints
    counts: Ints
    missing: int = 0

    @classmethod
    def of(cls, values: Floats) -> Sketch:
        """Return the sketch of an array; NaN counts as missing."""
        there = values[~np.isnan(values)]
        keys = ordered(np.sort(there))
        return _coarse(keys, np.ones(len(keys), np.int64), 0, len(values) - len(there))

    @cached_property
    def n(self) -> int:
        """How many values were there."""
        return int(self.counts.sum())

    @cached_property
    def values(self) -> Floats:
        """The middle of each cell; the value itself on the finest grid."""
        if not self.shift:
            return floats(self.cells)
        low = self.cells << self.shift
        return (floats(low) + floats(low + ((1 << self.shift) - 1))) / 2

    def coarser(self, shift: int) -> Sketch:
        """Return it on a coarser grid."""
        cells = self.cells >> max(shift - self.shift, 0)
        return Sketch(max(shift, self.shift), *_summed(cells, self.counts), self.missing)

    def moments(self) -> tuple[int, float, float]:
        """Return count, mean and variance of the values: of the cells' middles.

        >>> Sketch.of(np.array([1.0, 2.0, 3.0, np.nan])).moments()
        (3, 2.0, 0.6666666666666666)
        """
        n = self.n
        if not n:
            return 0, float("nan"), float("nan")
        values = self.values
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(values @ self.counts) / n
            variance = float((values - mean) ** 2 @ self.counts) / n
        if isfinite(variance):
            return n, mean, variance
        scale = float(np.abs(values).max())
        mean = float(values / scale @ self.counts) / n
        spread = float((values / scale - mean) ** 2 @ self.counts) / n
        return n, mean * scale, spread * scale * scale

    def packed(self) -> list[Any]:
        """Return it for JSON: ``[missing, shift, cells, counts]``, the last two as text.

        >>> Sketch.of(np.array([2.0, 1.0, 1.0])).packed()
        [0, 0, 'AAAAAAAA8D8AAAAAAAAAQA==', 'AgE=']
        >>> unpacked(Sketch.of(np.array([2.0, 1.0])).packed()).values.tolist()
        [1.0, 2.0]
        """
        return [self.missing, self.shift, pack_ints(self.cells), pack_counts(self.counts)]


def unpacked(row: Sequence[Any]) -> Sketch:
    """Return the sketch of what `Sketch.packed` gave."""
    missing, shift, cells, counts = row
    keys = unpack_ints(cells)
    return Sketch(shift, keys, unpack_counts(counts, len(keys)), missing)


def added(parts: Sequence[Sketch]) -> Sketch:
    """Return the sketch of all values of the parts, whatever their order."""
    if len(parts) == 1:
        return parts[0]
    shift = max(part.shift for part in parts)
    cells = np.concatenate([part.cells >> (shift - part.shift) for part in parts])
    counts = np.concatenate([part.counts for part in parts])
    order = np.argsort(cells, kind="stable")
    return _coarse(cells[order], counts[order], shift, sum(part.missing for part in parts))


def sketches(table: Floats) -> list[Sketch]:
    """Return the sketch of each row of a table, series x n; NaN counts as missing."""
    n = table.shape[1]
    values = np.sort(table, axis=1)  # NaN last
    missing = np.isnan(values).sum(axis=1).tolist()
    ones = np.ones(n, np.int64)
    return [
        _coarse(ordered(row[: n - gone]), ones[: n - gone], 0, gone)
        for row, gone in zip(values, missing, strict=True)
    ]


def categories(values: Sequence[str | None]) -> tuple[Sketch, dict[int, str]]:
    """Return the sketch of categories, None being missing, and the name of each one's hash.

    >>> sketch, names = categories(["NL", "DE", "NL", None])
    >>> sorted((names[int(c)], int(n)) for c, n in zip(sketch.cells, sketch.counts))
    [('DE', 1), ('NL', 2)]
    """
    seen: dict[str | None, int] = {}
    for value in values:
        seen[value] = seen.get(value, 0) + 1
    missing = seen.pop(None, 0)
    names = {hashed(value): value for value in seen if value is not None}
    keys = np.fromiter(sorted(names), np.int64, len(names))
    counts = np.fromiter((seen[names[int(key)]] for key in keys), np.int64, len(names))
    return _coarse(keys, counts, 0, missing), names


def hashed(value: str) -> int:
    """Return a category's 63 bits, the same in every process.

    >>> hashed("NL")
    270274450674911358
    """
    digest = hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def ordered(values: Floats) -> Ints:
    """Return whole numbers in the order of the floats; -0.0 is 0.0."""
    bits: Ints = (values + 0.0).view(np.int64)
    keys = bits >> _BITS
    keys &= _MAGNITUDE
    keys ^= bits
    return keys


def floats(keys: Ints) -> Floats:
    """Return the floats that `ordered` made whole numbers of."""
    return (keys ^ ((keys >> _BITS) & _MAGNITUDE)).view(np.float64)


def _coarse(keys: Ints, counts: Ints, shift: int, missing: int) -> Sketch:
    """Sum what is sorted, on the finest grid on which it has at most `CELLS` cells."""
    if len(keys) > CELLS:
        # A shift leaves two neighbours apart where they differ in a higher bit, which at most
        # `CELLS` - 1 of them may; a difference of sign is that of the highest bit.
        differ = (keys[1:] ^ keys[:-1]).view(np.uint64)
        more = int(np.partition(differ, -CELLS)[-CELLS]).bit_length()
        if more:
            keys, shift = keys >> more, shift + more
    return Sketch(shift, *_summed(keys, counts), missing)


def _summed(keys: Ints, counts: Ints) -> tuple[Ints, Ints]:
    if not len(keys):
        return keys, counts
    first = np.empty(len(keys), np.bool_)
    first[0] = True
    np.not_equal(keys[1:], keys[:-1], out=first[1:])
    starts = first.nonzero()[0]
    return keys[starts], np.add.reduceat(counts, starts)
