"""From an event to its features: every declared feature, in the order declared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from streamproc.errors import BadRecord
from streamproc.features import layout
from streamproc.features.batch import Batch, columns_of
from streamproc.features.calendar import Calendar, Cyclical, calendar_reader
from streamproc.features.encode import Encoding
from streamproc.features.encoders import Encoder
from streamproc.features.entities import entity_reader
from streamproc.features.hashing import Occupancy
from streamproc.features.labelled import LabelledWindow, label_groups_of
from streamproc.features.lookup import Lookups
from streamproc.features.plain import filler, plain_of, teller
from streamproc.features.spec import Feature, Field, LabelWindow, Lookup, Window
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
    by the key that ``compute`` is given (all windows, where it is None). Windows by the entities in
    ``rekeyed`` are computed elsewhere, see ``features.rekeyed``: a batch is given what they say.

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
        rekeyed: Sequence[tuple[str, ...]] = (),
    ) -> None:
        self._encoding = Encoding(spec)
        self.after = self._encoding.after
        self.readers = _readers(spec, time_field, self._encoding)
        groups = [each for each in groups_of(spec) if each[0].entity not in rekeyed]
        label_groups = [each for each in label_groups_of(spec) if each[0].entity not in rekeyed]
        lookups = [each for each in spec if isinstance(each, Lookup)]
        self.lookups = Lookups(lookups) if lookups else None
        """What looks rows up; where they are is its ``find``. None where nothing is looked up."""
        self.over_values = [KeyedWindow(group, lateness_ms, track) for group in groups]
        """Windows, those over one value by one entity together, in the order declared."""
        self.over_labels = [LabelledWindow(group, lateness_ms, track) for group in label_groups]
        """Windows over labels, those by one entity together."""
        every: list[Window | LabelWindow] = [each[0] for each in groups]
        every += [each[0] for each in label_groups]
        entities = list(dict.fromkeys(each.entity for each in every))
        self.entities = [entity_reader(by, key_field) for by in entities]
        self.entity_of = [entities.index(each.entity) for each in every]
        self.values = [group[0].value for group in groups]
        self.names = [name for each in self.over_values for name in each.names]
        self.names += [name for each in self.over_labels for name in each.names]
        # Names first, so that features come out in the order declared.
        self.nulls: Features = dict.fromkeys(name for feature in spec for name in feature.names)
        self.nulls.update(self._encoding.zeros)
        self.plain = None if rekeyed else plain_of(spec, entities, key_field)
        """What reads events where features are numbers and windows alone; else None."""
        self.tell = teller(list(self.nulls))
        self.fill = filler(self.names) if self.names else None

    def compute(
        self,
        fields: dict[str, Any],
        record_id: str,
        key: str,
        time_ms: int,
        late: bool = False,
        given: Features | None = None,
    ) -> Features:
        """Return the features of an event and take it into the windows.

        Raises :class:`BadRecord`, before any state changes, where a field is not what was
        declared. A ``late`` event, later than allowed, does not enter the windows. ``given`` is
        what windows say of it that are computed elsewhere.
        """
        batch = self.batch()
        batch.add(fields, record_id, key, time_ms, late, given)
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

    def label_entities(self, fields: dict[str, Any], key: str) -> list[str]:
        """Return the entities whose windows an event's label is for; see ``Batch.add_label``."""
        wanted = self.entity_of[len(self.over_values) :]
        return [self.entities[index](fields, key) for index in wanted]

    def batch(self) -> Batch:
        """Return what takes events into the windows all at once."""
        return Batch(self)

    def current(self, entity: str, by: tuple[str, ...]) -> Features | None:
        """Return what the windows by these fields hold of an entity, as of the newest event.

        That is what an event without values would be given, and what is looked up by them. None
        where the entity has no state, or where nothing is by these fields. Nothing is taken in.

        >>> from streamproc.features import Window
        >>> spec = [Window("amount", by="card", over="1d", aggregates=("count", "mean"))]
        >>> features = FeatureSet(spec, time_field="at", lateness_ms=0)
        >>> _ = features.compute({"amount": 5.0, "card": "c"}, "id", "c", 7)
        >>> features.current("c", by=("card",))
        {'amount_count_1d_by_card': 1, 'amount_mean_1d_by_card': 5.0}
        >>> features.current("d", by=("card",))
        """
        found = current([*self.over_values, *self.over_labels], entity, by)
        # Rows are everywhere, windows where their partition is: who has half says nothing.
        windowed = any(window.specs[0].entity == by for window in self.windows)
        if self.lookups and (found or not windowed):
            found |= self.lookups.current(entity, by)
        return found or None

    def sweep(self, events: int) -> None:
        """Forget idle entities, a share of the work for each of ``events`` events."""
        for window in self.windows:
            window.sweep(_SWEPT_AN_EVENT * events)

    @property
    def windows(self) -> list[KeyedWindow]:
        """All windows, those over labels last."""
        return [*self.over_values, *(each.keyed for each in self.over_labels)]

    @property
    def expired_entities(self) -> int:
        """How many entities were idle for so long that their windows were let go."""
        return sum(window.expired_entities for window in self.windows)

    @property
    def window_entries(self) -> int:
        """The number of records that all windows hold."""
        return sum(len(window) for window in self.windows)

    @property
    def hashing(self) -> dict[str, Occupancy]:
        """How many distinct categories share a column of each hash, such as ``merchant_hash``."""
        return self._encoding.occupancy


def current(
    windows: Sequence[KeyedWindow | LabelledWindow], entity: str, by: tuple[str, ...]
) -> Features:
    """Return what those windows that are by these fields hold of an entity, if it has state."""
    found: Features = {}
    late = np.full(1, layout.LATE, np.uint8)
    for window in windows:
        keyed = window.keyed if isinstance(window, LabelledWindow) else window
        if keyed.specs[0].entity != by or not keyed.holds(entity):
            continue
        times = np.array([keyed.newest_ms], np.int64)
        if isinstance(window, LabelledWindow):
            row = window.observe_many([entity], times, late)
        else:
            row = window.observe_many([entity], Ids([None]), times, [None], late)
        columns = columns_of(row, window.counts)
        found.update(zip(window.names, (column[0] for column in columns), strict=True))
    return found


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
