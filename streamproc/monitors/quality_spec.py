"""What data quality watches: its definition, the names of its series, and how many there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Protocol

from streamproc.errors import DefinitionError
from streamproc.eventtime import parse_duration_ms
from streamproc.monitors.growing import Span

EVENTS, LATE, FUTURE, REPEATED = "events", "late", "future", "repeated_id"
NULL, RANGE, ONE, DEAD, LEARN = "null/", "range/", "one/", "dead/", "learn/"
VALUES, UNDECLARED = "values/", "undeclared/"
DELAYS, CLOCK = "delays", "clock"
"""The series of delays, and the subject of what they tell."""

LEAST = 50
"""Rules that need no statistics look at buckets of so many events."""

MOST_SERIES = 1_000
REASONS = 20
"""For how many kinds of dead letters the false alarms are shared out."""


@dataclass(frozen=True)
class DataQuality:
    """Watches what comes in: missing, refused, out of range, late, stuck, too little or too much.

    Each feature's share of nulls, and, where a `Field` declares ``least`` or ``most``, of values
    beyond; texts that were never seen, or are none of a `Field`'s ``values``; numbers that vary no
    more; dead letters by reason and field; late and future events; the rate of events, by the hour
    of the week; clocks that are off. ``bucket`` is a span of event time, ``reference`` how long it
    takes to know what is usual, ``weight`` the monitor's part of the false alarms. ``producer``
    names the field of the event that says whose clock gave its time.

    >>> DataQuality(bucket="6h").bucket_ms
    21600000
    """

    bucket: str = "1h"
    reference: str = "7d"
    tolerance: float = 0.1
    weight: float = 1.0
    producer: str | None = None

    def __post_init__(self) -> None:
        if parse_duration_ms(self.bucket, "DataQuality, bucket") == 0:
            raise DefinitionError("DataQuality, bucket: a bucket of 0 holds nothing; write '1h'")
        parse_duration_ms(self.reference, "DataQuality, reference")
        if not 0 <= self.tolerance < 100:
            raise DefinitionError("DataQuality: tolerance is a part of what is usual, such as 0.1")
        if not 0 < self.weight < inf:
            raise DefinitionError("DataQuality: weight must be a number above 0, such as 1.0")
        if self.producer is not None and not (isinstance(self.producer, str) and self.producer):
            raise DefinitionError(
                "DataQuality: producer is the name of a field of the event, such as 'terminal_id'"
            )

    @property
    def bucket_ms(self) -> int:
        """How much event time a bucket spans."""
        return parse_duration_ms(self.bucket, "DataQuality, bucket")

    @property
    def span(self) -> Span:
        """How much the first reference holds."""
        return Span(parse_duration_ms(self.reference, "DataQuality, reference"))


class Checked(Protocol):
    """What is known of a pipeline here; `streamproc.Pipeline` is one."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of all features."""

    @property
    def number_fields(self) -> tuple[str, ...]:
        """Those that are numbers of the event: a sensor may get stuck."""

    @property
    def ranges(self) -> Mapping[str, tuple[float | None, float | None]]:
        """The least and the most of those that declare them."""

    @property
    def categories(self) -> Mapping[str, tuple[str, ...] | None]:
        """Those that are texts of the event, with the values of those that declare them."""


Row = Any
"""A count, ``[n]``; of a number ``[n, value, whether there are others]``; of a text its values.

Delays are a list of two; see `streamproc.monitors.clocks`."""


def quality_series(pipeline: Checked) -> int:
    """Return over how many series the false alarms of data quality are shared out."""
    numbers = len(pipeline.number_fields)
    of_fields = numbers + len(pipeline.ranges) + len(pipeline.categories)
    return 3 + len(pipeline.feature_names) + of_fields + REASONS


def out_of(name: str, count: float, events: float, refused: float) -> float:
    """Return of how many a series' count is a share: it is one of them always.

    What is refused is none of a bucket's events, and nor is what is late: both are counted when
    they came, a backlog all at once. So are outcomes that the learner refuses; those are of events
    of any time, and where there are more of them than events, all there could be.

    >>> out_of("null/amount", 3, 100, 5), out_of("dead/not_json", 3, 100, 5)
    (100, 105)
    >>> out_of("late", 5_000, 300, 0)
    5300
    """
    if name == LATE:
        return events + count
    if name.startswith(LEARN):
        return max(events, count)
    return events + refused if name.startswith(DEAD) else events
