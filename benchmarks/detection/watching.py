"""A stream through a pipeline, as a backtest runs it, and the alerts that came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import orjson

from streamproc.eventtime import format_time
from streamproc.messages import Alert
from streamproc.pipeline import Pipeline
from streamproc.replay import AT_ONCE, Replay
from streamproc.tasks.records import Output
from streamproc.timeline import Entry


class Told(NamedTuple):
    """A step in an alert's life, and the newest record when it was told: its time and number."""

    at_ms: int
    entry: int
    alert: Alert


class Life(NamedTuple):
    """One alert from its opening to its end, in steps."""

    steps: list[Told]

    @property
    def opened(self) -> Told:
        """When it was opened."""
        return self.steps[0]

    @property
    def resolved(self) -> Told | None:
        """When it was resolved; None while it is open."""
        last = self.steps[-1]
        return last if last.alert["status"] == "resolved" else None

    @property
    def alert(self) -> Alert:
        """What was told last while it was open."""
        return [step.alert for step in self.steps if step.alert["status"] != "resolved"][-1]

    @property
    def explained_by(self) -> str | None:
        """The alert that it was closed in favour of, its cause being found."""
        return self.steps[-1].alert.get("explained_by")

    def line(self) -> str:
        """Return it for people."""
        until = "still open" if self.resolved is None else f"resolved {day(self.resolved.at_ms)}"
        return f"{day(self.opened.at_ms)}, {until}: {self.alert['key']}: {self.alert['summary']}"


def told(
    pipeline: Pipeline,
    entries: Iterable[Entry],
    at_once: int = AT_ONCE,
    outcomes: Callable[[dict[str, Any]], None] | None = None,
) -> list[Told]:
    """Run a stream through a pipeline; return each step of each alert.

    ``outcomes`` is called with each outcome, in the order in which they become known.
    """
    found = list[Told]()
    at_ms = count = 0

    def take(output: Output) -> None:
        for out in output.records.get("alerts", ()):
            found.append(Told(at_ms, count, orjson.loads(out["value"] or b"{}")))
        if outcomes is not None:
            for out in output.records.get("outcomes", ()):
                outcomes(orjson.loads(out["value"] or b"{}"))

    def counted() -> Iterator[Entry]:
        nonlocal at_ms, count
        for entry in entries:
            at_ms = max(at_ms, entry.time_ms)
            count += 1
            yield entry

    Replay(pipeline, time.time_ns() // 1_000_000, take, at_once=at_once).run(counted())
    return found


def lives(steps: Iterable[Told]) -> list[Life]:
    """Return the alerts in the order in which they were opened."""
    found = dict[str, Life]()
    for step in steps:
        found.setdefault(step.alert["alert_id"], Life([])).steps.append(step)
    return list(found.values())


def day(time_ms: int) -> str:
    """Return a time for tables, to the hour.

    >>> day(1530403231000)
    '2018-07-01 00h'
    """
    return f"{format_time(time_ms)[:13].replace('T', ' ')}h"
