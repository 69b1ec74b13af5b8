"""Brings the gauges up to date when Prometheus asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from prometheus_client import Counter

from agents.alerts import AlertStage
from agents.metrics import Metrics
from agents.runner import Runner
from agents.score import ScoreStage
from streamproc.monitors.judge import Judge
from streamproc.notify.sink import one_line, slice_text
from streamproc.tasks.learn import LearnTask
from streamproc.tasks.rekeyed import RekeyedTask
from streamproc.tasks.score import ScoreTask

Watched = ScoreTask | RekeyedTask
"""The tasks that hold windows."""


OF_SLICES = ("accuracy", "precision", "recall", "roc_auc", "log_loss", "mae", "r2")
"""The metrics told of slices, which may be many: all others are on the topic."""


class Growth:
    """Counts for a worker what each of its tasks counts from its own beginning.

    What a task counts after the last look at it is left out, where it goes elsewhere.
    """

    def __init__(self, counter: Counter, count: Callable[[Watched], int]) -> None:
        self._counter, self._count = counter, count
        self._seen: WeakKeyDictionary[Watched, int] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def look(self, tasks: Iterable[Watched]) -> None:
        """Add what was counted since the last look; two that ask at once add nothing twice."""
        with self._lock:
            for task in tasks:
                now = self._count(task)
                self._counter.inc(now - self._seen.get(task, 0))
                self._seen[task] = now


@dataclass
class Observer:
    """Looks at the tasks of a worker; it only reads, as other threads call it."""

    runner: Runner
    score: ScoreStage
    judge: AlertStage | None
    metrics: Metrics
    version: int = 0
    published_at_ms: int | None = None

    def __post_init__(self) -> None:
        metrics = self.metrics
        self._growths = (
            Growth(metrics.expired_entities, lambda task: task.expired_entities),
            Growth(metrics.overtaken_labels, lambda task: task.overtaken_labels),
        )

    def refresh(self) -> None:
        """Set every gauge to what is so now."""
        metrics, tasks = self.metrics, list(self.runner.tasks.values())
        scoring = [task for task in tasks if isinstance(task, ScoreTask)]
        rekeyed = [task for task in tasks if isinstance(task, RekeyedTask)]
        metrics.queued.set(self.runner.queued)
        windows = [window for task in scoring for window in task.features.windows]
        windows += [window for task in rekeyed for window in task.state.windows]
        metrics.window_entries.set(sum(map(len, windows)))
        metrics.rekeyed_waiting.set(sum(task.sources.waiting for task in rekeyed))
        metrics.overtaken.set(sum(task.sources.overtaken for task in rekeyed))
        metrics.pending_labels.set(sum(task.pending.waiting for task in scoring))
        metrics.held_labels.set(sum(task.pending.held for task in scoring))
        metrics.unlabelled.set(sum(task.pending.unlabelled for task in scoring))
        metrics.late_events.set(sum(task.late for task in scoring))
        metrics.expired_waits.set(
            sum(task.expired_waits for task in scoring)
            + sum(task.sources.expired_waits for task in rekeyed)
        )
        self._refresh_lookups()
        for growth in self._growths:
            growth.look([*scoring, *rekeyed])
        metrics.model_version.set(self.version)
        learning = [task for task in tasks if isinstance(task, LearnTask)]
        metrics.models_held_back.set(sum(task.held_back for task in learning))
        # The judge's are far apart: its sums are soon read again.
        keepers = [(stage, each) for (stage, _), each in list(self.runner.keepers.items())]
        written_s = [each.written_s for stage, each in keepers if stage != AlertStage.name]
        if written_s:
            oldest_s = min(written_s)
            metrics.snapshot_age.set(time.monotonic() - oldest_s)
        if self.published_at_ms is not None:
            stale_ms = self.runner.clock_ms() - self.published_at_ms
            metrics.model_staleness.set(stale_ms / 1000)
        self._refresh_hashed(scoring)
        self._refresh_alerts()
        self._refresh_performance()
        self._refresh_lag()

    def _refresh_lookups(self) -> None:
        for topic, rows in self.score.tables.by_topic.items():
            self.metrics.lookup_rows.labels(topic).set(len(rows))
            self.metrics.lookup_bytes.labels(topic).set(rows.size_bytes)

    def _refresh_hashed(self, scoring: list[ScoreTask]) -> None:
        """Tell of each hash what the partition with the most categories says."""
        fullest: dict[str, tuple[int, int]] = {}
        for task in scoring:
            for name, told in task.features.hashing.items():
                fullest[name] = max(fullest.get(name, (0, 0)), (told.values, told.sharing))
        self.metrics.hashed.clear()
        for name, (values, sharing) in fullest.items():
            self.metrics.hashed.labels(name, "no").set(values - sharing)
            self.metrics.hashed.labels(name, "yes").set(sharing)

    def _refresh_alerts(self) -> None:
        open_by_kind: dict[str, int] = {}
        metrics, judge = self.metrics, self._judge()
        metrics.alert_open.clear()
        for alert in judge.open_alerts() if judge else ():
            open_by_kind[alert["kind"]] = open_by_kind.get(alert["kind"], 0) + 1
            about = (alert["kind"], one_line(alert["subject"]), slice_text(alert))
            metrics.alert_open.labels(*about, alert["severity"], alert["alert_id"]).set(1)
        self.metrics.alerts_open.clear()
        for kind, count in open_by_kind.items():
            self.metrics.alerts_open.labels(kind).set(count)

    def _judge(self) -> Judge | None:
        """Return the judge while it is here."""
        task = self.judge.task if self.judge else None
        here = any(each is task for each in list(self.runner.tasks.values()))
        return task.judge if task and here else None

    def _refresh_performance(self) -> None:
        """Tell the newest reports; a metric that isn't defined is left out."""
        judge = self._judge()
        self.metrics.performance.clear()
        for report in judge.latest_reports() if judge else ():
            slice_ = slice_text(report)
            for what, found in report["metrics"].items():
                if slice_ and what != "model":
                    continue
                for metric, value in found.items():
                    if value is not None and (not slice_ or metric in OF_SLICES):
                        gauge = self.metrics.performance.labels(
                            metric, what, report["about"], slice_
                        )
                        gauge.set(value)

    def _refresh_lag(self) -> None:
        self.metrics.lag.clear()  # a partition that went to another worker is told of there
        for (_, partition), task in list(self.runner.tasks.items()):
            for topic, position in task.positions().items():
                end = self.runner.end_of(topic, partition)
                if end is not None:
                    lag = self.metrics.lag.labels(topic, str(partition))
                    lag.set(max(0, end - position))
