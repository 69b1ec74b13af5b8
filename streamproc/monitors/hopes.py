"""What each monitor will see, and how soon, by today's traffic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from streamproc.monitors.bias import Tolerances
from streamproc.monitors.calibration import tolerance_of
from streamproc.monitors.expected import (
    Hope,
    bias_hopes,
    mean_hopes,
    rate_hopes,
    sampled,
    together_hopes,
)
from streamproc.monitors.expected_scores import (
    RIGHT,
    Excess,
    excess_of_classes,
    excess_of_numbers,
    excess_of_two,
    recalibration_hopes,
    worth_hopes,
)
from streamproc.monitors.foundslices import MOST
from streamproc.monitors.outcome_sample import SAMPLED
from streamproc.monitors.outcomejudge import tolerance_of_rates
from streamproc.monitors.outcomespec import Calibration, ConceptDrift, LabelShift
from streamproc.monitors.performance_spec import Performance
from streamproc.monitors.quality_spec import DataQuality
from streamproc.monitors.reactions import Reactions
from streamproc.monitors.slices import FOUND_SHARE, residual_tolerance
from streamproc.monitors.spec import Drift, PredictionBias, Watched, drift_plan

PARTS = (1.0, 0.1, 0.01)
"""The parts of all outcomes that slices are spoken of with, where some are declared."""

FOUND_PART = 0.05
"""The part of all outcomes that is spoken of where a slice is found."""

REACT = 0.1
"""The part of predictions that is supposed to get a reaction, where values are spoken of."""

CLASSES = 3
"""How many classes are supposed where none are declared."""

_RISES = ((0.1, 0.15), (0.1, 0.2))


@dataclass(frozen=True)
class Traffic:
    """How much comes in a day, and which part of the labels is positive; None is not known."""

    events_per_day: float
    outcomes_per_day: float
    positives: float | None = None


@dataclass(frozen=True)
class Hopes:
    """Works out what is to be hoped for of a pipeline's monitors."""

    pipeline: Watched
    traffic: Traffic

    def of(self, number: int, monitor: Any, alarm_ms: float, series: int | None) -> list[Hope]:
        """Return it of one monitor: so much time is between its false alarms, in all its series."""
        events, outcomes = self.traffic.events_per_day, self.traffic.outcomes_per_day
        wait_ms = getattr(monitor, "bucket_ms", 0) / 2 + self.pipeline.lateness_ms
        each_ms = alarm_ms * (series or 1)
        if isinstance(monitor, Drift):
            return self._drift(number, monitor, each_ms, wait_ms) if series != 0 else []
        if isinstance(monitor, DataQuality):
            rates = ((0.001, 0.01), (0.01, 0.05))
            return rate_hopes(
                "missing values go", rates, each_ms, events, wait_ms, monitor.tolerance
            )
        if isinstance(monitor, Reactions):
            asked = each_ms, events, wait_ms, monitor.tolerance
            found = rate_hopes("reactions go", ((0.01, 0.015), (0.1, 0.15)), *asked)
            return found + mean_hopes(f"their value, of {REACT:.0%},", *asked, part=REACT)
        if isinstance(monitor, ConceptDrift | LabelShift):
            return self._labels(monitor, each_ms, wait_ms)
        if isinstance(monitor, PredictionBias):
            return self._bias(monitor, alarm_ms, wait_ms)
        if isinstance(monitor, Calibration) and self._base is not None:
            tolerance = tolerance_of(monitor.tolerance, self.pipeline.learns)
            return recalibration_hopes(each_ms, outcomes, wait_ms, self._base, tolerance)
        excess = self._excess()
        if isinstance(monitor, Performance) and excess is not None:
            return worth_hopes(each_ms, outcomes, monitor.bucket_ms, wait_ms, excess)
        return []

    @property
    def _base(self) -> float | None:
        """The rate of what is counted: of positives, or of wrong decisions as it is supposed."""
        base = 1 - RIGHT if self.pipeline.kind == "multiclass" else self.traffic.positives
        known = self.pipeline.kind in ("binary", "multiclass") and base is not None
        return base if known and base is not None and 0 < base < 1 else None

    def _drift(self, number: int, monitor: Drift, alarm_ms: float, wait_ms: float) -> list[Hope]:
        if monitor.detector is not None:
            return []
        asked = alarm_ms, self.traffic.events_per_day
        rates = ((0.01, 0.02), (0.10, 0.15))
        found = mean_hopes("a mean", *asked, wait_ms, monitor.tolerance)
        found += rate_hopes("a category goes", rates, *asked, wait_ms, monitor.tolerance)
        watched = next(series for i, _, series in drift_plan(self.pipeline) if i == number)
        features = len(watched.numbers) + len(watched.texts)
        if features < 2:
            return found
        return found + together_hopes(
            features, *asked, monitor.bucket_ms, wait_ms, monitor.tolerance
        )

    def _labels(
        self, monitor: ConceptDrift | LabelShift, alarm_ms: float, wait_ms: float
    ) -> list[Hope]:
        """Return it of labels by themselves, and of how wrong decisions are."""
        kind, base = self.pipeline.kind, self._base
        asked = alarm_ms, self.traffic.outcomes_per_day, wait_ms
        tolerance = tolerance_of_rates(monitor, self.pipeline.learns)
        if isinstance(monitor, ConceptDrift):
            if kind == "regression":
                return mean_hopes("the absolute error", *asked, tolerance)
            if kind == "anomaly":
                return []
            return rate_hopes("wrong decisions go", _RISES, *asked, tolerance)
        if kind == "regression":
            return mean_hopes("the label", *asked, tolerance)
        if kind == "multiclass":
            return rate_hopes("a class goes", _RISES, *asked, tolerance)
        if base is None:
            return []
        more = [(base, base * times) for times in (1.2, 1.5, 2.0) if base * times < 1]
        return rate_hopes("positives go", more, *asked, tolerance)

    def _bias(self, monitor: PredictionBias, alarm_ms: float, wait_ms: float) -> list[Hope]:
        """Return what is seen overall and in slices, of which as many are supposed as fit in."""
        per_day, learns = self.traffic.outcomes_per_day, self.pipeline.learns
        if self.pipeline.kind == "regression":
            tolerance = residual_tolerance(monitor.tolerance, learns)
            return mean_hopes(
                "observed - predicted", alarm_ms, per_day, wait_ms, tolerance, location=True
            )
        base = self._base
        if base is None:
            return []
        what = "errors" if self.pipeline.kind == "multiclass" else "positives"
        found: list[Hope] = []
        tolerances = Tolerances.of(monitor.tolerance, learns)
        declared_ms = alarm_ms / (1 - FOUND_SHARE)
        for part in PARTS if monitor.slices else PARTS[:1]:
            where = "overall" if part == 1 else f"{part:.0%} slice"
            tolerance = tolerances.overall if part == 1 else tolerances.of_slices
            asked = declared_ms / part, per_day * part, wait_ms, base, tolerance
            found += bias_hopes(what, where, *asked)
        each_ms = alarm_ms / FOUND_SHARE * MOST
        asked = each_ms, per_day * FOUND_PART, wait_ms, base, tolerances.found
        part = sampled(per_day, monitor.bucket_ms, SAMPLED)
        return found + bias_hopes(what, f"found, of {FOUND_PART:.0%}", *asked, part=part)

    def _excess(self) -> Excess | None:
        kind, base = self.pipeline.kind, self._base
        if kind == "regression":
            return excess_of_numbers()
        if kind == "multiclass":
            return excess_of_classes(len(self.pipeline.classes or ()) or CLASSES)
        return None if base is None else excess_of_two(base)
