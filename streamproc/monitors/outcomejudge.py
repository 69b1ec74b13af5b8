"""What tests the sealed buckets of outcomes, by what the pipeline asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from streamproc.monitors.calibrationmonitor import CalibrationMonitor
from streamproc.monitors.finding import Finding
from streamproc.monitors.growing import Span
from streamproc.monitors.labelled import ConceptMonitor, LabelMonitor
from streamproc.monitors.outcomes import Row, combined
from streamproc.monitors.outcomespec import (
    Calibration,
    LabelShift,
    OutcomeMonitor,
)
from streamproc.monitors.season import WEEK_MS
from streamproc.monitors.series import Limits
from streamproc.monitors.slices import BiasMonitor
from streamproc.monitors.spec import PredictionBias, Watched

TOLERANCE, TOLERANCE_LEARNING = 0.1, 0.25
"""Of rates and means of outcomes: parts, or standard deviations, that are not worth telling."""


class _Tests(Protocol):
    def update(self, start_ms: int, rows: dict[str, Row]) -> list[Finding]: ...

    def relearn(self, key: str) -> bool: ...


class OutcomeTests:
    """The tests of one monitor of outcomes."""

    def __init__(self, tests: _Tests) -> None:
        self.tests = tests

    @property
    def overflowed(self) -> int:
        """How many slices were left out because there were too many."""
        return int(getattr(self.tests, "overflowed", 0))

    def combined(self, parts: Sequence[Row]) -> Row:
        """Return one row for several of one series and bucket, whatever their order."""
        return combined(parts)

    def update(self, start_ms: int, rows: dict[str, Row]) -> list[Finding]:
        """Take in a sealed bucket's rows by series; return what there is to say."""
        return self.tests.update(start_ms, rows)

    def relearn(self, key: str) -> bool:
        """Learn anew what is usual for what a finding's key is about; return whether it is here."""
        return self.tests.relearn(key)


def outcome_monitor(monitor: OutcomeMonitor, pipeline: Watched, alarm_ms: float) -> OutcomeTests:
    """Return the tests of a monitor that has so much time between its false alarms."""
    learns, bucket_ms = pipeline.learns, monitor.bucket_ms
    if isinstance(monitor, PredictionBias):
        fills = [pipeline.warmup_ms(name) for name in pipeline.numeric_features]
        warmup_ms = max(fills, default=0)
        fields = monitor.fields[1:]
        tests = BiasMonitor(bucket_ms, pipeline.kind, learns, alarm_ms, warmup_ms, fields)
        return OutcomeTests(tests)
    if isinstance(monitor, Calibration):
        return OutcomeTests(CalibrationMonitor(bucket_ms, alarm_ms, learns))
    span = Span(settles=learns, quarantine_ms=WEEK_MS)
    if isinstance(monitor, LabelShift):
        limits = Limits(alarm_ms, bucket_ms, TOLERANCE, span)
        return OutcomeTests(LabelMonitor(pipeline.kind, limits))
    tolerance = TOLERANCE_LEARNING if learns else TOLERANCE
    limits = Limits(alarm_ms, bucket_ms, tolerance, span)
    return OutcomeTests(ConceptMonitor(pipeline.kind, limits))
