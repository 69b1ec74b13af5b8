"""Feature hashing: from a text to a column and a sign, the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from math import log
from typing import NamedTuple

_MARKS = 256
_MOST_CACHED = 20_000
_LONGEST_CACHED = 100


class Occupancy(NamedTuple):
    """How full the columns of a hash are: ``values`` seen, ``sharing`` a column with another.

    Both are counts of distinct texts since the process began, estimated in bounded memory: exact
    but for chance while few, within some percent up to 100 a column, and no more than 1,400 a
    column whatever there is.
    """

    buckets: int
    values: int
    sharing: int


class HashedColumns:
    """Puts texts into columns, and estimates how many of them share one.

    >>> columns = HashedColumns(("x_hash_0", "x_hash_1"))
    >>> columns.place("Amsterdam"), columns.place("Brussels"), columns.place("Cologne")
    (('x_hash_0', 1), ('x_hash_1', 1), ('x_hash_1', 1))
    >>> columns.occupancy
    Occupancy(buckets=2, values=3, sharing=2)
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._cache: dict[str, tuple[str, int]] = {}
        self._marks = [0] * len(self._names)

    def place(self, text: str) -> tuple[str, int]:
        """Return the name of a text's column, and its sign there, 1 or -1."""
        found = self._cache.get(text)
        if found is not None:
            return found
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        column = int.from_bytes(digest[:4], "big") % len(self._names)
        found = (self._names[column], 1 if digest[4] & 1 else -1)
        self._marks[column] |= 1 << digest[5]
        if len(text) <= _LONGEST_CACHED:
            if len(self._cache) >= _MOST_CACHED:
                self._cache.clear()
            self._cache[text] = found
        return found

    @property
    def occupancy(self) -> Occupancy:
        """How many distinct texts were seen, and how many share a column.

        Each column has a map of 256 bits, in which a text sets one: linear counting (Whang,
        Vander-Zanden and Taylor 1990).
        """
        values = sharing = 0.0
        for marks in self._marks:
            free = max(1, _MARKS - marks.bit_count())
            here = _MARKS * log(_MARKS / free)
            values += here
            sharing += here if marks.bit_count() > 1 else 0.0
        return Occupancy(len(self._names), round(values), round(sharing))
