"""Data quality: what share of events is missing, refused, late or stuck, over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamproc.explaining.explanation import MOST_ROWS, Example, Explanation, Point, Table
from streamproc.explaining.log import BucketReader, Buckets, Parts
from streamproc.messages import Alert
from streamproc.monitors import clocks
from streamproc.monitors.fold import LONGEST
from streamproc.monitors.quality import RATE, REFUSED, STUCK, QualityMonitor
from streamproc.monitors.quality_spec import (
    CLOCK,
    DEAD,
    DELAYS,
    EVENTS,
    ONE,
    VALUES,
    DataQuality,
    Row,
    out_of,
)
from streamproc.monitors.quality_words import words_of
from streamproc.monitors.season import WEEK_MS
from streamproc.monitors.spec import Watched, drift_plan
from streamproc.monitors.unseen import MOST_VALUES

_ELSEWHERE = {
    "late events": "no examples: late events are on a topic of their own; `streamproc watch late`",
    "dead letters": "no examples: see the dead letters by `streamproc watch dead-letters`",
    RATE: "no examples: it is about how many events there are",
    "event times ahead": "no examples: samples of events have no times",
    CLOCK: "no examples: samples of events have no times",
}


_ALIKE = {"never there": "missing", "never varied": "stuck"}
"""What is counted as another subject is."""


class QualityReader(BucketReader):
    """The counts of an alert's subject by bucket, as shares of the events."""

    def __init__(self, pipeline: Watched, alert: Alert) -> None:
        self._subject = _counted(alert["subject"])
        self._slice = alert["slice"] or {}
        self._first_ms = alert["first_seen_ms"]
        self._ranges = pipeline.ranges
        self._declared = pipeline.categories
        self._sampled = {
            name for _, _, series in drift_plan(pipeline) for name in series.numbers + series.texts
        }
        self._points: list[Point] = []
        self._counts: list[dict[str, float]] = [{}, {}]
        self._buckets = [0, 0]
        self._by_start: dict[int, float] = {}
        self._seen: dict[str, dict[str, int]] = {}
        self._wait_ms = 0
        for number, monitor in enumerate(pipeline.monitors):
            if isinstance(monitor, DataQuality):
                self._log = Buckets("drift", number, monitor.bucket_ms, lambda name, at: True)
                self._monitor = QualityMonitor(monitor, pipeline, float(1 << 62))
                self._wait_ms = monitor.span.least_ms // 2

    def _tell(self, found: Explanation, log: Buckets) -> None:
        found.bucket_ms, found.known_from_ms = log.bucket_ms, log.first_ms
        if self._subject == RATE:
            found.unit, found.beside = "events by bucket", "a week before"
            found.points = [
                Point(each.start_ms, each.value, beside=self._by_start.get(each.start_ms - WEEK_MS))
                for each in self._points
            ]
        elif self._subject == CLOCK and self._slice:
            found.unit, found.beside = "least delay, minutes", "of all"
            found.points = self._points
        elif self._subject == CLOCK:
            found.unit = "least delay, minutes"
            found.usual_then(self._points)
        else:
            stuck = self._subject.endswith(STUCK)
            found.unit = "buckets with one value" if stuck else "share of events"
            found.usual_then(self._points)
        found.tables.append(self._table())
        found.notes.append("no slices: quality is counted over all events")
        for start, note in _ELSEWHERE.items():
            if self._subject.startswith(start):
                found.notes.append(note)
        name, comma, _ = self._subject.rpartition(", ")
        if comma and not name.startswith(REFUSED) and name not in self._sampled:
            found.notes.append(f"no examples: no Drift monitor samples {name}")

    def _add(self, start_ms: int, parts: Parts) -> None:
        rows = {name: self._monitor.combined(some) for name, some in parts.items()}
        side = int(start_ms >= self._first_ms)
        self._buckets[side] += 1
        counts: dict[str, float] = {}
        for name, row in rows.items():
            if isinstance(row, dict):
                counts[name] = self._unseen(name, start_ms, row)
            elif len(row) == 1:
                counts[name] = float(row[0])
        for name, n in counts.items():
            self._counts[side][name] = self._counts[side].get(name, 0.0) + n
        events = counts.get(EVENTS, 0.0)
        refused = sum(n for name, n in counts.items() if name.startswith(DEAD))
        total = events + refused
        self._by_start[start_ms] = total
        if self._subject == RATE:
            self._points.append(Point(start_ms, total))
        elif self._subject == CLOCK:
            self._add_delay(start_ms, rows.get(DELAYS, [{}, {}]))
        elif self._subject == REFUSED:
            if total:
                self._points.append(Point(start_ms, refused / total, total))
        elif self._subject.endswith(STUCK):
            row = rows.get(ONE + self._subject.removesuffix(STUCK))
            if row and row[0]:
                self._points.append(Point(start_ms, float(not row[2]), 1.0))
        else:
            names = [name for name in counts if self._is_it(name)]
            count = sum(counts[name] for name in names)
            name = names[0] if names else EVENTS
            of = out_of(name, count, events, refused)
            if of:
                self._points.append(Point(start_ms, count / of, of))

    def _add_delay(self, start_ms: int, row: Row) -> None:
        """Add the least delay of a producer, beside that of all; or that of all."""
        rest, known = row
        of_all = clocks.Seen.of(clocks.summed((rest, *known.values())), least=1)
        its = of_all
        for name in self._slice.values():
            its = clocks.Seen.of(known.get(name, {}), least=1)
        if its is not None and of_all is not None:
            self._points.append(Point(start_ms, float(its.low), its.n, float(of_all.low)))

    def _unseen(self, name: str, start_ms: int, counts: dict[str, int]) -> float:
        """Return how many events have a value that was not usual; none before the alert's first."""
        seen = self._seen.setdefault(name, {})
        for value in counts:
            if len(seen) <= MOST_VALUES:
                seen.setdefault(value, start_ms)
        if start_ms < self._first_ms:
            return 0.0
        return float(sum(n for value, n in counts.items() if self._is_new(name, value)))

    def _is_new(self, name: str, value: str) -> bool:
        """Whether a value was not known when the alert began, as the judge takes it.

        Where the log does not go back so far, what was there before the alert was known.
        """
        known_ms = self._first_ms - self._wait_ms
        if self._log is None or self._log.first_ms is None or self._log.first_ms > known_ms:
            known_ms = self._first_ms - 1
        seen_ms = self._seen.get(name, {}).get(value)
        return seen_ms is None or seen_ms > known_ms

    def example(self, example: Example) -> float | None:
        """Return 1 for an event that the finding counts, else None; once the log is read."""
        name, _, what = self._subject.rpartition(", ")
        if name not in example.values:
            return None
        value = example.values[name]
        counted = {
            "missing": value is None,
            "out of range": self._is_beyond(name, value),
            "stuck": value is not None,
            "unseen category": self._is_unseen(name, value),
        }
        return 1.0 if counted.get(what) else None

    def _is_beyond(self, name: str, value: Any) -> bool:
        least, most = self._ranges.get(name, (None, None))
        if not isinstance(value, int | float):
            return False
        return (least is not None and value < least) or (most is not None and value > most)

    def _is_unseen(self, name: str, value: Any) -> bool:
        if not isinstance(value, str):
            return False
        declared = self._declared.get(name)
        if declared is not None:
            return value not in {each[:LONGEST] for each in declared}
        return self._is_new(VALUES + name, value)

    def _is_it(self, name: str) -> bool:
        return name != EVENTS and words_of(name, self._ranges)[0] == self._subject

    def _table(self) -> Table:
        """Return all that is counted, by bucket, before and since; the subject first."""
        names = sorted({*self._counts[0], *self._counts[1]} - {EVENTS})
        rows: list[tuple[str, float, float]] = []
        for name in names:
            n = [_share(name, of) for of in self._counts]
            rows.append((words_of(name, self._ranges)[0], n[0], n[1]))
        rows.sort(key=lambda row: (row[0] != self._subject, -abs(row[2] - row[1])))
        means = [
            of.get(EVENTS, 0.0) / max(n, 1)
            for of, n in zip(self._counts, self._buckets, strict=True)
        ]
        told = (("events by bucket", means[0], means[1]), *rows[: MOST_ROWS - 1])
        return Table(("share of events", "before", "since"), told)


def _share(name: str, counts: Mapping[str, float]) -> float:
    refused = sum(n for each, n in counts.items() if each.startswith(DEAD))
    count = counts.get(name, 0.0)
    return count / max(out_of(name, count, counts.get(EVENTS, 0.0), refused), 1.0)


def _counted(subject: str) -> str:
    """Return under which subject it is counted.

    >>> _counted("amount, never there"), _counted("late events")
    ('amount, missing', 'late events')
    """
    name, comma, what = subject.rpartition(", ")
    return name + comma + _ALIKE.get(what, what)
