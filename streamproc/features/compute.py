"""From an event to its features: every declared feature, in the order declared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from streamproc.errors import BadRecord
from streamproc.features.calendar import Calendar, Cyclical, calendar_reader
from streamproc.features.encode import Encoding
from streamproc.features.encoders import Encoder
from streamproc.features.hashing import Occupancy
from streamproc.features.spec import Feature, Field, Window
from streamproc.features.values import LARGEST, describe, number_of
from streamproc.features.windows import KeyedWindow
from streamproc.messages import Features, FeatureValue

_SWEPT_AN_EVENT = 2
"""With one, entities that are seen once would come as fast as they are looked at."""


class FeatureSet:
    """Computes the declared features of one partition's events; holds its windows.

    ``time_field`` is the field whose time ``compute`` is given, ``lateness_ms`` how late a record
    may be and still count.

    >>> features = FeatureSet([Field("amount")], time_field="event_time", lateness_ms=0)
    >>> features.compute({"amount": 5.0, "event_time": 0}, "id", "key", 0)
    {'amount': 5.0}
    """

    def __init__(
        self, spec: Sequence[Feature], time_field: str, lateness_ms: int, track: bool = False
    ) -> None:
        self._spec = tuple(spec)
        self._time_field = time_field
        self._encoding = Encoding(spec)
        self._readers = _readers(spec, time_field, self._encoding)
        self._after = self._encoding.after
        self._windows = [
            (KeyedWindow(feature, lateness_ms, track), feature.value, feature.names)
            for feature in spec
            if isinstance(feature, Window)
        ]
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
        features = self._nulls.copy()
        for read in self._readers:
            read(fields, time_ms, features)
        for window, value_field, names in self._windows:
            values = window.observe(key, time_ms, record_id, fields.get(value_field), late)
            for i, name in enumerate(names):  # faster than an update from pairs
                features[name] = values[i]
        for read in self._after:  # encoders of what the windows say
            read(fields, time_ms, features)
        return features

    def sweep(self, events: int) -> None:
        """Forget idle entities, a share of the work for each of ``events`` events."""
        for window, _, _ in self._windows:
            window.sweep(_SWEPT_AN_EVENT * events)

    @property
    def window_entries(self) -> int:
        """The number of records that all windows hold."""
        return sum(len(window) for window, _, _ in self._windows)

    @property
    def windows(self) -> list[KeyedWindow]:
        """The windows, in the order declared."""
        return [window for window, _, _ in self._windows]

    @property
    def hashing(self) -> dict[str, Occupancy]:
        """How many distinct categories share a column of each hash, such as ``merchant_hash``."""
        return self._encoding.occupancy


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
        elif feature.value not in checked:
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
