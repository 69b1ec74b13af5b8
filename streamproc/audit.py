"""Past predictions, made again from the log and the published models: what an auditor asks for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from streamproc.codec import Codec
from streamproc.features import LabelWindow, Window
from streamproc.features.lookup_tables import NamedRows
from streamproc.features.spans import begin_ms
from streamproc.messages import Features
from streamproc.models.scoring import Scorer
from streamproc.pipeline import Pipeline
from streamproc.tasks.intake import Event
from streamproc.tasks.records import Record
from streamproc.tasks.replaying import Step, replayed
from streamproc.tasks.score import ScoreTask

ANY_TIME_MS = 1 << 62
END: Step = (1 << 62, 1 << 62)
"""The step that takes all there is, merged by time."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """An event as it was scored: its place in the log, and the features that come of the log.

    ``gone`` names the rows that were looked up for it and are not on their topic any more.
    """

    id: str
    key: str
    time_ms: int
    offset: int
    late: bool
    fields: Mapping[str, Any]
    features: Features
    gone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Explained:
    """A published prediction beside what is rebuilt; ``rebuilt`` is None where no event is found.

    ``score`` and ``decision`` are those of the model it names, on the rebuilt features. ``windows``
    says, by window feature, which offsets were in it.
    """

    prediction: Mapping[str, Any]
    rebuilt: Rebuilt | None
    score: Any = None
    decision: Any = None
    windows: Mapping[str, list[int]] = field(default_factory=dict)

    @property
    def differences(self) -> list[str]:
        """What differs, by name; empty where all is equal to the bit.

        >>> said = {"features": {"x": 1.0}, "score": 0.5, "decision": True}
        >>> event = Rebuilt("a", "k", 0, 0, False, {}, {"x": 2.0})
        >>> Explained(said, event, 0.5, True).differences
        ['x']
        """
        if self.rebuilt is None:
            return ["event"]
        said, found = self.prediction["features"], self.rebuilt.features
        names = [name for name in {**said, **found} if not same(said.get(name), found.get(name))]
        if not same(self.prediction["score"], self.score):
            names.append("score")
        if not same(self.prediction["decision"], self.decision):
            names.append("decision")
        return names


def same(said: Any, found: Any) -> bool:
    """Say whether two values are the same to the bit; 1, 1.0 and True are three.

    >>> same(0.1 + 0.2, 0.3), same(1, 1.0), same({"a": 1.0}, {"a": 1.0})
    (False, False, True)
    """
    if isinstance(said, dict) and isinstance(found, dict):
        return said.keys() == found.keys() and all(same(said[each], found[each]) for each in said)
    return type(said) is type(found) and said == found


def rebuild(
    pipeline: Pipeline,
    codec: Codec,
    events: Iterable[Record],
    labels: Iterable[Record] = (),
    steps: Iterable[Step] = (END,),
    unscored: Collection[str] = (),
    rows: NamedRows | None = None,
    partitions: int = 1,
    predictions: Mapping[str, Mapping[str, Any]] | None = None,
) -> Iterator[Rebuilt]:
    """Yield what a partition's events were when they were scored, from the log's beginning on.

    What was a dead letter is one again, and is left out. For windows over labels it takes the
    ``labels``, the ``steps`` that the journal says the log was consumed in, and the ids of events
    that entered windows but were not scored: their labels did not. ``rows`` are those that were
    looked up; without, nothing is found. With several ``partitions``, windows by another entity
    than the key have records of all of them: what they said is taken from the ``predictions``.
    """
    task = ScoreTask(pipeline, 0, codec, partitions=partitions)
    rekeyed = rekeyed_names(pipeline, partitions)

    def elsewhere(event_id: str) -> Features:
        said = (predictions or {}).get(event_id, {}).get("features", {})
        return {name: said.get(name) for name in rekeyed}

    task.elsewhere = elsewhere
    over_labels = bool(task.features.over_labels)
    found = rows or NamedRows(pipeline.lookups, {}, {})
    task.look_up(found.find)

    def published(event: Event) -> bytes | None:
        found.begin(event.id)
        return b"" if over_labels and event.id not in unscored else None

    for event, features, late in replayed(task, events, labels, published, steps, ANY_TIME_MS):
        place = (event.id, event.key, event.time_ms, event.record.offset())
        yield Rebuilt(*place, late, event.fields, features, tuple(found.gone))


def rekeyed_names(pipeline: Pipeline, partitions: int) -> list[str]:
    """Return the features that are not computed where an event is scored."""
    entities = pipeline.rekeyed(partitions)
    windows = [each for each in pipeline.features if isinstance(each, Window | LabelWindow)]
    return [name for each in windows if each.entity in entities for name in each.names]


def verify(
    predictions: Mapping[str, Mapping[str, Any]],
    rebuilt: Iterable[Rebuilt],
    scorer_of: Callable[[str], Scorer],
) -> Iterator[Explained]:
    """Yield each prediction, by id, beside its event rebuilt; those without an event at the end."""
    left = dict(predictions)
    for event in rebuilt:
        prediction = left.pop(event.id, None)
        if prediction is not None:
            score, decision = scorer_of(prediction["model"]).score(event.features)
            yield Explained(prediction, event, score, decision)
    for prediction in left.values():
        yield Explained(prediction, None)


def explain(
    pipeline: Pipeline,
    prediction: Mapping[str, Any],
    rebuilt: Iterable[Rebuilt],
    scorer_of: Callable[[str], Scorer],
    partitions: int = 1,
) -> Explained:
    """Return one prediction beside its event, and which records were in each of its windows.

    Those of windows that have records of several ``partitions`` are not listed.
    """
    own: list[Rebuilt] = []
    rekeyed = pipeline.rekeyed(partitions)
    windows = [
        feature
        for feature in pipeline.features
        if isinstance(feature, Window) and feature.entity not in rekeyed
    ]
    by_key = all(window.by == pipeline.events.key for window in windows)
    for event in rebuilt:
        if by_key and event.key != prediction["key"]:
            continue
        if event.id == prediction["id"]:
            score, decision = scorer_of(prediction["model"]).score(event.features)
            held = _windows(windows, event, own)
            return Explained(prediction, event, score, decision, held)
        own.append(event)
    return Explained(prediction, None)


def _windows(
    windows: Sequence[Window], event: Rebuilt, before: list[Rebuilt]
) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for feature in windows:
        kinds = len(feature.aggregates)
        own = _entity(feature, event)
        inside = [each for each in before if not each.late and _entity(feature, each) == own]
        inside.append(event)
        for i, span_ms in enumerate(feature.spans_ms):
            begin = begin_ms(event.time_ms, span_ms, feature.every_ms)
            held = [
                each.offset
                for each in inside
                if begin <= each.time_ms <= event.time_ms
                and each.fields.get(feature.value) is not None
            ]
            for name in feature.names[i * kinds : (i + 1) * kinds]:
                found[name] = held
    return found


def _entity(window: Window, event: Rebuilt) -> list[str]:
    return [str(event.fields.get(name)) for name in window.entity]
