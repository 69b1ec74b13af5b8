"""Windows over labels: which are theirs, and the aggregates that are smoothed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamproc.features import layout
from streamproc.features.spec import LabelWindow, Window
from streamproc.features.texts import Ids
from streamproc.features.windows import KeyedWindow

_INNER = ("count", "sum", "mean")

Entry = tuple[int, str, float, str, int]
"""A label: before which event it comes, its entity, its number, its event's id, when known (ms)."""


class LabelledWindow:
    """All windows over labels by one entity.

    >>> window = LabelledWindow((LabelWindow("shop", ("1d",), ("count", "mean")),), lateness_ms=0)
    >>> label = (1, "s", 1.0, "a", 3)
    >>> events = (["s", "s"], np.array([1, 3]), np.zeros(2, np.uint8))
    >>> window.observe_many(*events, [label]).tolist()
    [[0.0, nan], [1.0, 1.0]]
    """

    def __init__(self, specs: Sequence[LabelWindow], lateness_ms: int, track: bool = False) -> None:
        self.specs = tuple(specs)
        inner = [Window("label", spec.by, spec.over, _INNER, spec.every) for spec in specs]
        self.keyed = KeyedWindow(inner, lateness_ms, track)
        self.keyed.over_labels = True
        self.names = tuple(name for spec in specs for name in spec.names)
        self.counts = [
            kind == "count" for spec in specs for _ in spec.over for kind in spec.aggregates
        ]

    def observe_many(
        self,
        keys: Sequence[str],
        times: NDArray[np.int64],
        what: NDArray[np.uint8],
        labels: Iterable[Entry] = (),
    ) -> NDArray[np.float64]:
        """Take labels in, each before the event it says; return a row of aggregates an event."""
        events = np.arange(len(keys))
        entries = list(labels)
        texts: list[str] = list(keys)
        ids: list[str | None] = [None] * len(keys)  # an event comes after all labels of its time
        values = np.full(len(keys), np.nan)
        if entries:
            at, entities, numbers, of, known_ms = zip(*entries, strict=True)
            order = np.argsort(np.concatenate([events + 0.5, np.array(at)]), kind="stable")
            events = np.flatnonzero(order < len(keys))
            texts, ids = texts + list(entities), ids + list(of)
            places = order.tolist()
            texts, ids = [texts[i] for i in places], [ids[i] for i in places]
            values = np.concatenate([values, np.array(numbers, np.float64)])[order]
            times = np.concatenate([times, np.array(known_ms, np.int64)])[order]
            aside = np.full(len(entries), layout.ASIDE, np.uint8)
            what = np.concatenate([what, aside])[order]
        found = self.keyed.observe_many(texts, Ids(ids), times, values, what)
        return self._smoothed(found[events])

    def _smoothed(self, found: NDArray[np.float64]) -> NDArray[np.float64]:
        columns: list[Any] = []
        at = 0
        for spec in self.specs:
            for _ in spec.over:
                count, total, mean = found[:, at], found[:, at + 1], found[:, at + 2]
                at += len(_INNER)
                columns += [_column(kind, spec, count, total, mean) for kind in spec.aggregates]
        return np.stack(columns, axis=1)


def _column(kind: str, spec: LabelWindow, count: Any, total: Any, mean: Any) -> Any:
    """Return an aggregate of some windows, smoothed."""
    if kind == "count":
        return count
    if kind == "sum":
        return total
    ones, all_of_them = total + spec.prior * spec.prior_count, count + spec.prior_count
    if kind == "mean":
        return ones / all_of_them if spec.prior_count else mean
    odds: list[float] = (ones / (all_of_them - ones)).tolist()
    return [math.log(each) for each in odds]  # numpy's gives other bits for another batch


def label_groups_of(features: Iterable[Any]) -> list[tuple[LabelWindow, ...]]:
    """Return windows over labels that share a log together: those by one entity."""
    found: dict[Any, list[LabelWindow]] = {}
    for feature in features:
        if isinstance(feature, LabelWindow):
            found.setdefault(feature.entity, []).append(feature)
    return [tuple(group) for group in found.values()]
