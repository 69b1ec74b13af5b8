"""The messages on the topics, as the JSON that others consume.

They are plain dictionaries on the hot path; these types name their fields. Times are integers in
milliseconds since the epoch, in names that end in ``_ms``; ``id`` and ``key`` are text.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

FeatureValue = float | int | bool | str | None
Features = dict[str, FeatureValue]
Score = float | dict[str, float]
Label = bool | int | float | str
AlertStatus = Literal["open", "update", "resolved"]
AlertKind = Literal[
    "covariate_drift",
    "prior_drift",
    "label_shift",
    "concept_drift",
    "prediction_bias",
    "calibration",
    "performance",
    "data_quality",
    "health",
]
Severity = Literal["warning", "critical"]
AlertReason = Literal[
    "found",
    "reopened",
    "outlived",
    "graver",
    "wider",
    "narrower",
    "worse",
    "flapping",
    "acknowledged",
    "silenced",
    "unsilenced",
    "recovered",
    "accepted",
    "explained",
]


class Prediction(TypedDict):
    """What the model said of one event, with the features as they were when it did."""

    id: str
    key: str
    event_time_ms: int
    score: Score
    decision: bool | int | str | None
    model: str
    features: Features
    scored_at_ms: int
    trace: str
    lookups: NotRequired[dict[str, str | None] | None]


class Outcome(Prediction):
    """A prediction joined with its label."""

    label: Label | None
    label_time_ms: int
    labelled_at_ms: int
    slices: NotRequired[dict[str, str] | None]


class LateEvent(TypedDict):
    """An event that came later than the lateness allows: where it is, and what became of it."""

    id: str
    key: str
    event_time_ms: int
    watermark_ms: int
    late_by_ms: int
    source_topic: str
    source_partition: int
    source_offset: int
    scored: bool


class ModelVersion(TypedDict):
    """One published model: where its bytes are and what it learnt from."""

    model: str
    variant: str
    version: int
    parent: str | None
    sha256: str
    size_bytes: int
    outcomes: int
    label_time_ms: int
    published_at_ms: int
    fingerprint: str
    metrics: dict[str, float | None]
    sources: dict[str, Any]


class AlertMember(TypedDict):
    """One of the things that an alert is about, the likely cause among them."""

    kind: AlertKind
    subject: str
    slice: dict[str, str] | None
    ongoing: bool
    statistic: float
    expected: float | None
    observed: float | None
    evidence: float | None
    first_seen_ms: int


class Alert(TypedDict):
    """One step in the life of an alert; ``key`` says what it is about.

    What is not required came with version 2 of the schema, ``models`` with version 3,
    ``ended_ms`` with version 4.
    """

    alert_id: str
    key: str
    status: AlertStatus
    kind: AlertKind
    subject: str
    slice: dict[str, str] | None
    severity: Severity
    statistic: float
    threshold: float
    expected: float | None
    observed: float | None
    samples: int
    first_seen_ms: int
    detected_at_ms: int
    summary: str
    step: NotRequired[int]
    reason: NotRequired[AlertReason | None]
    members: NotRequired[list[AlertMember]]
    members_in_all: NotRequired[int]
    evidence: NotRequired[float | None]
    low: NotRequired[float | None]
    high: NotRequired[float | None]
    flaps: NotRequired[int]
    silenced: NotRequired[bool]
    silenced_until_ms: NotRequired[int | None]
    acknowledged_by: NotRequired[str | None]
    acknowledged_at_ms: NotRequired[int | None]
    comment: NotRequired[str | None]
    explained_by: NotRequired[str | None]
    model: NotRequired[str | None]
    pipeline: NotRequired[str | None]
    fingerprint: NotRequired[str | None]
    models: NotRequired[list[str]]
    ended_ms: NotRequired[int | None]


class PerformanceReport(TypedDict):
    """How good predictions were in a window of time, by metric, beside baselines.

    ``about`` is outcomes, or predictions whose labels are on their way.
    """

    about: str
    slice: dict[str, str] | None
    from_ms: int
    to_ms: int
    event_from_ms: int | None
    event_to_ms: int | None
    n: int
    unusable: int
    metrics: dict[str, dict[str, float | None]]
