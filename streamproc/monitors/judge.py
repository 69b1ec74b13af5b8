"""The judge: adds up the sums of all partitions, tests each bucket once, in order of time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, Protocol

from streamproc.messages import Alert, PerformanceReport
from streamproc.monitors.budget import shares
from streamproc.monitors.drift import DriftMonitor
from streamproc.monitors.finding import Finding
from streamproc.monitors.health import HealthWatch
from streamproc.monitors.health_spec import REPORTS, Health
from streamproc.monitors.outcomejudge import outcome_monitor
from streamproc.monitors.outcomespec import outcome_plan
from streamproc.monitors.performance import PerformanceMonitor
from streamproc.monitors.performance_fold import GUESSED, guess_number
from streamproc.monitors.quality import QualityMonitor
from streamproc.monitors.quality_spec import DataQuality
from streamproc.monitors.reactions import ReactionMonitor, reactions_plan
from streamproc.monitors.sealing import Sealed, Sealer
from streamproc.monitors.spec import Watched, drift_plan, performance_plan
from streamproc.monitors.versions import Versions

OPERATION = "operation"
"""The stage of a record that says what a person asked for."""

HEALTH = "health"
"""The stage of findings about workers and the learner, whose time is the log's."""


class Monitor(Protocol):
    """What tests the sealed buckets of one monitor."""

    def combined(self, parts: Sequence[Any]) -> Any:
        """Return one row for several of one series and bucket, whatever their order."""

    def update(self, start_ms: int, rows: dict[str, Any]) -> list[Finding]:
        """Take in a sealed bucket's rows by series; return what there is to say."""

    def relearn(self, key: str) -> bool:
        """Learn anew what is usual for what a finding's key is about; return whether it is here."""


class Book(Protocol):
    """What keeps the alerts; `streamproc.alerts.AlertBook` is it."""

    def apply(
        self, findings: Iterable[Finding], now_ms: int, passed_ms: Mapping[str, int] | None = None
    ) -> list[Alert]:
        """Return the alerts that findings give rise to; ``passed_ms`` is how far each stage is."""

    def command(self, said: Mapping[str, Any], now_ms: int) -> tuple[list[Alert], list[str]]:
        """Do what a person asks; return the alerts, and the keys of what to learn anew."""

    def take_relearn(self) -> list[str]:
        """Return the keys of what to learn anew since this was last asked."""

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
        tested = {i: m for i, m in enumerate(pipeline.monitors) if not isinstance(m, Health)}
        share = shares({i: monitor.weight for i, monitor in tested.items()})
        alarm_ms = {number: pipeline.budget.alarm_ms(part) for number, part in share.items()}
        self._drift = {
            number: DriftMonitor(monitor, series, pipeline, alarm_ms[number])
            for number, monitor, series in drift_plan(pipeline)
        }
        self._bias = {
            number: outcome_monitor(monitor, pipeline, alarm_ms[number])
            for number, monitor in outcome_plan(pipeline)
        }
        self._performance = {
            number: PerformanceMonitor(monitor, pipeline.kind, alarm_ms[number])
            for number, monitor in performance_plan(pipeline)
        }
        self._guesses = {
            guess_number(number): PerformanceMonitor(
                monitor, pipeline.kind, alarm_ms[number], "predictions"
            )
            for number, monitor in performance_plan(pipeline)
            if pipeline.kind in GUESSED
        }
        quality = {
            number: QualityMonitor(monitor, pipeline, alarm_ms[number])
            for number, monitor in tested.items()
            if isinstance(monitor, DataQuality)
        }
        reactions = {
            number: ReactionMonitor(monitor, alarm_ms[number])
            for number, monitor in reactions_plan(pipeline)
        }
        of_predictions: Mapping[int, Monitor] = {
            **self._drift,
            **self._guesses,
            **quality,
            **reactions,
        }
        of_outcomes: Mapping[int, Monitor] = {**self._bias, **self._performance}
        self._monitors: dict[int, Monitor] = {**of_predictions, **of_outcomes}
        self._of_outcomes = frozenset(of_outcomes)
        self._versions = {"drift": Versions(), "bias": Versions()}
        wanted = (("drift", of_predictions), ("bias", of_outcomes))
        lengths_ms = {number: monitor.bucket_ms for number, monitor in tested.items()}
        lengths_ms |= {number: lengths_ms[guess_number(number)] for number in self._guesses}
        self._lengths_ms = lengths_ms
        self.sealer = Sealer(
            [name for name, any_ in wanted if any_],
            lengths_ms,
            partitions,
            pipeline.lateness_ms,
        )
        health = next((m for m in pipeline.monitors if isinstance(m, Health)), None)
        self._health = HealthWatch(health) if health else None

    @property
    def late(self) -> int:
        """How many sums came after their bucket was sealed, and were left out."""
        return self.sealer.late

    @property
    def overflowed(self) -> int:
        """How often a slice was left out because there were too many."""
        of_features = sum(monitor.overflowed for monitor in self._drift.values())
        of_slices = sum(monitor.overflowed for monitor in self._bias.values())
        return of_features + of_slices + sum(each.overflowed for each in self._performance.values())

    def take_reports(self) -> list[PerformanceReport]:
        """Return the reports of performance since they were last taken, in order of time."""
        monitors = (*self._performance.values(), *self._guesses.values())
        reports = [report for monitor in monitors for report in monitor.take()]
        return sorted(reports, key=lambda report: report["to_ms"])

    def latest_reports(self) -> list[PerformanceReport]:
        """Return the newest report of each slice, those of predictions behind those of outcomes."""
        monitors = (*self._performance.values(), *self._guesses.values())
        return [report for monitor in monitors for report in list(monitor.latest.values())]

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
            if record["stage"] in REPORTS and self._health is not None:
                found = self._health.update(record)
                findings += [replace(each, at_ms=now_ms, stage=HEALTH) for each in found]
            sealed = self.sealer.take(record, self._combined)
            for end_ms, some in groupby(sealed, key=self._end_ms):
                findings += self._test(end_ms, list(some))
            passed_ms = {**self.sealer.sealed_ms, HEALTH: now_ms}
            alerts += self._book.apply(findings, now_ms, passed_ms)
            self._relearn(self._book.take_relearn())
        return alerts

    def _end_ms(self, sealed: Sealed) -> int:
        number, start_ms, _ = sealed
        return start_ms + int(self._lengths_ms[number])

    def _test(self, end_ms: int, sealed: list[Sealed]) -> list[Finding]:
        """Test the buckets of one stage that end at a time."""
        stage = "bias" if sealed[0][0] in self._of_outcomes else "drift"
        versions = self._versions[stage]
        for _, start_ms, rows in sealed:
            versions.note(start_ms, rows)
        return [
            replace(
                found,
                at_ms=end_ms,
                bucket_ms=self._lengths_ms[number],
                stage=stage,
                models=versions.since(found.first_seen_ms),
            )
            for number, start_ms, rows in sealed
            for found in self._monitors[number].update(start_ms, rows)
        ]

    def operation(self, operation: Mapping[str, Any], time_ms: int) -> list[Alert]:
        """Take in what a person asks for; return what alerts it gives."""
        alerts, keys = self._book.command(operation, time_ms)
        self._relearn(keys)
        return alerts

    def _relearn(self, keys: Iterable[str]) -> None:
        for key in keys:
            for monitor in self._monitors.values():
                monitor.relearn(key)
            if self._health is not None:
                self._health.relearn(key)

    def _combined(self, number: int, parts: Sequence[Any]) -> Any:
        return self._monitors[number].combined(parts)
