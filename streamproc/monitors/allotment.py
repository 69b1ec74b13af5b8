"""What each monitor gets of the pipeline's false alarms, and how soon it will see a change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from streamproc.monitors.budget import shares
from streamproc.monitors.expected import Hope
from streamproc.monitors.health_spec import Health
from streamproc.monitors.hopes import Hopes, Traffic
from streamproc.monitors.outcomespec import ConceptDrift
from streamproc.monitors.performance_spec import Performance
from streamproc.monitors.quality_spec import DataQuality, quality_series
from streamproc.monitors.reactions import Reactions
from streamproc.monitors.spec import Drift, PredictionBias, Watched, drift_plan


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


def allotment(pipeline: Watched, traffic: Traffic) -> list[Part]:
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
    hoped, parts = Hopes(pipeline, traffic), []
    for number, monitor in tested.items():
        alarm_ms = pipeline.budget.alarm_ms(share[number])
        series = _series(pipeline, number, monitor)
        found = tuple(hoped.of(number, monitor, alarm_ms, series))
        kind = type(monitor).__name__
        parts.append(Part(number, kind, share[number], alarm_ms, series, found))
    return parts


def _series(pipeline: Watched, number: int, monitor: Any) -> int | None:
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


def _drift_series(pipeline: Watched, number: int, monitor: Drift) -> int | None:
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
