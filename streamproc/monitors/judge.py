"""The judge: adds up the sums of all partitions, tests each bucket once, in order of time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from streamproc.messages import Alert, Operation
from streamproc.monitors.budget import shares
from streamproc.monitors.drift import DriftMonitor
from streamproc.monitors.finding import Finding
from streamproc.monitors.outcomejudge import outcome_monitor
from streamproc.monitors.outcomespec import outcome_plan
from streamproc.monitors.sealing import Sealer
from streamproc.monitors.spec import Watched, drift_plan

OPERATION = "operation"
"""The stage of a record that says what a person asked for."""


class Monitor(Protocol):
    """What tests the sealed buckets of one monitor."""

    def combined(self, parts: Sequence[Any]) -> Any:
        """Return one row for several of one series and bucket, whatever their order."""

    def update(self, start_ms: int, rows: dict[str, Any]) -> list[Finding]:
        """Take in a sealed bucket's rows by series; return what there is to say."""


class Book(Protocol):
    """What keeps the alerts; `streamproc.alerts.AlertBook` is it."""

    def apply(self, findings: Iterable[Finding], now_ms: int) -> list[Alert]:
        """Return the alerts that findings give rise to."""

    def command(self, operation: Operation, time_ms: int) -> list[Alert]:
        """Return the alerts that what a person asks for gives rise to."""

    def open_alerts(self) -> list[Alert]:
        """Return the open alerts."""


class Judge:
    """Judges the sums that the folds of all partitions send.

    All it knows is what the records of one log say, in their order; see
    `streamproc.monitors.sealing`. Sealed buckets are tested in order of time on exact sums, so that
    the findings are the same on any number of partitions. The state is plain data, bounded by the
    number of series.
    """

    def __init__(self, pipeline: Watched, partitions: int, book: Book) -> None:
        self._book = book
        share = shares({i: monitor.weight for i, monitor in enumerate(pipeline.monitors)})
        alarm_ms = {number: pipeline.budget.alarm_ms(part) for number, part in share.items()}
        self._drift = {
            number: DriftMonitor(monitor, series, pipeline, alarm_ms[number])
            for number, monitor, series in drift_plan(pipeline)
        }
        self._bias = {
            number: outcome_monitor(monitor, pipeline, alarm_ms[number])
            for number, monitor in outcome_plan(pipeline)
        }
        self._monitors: dict[int, Monitor] = {**self._drift, **self._bias}
        wanted: tuple[tuple[str, Mapping[int, Monitor]], ...] = (
            ("drift", self._drift),
            ("bias", self._bias),
        )
        self.sealer = Sealer(
            [name for name, any_ in wanted if any_],
            {number: monitor.bucket_ms for number, monitor in enumerate(pipeline.monitors)},
            partitions,
            pipeline.lateness_ms,
        )

    @property
    def late(self) -> int:
        """How many sums came after their bucket was sealed, and were left out."""
        return self.sealer.late

    @property
    def overflowed(self) -> int:
        """How often a slice was left out because there were too many."""
        return sum(monitor.overflowed for monitor in self._bias.values())

    def open_alerts(self) -> list[Alert]:
        """Return the open alerts as they were last told."""
        return self._book.open_alerts()

    def update(self, records: Sequence[dict[str, Any]], now_ms: int) -> list[Alert]:
        """Take in records of the log, in its order, one by one; return what alerts they give.

        ``now_ms`` is when they were written: the time at which alerts are said to be detected.
        """
        alerts: list[Alert] = []
        for record in records:
            if record["stage"] == OPERATION:
                alerts += self.operation(record["operation"], now_ms)
                continue
            findings: list[Finding] = []
            for number, start_ms, rows in self.sealer.take(record, self._combined):
                findings.extend(self._monitors[number].update(start_ms, rows))
            alerts += self._book.apply(findings, now_ms)
        return alerts

    def operation(self, operation: Operation, time_ms: int) -> list[Alert]:
        """Take in what a person asks for; return what alerts it gives."""
        return self._book.command(operation, time_ms)

    def _combined(self, number: int, parts: Sequence[Any]) -> Any:
        return self._monitors[number].combined(parts)
