"""What each monitor gets of the pipeline's false alarms, and how soon it will see a change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from streamproc.monitors.bias import Tolerances
from streamproc.monitors.budget import shares
from streamproc.monitors.expected import Hope, bias_hopes, hopes, rate_hopes
from streamproc.monitors.health_spec import Health
from streamproc.monitors.outcomejudge import tolerance_of_rates
from streamproc.monitors.outcomespec import ConceptDrift, LabelShift
from streamproc.monitors.performance_spec import Performance
from streamproc.monitors.quality_spec import DataQuality, quality_series
from streamproc.monitors.reactions import Reactions
from streamproc.monitors.slices import FOUND_SHARE
from streamproc.monitors.spec import Drift, PredictionBias, Watched, drift_plan

PARTS = (1.0, 0.1, 0.01)
"""The parts of all outcomes that slices are spoken of with, where some are declared."""


@dataclass(frozen=True)
class Traffic:
    """How much comes in a day, and which part of the labels is positive; None is not known."""

    events_per_day: float
    outcomes_per_day: float
    positives: float | None = None


@dataclass(frozen=True)
class Part:
    """A monitor's part of the false alarms.

    ``share`` is of the pipeline's, ``alarm_ms`` the mean time between its false alarms. ``series``
    is over how many series these are shared out equally; None where the stream decides, as with
    slices.
    """

    number: int
    kind: str
    share: float
    alarm_ms: float
    series: int | None
    hopes: tuple[Hope, ...]


class Allotted(Watched, Protocol):
    """What has to be known of a pipeline; `streamproc.Pipeline` is one."""

    @property
    def ranges(self) -> Mapping[str, tuple[float | None, float | None]]:
        """The least and the most of features that declare them."""

    @property
    def categories(self) -> Mapping[str, tuple[str, ...] | None]:
        """Those that are texts of the event, with the values of those that declare them."""


def allotment(pipeline: Allotted, traffic: Traffic) -> list[Part]:
    """Return the part of each monitor that tests anything, in their order.

    >>> from river import linear_model
    >>> from streamproc import DataQuality, Drift, Events, Field, Pipeline
    >>> pipeline = Pipeline(
    ...     name="demo",
    ...     events=Events("demo.events", id="id", key="card", time="at"),
    ...     features=[Field("amount")],
    ...     model=linear_model.LogisticRegression(),
    ...     monitors=[DataQuality(), Drift(weight=3.0)],
    ... )
    >>> [(part.kind, part.share, part.series) for part in allotment(pipeline, Traffic(1e4, 0))]
    [('DataQuality', 0.25, 25), ('Drift', 0.75, 3)]
    """
    tested = {i: m for i, m in enumerate(pipeline.monitors) if not isinstance(m, Health)}
    share = shares({i: monitor.weight for i, monitor in tested.items()})
    parts = []
    for number, monitor in tested.items():
        alarm_ms = pipeline.budget.alarm_ms(share[number])
        series = _series(pipeline, number, monitor)
        found = tuple(_hopes(pipeline, monitor, alarm_ms, series, traffic))
        kind = type(monitor).__name__
        parts.append(Part(number, kind, share[number], alarm_ms, series, found))
    return parts


def _series(pipeline: Allotted, number: int, monitor: Any) -> int | None:
    """Return how many series a monitor tests, as far as its definition says."""
    if isinstance(monitor, DataQuality):
        return quality_series(pipeline)
    if isinstance(monitor, Drift):
        return None if monitor.slices else _drift_series(pipeline, number, monitor)
    if isinstance(monitor, PredictionBias):
        return None
    if isinstance(monitor, Reactions):
        return 2
    if isinstance(monitor, ConceptDrift):
        return 1 if pipeline.kind == "regression" else 2
    if isinstance(monitor, Performance):
        return 1 if monitor.baseline is None else 2
    return 1


def _drift_series(pipeline: Allotted, number: int, monitor: Drift) -> int | None:
    watched = next(series for i, _, series in drift_plan(pipeline) if i == number)
    together = len(watched.numbers) + len(watched.texts) > 1
    detected = monitor.detector is not None  # a detector keeps to no budget
    count = len(watched.texts) + (0 if detected else len(watched.numbers) + together)
    if not watched.score:
        return count
    if pipeline.kind == "multiclass":
        if pipeline.classes is None:
            return None
        return count + 1 + (0 if detected else len(pipeline.classes))
    return count + (not detected) + (pipeline.kind != "regression")


def _hopes(
    pipeline: Allotted, monitor: Any, alarm_ms: float, series: int | None, traffic: Traffic
) -> Sequence[Hope]:
    wait_ms = getattr(monitor, "bucket_ms", 0) / 2 + pipeline.lateness_ms
    each_ms = alarm_ms * (series or 1)
    base, outcomes = traffic.positives, traffic.outcomes_per_day
    if isinstance(monitor, Drift) and monitor.detector is None and series != 0:
        return hopes(each_ms, traffic.events_per_day, wait_ms, monitor.tolerance)
    if isinstance(monitor, DataQuality):
        rates = ((0.001, 0.01), (0.01, 0.05))
        return rate_hopes(
            "missing values go", rates, each_ms, traffic.events_per_day, wait_ms,
            monitor.tolerance,
        )  # fmt: skip
    if pipeline.kind not in ("binary", "multiclass"):
        return ()
    if isinstance(monitor, ConceptDrift):
        tolerance = tolerance_of_rates(monitor, pipeline.learns)
        rates = ((0.1, 0.15), (0.1, 0.2))
        return rate_hopes("wrong decisions go", rates, each_ms, outcomes, wait_ms, tolerance)
    if base is None or not 0 < base < 1:
        return ()
    if isinstance(monitor, LabelShift) and pipeline.kind == "binary":
        more = [(base, base * times) for times in (1.2, 1.5, 2.0) if base * times < 1]
        tolerance = tolerance_of_rates(monitor, pipeline.learns)
        return rate_hopes("positives go", more, each_ms, outcomes, wait_ms, tolerance)
    if isinstance(monitor, PredictionBias):
        return _bias(pipeline, monitor, alarm_ms / (1 - FOUND_SHARE), traffic, base, wait_ms)
    return ()


def _bias(
    pipeline: Allotted,
    monitor: PredictionBias,
    alarm_ms: float,
    traffic: Traffic,
    base: float,
    wait_ms: float,
) -> list[Hope]:
    """Return what is seen overall and in slices, of which as many are supposed as fit in."""
    found: list[Hope] = []
    of_slices, overall, _ = Tolerances.of(monitor.tolerance, pipeline.learns)
    for part in PARTS if monitor.slices else PARTS[:1]:
        tolerance, each_ms = (overall, alarm_ms) if part == 1 else (of_slices, alarm_ms / part)
        found += bias_hopes(each_ms, traffic.outcomes_per_day, wait_ms, base, part, tolerance)
    return found
