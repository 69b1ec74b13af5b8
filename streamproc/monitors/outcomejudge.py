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
    ConceptDrift,
    LabelShift,
    OutcomeMonitor,
)
from streamproc.monitors.season import WEEK_MS
from streamproc.monitors.series import Limits
from streamproc.monitors.slices import BiasMonitor
from streamproc.monitors.spec import PredictionBias, Watched

TOLERANCE, TOLERANCE_LEARNING = 0.1, 0.25
"""Of rates and means of outcomes, if none is declared; wrong decisions and losses of a model that
learns may waver more."""


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
        kind, tolerance = pipeline.kind, monitor.tolerance
        return OutcomeTests(
            BiasMonitor(bucket_ms, kind, learns, alarm_ms, warmup_ms, fields, tolerance)
        )
    if isinstance(monitor, Calibration):
        return OutcomeTests(CalibrationMonitor(bucket_ms, alarm_ms, learns, monitor.tolerance))
    span = Span(settles=learns, quarantine_ms=WEEK_MS)
    limits = Limits(alarm_ms, bucket_ms, tolerance_of_rates(monitor, learns), span)
    if isinstance(monitor, LabelShift):
        return OutcomeTests(LabelMonitor(pipeline.kind, limits))
    return OutcomeTests(ConceptMonitor(pipeline.kind, limits))


def tolerance_of_rates(monitor: LabelShift | ConceptDrift, learns: bool) -> float:
    """Return which part of a share, or standard deviations of a mean, is not worth telling.

    >>> tolerance_of_rates(LabelShift(), learns=True), tolerance_of_rates(ConceptDrift(), True)
    (0.1, 0.25)
    """
    if monitor.tolerance is not None:
        return monitor.tolerance
    return TOLERANCE_LEARNING if learns and isinstance(monitor, ConceptDrift) else TOLERANCE
