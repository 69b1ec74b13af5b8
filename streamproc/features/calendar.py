"""Parts of a time, in any time zone: as they are, or on a circle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import cos, pi, sin
from typing import Any
from zoneinfo import ZoneInfo

from streamproc.errors import BadRecord, DefinitionError
from streamproc.eventtime import parse_time_ms
from streamproc.features.checks import check_name, texts
from streamproc.messages import Features

_PARTS: dict[str, Callable[[datetime], int]] = {
    "is_weekend": lambda local: int(local.weekday() >= 5),
    "is_night": lambda local: int(local.hour <= 6),
    "minute": lambda local: local.minute,
    "hour": lambda local: local.hour,
    "weekday": lambda local: local.weekday(),
    "day": lambda local: local.day,
    "month": lambda local: local.month,
    "quarter": lambda local: (local.month + 2) // 3,
}
CALENDAR_PARTS = tuple(_PARTS)

_PERIODS = {"minute": 60, "hour": 24, "weekday": 7, "month": 12}
CYCLES = tuple(_PERIODS)
"""The parts that come round: after the last comes the first, as far away as any two neighbours."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MINUTE_MS = 60_000
_QUARTER_HOUR_MS = 900_000
_MOST_CACHED = 4_096


@dataclass(frozen=True)
class Calendar:
    """Parts of a time in the event, in UTC or in the time zone that ``zone`` names.

    ``is_weekend`` (Saturday and Sunday) and ``is_night`` (hour <= 6) are 0 or 1, ``minute`` is 0
    to 59, ``hour`` 0 to 23, ``weekday`` 0 (Monday) to 6, ``day`` 1 to 31, ``month`` 1 to 12,
    ``quarter`` 1 to 4. A zone is of the IANA database, and knows of daylight saving time. Raises
    :class:`DefinitionError` for a part or a zone that is not known.

    >>> Calendar("event_time", ("is_weekend", "is_night")).names
    ('is_weekend', 'is_night')
    """

    time: str
    parts: tuple[str, ...]
    zone: str = "UTC"

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", _checked("Calendar", self, CALENDAR_PARTS))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features this gives."""
        return self.parts

    def values(self, local: datetime) -> Features:
        """Return the features of a local time."""
        return {part: _PARTS[part](local) for part in self.parts}


@dataclass(frozen=True)
class Cyclical:
    """Parts of a time as points on a circle, so that 23 and 0 o'clock are neighbours.

    Each of ``minute``, ``hour``, ``weekday`` and ``month`` gives a sine and a cosine, from -1 to
    1; hour 0, Monday and January are at sine 0, cosine 1. Else as :class:`Calendar`.

    >>> Cyclical("event_time", ("hour",), zone="Europe/Brussels").names
    ('hour_sin', 'hour_cos')
    """

    time: str
    parts: tuple[str, ...]
    zone: str = "UTC"

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", _checked("Cyclical", self, CYCLES))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features this gives: the sine, then the cosine of each part."""
        return tuple(f"{part}_{way}" for part in self.parts for way in ("sin", "cos"))

    def values(self, local: datetime) -> Features:
        """Return the features of a local time."""
        found: Features = {}
        for part in self.parts:
            turn = (_PARTS[part](local) - (part == "month")) / _PERIODS[part]
            found[f"{part}_sin"], found[f"{part}_cos"] = sin(2 * pi * turn), cos(2 * pi * turn)
        return found


def _checked(what: str, given: Calendar | Cyclical, known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the parts that were declared; raise :class:`DefinitionError` for what cannot be."""
    if not isinstance(given.time, str) or not given.time:
        raise DefinitionError(f"{what}: time must name a field, such as 'event_time'")
    parts = texts(given.parts, f"{what}: parts must be names, such as ('hour',)")
    if not parts:
        raise DefinitionError(f"{what}: name at least one part, such as 'hour'")
    for part in parts:
        if part not in known:
            raise DefinitionError(
                f"{what}: part {part!r} is not known; choose from {', '.join(known)}"
            )
    check_name(f"{what}: zone", given.zone, "zone='Europe/Brussels'")
    try:
        ZoneInfo(given.zone)
    except (KeyError, ValueError, OSError):
        raise DefinitionError(
            f"{what}: zone {given.zone!r:.60} is not known; write a name of the IANA time zone "
            "database, such as 'Europe/Brussels'"
        ) from None
    return parts


def calendar_reader(
    feature: Calendar | Cyclical, time_field: str
) -> Callable[[dict[str, Any], int, Features], None]:
    """Return what puts the parts of an event's time into its features; null without that time.

    ``time_field`` is the field whose time the reader is given. Times of one step share their
    parts, which are kept for some thousands of steps.
    """
    own_time, field = feature.time == time_field, feature.time
    step_ms = _MINUTE_MS if "minute" in feature.parts else _QUARTER_HOUR_MS
    zone, values = ZoneInfo(feature.zone), feature.values
    cache: dict[int, Features] = {}

    def read(fields: dict[str, Any], time_ms: int, features: Features) -> None:
        if not own_time:
            if fields.get(field) is None:
                return
            time_ms = parse_time_ms(fields[field])
        found = cache.get(time_ms // step_ms)
        if found is None:
            local = _local(time_ms, zone)
            found = values(local)
            if _lasts(local, time_ms // step_ms * step_ms, step_ms, zone):
                if len(cache) >= _MOST_CACHED:
                    cache.clear()
                cache[time_ms // step_ms] = found
        features.update(found)

    return read


def _lasts(local: datetime, begin_ms: int, step_ms: int, zone: ZoneInfo) -> bool:
    """Say whether what is true of a local time is so for the whole step that it is in.

    It is not where the clocks change within the step, or the zone is off by odd minutes, as zones
    were until the twentieth century.
    """
    offset = local.utcoffset()
    if offset is None or offset % timedelta(milliseconds=step_ms):
        return False
    ends = (begin_ms, begin_ms + step_ms - 1)
    return all(_local(end_ms, zone).utcoffset() == offset for end_ms in ends)


def _local(time_ms: int, zone: ZoneInfo) -> datetime:
    try:
        return (_EPOCH + time_ms * _MILLISECOND).astimezone(zone)
    except OverflowError:
        raise BadRecord(
            "time_not_valid", f"{time_ms} ms lies outside the years 1 to 9999 in {zone.key}"
        ) from None
