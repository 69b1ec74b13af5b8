"""Events on their way into the windows, a micro-batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamproc.features import layout
from streamproc.features.lookup import Versions
from streamproc.features.texts import Ids
from streamproc.messages import Features

if TYPE_CHECKING:
    from streamproc.features.compute import FeatureSet

_NO_TIMES = np.zeros(0, np.int64)
_NOTHING = np.zeros(0, np.uint8)


class Batch:
    """Events on their way into the windows, all at once.

    >>> from streamproc.features import FeatureSet, Field
    >>> batch = Batch(FeatureSet([Field("amount")], "at", lateness_ms=0))
    >>> batch.add({"amount": 5.0}, "id", "key", 0, late=False)
    >>> batch.enter()
    [{'amount': 5.0}]
    """

    def __init__(self, features: FeatureSet) -> None:
        self._set = features
        self._rows: list[tuple[Any, ...]] = []
        self._labels: list[tuple[int, Sequence[str], float, str, int]] = []
        self._plain = features.plain
        self._read = None if features.plain is None else features.plain.read

    def __len__(self) -> int:
        return len(self._rows)

    def add(
        self,
        fields: dict[str, Any],
        record_id: str,
        key: str,
        time_ms: int,
        late: bool,
        given: Features | None = None,
    ) -> Versions | None:
        """Read an event; raises :class:`BadRecord`, and has then added nothing.

        ``given`` is what windows say of it that are computed elsewhere. Returns which rows were
        looked up for it, where any are.
        """
        if self._read is not None:
            self._rows.append(self._read(fields, record_id, key, time_ms, late))
            return None
        own = self._set
        features = own.nulls.copy()
        if given:
            features.update(given)
        # First: what encoders read may be looked up.
        looked_up = own.lookups.read(fields, time_ms, features) if own.lookups else None
        for read in own.readers:
            read(fields, time_ms, features)
        entities = [read_entity(fields, key) for read_entity in own.entities]
        values = [fields.get(name) for name in own.values]
        self._rows.append((features, fields, record_id, time_ms, late, entities, values))
        return looked_up

    def add_label(
        self, entities: Sequence[str], number: float, event_id: str, known_ms: int
    ) -> None:
        """Let a label enter the windows of its event's entities, after the events added so far.

        ``entities`` are those of ``FeatureSet.label_entities``, ``number`` is what it counts as.
        """
        self._labels.append((len(self._rows), entities, number, event_id, known_ms))

    def enter(self) -> list[Features]:
        """Take events and labels into the windows, in their order; return the events' features."""
        rows, self._rows = self._rows, []
        own = self._set
        if rows and self._plain is not None:
            return self._enter_plain(rows)
        if not rows:
            self._enter_labels([], _NO_TIMES, _NOTHING)
            return []
        columns_in: list[Any] = list(zip(*rows, strict=True))
        every, fields, ids, times, late, entities, values = columns_in
        if own.fill is not None:
            keys: list[Any] = list(zip(*entities, strict=True))
            by_window: list[Any] = list(zip(*values, strict=True))
            columns = self._windows(ids, times, late, keys, by_window)
            own.fill(every, zip(*columns, strict=True))
        for read in own.after:  # encoders of what the windows say
            for each, time_ms, features in zip(fields, times, every, strict=True):
                read(each, time_ms, features)
        return list(every)

    def _enter_plain(self, rows: Sequence[tuple[Any, ...]]) -> list[Features]:
        """Do so for events that :class:`Plain` has read."""
        own, plain = self._set, self._plain
        assert plain is not None
        columns: list[Any] = list(zip(*rows, strict=True))
        ids, times, late = columns[:3]
        values = [columns[plain.numbers[name]] for name in own.values]
        keys = [columns[at] for at in plain.entities]
        made = self._windows(ids, times, late, keys, values)
        of = {name: columns[at] for name, at in plain.numbers.items()}
        of.update(zip(own.names, made, strict=True))
        return own.tell(zip(*(of[name] for name in own.nulls), strict=True))

    def _windows(
        self,
        ids: Sequence[str],
        times: Sequence[int],
        late: Sequence[bool],
        keys: list[Any],
        values: Sequence[Any],
    ) -> list[list[Any]]:
        """Take events and labels into the windows, in their order; return the events' columns."""
        own = self._set
        coded = Ids(ids)
        columns: list[list[Any]] = []
        times_ms = np.array(times, np.int64)
        what: NDArray[np.uint8] = np.array(late, np.uint8)
        what *= layout.LATE
        for window, at, numbers in zip(own.over_values, own.entity_of, values, strict=False):
            found = window.observe_many(keys[at], coded, times_ms, numbers, what)
            columns += columns_of(found, window.counts)
        return columns + self._enter_labels(keys, times_ms, what)

    def _enter_labels(
        self, keys: list[Any], times_ms: NDArray[np.int64], what: NDArray[np.uint8]
    ) -> list[list[Any]]:
        """Take labels into their windows, among the events; return the events' columns."""
        own, labels, self._labels = self._set, self._labels, []
        columns: list[list[Any]] = []
        if not labels and not keys:
            return columns
        wanted = own.entity_of[len(own.over_values) :]
        for i, (window, at) in enumerate(zip(own.over_labels, wanted, strict=True)):
            entries = [(place, of[i], *rest) for place, of, *rest in labels]
            of_events = keys[at] if keys else []
            found = window.observe_many(of_events, times_ms, what, entries)  # type: ignore[arg-type]
            columns += columns_of(found, window.counts)
        return columns


def columns_of(found: NDArray[np.float64], counts: Sequence[bool]) -> list[list[Any]]:
    """Return aggregates column by column, counts as integers and NaN as None."""
    columns: list[list[Any]] = []
    nulls: Any = np.isnan(found).any(axis=0).tolist()
    for i, (count, null) in enumerate(zip(counts, nulls, strict=True)):
        column = found[:, i].astype(np.int64) if count else found[:, i]
        values: list[Any] = column.tolist()
        columns.append([None if each != each else each for each in values] if null else values)
    return columns
