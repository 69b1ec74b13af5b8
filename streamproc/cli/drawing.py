"""A pipeline as a picture of at most 80 columns, and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from streamproc.catalogue import kept_long
from streamproc.cli.common import counted
from streamproc.features import Calendar, Cyclical, Encoder, Feature, Field, Lookup, Window
from streamproc.features.shared import definitions
from streamproc.monitors import (
    DataQuality,
    Drift,
    Health,
    Monitor,
    Performance,
    PredictionBias,
    Reactions,
    outcome_fold,
)
from streamproc.monitors.spec import drift_plan
from streamproc.pipeline import Pipeline
from streamproc.tasks.fold import watches_predictions

_WIDTH = 80
_ALERTS = 51
"""The column of the picture in which the ways to the alerts meet."""


def described(pipeline: Pipeline) -> dict[str, Any]:
    """Return what a pipeline is, for programs."""
    return {
        "name": pipeline.name,
        "kind": pipeline.kind,
        "learns": pipeline.learns,
        "classes": pipeline.classes,
        "threshold": pipeline.threshold,
        "lateness": pipeline.lateness,
        "late": pipeline.late,
        "publish_every": pipeline.publish_every,
        "seed": pipeline.seed,
        "fingerprint": pipeline.fingerprint,
        "model": _model(pipeline),
        "events": asdict(pipeline.events),
        "labels": None
        if pipeline.labels is None
        else {
            "topic": pipeline.labels.topic,
            "id": pipeline.labels.id,
            "value": pipeline.labels.value,
            "horizon": pipeline.labels.horizon,
            "time": pipeline.labels.time,
        },
        "topics": asdict(pipeline.topics),
        "lookups": [
            {"topic": each.topic, "by": each.by, "fields": [asdict(one) for one in each.columns]}
            for each in pipeline.lookups
        ],
        "features": [
            {"name": name, "kind": type(feature).__name__.lower(), "of": _of(feature)}
            for feature in pipeline.features
            for name in feature.names
        ],
        "shared": definitions(pipeline.shared),
        "notes": kept_long(pipeline),
        "monitors": [
            {"kind": type(monitor).__name__, "watches": _watches(monitor, pipeline)}
            for monitor in pipeline.monitors
        ],
    }


def drawn(pipeline: Pipeline) -> Iterator[str]:
    """Yield the lines of a picture: the stages and topics, then what is computed and watched."""
    learns = f"learns; a version every {pipeline.publish_every:,} outcomes"
    said = f"{pipeline.name}: {pipeline.kind}, {learns if pipeline.learns else 'does not learn'}"
    yield from textwrap.wrap(said, _WIDTH)
    yield ""
    yield from _picture(pipeline)
    yield ""
    yield from _section("topics", _topics(pipeline))
    features = [(name, _of(feature)) for feature in pipeline.features for name in feature.names]
    yield from _section("features", features)
    monitors = [
        (type(monitor).__name__, _watches(monitor, pipeline)) for monitor in pipeline.monitors
    ]
    yield from _section("monitors", monitors or [("none", "")])
    settings = (
        f"threshold {pipeline.threshold:g}, " if pipeline.kind in ("binary", "anomaly") else ""
    )
    if notes := kept_long(pipeline):
        yield from _section("notes", [("", note) for note in notes])
    yield from _section("model", [(_model(pipeline), f"{settings}seed {pipeline.seed}")])


def _picture(pipeline: Pipeline) -> Iterator[str]:
    """Yield the way of an event; what the pipeline lacks is not drawn."""
    drift, bias = watches_predictions(pipeline), outcome_fold(pipeline) is not None
    labels = pipeline.labels is not None
    if pipeline.lookups:
        yield "  lookups ───┐"
    yield "  events ──► score ──► predictions" + (" ──► drift ──► alerts" if drift else "")
    up = drift and bias
    if labels:
        yield "  labels ──► │  ▲".ljust(_ALERTS) + "▲" * up
        yield "             │  └── models ◄── learn ◄─┐".ljust(_ALERTS) + "│" * up
        last = "             └──► outcomes ────────────"
        if up:
            yield f"{last}┴─► bias ".ljust(_ALERTS, "─") + "┘"
        else:
            yield f"{last}┴─► bias ──► alerts" if bias else f"{last}┘"
    elif pipeline.learns:
        yield "             │  ▲"
        yield "             │  └── models ◄── learn ◄─┐"
        yield "             └── what was scored ──────┘"
    yield ""
    yield "  what cannot be used ──► dead-letters"


def _topics(pipeline: Pipeline) -> Iterator[tuple[str, str]]:
    events, labels = pipeline.events, pipeline.labels
    yield "events", f"{events.topic}: id {events.id}, key {events.key}, time {events.time}"
    if labels is not None:
        said = f"{labels.topic}: {labels.value} by {labels.id}, joined for {labels.horizon}"
        yield "labels", said
    for each in pipeline.lookups:
        fields = ", ".join(one.name for one in each.columns)
        yield "lookup", f"{each.topic}: {fields} by {each.by}"
    for role in ("predictions", "outcomes", "models", "alerts", "late", "dead_letters"):
        yield role.replace("_", "-"), getattr(pipeline.topics, role)
    if pipeline.reports:
        yield "metrics", pipeline.topics.metrics


def _section(title: str, rows: Any) -> Iterator[str]:
    """Yield a title and two columns; what is too long for one line goes on in the next."""
    rows = list(rows)
    yield title
    first = min(max(len(name) for name, _ in rows), 44)
    for name, about in rows:
        line = f"  {name:<{first}}  {about}".rstrip()
        indent = " " * (first + 4)
        yield from textwrap.wrap(line, _WIDTH, subsequent_indent=indent, drop_whitespace=True)
    yield ""


def _of(feature: Feature) -> str:
    if isinstance(feature, Field):
        return f"field, {feature.type}"
    if isinstance(feature, Calendar | Cyclical):
        return f"{type(feature).__name__.lower()} of {feature.time}, {feature.zone}"
    if isinstance(feature, Encoder):
        return f"{type(feature).__name__} of {', '.join(feature.inputs)}"
    if isinstance(feature, Lookup):
        return f"looked up in {feature.topic} by {feature.by}"
    value = feature.value if isinstance(feature, Window) else "labels"
    return f"window of {value} by {' and '.join(feature.entity)}"


def _watches(monitor: Monitor, pipeline: Pipeline) -> str:
    if isinstance(monitor, Drift):
        series = next(series for _, each, series in drift_plan(pipeline) if each is monitor)
        named = (*series.numbers, *series.texts)
        features = counted(len(named), "feature") if monitor.features is None else ", ".join(named)
        score = " and the score" if series.score else ""
        return f"{features}{score}, in buckets of {monitor.bucket}"
    if isinstance(monitor, DataQuality):
        count = counted(len(pipeline.feature_names), "feature")
        whose = f" by {monitor.producer}" if monitor.producer else ""
        rest = f"late events, the rate and clocks{whose}, in buckets of {monitor.bucket}"
        return f"{count}, dead letters, {rest}"
    if isinstance(monitor, Reactions):
        return f"{monitor.value} in {monitor.topic}, in buckets of {monitor.bucket}"
    if isinstance(monitor, Health):
        limits = {name: value for name, value in vars(monitor).items() if value is not None}
        return ", ".join(f"{name} {value}" for name, value in limits.items())
    if not isinstance(monitor, PredictionBias | Performance):
        return f"overall, in buckets of {monitor.bucket}"
    slices = ["overall", *(" by ".join(fields) for fields in monitor.fields if fields)]
    if isinstance(monitor, Performance):
        beside = "zero-rule" + (f" and {monitor.baseline_name}" if monitor.baseline_name else "")
        return f"{', '.join(slices)}, beside {beside}, in windows of {monitor.window}"
    return f"{', '.join(slices)}, in buckets of {monitor.bucket}"


def _model(pipeline: Pipeline) -> str:
    """Return a model's steps by name.

    >>> from river import linear_model, preprocessing
    >>> from streamproc import Events, Field, Pipeline
    >>> _model(Pipeline(
    ...     name="demo",
    ...     events=Events("demo.events", id="id", key="card", time="at"),
    ...     features=[Field("amount")],
    ...     model=preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    ... ))
    'StandardScaler | LogisticRegression'
    """
    steps = getattr(pipeline.model, "steps", None) or {type(pipeline.model).__name__: None}
    return " | ".join(str(name) for name in steps)
