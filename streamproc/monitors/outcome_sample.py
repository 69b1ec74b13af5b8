"""A sample of a bucket's outcomes that adds up: those whose ids have the least hashes.

As in `streamproc.monitors.sample`, which are in it depends on nothing but the outcomes themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import orjson

from streamproc.monitors.columns import Column, aligned, chosen, column_of, listed, pack, unpack
from streamproc.monitors.fold import LONGEST
from streamproc.monitors.packing import pack_floats, pack_ints, unpack_floats, unpack_ints
from streamproc.monitors.sample import checksums
from streamproc.monitors.sums import Floats, Ints

SAMPLE = "=sample"
"""Where the series of a bucket has its sample."""

SAMPLED = 512
"""How many outcomes of a bucket are kept as they are, to look for slices in."""

_MOST_FEATURES = 64
_ARRAYS = ("event_ms", "hashes", "yes", "score")
_MIX = np.uint64(0x9E3779B97F4A7C15)


class Row(NamedTuple):
    """One outcome; ``model`` is the version that scored it."""

    id: str
    model: str
    event_ms: int
    yes: int
    score: float
    values: dict[str, Any]


@dataclass(frozen=True)
class Outcomes:
    """Outcomes: hashes of their ids, ``yes`` 0 or 1, score, and a column for each of the names.

    Besides the id, the model's version that scored each, and the event's time.

    >>> said = [{"id": "a", "model": "m@1", "event_time_ms": 7, "features": {"amount": 2}},
    ...         {"id": "b", "model": "m@2", "event_time_ms": 8, "features": {"amount": None}}]
    >>> some = Outcomes.of(said, np.array([9, 3]), np.array([1.0, 0.0]), np.array([0.5, 0.25]))
    >>> least = some.least()
    >>> least.hashes.tolist(), least.score.tolist(), listed(least.columns[0]), least.ids
    ([3, 9], [0.25, 0.5], [None, 2.0], ['b', 'a'])
    >>> unpacked(least.packed()).rows[0]
    Row(id='b', model='m@2', event_ms=8, yes=0, score=0.25, values={'amount': None})
    """

    names: tuple[str, ...]
    columns: Sequence[Column]
    ids: list[str]
    models: list[str]
    event_ms: Ints
    hashes: Ints
    yes: Floats
    score: Floats

    @classmethod
    def of(
        cls, outcomes: Sequence[Mapping[str, Any]], hashes: Ints, yes: Floats, score: Floats
    ) -> Outcomes:
        """Return the outcomes of messages."""
        names, columns = _columns_of([each.get("features") or {} for each in outcomes])
        ids, models = (
            [str(each.get(name))[:LONGEST] for each in outcomes] for name in ("id", "model")
        )
        event_ms = np.array([each["event_time_ms"] for each in outcomes], np.int64)
        return cls(names, columns, ids, models, event_ms, hashes, yes, score)

    @property
    def rows(self) -> list[Row]:
        """The outcomes one by one."""
        held = list(zip(*map(listed, self.columns), strict=True)) or [()] * len(self.ids)
        times_ms, yes = self.event_ms.tolist(), self.yes.astype(np.int64).tolist()
        told = zip(self.ids, self.models, times_ms, yes, self.score.tolist(), held, strict=True)
        return [
            Row(id_, model, time_ms, so, score, dict(zip(self.names, values, strict=True)))
            for id_, model, time_ms, so, score, values in told
        ]

    def least(self, k: int = SAMPLED) -> Outcomes:
        """Return those with the least hashes, in their order; equal ones by all they hold."""
        order = np.argsort(self.hashes, kind="stable")
        keys = self.hashes[order]
        if (keys[1:] == keys[:-1]).any():
            told = zip(self.hashes.tolist(), self.rows, strict=True)
            by_all = [(key, orjson.dumps(tuple(row))) for key, row in told]
            order = np.array(sorted(range(len(keys)), key=by_all.__getitem__), np.int64)
        return self.chosen(order[:k])

    def chosen(self, at: Ints) -> Outcomes:
        """Return the outcomes at some places."""
        columns = [chosen(column, at) for column in self.columns]
        ids, models = ([each[i] for i in at.tolist()] for each in (self.ids, self.models))
        times_ms, keys, yes, score = (getattr(self, name)[at] for name in _ARRAYS)
        return Outcomes(self.names, columns, ids, models, times_ms, keys, yes, score)

    def packed(self) -> dict[str, Any]:
        """Return them for JSON; `unpacked` reads it."""
        return {
            "names": list(self.names),
            "columns": [pack(column) for column in self.columns],
            "id": self.ids,
            "model": self.models,
            "event_ms": pack_ints(self.event_ms),
            "hash": pack_ints(self.hashes),
            "yes": self.yes.astype(np.int64).tolist(),
            "score": pack_floats(self.score),
        }


def unpacked(found: Mapping[str, Any]) -> Outcomes:
    """Return the outcomes of what `Outcomes.packed` gave."""
    return Outcomes(
        tuple(found["names"]),
        list(map(unpack, found["columns"])),
        found["id"],
        found["model"],
        unpack_ints(found["event_ms"]),
        unpack_ints(found["hash"]),
        np.array(found["yes"], np.float64),
        unpack_floats(found["score"]),
    )


def merged(parts: Sequence[Outcomes], k: int = SAMPLED) -> Outcomes:
    """Return the least of all parts, whatever their order; names are united."""
    if len(parts) == 1:
        return parts[0].least(k)
    names = parts[0].names
    if any(part.names != names for part in parts):
        names = tuple(sorted({name for part in parts for name in part.names})[:_MOST_FEATURES])
    columns = aligned(names, [(part.names, part.columns, len(part.hashes)) for part in parts])
    ids = [id_ for part in parts for id_ in part.ids]
    models = [model for part in parts for model in part.models]
    arrays = ([getattr(part, name) for part in parts] for name in _ARRAYS)
    return Outcomes(names, columns, ids, models, *map(np.concatenate, arrays)).least(k)


class Sampled:
    """The outcomes of each bucket whose ids have the least hashes, until they are taken."""

    def __init__(self, bucket_ms: int) -> None:
        self._bucket_ms = bucket_ms
        self._held: dict[int, Outcomes] = {}

    def add(
        self, outcomes: Sequence[Mapping[str, Any]], known_ms: Ints, yes: Floats, score: Floats
    ) -> None:
        """Take in outcomes."""
        sums = checksums([str(outcome.get("id")) for outcome in outcomes])
        keys = (sums * _MIX >> np.uint64(1)).astype(np.int64)
        buckets = known_ms // self._bucket_ms * self._bucket_ms
        for start_ms in np.unique(buckets).tolist():
            held = self._held.get(start_ms)
            at = np.flatnonzero(buckets == start_ms)
            at = at[np.argsort(keys[at], kind="stable")[: 2 * SAMPLED]]
            if held is not None and len(held.hashes) == SAMPLED:
                at = at[keys[at] <= held.hashes[-1]]
            if len(at):
                new = Outcomes.of([outcomes[i] for i in at.tolist()], keys[at], yes[at], score[at])
                self._held[start_ms] = merged([new] if held is None else [held, new])

    def take(self) -> dict[int, dict[str, dict[str, Any]]]:
        """Return the rows by bucket and name."""
        held, self._held = self._held, {}
        return {start: {SAMPLE: outcomes.packed()} for start, outcomes in held.items()}


def _columns_of(features: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], list[Column]]:
    """Return names and columns; of more than `_MOST_FEATURES` the first ones."""
    names = tuple(sorted(features[0]))[:_MOST_FEATURES] if features else ()
    size = len(features[0]) if features else 0
    try:
        if len(names) < 2 or any(len(each) != size for each in features):
            raise KeyError
        rows = list(map(itemgetter(*names), features))
    except KeyError:
        names = tuple(sorted({name for each in features for name in each}))[:_MOST_FEATURES]
        rows = [tuple(each.get(name) for name in names) for each in features]
    return names, [column_of(values) for values in zip(*rows, strict=True)] if names else []
