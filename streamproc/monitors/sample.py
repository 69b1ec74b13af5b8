"""A sample of whole events that adds up: those whose ids have the least hashes.

Which events are in it depends on their ids alone: not on the partition they came by, nor on the
order, nor on how often parts were sent (a bottom-k sketch: Cohen and Kaplan 2007, "Summarizing data
using bottom-k sketches", PODC). Every event of a bucket has the same chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from streamproc.monitors.sketch import Ints

K = 256
"""How many events a bucket keeps."""

LONGEST = 100
"""How many characters of a text are kept."""

_OPEN = 64
_LARGEST = 1 << 63
_PLAIN = frozenset((float, bool, type(None)))


class Row(NamedTuple):
    """One event as it was scored; ``values`` are in the order of the sample's names."""

    id: str
    values: tuple[Any, ...]
    score: Any
    decision: Any
    model: str


@dataclass(frozen=True)
class Sample:
    """Rows in ascending order of their hash, then of their id.

    >>> one = Sample.of(("amount",), [Row("a", (2.0,), 0.5, True, "m@1")])
    >>> other = Sample.of(("amount",), [Row("b", (None,), 0.1, False, "m@1")])
    >>> [row.id for row in merged([one, other]).rows]
    ['a', 'b']
    """

    names: tuple[str, ...]
    rows: tuple[Row, ...]

    @classmethod
    def of(cls, names: tuple[str, ...], rows: Sequence[Row], k: int = K) -> Sample:
        """Return the sample of rows: the ``k`` with the least hashes, an id once."""
        if not rows:
            return cls(names, ())
        hashes = hashes_of([row.id for row in rows]).tolist()
        order = sorted(range(len(rows)), key=lambda i: (hashes[i], rows[i].id))
        kept = [
            rows[i] for at, i in enumerate(order) if not at or rows[i].id != rows[order[at - 1]].id
        ]
        return cls(names, tuple(kept[:k]))

    def packed(self) -> dict[str, Any]:
        """Return it for JSON; `unpacked` reads it.

        >>> unpacked(Sample(("x",), (Row("a", (2.0,), 0.5, True, "m@1"),)).packed()).rows[0].values
        (2.0,)
        """
        rows = [[row.id, list(row.values), row.score, row.decision, row.model] for row in self.rows]
        return {"names": list(self.names), "rows": rows}


def unpacked(found: Mapping[str, Any]) -> Sample:
    """Return the sample of what `Sample.packed` gave."""
    rows = (Row(id_, tuple(values), *rest) for id_, values, *rest in found["rows"])
    return Sample(tuple(found["names"]), tuple(rows))


def merged(parts: Sequence[Sample], k: int = K) -> Sample:
    """Return the sample of all events of the parts, whatever their order; names are united."""
    if len(parts) == 1:
        return parts[0]
    names = parts[0].names
    rows = [row for part in parts for row in part.rows]
    if any(part.names != names for part in parts):
        names = tuple(sorted({name for part in parts for name in part.names}))
        rows = [row for part in parts for row in _aligned(part, names)]
    return Sample.of(names, rows, k)


def _aligned(sample: Sample, names: tuple[str, ...]) -> list[Row]:
    at = [sample.names.index(name) if name in sample.names else -1 for name in names]
    return [
        Row(
            row.id,
            tuple(row.values[i] if i >= 0 else None for i in at),
            row.score,
            row.decision,
            row.model,
        )
        for row in sample.rows
    ]


class Sampler:
    """Takes predictions in, bucket by bucket; hands out the rows that are new in the k smallest.

    What it forgets costs a few rows that are sent again, and changes nothing.

    >>> sampler = Sampler(("amount",), k=1)
    >>> told = [{"id": i, "features": {"amount": 2}, "score": 0.5, "decision": True, "model": "m@1"}
    ...         for i in ("a", "b")]
    >>> sampler.update(np.zeros(2, np.int64), told)
    >>> [row.id for row in sampler.take()[0].rows]
    ['a']
    >>> sampler.update(np.zeros(1, np.int64), told[1:]), sampler.take()
    (None, {})
    """

    def __init__(self, names: tuple[str, ...], k: int = K) -> None:
        self._names = names
        self._get = itemgetter(*names) if len(names) > 1 else None
        self._k = k
        self._seen: dict[int, Ints] = {}
        self._new: dict[int, list[Row]] = {}

    def update(self, buckets: Ints, predictions: Sequence[Mapping[str, Any]]) -> None:
        """Take in predictions; ``buckets`` says the start of each one's bucket."""
        if not len(buckets):
            return
        hashes = hashes_of([prediction["id"] for prediction in predictions])
        for bucket in np.unique(buckets).tolist():
            there = np.flatnonzero(buckets == bucket)
            seen = self._seen.get(bucket, np.zeros(0, np.int64))
            if len(seen) == self._k:
                there = there[hashes[there] < seen[-1]]
            if not len(there):
                continue
            both = np.sort(np.concatenate((seen, hashes[there])))[: self._k]
            self._seen[bucket] = both
            chosen = there[hashes[there] <= both[-1]].tolist()
            self._new.setdefault(bucket, []).extend(self._row(predictions[i]) for i in chosen)
        while len(self._seen) > _OPEN:
            del self._seen[min(self._seen)]

    def take(self) -> dict[int, Sample]:
        """Return, by bucket, what is new since it was last taken."""
        new, self._new = self._new, {}
        return {bucket: Sample.of(self._names, rows, self._k) for bucket, rows in new.items()}

    def _row(self, prediction: Mapping[str, Any]) -> Row:
        features = prediction["features"]
        try:
            values = self._get(features) if self._get else (features[self._names[0]],)
        except (KeyError, IndexError):
            values = tuple(features.get(name) for name in self._names)
        if not _PLAIN.issuperset(map(type, values)):
            values = tuple(map(_kept, values))
        score, decision = prediction["score"], prediction["decision"]
        return Row(prediction["id"], values, score, decision, prediction["model"])


def hashes_of(ids: Sequence[str]) -> Ints:
    """Return 63 bits of each id, the same in every process, fit for taking the least.

    A checksum, mixed (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators",
    OOPSLA): a tenth of the time of a cryptographic one. Ids with one hash are told apart by text.

    >>> hashes_of(["a", "b"]).tolist()
    [1593981652933728887, 3616266319269198663]
    """
    try:
        sums = list(map(crc32, map(str.encode, ids)))
    except UnicodeEncodeError:  # half of a pair of surrogates
        sums = [crc32(each.encode("utf-8", "surrogatepass")) for each in ids]
    bits = np.array(sums, np.uint64)
    bits += np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((bits ^ (bits >> np.uint64(31))) >> np.uint64(1)).astype(np.int64)


def _kept(value: Any) -> Any:
    """Return a value as it is kept: of a text its beginning, of what is no value nothing."""
    if isinstance(value, str):
        return value[:LONGEST]
    if isinstance(value, float) or (isinstance(value, int) and -_LARGEST <= value < _LARGEST):
        return value
    return None
