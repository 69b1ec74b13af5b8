"""From an event to its features: every declared feature, in the order declared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamproc.errors import BadRecord
from streamproc.features import layout
from streamproc.features.calendar import Calendar, Cyclical, calendar_reader
from streamproc.features.encode import Encoding
from streamproc.features.encoders import Encoder
from streamproc.features.entities import entity_reader
from streamproc.features.hashing import Occupancy
from streamproc.features.spec import Feature, Field, Window
from streamproc.features.texts import Ids
from streamproc.features.values import LARGEST, describe, number_of
from streamproc.features.windows import KeyedWindow, groups_of
from streamproc.messages import Features, FeatureValue

_SWEPT_AN_EVENT = 2
"""With one, entities that are seen once would come as fast as they are looked at."""


class FeatureSet:
    """Computes the declared features of one partition's events; holds its windows.

    ``time_field`` is the field whose time ``compute`` is given, ``lateness_ms`` how late a record
    may be and still count, ``key_field`` the field whose text is the events' key: windows by it are
    by the key that ``compute`` is given (all windows, where it is None).

    >>> features = FeatureSet([Field("amount")], time_field="event_time", lateness_ms=0)
    >>> features.compute({"amount": 5.0, "event_time": 0}, "id", "key", 0)
    {'amount': 5.0}
    """

    def __init__(
        self,
        spec: Sequence[Feature],
        time_field: str,
        lateness_ms: int,
        track: bool = False,
        key_field: str | None = None,
    ) -> None:
        self._encoding = Encoding(spec)
        self._readers = _readers(spec, time_field, self._encoding)
        self._after = self._encoding.after
        groups = groups_of(spec)
        self.windows = [KeyedWindow(group, lateness_ms, track) for group in groups]
        """The windows, those over one value by one entity together, in the order declared."""
        entities = list(dict.fromkeys(group[0].entity for group in groups))
        self._entities = [entity_reader(by, key_field) for by in entities]
        self._by = [entities.index(group[0].entity) for group in groups]
        self._values = [group[0].value for group in groups]
        self._names = [name for window in self.windows for name in window.names]
        # Names first, so that features come out in the order declared.
        self._nulls: Features = dict.fromkeys(name for feature in spec for name in feature.names)
        self._nulls.update(self._encoding.zeros)

    def compute(
        self, fields: dict[str, Any], record_id: str, key: str, time_ms: int, late: bool = False
    ) -> Features:
        """Return the features of an event and take it into the windows.

        Raises :class:`BadRecord`, before any state changes, where a field is not what was
        declared. A ``late`` event, later than allowed, does not enter the windows.
        """
        batch = self.batch()
        batch.add(fields, record_id, key, time_ms, late)
        return batch.enter()[0]

    def compute_many(
        self, events: Iterable[tuple[dict[str, Any], str, str, int]]
    ) -> list[Features]:
        """Return the features of events, which are not late, as if each were computed in turn.

        Each is its fields, id, key and time. Raises as :meth:`compute`, before any state changes.
        """
        batch = self.batch()
        for fields, record_id, key, time_ms in events:
            batch.add(fields, record_id, key, time_ms, late=False)
        return batch.enter()

    def batch(self) -> Batch:
        """Return what takes events into the windows all at once."""
        return Batch(self)

    def sweep(self, events: int) -> None:
        """Forget idle entities, a share of the work for each of ``events`` events."""
        for window in self.windows:
            window.sweep(_SWEPT_AN_EVENT * events)

    @property
    def window_entries(self) -> int:
        """The number of records that all windows hold."""
        return sum(len(window) for window in self.windows)

    @property
    def hashing(self) -> dict[str, Occupancy]:
        """How many distinct categories share a column of each hash, such as ``merchant_hash``."""
        return self._encoding.occupancy


class Batch:
    """Events on their way into the windows, all at once.

    >>> batch = Batch(FeatureSet([Field("amount")], "at", lateness_ms=0))
    >>> batch.add({"amount": 5.0}, "id", "key", 0, late=False)
    >>> batch.enter()
    [{'amount': 5.0}]
    """

    def __init__(self, features: FeatureSet) -> None:
        self._set = features
        self._rows: list[tuple[Any, ...]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(
        self, fields: dict[str, Any], record_id: str, key: str, time_ms: int, late: bool
    ) -> None:
        """Read an event; raises :class:`BadRecord`, and has then added nothing."""
        own = self._set
        features = own._nulls.copy()
        for read in own._readers:
            read(fields, time_ms, features)
        entities = [read_entity(fields, key) for read_entity in own._entities]
        values = [fields.get(name) for name in own._values]
        self._rows.append((features, fields, record_id, time_ms, late, entities, values))

    def enter(self) -> list[Features]:
        """Take the events into the windows, in their order; return their features."""
        if not self._rows:
            return []
        own = self._set
        columns_in: list[Any] = list(zip(*self._rows, strict=True))
        every, fields, ids, times, late, entities, values = columns_in
        self._rows = []
        if own.windows:
            self._enter_windows(every, ids, times, late, entities, values)
        for read in own._after:  # encoders of what the windows say
            for each, time_ms, features in zip(fields, times, every, strict=True):
                read(each, time_ms, features)
        return list(every)

    def _enter_windows(
        self, every: Any, ids: Any, times: Any, late: Any, entities: Any, values: Any
    ) -> None:
        own = self._set
        coded = Ids(ids)
        keys: list[Any] = list(zip(*entities, strict=True))
        columns: list[list[Any]] = []
        times_ms = np.array(times, np.int64)
        what: NDArray[np.uint8] = np.array(late, np.uint8)
        what *= layout.LATE
        by_window: Any = zip(*values, strict=True)
        for window, at, numbers in zip(own.windows, own._by, by_window, strict=True):
            found = window.observe_many(keys[at], coded, times_ms, numbers, what)
            columns += columns_of(found, window.counts)
        names = own._names
        rows: Any = zip(*columns, strict=True)
        for features, row in zip(every, rows, strict=True):
            features.update(zip(names, row, strict=True))


def columns_of(found: NDArray[np.float64], counts: Sequence[bool]) -> list[list[Any]]:
    """Return aggregates column by column, counts as integers and NaN as None."""
    columns: list[list[Any]] = []
    nulls: Any = np.isnan(found).any(axis=0).tolist()
    for i, (count, null) in enumerate(zip(counts, nulls, strict=True)):
        column = found[:, i].astype(np.int64) if count else found[:, i]
        values: list[Any] = column.tolist()
        columns.append([None if each != each else each for each in values] if null else values)
    return columns


_Reader = Callable[[dict[str, Any], int, Features], None]


def _readers(spec: Sequence[Feature], time_field: str, encoding: Encoding) -> list[_Reader]:
    """Return what reads the features, or checks what a window takes, in the order declared."""
    readers: list[_Reader] = []
    checked: set[str] = set()
    for number, feature in enumerate(spec):
        if isinstance(feature, Calendar | Cyclical):
            readers.append(calendar_reader(feature, time_field))
        elif isinstance(feature, Encoder):
            readers.extend(encoding.before(number))
        elif isinstance(feature, Field):
            readers.append(_field_reader(feature))
            if feature.type == "number":
                checked.add(feature.name)
        elif isinstance(feature, Window) and feature.value not in checked:
            readers.append(_check(feature.value))
            checked.add(feature.value)
    return readers


def _check(name: str) -> _Reader:
    def check(fields: dict[str, Any], time_ms: int, features: Features) -> None:
        number_of(fields, name)

    return check


def _field_reader(feature: Field) -> _Reader:
    name = feature.name
    if feature.type == "number":

        def read(fields: dict[str, Any], time_ms: int, features: Features) -> None:
            value = fields.get(name)
            if type(value) is not float or not -LARGEST <= value <= LARGEST:
                value = number_of(fields, name)  # the call costs: most numbers go without
            features[name] = value

        return read
    wanted: type = str if feature.type == "text" else bool

    def read_typed(fields: dict[str, Any], time_ms: int, features: Features) -> None:
        value: FeatureValue = fields.get(name)
        if value is not None and type(value) is not wanted:
            raise BadRecord(
                f"field_not_{feature.type}",
                f"field {name!r} is {describe(value)}, not {feature.type}",
            )
        features[name] = value

    return read_typed
