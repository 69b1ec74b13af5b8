"""How a backtest's file ran its course: what could not be learnt or found in it, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from streamproc.cli.false_alarms import in_words
from streamproc.monitors import Health, Performance
from streamproc.monitors.growing import Span
from streamproc.monitors.season import DAY_MS
from streamproc.pipeline import Pipeline
from streamproc.timeline import Entry

NEARLY_ALL = 0.9
"""The part of all events from which their being scored by what had learnt nothing is told."""


@dataclass
class Course:
    """From when to when a file goes, in event time, and how many events came before any label."""

    first_ms: float = inf
    last_ms: float = -inf
    events: int = 0
    before_labels: int = 0
    _labels: bool = False

    def take(self, entries: Iterable[Entry]) -> None:
        """Take in what is fed to the replay.

        >>> course = Course()
        >>> course.take([Entry("event", at, b"", b"") for at in (5, 3)])
        >>> course.take([Entry("label", 9, b"", b""), Entry("event", 8, b"", b"")])
        >>> course
        Course(first_ms=3, last_ms=8, events=3, before_labels=2, _labels=True)
        """
        for entry in entries:
            if entry.kind == "event":
                self.first_ms = min(self.first_ms, entry.time_ms)
                self.last_ms = max(self.last_ms, entry.time_ms)
                self.events += 1
                self.before_labels += not self._labels
            elif entry.kind == "label":
                self._labels = True

    def of_learning(self, pipeline: Pipeline, outcomes: int, unlearnt: int) -> str | None:
        """Say why next to nothing had been learnt; None where it was not so, or for what failed.

        ``unlearnt`` is how many of the outcomes were scored by what had learnt nothing.
        """
        if not (pipeline.learns and outcomes) or unlearnt < NEARLY_ALL * outcomes:
            return None
        before = self.before_labels / self.events
        if pipeline.labels is not None and before >= NEARLY_ALL:
            part = "all" if before == 1 else f"{int(100 * before)}% of the"
            return (
                f"Labels came after {part} events were scored, by a model that had learnt "
                "nothing: take a longer file, or labels that come sooner (--label-delay)."
            )
        if pipeline.publish_every < NEARLY_ALL * outcomes:
            return None
        return (
            f"{100 * unlearnt // outcomes}% of the outcomes were scored by a model that had learnt "
            f"nothing: it takes {pipeline.publish_every:,} outcomes to publish a version "
            "(publish_every)."
        )

    def of_finding(self, pipeline: Pipeline) -> str | None:
        """Say why no change could be found; None where one could."""
        spans = [
            getattr(monitor, "span", Span()).least_ms
            for monitor in pipeline.monitors
            if not isinstance(monitor, Health | Performance)
        ]
        span_ms = self.last_ms - self.first_ms
        if not spans or span_ms >= min(spans):
            return None
        return (
            f"No change could be found: the file spans {in_words(max(span_ms, 0) / DAY_MS)}, and "
            f"what is usual is learnt in the first {in_words(min(spans) / DAY_MS)}."
        )
