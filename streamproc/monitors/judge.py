"""The judge: adds up the sums of all partitions, tests each bucket once, in order of time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol

from streamproc.messages import Alert
from streamproc.monitors.drift import DriftTest
from streamproc.monitors.finding import Finding
from streamproc.monitors.fold import NEVER, SCORE
from streamproc.monitors.health import Health, HealthWatch
from streamproc.monitors.reference import Bucket
from streamproc.monitors.slices import BiasMonitor
from streamproc.monitors.spec import Drift, PredictionBias, Watched, bias_plan, drift_plan
from streamproc.monitors.sums import Row, add_rows, rounded

IDLE_MS = 200
"""How long without news a partition that said it had caught up is waited for."""

WAIT_MS = 10_000
"""How long any other partition is."""

SCORE_TOLERANCE = 0.25
"""A model that learns moves its scores; less than so many standard deviations is no drift."""


SCORE_DAYS = 7
"""And its reference spans a week: a model that has yet to see a weekend is not settled."""


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
    buckets: dict[tuple[int, int], dict[str, Row]] = field(default_factory=dict)
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
        self._lengths_ms = {
            i: m.bucket_ms for i, m in enumerate(pipeline.monitors) if not isinstance(m, Health)
        }
        self._drift: dict[int, _DriftMonitor] = {
            number: _DriftMonitor(monitor, watched, {f: pipeline.warmup_ms(f) for f in watched})
            for number, monitor, watched, _ in drift_plan(pipeline)
        }
        self._bias: dict[int, BiasMonitor] = {
            number: _bias_monitor(monitor, pipeline.kind) for number, monitor in bias_plan(pipeline)
        }
        wanted = (("drift", self._drift), ("bias", self._bias))
        self._stages = {
            name: _Stage([_Source() for _ in range(partitions)]) for name, any_ in wanted if any_
        }
        health = next((m for m in pipeline.monitors if isinstance(m, Health)), None)
        self._health = HealthWatch(health) if health else None
        self._started_ms: int | None = None

    @property
    def overflowed(self) -> int:
        """How often a slice was left out because there were too many."""
        return sum(monitor.overflowed for monitor in self._bias.values())

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
                known[series] = add_rows((known[series], row)) if series in known else row

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
            if number in self._drift:
                findings.extend(self._drift[number].update(start_ms, rows))
            elif number in self._bias:
                told = {name: rounded(row) for name, row in rows.items()}
                spreads = {name: moments(row)[2] for name, row in rows.items()}
                findings.extend(self._bias[number].update(start_ms, told, spreads))
        return findings

    def _passed_ms(self, stage: _Stage, now_ms: int) -> int:
        """Return the time that every partition has passed; where all are silent, the newest."""
        waited = [s.watermark_ms for s in stage.sources if not self._silent(s, now_ms)]
        return min(waited) if waited else max(source.watermark_ms for source in stage.sources)

    def _silent(self, source: _Source, now_ms: int) -> bool:
        since_ms = self._started_ms if source.news_ms is None else source.news_ms
        silent_ms = now_ms - (since_ms or 0)
        return silent_ms >= (IDLE_MS if source.caught_up else WAIT_MS)


class _DriftMonitor:
    """The series of one drift monitor; classes of the score are added as they appear."""

    def __init__(self, monitor: Drift, features: Sequence[str], warmup_ms: dict[str, int]) -> None:
        self._monitor = monitor
        self._features = features
        self._warmup_ms = warmup_ms
        self._tests: dict[str, DriftTest] = {}
        self._first_ms: int | None = None

    def update(self, start_ms: int, rows: dict[str, Row]) -> list[Finding]:
        """Take in a sealed bucket."""
        if self._first_ms is None:
            self._first_ms = start_ms
        scored = rows.get(SCORE, [0])[0]
        if any(series.startswith(SCORE + "/") for series in rows):
            rows = {series: row for series, row in rows.items() if series != SCORE}
        findings = []
        for series in sorted(rows):
            row = [scored, *rows[series][1:]] if series.startswith(SCORE) else rows[series]
            if not row[0]:
                continue
            finding = self._test(series).update(Bucket(start_ms, *moments(row)))
            if finding is not None:
                findings.append(finding)
        return findings

    def _test(self, series: str) -> DriftTest:
        test = self._tests.get(series)
        if test is None:
            test = self._tests[series] = self._new_test(series)
        return test

    def _new_test(self, series: str) -> DriftTest:
        bucket_ms, detector = self._monitor.bucket_ms, self._monitor.detector
        if series not in self._features:
            name = series[len(SCORE) + 1 :]
            return DriftTest(
                "prior_drift",
                "score",
                bucket_ms,
                detector,
                slice_={"class": name} if name else None,
                noun=f"the score of class {name}" if name else "the score",
                look_at="look at the features that moved and at the model's last versions",
                tolerance=SCORE_TOLERANCE,
                least_days=SCORE_DAYS,
            )
        after_ms = (self._first_ms or 0) + self._warmup_ms[series]
        return DriftTest("covariate_drift", series, bucket_ms, detector, after_ms=after_ms)


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


def _bias_monitor(monitor: PredictionBias, kind: str) -> BiasMonitor:
    return BiasMonitor(monitor.bucket_ms, kind)
