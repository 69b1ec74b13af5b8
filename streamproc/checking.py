"""Whether the features and monitors of a pipeline fit what else is declared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamproc.errors import DefinitionError
from streamproc.events import check_topic
from streamproc.features import Encoder, Feature, LabelWindow, Window
from streamproc.features.encode import check_order
from streamproc.monitors import DataQuality, Health, Monitor, OutcomeMonitor, Performance

if TYPE_CHECKING:
    from streamproc.pipeline import Pipeline


def check_features(pipeline: Pipeline) -> None:
    """Raise :class:`DefinitionError` where features can't be what was declared."""
    if not pipeline.features:
        raise DefinitionError("Pipeline: features is empty; declare at least Field('...')")
    seen: set[str] = set()
    for feature in pipeline.features:
        if not isinstance(feature, Feature):
            raise DefinitionError(
                f"Pipeline: features holds {feature!r:.60}; use Field, Calendar, Lookup, Window, "
                "LabelWindow or an encoder, such as Log"
            )
        if isinstance(feature, LabelWindow):
            _check_label_window(pipeline, feature)
        for name in feature.names:
            if name in seen:
                raise DefinitionError(f"Pipeline: feature {name!r} is declared twice; remove one")
            own = feature.value if isinstance(feature, Window) else name
            reads = feature.inputs if isinstance(feature, Encoder) else (own,)
            known = isinstance(feature, LabelWindow)  # only what was known before
            if pipeline.labels and pipeline.labels.value in reads and not known:
                raise DefinitionError(
                    f"Pipeline: feature {name!r} is the label itself, which is not known when an "
                    "event is scored; remove it"
                )
            seen.add(name)
    check_order(pipeline.features)


def _check_label_window(pipeline: Pipeline, feature: LabelWindow) -> None:
    where = f"LabelWindow(by={feature.by!r})"
    if pipeline.labels is None:
        raise DefinitionError(f"{where}: there are no labels; declare labels=Labels(...)")
    if pipeline.kind == "multiclass" and pipeline.classes is None:
        raise DefinitionError(
            f"{where}: which label is the positive one is not known; declare "
            "Labels(classes=(...)), with that one last"
        )


def check_monitors(pipeline: Pipeline) -> None:
    """Raise :class:`DefinitionError` where monitors can't watch what was declared."""
    topics = [pipeline.topics.events, pipeline.topics.labels, *pipeline.reaction_topics]
    for topic in pipeline.reaction_topics:
        check_topic("Reactions", topic)
        if topics.count(topic) > 1:
            raise DefinitionError(f"Reactions: topic {topic!r} is declared twice; use another")
    for once in (DataQuality, Health):
        if sum(isinstance(monitor, once) for monitor in pipeline.monitors) > 1:
            raise DefinitionError(f"Pipeline: {once.__name__} is declared twice; write one")
    for monitor in pipeline.monitors:
        if not isinstance(monitor, Monitor):
            raise DefinitionError(
                f"Pipeline: monitors holds {monitor!r:.60}; use Drift, PredictionBias, "
                "Calibration, LabelShift, ConceptDrift, Performance, DataQuality, Health or "
                "Reactions"
            )
        if isinstance(monitor, OutcomeMonitor | Performance) and pipeline.labels is None:
            raise DefinitionError(
                f"Pipeline: {type(monitor).__name__} compares predictions with labels; "
                "declare labels=Labels(...)"
            )
        baseline = getattr(monitor, "baseline", None)
        if isinstance(baseline, str) and baseline not in pipeline.feature_names:
            raise DefinitionError(
                f"Performance: baseline {baseline!r} is no feature that is declared; "
                "declare Field(...) for it, or write a function of the features"
            )
        unknown = set(getattr(monitor, "features", None) or ()) - set(pipeline.feature_names)
        if unknown:
            raise DefinitionError(
                f"Drift: feature {min(unknown)!r} is not declared; "
                f"choose from {', '.join(pipeline.numeric_features)}"
            )
