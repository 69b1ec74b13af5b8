"""A pipeline: where events and labels come from, what is computed, learnt and watched.

One Python file defines one; nothing else is needed to run it, backtest it or draw it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import runpy
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any, Literal, get_args

from streamproc.checking import check_features, check_monitors
from streamproc.errors import DefinitionError
from streamproc.events import Events, Labels, check_topic, listed
from streamproc.eventtime import parse_duration_ms
from streamproc.features import (
    Encoder,
    Feature,
    FeatureSet,
    Field,
    Hashed,
    HashedWords,
    LabelWindow,
    Lookup,
    Window,
    type_of,
)
from streamproc.features.lookup import check_lookups, topics_of
from streamproc.features.shared import Shared, check_names, flattened
from streamproc.models.kinds import BINARY_CLASSES
from streamproc.models.scoring import Kind, kind_of
from streamproc.models.seeds import seeded
from streamproc.monitors import (
    DataQuality,
    Drift,
    Health,
    Monitor,
    Performance,
    Reactions,
)
from streamproc.monitors.budget import FalseAlarms

Late = Literal["score", "dead_letter"]
_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")


@dataclass(frozen=True)
class Topics:
    """The names of all topics of a pipeline: the user's two, and those it owns."""

    events: str
    labels: str | None
    predictions: str
    outcomes: str
    models: str
    alerts: str
    dead_letters: str
    late: str
    journal: str
    learn: str
    buckets: str
    operations: str
    rekeyed: str
    windows: str
    metrics: str


@dataclass(frozen=True)
class Pipeline:
    """What runs: checked when it is made, so that a mistake is told before anything connects.

    ``lateness`` is how far behind the newest event an event may come and still enter the windows,
    ``late`` what becomes of later ones: ``"score"``, or ``"dead_letter"``,
    ``threshold`` the score from which a decision is yes, ``publish_every`` how many outcomes the
    model learns from between two published versions, ``seed`` what models without a seed of their
    own are given, ``false_alarms`` how many of them are expected over everything that is watched.
    Raises :class:`DefinitionError`, which names the field and the remedy.

    >>> from river import linear_model
    >>> Pipeline(
    ...     name="demo",
    ...     events=Events("demo.events", id="id", key="card", time="at"),
    ...     features=[Field("amount")],
    ...     model=linear_model.LogisticRegression(),
    ... ).topics.predictions
    'demo.predictions'
    """

    name: str
    events: Events
    features: Sequence[Feature]
    model: Any
    labels: Labels | None = None
    monitors: Sequence[Monitor] = ()
    threshold: float = 0.5
    lateness: str = "1h"
    late: Late = "score"
    publish_every: int = 1000
    seed: int = 7
    false_alarms: str = "1 per 30d"
    shared: tuple[Shared, ...] = dataclasses.field(init=False, repr=False, compare=False)
    """Which of the features are shared, for the catalogue; ``features`` has them all, by itself."""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise DefinitionError(
                f"Pipeline: name {self.name!r} must be lower-case letters, digits and hyphens, "
                "beginning with a letter; it begins the names of the topics"
            )
        for field, wanted in (("events", Events), ("labels", Labels | None)):
            if not isinstance(getattr(self, field), wanted):
                raise DefinitionError(
                    f"Pipeline: {field} must be made by {field.capitalize()}(...)"
                )
        given = listed(self.features)
        shared = tuple(each for each in given if isinstance(each, Shared))
        check_names(shared)
        object.__setattr__(self, "shared", shared)
        object.__setattr__(self, "features", flattened(given))
        object.__setattr__(self, "monitors", listed(self.monitors))
        check_features(self)
        check_monitors(self)
        if type(self.publish_every) is not int or self.publish_every < 1:
            raise DefinitionError(
                "Pipeline: publish_every must be a whole number of outcomes, >= 1"
            )
        if type(self.threshold) not in (int, float) or not isfinite(self.threshold):
            raise DefinitionError("Pipeline: threshold must be a number, such as 0.5")
        parse_duration_ms(self.lateness, "Pipeline, lateness")
        if self.late not in get_args(Late):
            raise DefinitionError(
                f"Pipeline: late must be 'score' or 'dead_letter', not {self.late!r:.40}"
            )
        if type(self.seed) is not int or not 0 <= self.seed < 1 << 31:
            raise DefinitionError("Pipeline: seed must be a whole number, such as 7")
        self.budget  # noqa: B018  and false alarms that are not understood
        self.kind  # noqa: B018  a model that is none is told here
        if self.labels is not None and self.labels.topic == self.events.topic:
            raise DefinitionError("Labels: topic must be another one than that of the events")
        for lookup in self.lookups:
            check_topic("Lookup", lookup.topic)
        if self.lookups:
            check_lookups(self.features, dataclasses.astuple(self.topics))

    @classmethod
    def load(cls, path: str | Path) -> Pipeline:
        """Run a pipeline file and return the pipeline in its variable ``pipeline``.

        The file may import modules that lie beside it, such as one of shared features. Raises
        :class:`DefinitionError` where there is no such file, or it fails, or defines none.
        """
        if not Path(path).is_file():
            raise DefinitionError(
                f"{path}: no such file; name a Python file that defines `pipeline`"
            )
        beside = str(Path(path).resolve().parent)
        if beside not in sys.path:
            sys.path.append(beside)  # last: what lies there hides nothing that is installed
        try:
            found = runpy.run_path(str(path)).get("pipeline")
        except DefinitionError as error:
            raise DefinitionError(f"{path}: {error}") from error
        except (Exception, SystemExit) as error:  # the user's own code: whatever it does, say where
            raise DefinitionError(f"{path}{_line_of(error, path)}: {_brief(error)}") from error
        if not isinstance(found, cls):
            raise DefinitionError(f"{path}: defines no `pipeline = Pipeline(...)`; add it")
        return found

    @cached_property
    def topics(self) -> Topics:
        """The names of all its topics."""
        owned = {
            name: f"{self.name}.{name.replace('_', '-')}"
            for name in Topics.__dataclass_fields__
            if name not in ("events", "labels")
        }
        labels = self.labels.topic if self.labels else None
        return Topics(events=self.events.topic, labels=labels, **owned)

    @cached_property
    def kind(self) -> Kind:
        """What the model does: ``binary``, ``multiclass``, ``regression`` or ``anomaly``."""
        return kind_of(self.model, self.classes)

    @property
    def classes(self) -> tuple[Any, ...] | None:
        """What a label can be, where it was declared."""
        return self.labels.classes if self.labels else None

    @property
    def horizon_ms(self) -> int:
        """How long a prediction waits for its label, in event time; 0 where it waits for none."""
        return self.labels.horizon_ms if self.labels else 0

    def label_number(self, label: Any) -> float:
        """Return what a label counts as in windows: 1 where it is the positive class, or itself."""
        if self.kind == "regression":
            return float(label)
        return float(label == (self.classes or BINARY_CLASSES)[-1])

    @cached_property
    def learns(self) -> bool:
        """Whether the model learns: from labels, or, an anomaly detector, from what it scored."""
        return self.labels is not None or self.kind == "anomaly"

    @cached_property
    def lateness_ms(self) -> int:
        """How far behind the newest event an event may come and still enter the windows."""
        return parse_duration_ms(self.lateness)

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """The names of all features, in the order declared."""
        return tuple(name for feature in self.features for name in feature.names)

    @cached_property
    def numeric_features(self) -> tuple[str, ...]:
        """The features a drift monitor watches by default: numbers, but for clock and hashes."""
        return tuple(
            name
            for feature in self.features
            if isinstance(feature, Window | LabelWindow)
            or (isinstance(feature, Encoder) and not isinstance(feature, Hashed | HashedWords))
            or isinstance(feature, Field | Lookup)
            for name in feature.names
            if type_of(feature, name) in ("number", "bool")
        )

    @cached_property
    def categorical_features(self) -> tuple[str, ...]:
        """The texts a drift monitor watches by default."""
        return tuple(
            name
            for feature in self.features
            if isinstance(feature, Field | Lookup)
            for name in feature.names
            if type_of(feature, name) == "text"
        )

    @cached_property
    def budget(self) -> FalseAlarms:
        """How many false alarms are expected over everything that is watched."""
        return FalseAlarms.parse(self.false_alarms)

    @cached_property
    def lookups(self) -> tuple[Lookup, ...]:
        """What is looked up, in the order declared."""
        return tuple(each for each in self.features if isinstance(each, Lookup))

    @cached_property
    def lookup_topics(self) -> tuple[str, ...]:
        """The topics that are looked up in, each once."""
        return topics_of(self.lookups)

    @property
    def reports(self) -> bool:
        """Whether reports of performance are made, which have a topic of their own."""
        return any(isinstance(monitor, Performance) for monitor in self.monitors)

    @cached_property
    def slice_fields(self) -> tuple[str, ...]:
        """The fields of the event that monitors slice by, or group."""
        return _fields_of(self.monitors)

    @cached_property
    def drift_slice_fields(self) -> tuple[str, ...]:
        """Those that predictions are sliced by, or that name producers; a header has them."""
        fields = _fields_of([each for each in self.monitors if isinstance(each, Drift)])
        return tuple(dict.fromkeys((*fields, *self.producer_fields)))

    @cached_property
    def producer_fields(self) -> tuple[str, ...]:
        """The fields of the event that name whose clock it is dated by, where that is watched."""
        quality = (each for each in self.monitors if isinstance(each, DataQuality))
        return tuple(each.producer for each in quality if each.producer is not None)

    @cached_property
    def made_of(self) -> dict[str, tuple[str, ...]]:
        """The event's fields that a feature's values come from, by its name; () where from none."""
        found: dict[str, tuple[str, ...]] = {}
        for each in self.features:
            if isinstance(each, Window):
                aggregates = each.aggregates * len(each.spans_ms)
                for name, aggregate in zip(each.names, aggregates, strict=True):
                    found[name] = () if aggregate == "count" else (each.value,)
            elif isinstance(each, Encoder):
                of = (found.get(name, (name,)) for name in each.inputs)
                fields = tuple(dict.fromkeys(field for fields in of for field in fields))
                found |= dict.fromkeys(each.names, fields)
            else:
                found |= {n: (n,) if isinstance(each, Field) else () for n in each.names}
        return found

    @cached_property
    def number_fields(self) -> tuple[str, ...]:
        """The features that are numbers of the event, as they stand."""
        fields = (each for each in self.features if isinstance(each, Field))
        return tuple(each.name for each in fields if each.type == "number")

    @cached_property
    def ranges(self) -> dict[str, tuple[float | None, float | None]]:
        """The least and the most of the fields that declare one."""
        fields = (each for each in self.features if isinstance(each, Field))
        return {each.name: each.range for each in fields if each.range != (None, None)}

    @cached_property
    def categories(self) -> dict[str, tuple[str, ...] | None]:
        """The texts of the event, with the values of those that declare them."""
        fields = (each for each in self.features if isinstance(each, Field))
        return {
            each.name: None if each.values is None else tuple(each.values)
            for each in fields
            if each.type == "text"
        }

    @cached_property
    def reaction_topics(self) -> tuple[str, ...]:
        """The topics of reactions, in the order declared."""
        return tuple(each.topic for each in self.monitors if isinstance(each, Reactions))

    @cached_property
    def watches_quality(self) -> bool:
        """Whether what comes in is watched: late events and dead letters are counted, too."""
        return any(isinstance(monitor, DataQuality) for monitor in self.monitors)

    @cached_property
    def watches_health(self) -> bool:
        """Whether workers and the learner tell the judge how they are."""
        return any(isinstance(monitor, Health) for monitor in self.monitors)

    def warmup_ms(self, feature: str) -> int:
        """How long after the first event a feature's windows have filled: its longest span."""
        for declared in self.features:
            if isinstance(declared, Window | LabelWindow) and feature in declared.names:
                return max(declared.spans_ms)
            if isinstance(declared, Encoder) and feature in declared.names:
                return max(self.warmup_ms(name) for name in declared.inputs)
        return 0

    def new_features(
        self, track: bool = False, rekeyed: Sequence[tuple[str, ...]] = ()
    ) -> FeatureSet:
        """Return empty windows and readers for one partition.

        See ``KeyedWindow`` for ``track``; ``rekeyed`` are the entities of windows left out.
        """
        events = self.events
        return FeatureSet(self.features, events.time, self.lateness_ms, track, events.key, rekeyed)

    def rekeyed(self, partitions: int) -> tuple[tuple[str, ...], ...]:
        """Return the entities whose windows can't be computed where an event is scored.

        With several partitions those are all but the key: each partition has some of their events.
        """
        if partitions == 1:
            return ()
        windows = [each for each in self.features if isinstance(each, Window | LabelWindow)]
        own = (self.events.key,)
        return tuple(dict.fromkeys(each.entity for each in windows if each.entity != own))

    def new_model(self) -> Any:
        """Return a model that has learnt nothing here, with a seed wherever it takes one."""
        return seeded(self.model, self.seed)

    @cached_property
    def learns_what(self) -> str:
        """Twelve hex digits that change when the model does, or what it learns from."""
        parts = (self.features, self.model, self.kind, self.classes, self.seed)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hex digits that change when the definition does."""
        parts = (self.name, self.events, self.labels, self.features, self.monitors, self.model)
        rest = (self.threshold, self.lateness, self.publish_every, self.seed)
        asked: tuple[str, ...] = (
            () if self.late == "score" else (self.late,)
        )  # else as before there was a choice
        asked += () if self.false_alarms == "1 per 30d" else (self.false_alarms,)
        return hashlib.sha256(repr((*parts, *rest, *asked)).encode()).hexdigest()[:12]


def _fields_of(monitors: Sequence[Monitor]) -> tuple[str, ...]:
    fields: dict[str, None] = {}
    for monitor in monitors:
        for declared in getattr(monitor, "slices", ()):
            fields |= dict.fromkeys((declared,) if isinstance(declared, str) else declared)
        ranking = getattr(monitor, "ranking", None)
        fields |= dict.fromkeys((ranking.group,) if ranking else ())
    return tuple(fields)


def _line_of(error: BaseException, path: str | Path) -> str:
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}"
    lines, trace = "", error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            lines = f", line {trace.tb_lineno}"
        trace = trace.tb_next
    return lines


def _brief(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"not valid Python: {error.msg}"
    return f"{type(error).__name__}: {error}"
