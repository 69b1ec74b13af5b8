"""What a River model does, and what its labels look like."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from river import active, base, compose

from streamproc.errors import BadRecord, DefinitionError

Kind = Literal["binary", "multiclass", "regression", "anomaly"]

BINARY_CLASSES = (0, 1)
"""The classes where none are declared; the positive one is last."""


def kind_of(model: Any, classes: Sequence[Any] | None) -> Kind:
    """Return what a River model does, seen through pipelines and wrappers.

    ``classes`` are those that the labels declare, or None. A classifier is ``multiclass`` where
    there are more than two of them. Raises :class:`DefinitionError` for what is no such model.

    >>> from river import linear_model, preprocessing
    >>> kind_of(preprocessing.StandardScaler() | linear_model.LogisticRegression(), None)
    'binary'
    >>> kind_of(linear_model.LinearRegression(), None)
    'regression'
    """
    last = _estimator_of(model)
    kind: Kind
    if isinstance(last, base.Classifier):
        kind = "binary" if classes is None or len(classes) == 2 else "multiclass"
    elif isinstance(last, base.Regressor):
        kind = "regression"
    elif isinstance(last, base.AnomalyDetector | base.AnomalyFilter) and not last._supervised:
        kind = "anomaly"
    else:
        raise DefinitionError(f"model: {_why_not(last)}")
    if isinstance(last, _REFUSED):
        raise DefinitionError(f"model: {_why_not(last)}")
    _check_classes(last, kind, classes)
    return kind


_REFUSED = (
    base.MultiTargetRegressor,
    base.MultiLabelClassifier,
    active.base.ActiveLearningClassifier,
)


def _estimator_of(model: Any) -> Any:
    """Return the last step of a pipeline of pipelines; refuse what River didn't make."""
    if isinstance(model, type):
        raise DefinitionError(f"model: {model.__name__} is a class; write {model.__name__}()")
    if not isinstance(model, base.Estimator):
        raise DefinitionError(
            f"model: {type(model).__name__} is no River model; use a classifier, a regressor or an "
            "anomaly detector of River's"
        )
    last = last_step(model)
    if isinstance(last, compose.Pipeline):
        raise DefinitionError("model: the pipeline has no steps; end it with a model")
    return last


def last_step(model: Any) -> Any:
    """Return what a pipeline, or a pipeline of pipelines, ends in; anything else as it is."""
    while isinstance(model, compose.Pipeline) and model.steps:
        model = next(reversed(model.steps.values()))
    return model


def _why_not(last: Any) -> str:
    name = type(last).__name__
    if isinstance(last, base.SupervisedAnomalyDetector | base.AnomalyFilter):
        return (
            f"{name} scores the label, which is not known when an event is scored; use a detector "
            "that scores features alone, such as anomaly.HalfSpaceTrees"
        )
    if isinstance(last, base.MultiTargetRegressor | base.MultiLabelClassifier):
        return f"{name} learns several labels at once; use a model of one label"
    if isinstance(last, active.base.ActiveLearningClassifier):
        return f"{name} asks for the labels it wants, and here all come; use the model it wraps"
    if isinstance(last, base.Transformer):
        return f"{name} transforms and predicts nothing; end the pipeline with a model"
    return f"{name} is no classifier, regressor or anomaly detector; use one of these"


def _check_classes(last: Any, kind: Kind, classes: Sequence[Any] | None) -> None:
    if classes is None:
        return
    name = type(last).__name__
    if kind == "regression":
        raise DefinitionError(f"Labels: {name} predicts numbers; leave classes out")
    if len(classes) < 2:
        raise DefinitionError("Labels: classes needs at least two, such as (0, 1)")
    if len({str(each) for each in classes}) < len(classes):
        raise DefinitionError("Labels: two of the classes are written the same; make them differ")
    if kind == "anomaly" and len(classes) > 2:
        raise DefinitionError(f"Labels: {name} tells two classes apart; declare two")
    if kind == "multiclass" and not last._multiclass:
        raise DefinitionError(
            f"Labels: {name} tells two classes apart and there are {len(classes)}; "
            f"wrap it: multiclass.OneVsRestClassifier({name}())"
        )


def parse_label(kind: Kind, classes: Sequence[Any] | None, raw: Any) -> Any:
    """Return the label that a record holds: one of the classes, or a number for a regression.

    Raises :class:`BadRecord` for all else. Numbers that equal a class are that class, and so are
    true and false where the classes are 1 and 0.

    >>> parse_label("binary", None, True), parse_label("regression", None, 2.5)
    (1, 2.5)
    >>> parse_label("multiclass", ("cat", "dog", "owl"), "dog")
    'dog'
    """
    if kind == "regression":
        return _number(raw)
    if kind != "multiclass":
        classes = classes or BINARY_CLASSES
    if classes is None:
        if type(raw) in (str, int, bool):
            return raw
        raise BadRecord("label_not_valid", f"the label is {_said(raw)}; use text or an integer")
    if isinstance(raw, str | bool | int | float):
        truth = isinstance(raw, bool) and set(classes) != {0, 1}
        for each in classes:
            if each == raw and (not truth or each is raw):
                return each
    listed = ", ".join(str(each) for each in classes[:10])
    raise BadRecord("label_not_valid", f"the label is {_said(raw)}; the classes are {listed}")


def _number(raw: Any) -> float:
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        try:
            if math.isfinite(raw):
                return raw
        except OverflowError:  # an integer beyond what a float holds
            pass
    raise BadRecord("label_not_valid", f"the label is {_said(raw)}; use a finite number")


def _said(raw: Any) -> str:
    return "null" if raw is None else f"{type(raw).__name__} {raw!r:.40}"
