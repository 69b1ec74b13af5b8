"""From an event to its features: every declared feature, in the order declared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from streamproc.errors import BadRecord
from streamproc.eventtime import parse_time_ms
from streamproc.features.spec import Calendar, Feature, Field, Window
from streamproc.features.windows import KeyedWindow
from streamproc.messages import Features, FeatureValue

LARGEST = 1e150
"""Numbers beyond this are refused: the square of a sum of them would not be a float."""

_DAY_MS, _HOUR_MS = 86_400_000, 3_600_000
_SWEPT_AN_EVENT = 2
"""With one, entities that are seen once would come as fast as they are looked at."""
_PARTS: dict[str, Callable[[int], int]] = {
    "is_weekend": lambda time_ms: int((time_ms // _DAY_MS + 3) % 7 >= 5),
    "is_night": lambda time_ms: int(time_ms // _HOUR_MS % 24 <= 6),
    "hour": lambda time_ms: time_ms // _HOUR_MS % 24,
    "weekday": lambda time_ms: (time_ms // _DAY_MS + 3) % 7,
}


class FeatureSet:
    """Computes the declared features of one partition's events; holds its windows.

    ``time_field`` is the field whose time ``compute`` is given, ``lateness_ms`` how late a record
    may be and still count.

    >>> features = FeatureSet([Field("amount")], time_field="event_time", lateness_ms=0)
    >>> features.compute({"amount": 5.0, "event_time": 0}, "id", "key", 0)
    {'amount': 5.0}
    """

    def __init__(self, spec: Sequence[Feature], time_field: str, lateness_ms: int) -> None:
        self._spec = tuple(spec)
        self._time_field = time_field
        self._readers = [_reader(feature, time_field) for feature in spec]
        self._windows = [
            (KeyedWindow(feature, lateness_ms), feature.value, feature.names)
            for feature in spec
            if isinstance(feature, Window)
        ]
        self._names = [name for feature in spec for name in feature.names]

    def compute(
        self, fields: dict[str, Any], record_id: str, key: str, time_ms: int, late: bool = False
    ) -> Features:
        """Return the features of an event and take it into the windows.

        Raises :class:`BadRecord`, before any state changes, where a field is not what was
        declared. A ``late`` event, later than allowed, does not enter the windows.
        """
        # Names first, so that features come out in the order declared.
        features: Features = dict.fromkeys(self._names)
        for read in self._readers:
            read(fields, time_ms, features)
        for window, value_field, names in self._windows:
            number = fields.get(value_field)
            values = window.observe(key, time_ms, record_id, number, late)
            features.update(zip(names, values, strict=True))
        return features

    def sweep(self, events: int) -> None:
        """Forget idle entities, a share of the work for each of ``events`` events."""
        for window, _, _ in self._windows:
            window.sweep(_SWEPT_AN_EVENT * events)

    @property
    def window_entries(self) -> int:
        """The number of records that all windows hold."""
        return sum(len(window) for window, _, _ in self._windows)


_Reader = Callable[[dict[str, Any], int, Features], None]


def _reader(feature: Feature, time_field: str) -> _Reader:
    if isinstance(feature, Field):
        return _field_reader(feature)
    if isinstance(feature, Calendar):
        return _calendar_reader(feature, time_field)
    value_field = feature.value

    def check(fields: dict[str, Any], time_ms: int, features: Features) -> None:
        number_of(fields, value_field)

    return check


def _field_reader(feature: Field) -> _Reader:
    name = feature.name
    if feature.type == "number":

        def read(fields: dict[str, Any], time_ms: int, features: Features) -> None:
            features[name] = number_of(fields, name)

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


def _calendar_reader(feature: Calendar, time_field: str) -> _Reader:
    parts = [(part, _PARTS[part]) for part in feature.parts]
    own_time, field = feature.time == time_field, feature.time

    def read(fields: dict[str, Any], time_ms: int, features: Features) -> None:
        if not own_time:
            if fields.get(field) is None:
                return
            time_ms = parse_time_ms(fields[field])
        for part, compute in parts:
            features[part] = compute(time_ms)

    return read


def number_of(fields: dict[str, Any], name: str) -> float | int | None:
    """Return the number in a field, or None where it is null or absent.

    Raises :class:`BadRecord` for text, booleans, numbers that are not finite, and those beyond
    :data:`LARGEST`.
    """
    value = fields.get(name)
    if type(value) is float or type(value) is int:
        if -LARGEST <= value <= LARGEST:
            return value
        raise BadRecord("number_out_of_range", f"field {name!r} is {value!r:.40}, beyond ±1e150")
    if value is None:
        return None
    raise BadRecord("field_not_number", f"field {name!r} is {describe(value)}, not a number")


def describe(value: object) -> str:
    """Say what a JSON value is, for an error: its kind and the start of it."""
    kind = {str: "text", bool: "a boolean", list: "an array", dict: "an object"}.get(
        type(value), type(value).__name__
    )
    return f"{kind} ({value!r:.40})"
