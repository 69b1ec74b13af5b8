"""Scores of whole rows: each feature's place and spread, and how features go together.

A number is turned into the normal score of its place in a first reference (`Numbers`), so that
units and outliers do not matter; a category into whether it is the commonest. Where a value is
missing its score is 0, the mean. Products of two features' scores then tell whether they go
together, as a correlation of ranks does, and of a feature with itself how far it spreads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from streamproc.monitors.columns import Column, listed
from streamproc.monitors.fold import number
from streamproc.monitors.sketch import Floats, Ints, Sketch, hashed
from streamproc.monitors.tilts import Bools, Numbers

MOST_PAIRS = 1_225
"""How many pairs are followed: all of 50 features; of more, half those that go together most."""

ALONE = -1
"""Instead of a second feature, where a score is of one by itself."""

_FARTHEST = 6.0
_LEAST_SD = 1e-6
_CHUNK = 128


def table_of(columns: Sequence[Column], texts: Bools) -> Floats:
    """Return columns as numbers, row x feature; ``texts`` says which features are categories.

    What is missing or no value is NaN, a category is a number that stands for it.

    >>> table = table_of([[1.5, None, "b"], ["a", "a", "b"]], np.array([False, True]))
    >>> table[:, 0].tolist(), bool(table[0, 1] == table[1, 1])
    ([1.5, nan, nan], True)
    """
    table = np.empty((len(columns[0]) if columns else 0, len(texts)))
    for j, (column, text) in enumerate(zip(columns, texts.tolist(), strict=True)):
        if text:
            table[:, j] = list(map(_category, listed(column)))
        else:
            table[:, j] = list(map(number, column)) if isinstance(column, list) else column
    return table


class Crossed:
    """The scores of rows, fixed by a first reference: ``first`` is row x feature.

    Score k is of feature ``a[k]``, crossed with ``b[k]``, or by itself where that is -1. They are
    standardised, and none is more than 6 from 0, so that no row alarms alone. Features of which
    the reference had but one value have no scores.

    >>> rng = np.random.default_rng(1)
    >>> crossed = Crossed(rng.normal(size=(2_000, 2)), np.zeros(2, bool))
    >>> list(zip(crossed.a.tolist(), crossed.b.tolist()))
    [(0, -1), (1, -1), (0, 0), (0, 1), (1, 1)]
    >>> crossed.sums(np.full((10, 2), 1.0))[0].round().tolist()
    [11.0, 11.0, 1.0, 12.0, 1.0]
    """

    def __init__(self, first: Floats, texts: Bools) -> None:
        self._columns = [
            _commonest(column) if text else _numbers(column)
            for column, text in zip(first.T, texts, strict=True)
        ]
        z = self._normal(first)
        a, b = _pairs(z)
        width = len(z) - 1
        self.a: Ints = np.concatenate((np.arange(width), a))
        self.b: Ints = np.concatenate((np.full(width, ALONE), b))
        self._mean: Floats = np.zeros(len(self.a))
        self._sd: Floats = np.ones(len(self.a))
        parts = [self._raw(z, chunk) for chunk in self.chunks()]
        mean = np.concatenate([part.mean(axis=1) for part in parts])
        sd = np.concatenate([part.std(axis=1) for part in parts])
        used = sd > _LEAST_SD
        self.a, self.b, self._mean, self._sd = self.a[used], self.b[used], mean[used], sd[used]

    def chunks(self) -> list[slice]:
        """Return the scores a few at a time, so that what is worked on is small."""
        return [slice(at, at + _CHUNK) for at in range(0, len(self.a), _CHUNK)]

    def scores(self, table: Floats) -> Iterator[tuple[slice, Floats]]:
        """Yield the scores of rows, score x row, a few scores at a time."""
        z = self._normal(table)
        for chunk in self.chunks():
            u = self._raw(z, chunk)
            u -= self._mean[chunk, None]
            u /= self._sd[chunk, None]
            yield chunk, np.clip(u, -_FARTHEST, _FARTHEST, out=u)

    def sums(self, table: Floats) -> tuple[Floats, Floats]:
        """Return the sums of each score over the rows, and of their squares."""
        sums, squares = np.zeros(len(self.a)), np.zeros(len(self.a))
        for chunk, u in self.scores(table):
            sums[chunk] = u.sum(axis=1)
            squares[chunk] = np.einsum("kr,kr->k", u, u)
        return sums, squares

    def correlation(self, k: int, score: float) -> float:
        """Return the mean product of the normal scores where score ``k`` has this mean."""
        return float(self._mean[k] + score * self._sd[k])

    def _normal(self, table: Floats) -> Floats:
        """Return the normal scores, feature x row, and ones, which is what `ALONE` points to."""
        z = [of(each) for of, each in zip(self._columns, table.T, strict=True)]
        return np.stack((*z, np.ones(len(table))))

    def _raw(self, z: Floats, chunk: slice) -> Floats:
        raw = z[self.a[chunk]]
        raw *= z[self.b[chunk]]
        return raw


@dataclass(frozen=True)
class _Numbers:
    """The normal score of a number by its bin."""

    edges: Floats
    by_bin: Floats

    def __call__(self, values: Floats) -> Floats:
        bins = np.searchsorted(self.edges, values, side="right")
        bins[np.isnan(values)] = len(self.by_bin) - 1
        return self.by_bin[bins]


@dataclass(frozen=True)
class _Commonest:
    """Whether a category is the commonest, standardised."""

    code: float
    share: float

    def __call__(self, values: Floats) -> Floats:
        is_it = np.where(np.isnan(values), self.share, values == self.code)
        sd = max(self.share * (1 - self.share), _LEAST_SD) ** 0.5
        found: Floats = (is_it - self.share) / sd
        return found


def _numbers(column: Floats) -> _Numbers:
    bins = Numbers(Sketch.of(column))
    return _Numbers(bins.edges, np.clip(bins.tilts.scores[0], -4.0, 4.0))


def _commonest(column: Floats) -> _Commonest:
    there = column[~np.isnan(column)]
    codes, counts = np.unique(there, return_counts=True)
    if not len(there):
        return _Commonest(0.0, 0.0)
    most = int(np.argmax(counts))
    return _Commonest(float(codes[most]), float(counts[most] / len(there)))


def followed(width: int) -> int:
    """Return how many pairs of so many features are followed, each with itself among them.

    >>> followed(2), followed(500)
    (3, 1725)
    """
    return min(width * (width + 1) // 2, MOST_PAIRS + width)


def _pairs(z: Floats) -> tuple[Ints, Ints]:
    """Return the pairs that are followed, each feature with itself among them.

    Where there are too many, half are those that go together most, and half are spread evenly.
    """
    z = z[:-1]
    width = len(z)
    a, b = np.triu_indices(width)
    if len(a) == followed(width):
        return a, b
    own, other = a == b, np.flatnonzero(a != b)
    together = np.abs(np.einsum("ir,jr->ij", z, z)[a[other], b[other]])
    order = other[np.argsort(-together, kind="stable")]
    most, rest = order[: MOST_PAIRS // 2], np.sort(order[MOST_PAIRS // 2 :])
    spread = rest[np.linspace(0, len(rest) - 1, MOST_PAIRS - len(most)).astype(np.int64)]
    kept = np.sort(np.concatenate((np.flatnonzero(own), most, spread)))
    return a[kept], b[kept]


def _category(value: Any) -> float:
    return float("nan") if value is None else _text(str(value))


@lru_cache(maxsize=65_536)
def _text(value: str) -> float:
    return float(hashed(value) >> 11)
