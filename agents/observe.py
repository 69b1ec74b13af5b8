"""Brings the gauges up to date when Prometheus asks."""

from __future__ import annotations

import time
from dataclasses import dataclass

from agents.alerts import AlertStage
from agents.metrics import Metrics
from agents.runner import Runner
from agents.score import ScoreStage
from streamproc.tasks.score import ScoreTask


@dataclass
class Observer:
    """Looks at the tasks of a worker; it only reads, as other threads call it."""

    runner: Runner
    score: ScoreStage
    judge: AlertStage | None
    metrics: Metrics
    version: int = 0
    published_at_ms: int | None = None

    def refresh(self) -> None:
        """Set every gauge to what is so now."""
        metrics, tasks = self.metrics, list(self.runner.tasks.values())
        scoring = [task for task in tasks if isinstance(task, ScoreTask)]
        metrics.queued.set(self.runner.queued)
        metrics.window_entries.set(sum(task.features.window_entries for task in scoring))
        metrics.pending_labels.set(sum(task.pending.waiting for task in scoring))
        metrics.held_labels.set(sum(task.pending.held for task in scoring))
        metrics.unlabelled.set(sum(task.pending.unlabelled for task in scoring))
        metrics.late_events.set(sum(task.late for task in scoring))
        metrics.expired_waits.set(sum(task.merge.expired_waits for task in scoring))
        for topic, rows in self.score.tables.by_topic.items():
            metrics.lookup_rows.labels(topic).set(len(rows))
            metrics.lookup_bytes.labels(topic).set(rows.size_bytes)
        metrics.model_version.set(self.version)
        keepers = list(self.runner.keepers.values())
        if keepers:
            oldest_s = min(keeper.written_s for keeper in keepers)
            metrics.snapshot_age.set(time.monotonic() - oldest_s)
        if self.published_at_ms is not None:
            stale_ms = self.runner.clock_ms() - self.published_at_ms
            metrics.model_staleness.set(stale_ms / 1000)
        self._refresh_hashed(scoring)
        self._refresh_alerts()
        self._refresh_lag()

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
        task = self.judge.task if self.judge else None
        for alert in task.judge.open_alerts() if task else ():
            open_by_kind[alert["kind"]] = open_by_kind.get(alert["kind"], 0) + 1
        self.metrics.alerts_open.clear()
        for kind, count in open_by_kind.items():
            self.metrics.alerts_open.labels(kind).set(count)

    def _refresh_lag(self) -> None:
        self.metrics.lag.clear()  # a partition that went to another worker is told of there
        for (_, partition), task in list(self.runner.tasks.items()):
            for topic, position in task.positions().items():
                end = self.runner.end_of(topic, partition)
                if end is not None:
                    lag = self.metrics.lag.labels(topic, str(partition))
                    lag.set(max(0, end - position))
