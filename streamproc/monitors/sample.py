"""A sample of whole events that adds up: those whose ids have the least hashes.

Which events are in it depends on their ids alone: not on the partition they came by, nor on the
order, nor on how often parts were sent (a bottom-k sketch: Cohen and Kaplan 2007, "Summarizing data
using bottom-k sketches", PODC). Every event of a bucket has the same chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from streamproc.monitors.columns import Column, aligned, chosen, column_of, listed, pack, unpack
from streamproc.monitors.sums import Ints

K = 256
"""How many events a bucket keeps."""

_OPEN = 64
_SAID = ("id", "score", "decision", "model")
_ID, _WHAT = itemgetter("id"), itemgetter(*_SAID)


class Row(NamedTuple):
    """One event as it was scored; ``values`` are in the order of the sample's names."""

    id: str
    values: tuple[Any, ...]
    score: Any
    decision: Any
    model: str


@dataclass(frozen=True, eq=False)
class Sample:
    """Events in ascending order of their hash, then of their id; a column for each of the names.

    >>> one = Sample.of(("amount",), [Row("a", (2.0,), 0.5, True, "m@1")])
    >>> other = Sample.of(("amount",), [Row("b", (None,), 0.1, False, "m@1")])
    >>> [row.id for row in merged([one, other]).rows]
    ['a', 'b']
    """

    names: tuple[str, ...]
    columns: Sequence[Column]
    ids: Sequence[str]
    scores: Sequence[Any]
    decisions: Sequence[Any]
    models: Sequence[str]

    @classmethod
    def of(cls, names: tuple[str, ...], rows: Sequence[Row], k: int = K) -> Sample:
        """Return the sample of rows: the ``k`` with the least hashes, an id once."""
        columns = [column_of([row.values[i] for row in rows]) for i in range(len(names))]
        said = ([row.id for row in rows], [row.score for row in rows],
                [row.decision for row in rows], [row.model for row in rows])  # fmt: skip
        return cls(names, columns, *said).least(k)

    @cached_property
    def hashes(self) -> Ints:
        """The hashes of the ids."""
        return hashes_of(self.ids)

    @property
    def rows(self) -> tuple[Row, ...]:
        """The events one by one."""
        values = (
            zip(*map(listed, self.columns), strict=True) if self.names else [()] * len(self.ids)
        )
        told = zip(self.ids, values, self.scores, self.decisions, self.models, strict=True)
        return tuple(Row(*each) for each in told)

    def least(self, k: int = K) -> Sample:
        """Return the ``k`` with the least hashes, an id once, in order."""
        order = np.argsort(self.hashes, kind="stable")
        keys = self.hashes[order]
        if (keys[1:] == keys[:-1]).any():
            first = {self.ids[i]: i for i in order[::-1].tolist()}
            by_id = sorted((int(self.hashes[i]), id_, i) for id_, i in first.items())
            order = np.array([i for _, _, i in by_id], np.int64)
        return self.chosen(order[:k])

    def chosen(self, at: Ints) -> Sample:
        """Return the events at some places."""
        places = at.tolist()
        told = (self.ids, self.scores, self.decisions, self.models)
        columns = [chosen(column, at) for column in self.columns]
        return Sample(self.names, columns, *([each[i] for i in places] for each in told))

    def packed(self) -> dict[str, Any]:
        """Return it for JSON; `unpacked` reads it.

        >>> row = Row("a", (2.0,), 0.5, True, "m@1")
        >>> unpacked(Sample.of(("x",), [row]).packed()).rows == (row,)
        True
        """
        told = (self.ids, self.scores, self.decisions, self.models)
        columns = [pack(column) for column in self.columns]
        said = zip(_SAID, map(list, told), strict=True)
        return {"names": list(self.names), "columns": columns, **dict(said)}


def unpacked(found: Mapping[str, Any]) -> Sample:
    """Return the sample of what `Sample.packed` gave."""
    return Sample(tuple(found["names"]), list(map(unpack, found["columns"])), *_WHAT(found))


def merged(parts: Sequence[Sample], k: int = K) -> Sample:
    """Return the sample of all events of the parts, whatever their order; names are united."""
    if len(parts) == 1:
        return parts[0]
    names = parts[0].names
    if any(part.names != names for part in parts):
        names = tuple(sorted({name for part in parts for name in part.names}))
    columns = aligned(names, [(part.names, part.columns, len(part.ids)) for part in parts])
    every = [(part.ids, part.scores, part.decisions, part.models) for part in parts]
    told = ([value for some in each for value in some] for each in zip(*every, strict=True))
    return Sample(names, columns, *told).least(k)


class Sampler:
    """Takes predictions in, bucket by bucket; hands out the rows that are new in the k smallest.

    What it forgets costs a few rows that are sent again, and changes nothing.

    >>> sampler = Sampler(("amount",), k=1)
    >>> told = [{"id": i, "features": {"amount": 2}, "score": 0.5, "decision": True, "model": "m@1"}
    ...         for i in ("a", "b")]
    >>> sampler.update(np.zeros(2, np.int64), told, [np.array([2.0, 2.0])])
    >>> [row.id for row in sampler.take()[0].rows]
    ['a']
    >>> sampler.update(np.zeros(1, np.int64), told[1:], [np.array([2.0])]), sampler.take()
    (None, {})
    """

    def __init__(self, names: tuple[str, ...], k: int = K) -> None:
        self._names = names
        self._k = k
        self._seen: dict[int, Ints] = {}
        self._new: dict[int, list[Sample]] = {}

    def update(
        self, buckets: Ints, predictions: Sequence[Mapping[str, Any]], columns: Sequence[Column]
    ) -> None:
        """Take in predictions; ``buckets`` says the start of each one's bucket.

        ``columns`` has their features, in the order of the names.
        """
        if not len(buckets):
            return
        hashes = hashes_of(list(map(_ID, predictions)))
        for bucket in np.unique(buckets).tolist():
            there = np.flatnonzero(buckets == bucket)
            seen = self._seen.get(bucket, np.zeros(0, np.int64))
            if len(seen) == self._k:
                there = there[hashes[there] < seen[-1]]
            if not len(there):
                continue
            both = np.sort(np.concatenate((seen, hashes[there])))[: self._k]
            self._seen[bucket] = both
            kept = there[hashes[there] <= both[-1]]
            said = zip(*(_WHAT(predictions[i]) for i in kept.tolist()), strict=True)
            part = Sample(self._names, [chosen(each, kept) for each in columns], *map(list, said))
            self._new.setdefault(bucket, []).append(part)
        while len(self._seen) > _OPEN:
            del self._seen[min(self._seen)]

    def take(self) -> dict[int, Sample]:
        """Return, by bucket, what is new since it was last taken."""
        new, self._new = self._new, {}
        return {bucket: merged(parts, self._k).least(self._k) for bucket, parts in new.items()}


def checksums(ids: Sequence[str]) -> NDArray[np.uint64]:
    """Return the CRC-32 of each id."""
    try:
        return np.fromiter(map(crc32, map(str.encode, ids)), np.uint64, len(ids))
    except UnicodeEncodeError:  # half of a pair of surrogates
        sums = (crc32(each.encode("utf-8", "surrogatepass")) for each in ids)
        return np.fromiter(sums, np.uint64, len(ids))


def hashes_of(ids: Sequence[str]) -> Ints:
    """Return 63 bits of each id, the same in every process, fit for taking the least.

    A checksum, mixed (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators",
    OOPSLA): a tenth of the time of a cryptographic one. Ids with one hash are told apart by text.

    >>> hashes_of(["a", "b"]).tolist()
    [1593981652933728887, 3616266319269198663]
    """
    bits = checksums(ids)
    bits += np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((bits ^ (bits >> np.uint64(31))) >> np.uint64(1)).astype(np.int64)
