"""What a pipeline asks to be watched. Frozen, checked when written, computed elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from streamproc.errors import DefinitionError
from streamproc.eventtime import parse_duration_ms
from streamproc.monitors.budget import FalseAlarms
from streamproc.monitors.declared import (
    check_bucket,
    check_tolerance,
    check_weight,
    checked_slices,
    fields_of,
)
from streamproc.monitors.growing import Span
from streamproc.monitors.performance_spec import Performance

MAX_SLICES = 1_000
"""How many slices one monitor watches; the smaller ones beyond that are counted and left out."""


@dataclass(frozen=True)
class Drift:
    """Watches the distribution of every feature, of the score and of the decisions for change.

    ``bucket`` is the span of event time that values are summed over before they are tested.
    ``features`` names the features to watch; without it all are watched that the clock does not
    give. The score is always watched (each class's probability of a multiclass model), from the
    first version that has learnt. What comes first, for the time ``reference``, is what is usual.
    A change of a mean below ``tolerance`` standard deviations, or of a share below such a part of
    it, is none. ``weight`` is the monitor's part of the pipeline's false alarms. With ``slices``,
    fields of the event as of :class:`PredictionBias`, features are watched in each slice, too.

    ``detector`` is a River detector with ``update`` and ``drift_detected``, copied for each numeric
    series, in place of our own test; see `streamproc.monitors.detectors`. What it is given are the
    means of the buckets, less their reference, in standard errors.

    Raises `DefinitionError`, which names the field and the remedy.

    >>> Drift(bucket="6h").bucket_ms
    21600000
    """

    detector: Any = None
    bucket: str = "1h"
    features: Sequence[str] | None = None
    reference: str = "7d"
    tolerance: float = 0.1
    weight: float = 1.0
    slices: Sequence[str | tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        check_bucket("Drift", self.bucket)
        object.__setattr__(self, "slices", checked_slices("Drift", self.slices))
        check_weight("Drift", self.weight)
        parse_duration_ms(self.reference, "Drift, reference")
        if not 0 <= self.tolerance < 100:
            raise DefinitionError("Drift: tolerance is in standard deviations, such as 0.1")
        detector = self.detector
        if isinstance(detector, type):
            raise DefinitionError(
                f"Drift: detector is the class {detector.__name__}; "
                f"write an instance, {detector.__name__}()"
            )
        if detector is not None and not (
            callable(getattr(detector, "update", None)) and hasattr(detector, "drift_detected")
        ):
            raise DefinitionError(
                f"Drift: detector {detector!r:.60} has no update and drift_detected; "
                "use one of river.drift, such as drift.ADWIN()"
            )
        if self.features is not None:
            named = (self.features,) if isinstance(self.features, str) else tuple(self.features)
            if not all(isinstance(name, str) for name in named):
                raise DefinitionError("Drift: features are names, such as ('amount',)")
            object.__setattr__(self, "features", named)

    @property
    def bucket_ms(self) -> int:
        """How much event time a bucket spans."""
        return parse_duration_ms(self.bucket, "Drift, bucket")

    @property
    def fields(self) -> tuple[tuple[str, ...], ...]:
        """The fields of each kind of slice."""
        return fields_of(self.slices)[1:]

    @property
    def span(self) -> Span:
        """How much the first reference holds."""
        return Span(parse_duration_ms(self.reference, "Drift, reference"))


@dataclass(frozen=True)
class PredictionBias:
    """Watches what was observed less what was predicted, overall and in slices.

    ``slices`` names fields of the event; a pair such as ``("country", "channel")`` makes a slice
    of each pair of their values. Beside these, slices are looked for among the features' values.
    ``bucket`` is a span of the time at which labels became known, ``weight`` the monitor's part of
    the pipeline's false alarms.

    For classification the prediction is the probability of the positive class (of a multiclass
    model: of the class decided for, against whether it was right), for regression the value.

    ``tolerance`` is a part of the odds of yes, where yes is rare of how many there are: with 0.05
    there may be from 1/1.05 to 1.05 times as many as expected, overall and in each slice. It is
    below 1: what is twice as much is worth telling. Of a regression it is in standard deviations of
    observed less predicted. Without it it is 0.1, of two classes 0.25 overall; of a model that
    learns 1.0 overall and in slices that are found, of a regression 0.2 overall.

    Raises `DefinitionError`, which names the field and the remedy.

    >>> PredictionBias(slices=("country",)).fields
    ((), ('country',))
    """

    slices: Sequence[str | tuple[str, ...]] = ()
    bucket: str = "1h"
    weight: float = 1.0
    tolerance: float | None = None

    def __post_init__(self) -> None:
        check_bucket("PredictionBias", self.bucket)
        unit = "a part of the odds, or standard deviations,"
        check_tolerance("PredictionBias", self.tolerance, unit, below=1.0)
        check_weight("PredictionBias", self.weight)
        object.__setattr__(self, "slices", checked_slices("PredictionBias", self.slices))

    @property
    def bucket_ms(self) -> int:
        """How much time a bucket spans."""
        return parse_duration_ms(self.bucket, "PredictionBias, bucket")

    @property
    def fields(self) -> tuple[tuple[str, ...], ...]:
        """The fields of each kind of slice, the first being none at all: overall."""
        return fields_of(self.slices)


class Watched(Protocol):
    """What monitors need to know of a pipeline; `streamproc.Pipeline` is one."""

    @property
    def monitors(self) -> Sequence[Any]:
        """What is watched."""

    @property
    def kind(self) -> str:
        """What the model does: binary, multiclass, regression or anomaly."""

    @property
    def classes(self) -> tuple[Any, ...] | None:
        """What a label can be, the positive one of two last, where declared."""

    @property
    def threshold(self) -> float:
        """The score from which a decision is yes."""

    @property
    def learns(self) -> bool:
        """Whether the model learns; its version 0 then has learnt nothing."""

    @property
    def lateness_ms(self) -> int:
        """How far behind the newest record a record may come."""

    @property
    def numeric_features(self) -> tuple[str, ...]:
        """The features watched by default that are numbers."""

    @property
    def categorical_features(self) -> tuple[str, ...]:
        """The features watched by default that are texts."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of all features."""

    @property
    def number_fields(self) -> tuple[str, ...]:
        """Those that are numbers of the event, as they stand."""

    @property
    def ranges(self) -> Mapping[str, tuple[float | None, float | None]]:
        """The least and the most of those that declare them."""

    @property
    def categories(self) -> Mapping[str, tuple[str, ...] | None]:
        """Those that are texts of the event, with the values of those that declare them."""

    @property
    def budget(self) -> FalseAlarms:
        """How many false alarms are expected over everything that is watched."""

    @property
    def name(self) -> str:
        """What the pipeline is called."""

    @property
    def fingerprint(self) -> str:
        """What changes when its definition does."""

    @property
    def made_of(self) -> Mapping[str, tuple[str, ...]]:
        """The event's fields that a feature's values come from, by its name."""

    def warmup_ms(self, feature: str) -> int:
        """How long a feature's windows take to fill."""


@dataclass(frozen=True)
class Series:
    """The series of one drift monitor: features that are numbers, texts, and whether the score."""

    numbers: tuple[str, ...]
    texts: tuple[str, ...]
    score: bool


def drift_plan(pipeline: Watched) -> list[tuple[int, Drift, Series]]:
    """Return for each drift monitor its number, itself and its series.

    Nothing is watched twice: a monitor that names a feature goes before one that names none, and
    the first has the score.
    """
    drifts = [(i, m) for i, m in enumerate(pipeline.monitors) if isinstance(m, Drift)]
    taken: set[str] = set()
    features: dict[int, tuple[str, ...]] = {}
    known = (*pipeline.numeric_features, *pipeline.categorical_features)
    for i, monitor in sorted(drifts, key=lambda pair: (pair[1].features is None, pair[0])):
        wanted = known if monitor.features is None else monitor.features
        features[i] = tuple(name for name in dict.fromkeys(wanted) if name not in taken)
        taken.update(features[i])
    texts = set(pipeline.categorical_features)
    return [
        (
            i,
            monitor,
            Series(
                tuple(name for name in features[i] if name not in texts),
                tuple(name for name in features[i] if name in texts),
                i == drifts[0][0],
            ),
        )
        for i, monitor in drifts
    ]


def performance_plan(pipeline: Watched) -> list[tuple[int, Performance]]:
    """Return the performance monitors with their numbers: one at most.

    Raises `DefinitionError` where there are two, and for a ranking by a model of several classes.
    """
    found = [(i, m) for i, m in enumerate(pipeline.monitors) if isinstance(m, Performance)]
    if len(found) > 1:
        raise DefinitionError("Performance: declared twice; write one with all slices")
    for _, monitor in found:
        if monitor.ranking is not None and pipeline.kind == "multiclass":
            raise DefinitionError(
                "Performance: a model of several classes has no one score to rank by; "
                "leave the ranking out"
            )
    return found
