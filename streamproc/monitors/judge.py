"""The judge: adds up the sums of all partitions, tests each bucket once, in order of time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, Protocol

from streamproc.messages import Alert, Operation
from streamproc.monitors.drift import DriftTest
from streamproc.monitors.finding import Finding
from streamproc.monitors.fold import SCORE
from streamproc.monitors.reference import Bucket
from streamproc.monitors.sealing import Sealer
from streamproc.monitors.slices import BiasMonitor
from streamproc.monitors.spec import Drift, PredictionBias, Watched, bias_plan, drift_plan
from streamproc.monitors.sums import Row, rounded

OPERATION = "operation"
"""The stage of a record that says what a person asked for."""

SCORE_TOLERANCE = 0.25
"""A model that learns moves its scores; less than so many standard deviations is no drift."""


SCORE_DAYS = 7
"""And its reference spans a week: a model that has yet to see a weekend is not settled."""


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
        self._drift: dict[int, _DriftMonitor] = {
            number: _DriftMonitor(monitor, watched, {f: pipeline.warmup_ms(f) for f in watched})
            for number, monitor, watched, _ in drift_plan(pipeline)
        }
        self._bias: dict[int, BiasMonitor] = {
            number: _bias_monitor(monitor, pipeline.kind) for number, monitor in bias_plan(pipeline)
        }
        wanted = (("drift", self._drift), ("bias", self._bias))
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
            for number, start_ms, rows in self.sealer.take(record):
                findings.extend(self._test(number, start_ms, rows))
            alerts += self._book.apply(findings, now_ms)
        return alerts

    def operation(self, operation: Operation, time_ms: int) -> list[Alert]:
        """Take in what a person asks for; return what alerts it gives."""
        return self._book.command(operation, time_ms)

    def _test(self, number: int, start_ms: int, rows: dict[str, Row]) -> list[Finding]:
        """Return what a monitor finds in a sealed bucket."""
        if number in self._drift:
            return self._drift[number].update(start_ms, rows)
        told = {name: rounded(row) for name, row in rows.items()}
        spreads = {name: moments(row)[2] for name, row in rows.items()}
        return self._bias[number].update(start_ms, told, spreads)


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
