"""The parts of an explanation, as plain data; `streamproc.cli.evidence` draws them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from streamproc.messages import Alert, ModelVersion
from streamproc.monitors.comparing import Bar

EXAMPLES = 5
MOST_ROWS = 10
"""Rows of a table."""

Cell = float | str | None


@dataclass(frozen=True)
class Point:
    """A value in the bucket that begins then; a mean or a share is of ``n`` events.

    ``beside`` is what it is held against at that time: what is usual, a limit, a baseline.
    """

    start_ms: int
    value: float
    n: float = 0.0
    beside: float | None = None


@dataclass(frozen=True)
class Table:
    """Rows under ``head``; the first column is of names, None is not known."""

    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


class Example(NamedTuple):
    """One event: what the model was given and said, and what was observed where that is known."""

    id: str
    model: str
    score: Any
    values: Mapping[str, Any]
    observed: float | None = None


@dataclass
class Explanation:
    """What is known of an alert.

    ``points`` are ``unit`` over time; of "evidence" 0 is none and 1 what it takes to alarm.
    ``beside`` says in words what a point's `Point.beside` is. ``bars`` compare counts before the
    alert's first time and since, up to its end, ``tables`` other numbers; ``notes`` say what there
    is not, and why. The log still has what is from ``known_from_ms`` on.
    """

    alert: Alert
    unit: str = "evidence"
    beside: str = ""
    points: list[Point] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    models_then: list[str] = field(default_factory=list)
    models_now: list[str] = field(default_factory=list)
    others: list[Alert] = field(default_factory=list)
    versions: list[ModelVersion] = field(default_factory=list)
    bucket_ms: int = 0
    known_from_ms: int | None = None

    @property
    def first_ms(self) -> int:
        """When what the alert is about began."""
        return self.alert["first_seen_ms"]

    @property
    def until_ms(self) -> int | None:
        """When it ended, where it has."""
        return self.alert.get("ended_ms")

    def usual_then(self, points: list[Point]) -> None:
        """Plot points beside their mean before the alert's first time, weighted by ``n``."""
        then = [point for point in points if point.start_ms < self.first_ms]
        n = sum(point.n for point in then)
        usual = sum(point.value * point.n for point in then) / n if n else None
        self.points = [Point(each.start_ms, each.value, each.n, usual) for each in points]
        self.beside = "usual before" if usual is not None else ""


def slice_words(slice_: Mapping[str, str] | None) -> str:
    """Return a slice as it is said in a table.

    >>> slice_words({"country": "NL", "channel": "web"}), slice_words(None)
    ('country=NL, channel=web', 'overall')
    """
    return ", ".join(f"{name}={value}" for name, value in (slice_ or {}).items()) or "overall"
