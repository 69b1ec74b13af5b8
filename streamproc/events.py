"""Where events and labels come from: their topics, and what their fields mean."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from streamproc.errors import DefinitionError
from streamproc.eventtime import parse_duration_ms

_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")


@dataclass(frozen=True)
class Events:
    """The topic of events, and which of their fields are the id, the key and the time.

    ``key`` is the entity that events are keyed by (the card, the sensor), ``time`` holds RFC 3339
    text or integer milliseconds.
    """

    topic: str
    id: str
    key: str
    time: str

    def __post_init__(self) -> None:
        check_topic("Events", self.topic)
        check_fields("Events", id=self.id, key=self.key, time=self.time)


@dataclass(frozen=True)
class Labels:
    """The topic of labels, keyed like the events; ``id`` names the field with the event's id.

    A label is waited for until its event is older than ``horizon``. It became known at the time in
    the field ``time``, or else at its record's timestamp. ``classes`` lists what a label can be,
    the positive one of two last.
    """

    topic: str
    id: str
    value: str
    horizon: str = "14d"
    time: str | None = None
    classes: tuple[Any, ...] | None = None

    def __post_init__(self) -> None:
        check_topic("Labels", self.topic)
        check_fields("Labels", id=self.id, value=self.value)
        if self.time is not None:
            check_fields("Labels", time=self.time)
        if self.classes is not None:
            object.__setattr__(self, "classes", listed(self.classes))
            if not all(isinstance(each, str | bool | int | float) for each in self.classes):
                raise DefinitionError("Labels: classes must be texts or numbers, such as (0, 1)")
            if len(set(self.classes)) < 2:
                raise DefinitionError("Labels: classes needs at least two, such as (0, 1)")
        if self.horizon_ms == 0:
            raise DefinitionError("Labels: a horizon of 0 joins nothing; write e.g. '14d'")

    @property
    def horizon_ms(self) -> int:
        """How long a prediction waits for its label, in event time."""
        return parse_duration_ms(self.horizon, "Labels, horizon")


def listed(value: object) -> tuple[Any, ...]:
    """Return a list as a tuple; what is none as the one thing in it, for the checks to name."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def check_topic(what: str, topic: object) -> None:
    """Raise :class:`DefinitionError` if a topic has a name that Kafka doesn't take."""
    if not isinstance(topic, str) or not _TOPIC.fullmatch(topic):
        raise DefinitionError(
            f"{what}: topic {topic!r} is no name Kafka takes; use letters, digits, '.', '_' and '-'"
        )


def check_fields(what: str, **fields: object) -> None:
    """Raise :class:`DefinitionError` if one of these names no field."""
    for name, field in fields.items():
        if not isinstance(field, str) or not field:
            raise DefinitionError(f"{what}: {name} must name a field, such as {name}='{name}'")
