"""Scoring and learning with a River model, one event at a time.

Scoring is the hot path: what can be known of the model when it is taken up is decided then, and
``score`` is a function made for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from math import isfinite
from typing import Any

from river import base

from streamproc.errors import BadRecord
from streamproc.messages import Features, Score
from streamproc.models.fused import FusedLearner, fused_score
from streamproc.models.kinds import BINARY_CLASSES, Kind, kind_of, last_step, parse_label
from streamproc.models.parts import parts_of
from streamproc.models.versions import dumps, loads

__all__ = ["Kind", "Learner", "Scorer", "has_learnt", "kind_of", "parse_label"]

Scored = tuple[Score, Any]
"""A score, and the decision that follows from it."""

MODEL_FAILURES = ("model_failed", "model_not_finite")
"""Why an event with good features has no prediction."""

ScoreOne = Callable[[Features], Scored]


class Scorer:
    """Scores features with one version of a model.

    ``classes`` are those of the labels (0 and 1 where None), the positive one of two last;
    ``threshold`` is the score from which a decision is yes; ``name`` is the version's,
    ``<variant>@<version>``. The model is taken as it is: what it learns later may not be seen.
    A classifier that has ``learnt`` nothing scores 0.5, or the same for every class, whatever
    River says; where not told, that is version 0 of a model that differs in nothing from a new one.

    >>> from river import linear_model
    >>> model = linear_model.LogisticRegression()
    >>> Scorer(model, "binary", None, 0.5, "main@0").score({"amount": 3.0})
    (0.5, True)
    """

    def __init__(
        self,
        model: Any,
        kind: Kind,
        classes: Sequence[Any] | None,
        threshold: float,
        name: str,
        learnt: bool | None = None,
    ) -> None:
        self.model = model
        self.name = name
        if learnt is None:
            learnt = not name.endswith("@0") or has_learnt(model)
        self.score = _score_one(model, kind, classes, threshold, learnt)
        """Return the score of some features and the decision that follows from it.

        Null features are left out of what the model gets. Raises :class:`BadRecord` where the
        model fails or says something that is no finite number.
        """


def has_learnt(model: Any) -> bool:
    """Say whether a model differs from one newly made with the same parameters.

    >>> from river import linear_model
    >>> model = linear_model.LogisticRegression()
    >>> has_learnt(model)
    False
    >>> model.learn_one({"amount": 3.0}, True)
    >>> has_learnt(model)
    True
    """
    try:
        return dumps(model) != dumps(model.clone())
    except Exception:  # it can't be compared: what River says is as good
        return True


def _score_one(
    model: Any, kind: Kind, classes: Sequence[Any] | None, threshold: float, learnt: bool
) -> ScoreOne:
    if kind == "regression":
        return _number_scorer(fused_score(model, kind, model.predict_one), lambda value: None)
    if kind == "anomaly":
        return _number_scorer(model.score_one, _verdict(model, threshold))
    if kind == "binary":
        if not learnt:
            nothing: Scored = (0.5, threshold <= 0.5)
            return lambda features: nothing
        return _binary_scorer(model, threshold)
    named = {each: str(each) for each in classes or ()}
    if not learnt:
        return lambda features: _uniform(named)
    return _multiclass_scorer(model, named)


def _verdict(model: Any, threshold: float) -> Callable[[float], bool]:
    """Return what decides on an anomaly score: a filter's own rule, or the threshold."""
    last = last_step(model)
    if isinstance(last, base.AnomalyFilter):
        classify = last.classify
        return lambda score: bool(classify(score))
    return lambda score: score >= threshold


def _number_scorer(
    predict: Callable[[Features], Any], decide: Callable[[float], bool | None]
) -> ScoreOne:
    def score_one(features: Features) -> Scored:
        for value in features.values():
            if value is None:
                features = _without_nulls(features)
                break
        try:
            says = predict(features)
            score = 0.0 if says is None else float(says)
        except Exception as error:  # the model's own code, on whatever it was given
            raise _failed(error) from error
        if isfinite(score):
            return score, decide(score)
        raise _not_finite(score)

    return score_one


def _binary_scorer(model: Any, threshold: float) -> ScoreOne:
    probabilities = _probabilities(model)

    def of_river(features: Features) -> float:
        says = probabilities(features)
        return float(says[True] if True in says else _silent(says))

    probability = fused_score(model, "binary", of_river)

    def score_one(features: Features) -> Scored:
        for value in features.values():
            if value is None:
                features = _without_nulls(features)
                break
        try:
            score = probability(features)
        except Exception as error:  # the model's own code, on whatever it was given
            raise _failed(error) from error
        if isfinite(score):
            return score, score >= threshold
        raise _not_finite(score)

    return score_one


def _multiclass_scorer(model: Any, named: dict[Any, str]) -> ScoreOne:
    probabilities = _probabilities(model)

    def score_one(features: Features) -> Scored:
        for value in features.values():
            if value is None:
                features = _without_nulls(features)
                break
        try:
            says = probabilities(features)
            classes = named or {each: str(each) for each in says}
            scores = {name: float(says.get(each, 0.0)) for each, name in classes.items()}
        except Exception as error:  # the model's own code, on whatever it was given
            raise _failed(error) from error
        if not says:
            return _uniform(named)
        for score in scores.values():
            if not isfinite(score):
                raise _not_finite(score)
        return scores, max(classes, key=lambda each: scores[classes[each]])

    return score_one


def _probabilities(model: Any) -> Callable[[Features], dict[Any, float]]:
    """Return the model's ``predict_proba_one``; where it has none, all goes to what it predicts."""

    def predict(features: Features) -> dict[Any, float]:
        try:
            says: dict[Any, float] = model.predict_proba_one(features)
            return says
        except NotImplementedError:
            says_one = model.predict_one(features)
            return {} if says_one is None else {says_one: 1.0}

    last = last_step(model)
    if isinstance(last, base.Wrapper) or not _overridden(last):
        return predict
    own: Callable[[Features], dict[Any, float]] = model.predict_proba_one
    return own


def _overridden(model: Any) -> bool:
    return type(model).predict_proba_one is not base.Classifier.predict_proba_one


def _silent(says: dict[Any, float]) -> float:
    """Return the probability of a class that the model didn't name: 0.5 where it named none."""
    return 0.0 if says else 0.5


def _uniform(named: dict[Any, str]) -> Scored:
    share = 1.0 / len(named) if named else 0.0
    return dict.fromkeys(named.values(), share), next(iter(named), None)


def _without_nulls(features: Features) -> Features:
    return {name: value for name, value in features.items() if value is not None}


def _failed(error: Exception) -> BadRecord:
    said = " ".join(str(error).split())[:200]
    return BadRecord("model_failed", f"{type(error).__name__}: {said}")


def _not_finite(score: float) -> BadRecord:
    return BadRecord("model_not_finite", f"the model's score is {score}")


class Learner:
    """Learns from features and their labels; ``outcomes`` counts what was learnt from.

    The model that it was made with may lag behind until it is asked for as :attr:`model`. ``allow``
    names what else than River's own the model is made of; see ``versions.loads``.

    >>> from river import linear_model
    >>> learner = Learner(linear_model.LogisticRegression(), "binary", None)
    >>> learner.learn({"amount": 3.0, "age": None}, 1)
    >>> learner.outcomes
    1
    """

    def __init__(
        self,
        model: Any,
        kind: Kind,
        classes: Sequence[Any] | None,
        allow: Collection[str] = (),
    ) -> None:
        self._allow = allow
        self.kind = kind
        self.classes = tuple(classes) if classes else None
        self.outcomes = 0
        self._go_on_with(model)
        classes = self.classes or (BINARY_CLASSES if kind == "binary" else ())
        # What most labels are, ready for River; by type too, as 1 == True == 1.0.
        self._targets = {(type(each), each): self._target(each) for each in classes}

    def _go_on_with(self, model: Any) -> None:
        self._model = model
        self._parts = parts_of(model, self.kind)
        self._fused: FusedLearner | None = None

    @property
    def model(self) -> Any:
        """The model, with all that was learnt in it."""
        if self._fused is not None:
            self._fused.give_back()
            self._fused = None  # whoever asked may change the model
        return self._model

    def _target(self, label: Any) -> Any:
        """Return a label as River is to get it; raise :class:`BadRecord` where it doesn't fit."""
        label = parse_label(self.kind, self.classes, label)
        if self.kind == "binary":
            return bool(label == (self.classes or BINARY_CLASSES)[-1])
        return float(label) if self.kind == "regression" else label

    def learn(self, features: Features, label: Any) -> None:
        """Learn from one outcome; an anomaly detector leaves the label aside.

        Raises :class:`BadRecord` for a label that doesn't fit, of which nothing is learnt, and
        where the model fails.
        """
        for value in features.values():
            if value is None:
                features = _without_nulls(features)
                break
        if self.kind == "anomaly":
            target: tuple[Any, ...] = ()
        else:
            try:
                target = (self._targets[type(label), label],)
            except (KeyError, TypeError):  # another number of the same value, or no label at all
                target = (self._target(label),)
        if self._parts is not None:
            if self._fused is None:
                self._fused = FusedLearner(self._parts)
            if self._fused.learn(features, *target):
                self.outcomes += 1
                return
        try:
            # A copy: some models keep what they learn from.
            self.model.learn_one(dict(features), *target)
        except Exception as error:  # the model's own code, on whatever it was given
            raise _failed(error) from error
        self.outcomes += 1

    def snapshot(self) -> bytes:
        """Return the model's bytes, and go on with the model that is in them.

        A learner that is restored from these bytes then learns on as this one does, to the bit:
        what pickle doesn't keep, such as the order inside a set, is lost for both. Raises
        :class:`StreamprocError` where the model cannot be stored, and keeps it.
        """
        blob = dumps(self.model)
        self._go_on_with(loads(blob, self._allow))
        return blob

    def go_back(self, blob: bytes, outcomes: int) -> None:
        """Go on with the model in some bytes, which learnt from so many outcomes."""
        self._go_on_with(loads(blob, self._allow))
        self.outcomes = outcomes
