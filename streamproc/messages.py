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
Command = Literal["acknowledge", "silence", "unsilence", "accept_as_normal", "keep_reference"]


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


class Alert(TypedDict):
    """One step in the life of an alert; ``key`` says what it is about."""

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


class Operation(TypedDict):
    """What a person asks of the monitors; one of ``alert_id``, ``key`` and ``matchers`` is there.

    ``matchers`` are fields of alerts and the values they are to have; ``until_ms`` is when a
    silence ends.
    """

    command: Command
    by: str
    at_ms: int
    alert_id: NotRequired[str | None]
    key: NotRequired[str | None]
    matchers: NotRequired[dict[str, str] | None]
    until_ms: NotRequired[int | None]
    comment: NotRequired[str | None]
