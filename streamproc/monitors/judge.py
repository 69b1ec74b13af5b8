"""The judge: adds up the sums of all partitions, tests each bucket once, in order of time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol

from streamproc.messages import Alert
from streamproc.monitors.budget import shares
from streamproc.monitors.drift import DriftMonitor
from streamproc.monitors.finding import Finding
from streamproc.monitors.fold import NEVER
from streamproc.monitors.health import Health, HealthWatch
from streamproc.monitors.quality import DataQuality, QualityMonitor
from streamproc.monitors.reactions import ReactionMonitor, reactions_plan
from streamproc.monitors.slices import BiasMonitor
from streamproc.monitors.spec import PredictionBias, Watched, bias_plan, drift_plan
from streamproc.monitors.sums import Row, add_rows, rounded

IDLE_MS = 200
"""How long without news a partition that said it had caught up is waited for."""

WAIT_MS = 10_000
"""How long any other partition is."""

PARTS = 16
"""How many parts of a row are kept before they are made one."""


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

    def open_alerts(self) -> list[Alert]:
        """Return the open alerts."""


@dataclass
class _Source:
    """What is known of one partition of a stage."""

    watermark_ms: int = NEVER
    caught_up: bool = False
    news_ms: int | None = None


@dataclass
class _Stage:
    """One stage's partitions, and its buckets that are not sealed yet."""

    sources: list[_Source]
    buckets: dict[tuple[int, int], dict[str, list[Any]]] = field(default_factory=dict)
    sealed_ms: int = NEVER


class Judge:
    """Judges the sums that the folds of all partitions send.

    A bucket is sealed when every partition's watermark is past its end by the lateness. A partition
    that said it had caught up and was silent for `IDLE_MS`, or any silent for `WAIT_MS`, is not
    waited for. Sums that come after that are counted in ``late`` and left out.

    Sealed buckets are tested in order of time on exact sums, so that the findings are the same on
    any number of partitions. The state is plain data, bounded by the number of series.
    """

    def __init__(self, pipeline: Watched, partitions: int, book: Book) -> None:
        self.late = 0
        self._book = book
        self._lateness_ms = pipeline.lateness_ms
        tested = {i: m for i, m in enumerate(pipeline.monitors) if not isinstance(m, Health)}
        self._lengths_ms = {i: monitor.bucket_ms for i, monitor in tested.items()}
        share = shares({i: monitor.weight for i, monitor in tested.items()})
        alarm_ms = {number: pipeline.budget.alarm_ms(part) for number, part in share.items()}
        self._drift = {
            number: DriftMonitor(monitor, series, pipeline, alarm_ms[number])
            for number, monitor, series in drift_plan(pipeline)
        }
        self._bias = {
            number: _BiasMonitor(monitor, pipeline.kind) for number, monitor in bias_plan(pipeline)
        }
        quality = {
            i: QualityMonitor(monitor, pipeline, alarm_ms[i])
            for i, monitor in tested.items()
            if isinstance(monitor, DataQuality)
        }
        reactions = {
            number: ReactionMonitor(monitor, alarm_ms[number])
            for number, monitor in reactions_plan(pipeline)
        }
        others: dict[int, Monitor] = {**quality, **reactions}
        self._monitors: dict[int, Monitor] = {**self._drift, **self._bias, **others}
        wanted: tuple[tuple[str, Mapping[int, Monitor]], ...] = (
            ("drift", {**self._drift, **others}),  # what folds predictions
            ("bias", self._bias),
        )
        self._stages = {
            name: _Stage([_Source() for _ in range(partitions)]) for name, any_ in wanted if any_
        }
        health = next((m for m in pipeline.monitors if isinstance(m, Health)), None)
        self._health = HealthWatch(health) if health else None
        self._started_ms: int | None = None

    @property
    def overflowed(self) -> int:
        """How often a slice was left out because there were too many."""
        return sum(monitor.slices.overflowed for monitor in self._bias.values())

    def open_alerts(self) -> list[Alert]:
        """Return the open alerts as they were last told."""
        return self._book.open_alerts()

    def update(self, records: Sequence[dict[str, Any]], now_ms: int) -> list[Alert]:
        """Take in what folds sent, in the log's order; return the alerts this gives rise to."""
        if self._started_ms is None:
            self._started_ms = now_ms
        findings: list[Finding] = []
        for record in records:
            if record["stage"] in ("health", "model"):
                findings.extend(self._health.update(record) if self._health else ())
            else:
                self._take(record, now_ms)
        for stage in self._stages.values():
            findings.extend(self._seal(stage, now_ms))
        return self._book.apply(findings, now_ms)

    def _take(self, record: dict[str, Any], now_ms: int) -> None:
        stage = self._stages.get(record["stage"])
        if stage is None or not 0 <= record["partition"] < len(stage.sources):
            return  # of a definition that was different
        source = stage.sources[record["partition"]]
        source.watermark_ms = max(source.watermark_ms, record["watermark_ms"])
        source.caught_up = record["caught_up"]
        source.news_ms = now_ms
        for bucket in record["buckets"]:
            at = (bucket["monitor"], bucket["bucket_ms"])
            length_ms = self._lengths_ms.get(at[0])
            if length_ms is None:
                continue
            if at[1] + length_ms <= stage.sealed_ms:
                self.late += 1
                continue
            known = stage.buckets.setdefault(at, {})
            for series, row in bucket["series"].items():
                parts = known.setdefault(series, [])
                parts.append(row)
                if len(parts) == PARTS:
                    parts[:] = [self._monitors[at[0]].combined(parts)]

    def _seal(self, stage: _Stage, now_ms: int) -> list[Finding]:
        until_ms = self._passed_ms(stage, now_ms) - self._lateness_ms
        if until_ms <= stage.sealed_ms:
            return []
        stage.sealed_ms = until_ms
        ends = ((start + self._lengths_ms[number], number) for number, start in stage.buckets)
        findings: list[Finding] = []
        for end_ms, number in sorted(end for end in ends if end[0] <= until_ms):
            start_ms = end_ms - self._lengths_ms[number]
            rows = stage.buckets.pop((number, start_ms))
            monitor = self._monitors[number]
            whole = {name: monitor.combined(parts) for name, parts in sorted(rows.items())}
            findings.extend(monitor.update(start_ms, whole))
        return findings

    def _passed_ms(self, stage: _Stage, now_ms: int) -> int:
        """Return the time that every partition has passed; where all are silent, the newest."""
        waited = [s.watermark_ms for s in stage.sources if not self._silent(s, now_ms)]
        return min(waited) if waited else max(source.watermark_ms for source in stage.sources)

    def _silent(self, source: _Source, now_ms: int) -> bool:
        since_ms = self._started_ms if source.news_ms is None else source.news_ms
        silent_ms = now_ms - (since_ms or 0)
        return silent_ms >= (IDLE_MS if source.caught_up else WAIT_MS)


class _BiasMonitor:
    """The bias monitor's rows are exact sums, made ready for its tests."""

    def __init__(self, monitor: PredictionBias, kind: str) -> None:
        self.slices = BiasMonitor(monitor.bucket_ms, kind)

    def combined(self, parts: Sequence[Row]) -> Row:
        """Return one row for several."""
        return add_rows(parts)

    def update(self, start_ms: int, rows: dict[str, Row]) -> list[Finding]:
        """Take in a sealed bucket."""
        told = {name: rounded(row) for name, row in rows.items()}
        spreads = {name: moments(row)[2] for name, row in rows.items()}
        return self.slices.update(start_ms, told, spreads)


def moments(row: Row) -> tuple[float, float, float]:
    """Return n, mean and variance of values from their exact count, sum and sum of squares.

    Worked out exactly and then rounded to 10 significant digits.

    >>> moments([2, 3.0, 0.0, 5.0, 0.0])
    (2, 1.5, 0.25)
    """
    n = row[0]
    mean = (Fraction(row[1]) + Fraction(row[2])) / int(n)
    variance = (Fraction(row[3]) + Fraction(row[4])) / int(n) - mean * mean
    return n, float(f"{float(mean):.10g}"), float(f"{max(float(variance), 0.0):.10g}")
