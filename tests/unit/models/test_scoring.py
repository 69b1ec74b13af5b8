"""Scores, decisions, labels and kinds, one model of each kind and what can go wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from river import (
    active,
    anomaly,
    base,
    cluster,
    compose,
    linear_model,
    multiclass,
    multioutput,
    neighbors,
    preprocessing,
    tree,
)

from streamproc.errors import BadRecord, DefinitionError, StreamprocError
from streamproc.messages import Features
from streamproc.models.kinds import Kind
from streamproc.models.scoring import Learner, Scorer, kind_of, parse_label
from streamproc.models.versions import loads

GAUSSIAN: Any = anomaly.GaussianScorer
COLOURS = ("red", "green", "blue")


class Says(base.Classifier, base.Regressor):
    """A model that says what it was told to, and remembers what it was given."""

    def __init__(self, says: Any = None) -> None:
        self.says = says
        self.given: list[Any] = []

    def learn_one(self, x: Any, y: Any = None) -> None:
        """Remember."""
        self.given.append((x, y))

    def predict_one(self, x: Any, **kwargs: Any) -> Any:
        """Answer, or raise."""
        self.given.append(x)
        if isinstance(self.says, Exception):
            raise self.says
        return self.says

    def predict_proba_one(self, x: Any, **kwargs: Any) -> Any:
        """Answer, or raise."""
        return self.predict_one(x)

    score_one = predict_one


class Decides(base.Classifier):
    """A classifier without probabilities."""

    def __init__(self, says: Any = None) -> None:
        self.says = says

    def learn_one(self, x: Any, y: Any) -> None:
        """Learn nothing."""

    def predict_one(self, x: Any, **kwargs: Any) -> Any:
        """Answer."""
        return self.says


def _score(model: Any, kind: Kind, classes: Any = None, threshold: float = 0.5) -> Any:
    return Scorer(model, kind, classes, threshold, "main@1").score({"amount": 1.0})


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ({True: 0.7, False: 0.3}, (0.7, True)),
        ({True: 0.5, False: 0.5}, (0.5, True)),
        ({True: 0.49}, (0.49, False)),
        ({False: 1.0}, (0.0, False)),
        ({}, (0.5, True)),
    ],
)
def test_a_binary_score_is_the_positive_class(says: Any, expected: Any) -> None:
    """The score is the probability of True; a model that names no class has no opinion."""
    assert expected == _score(Says(says), "binary")


@pytest.mark.parametrize(("says", "expected"), [(True, 1.0), (False, 0.0), (None, 0.5)])
def test_a_classifier_without_probabilities_is_sure(says: Any, expected: float) -> None:
    """All the probability goes to what it predicts, also from inside a pipeline."""
    assert expected == _score(Decides(says), "binary")[0]
    assert expected == _score(preprocessing.StandardScaler() | Decides(says), "binary")[0]
    wrapped = Decides("red" if says else None)
    scores, decision = _score(wrapped, "multiclass", COLOURS)
    assert (1.0 if says else 1 / 3) == scores["red"]
    assert decision == "red"


def test_the_threshold_decides() -> None:
    """A decision is yes from the threshold on, for classifiers and for anomaly detectors."""
    assert not _score(Says({True: 0.29}), "binary", None, 0.3)[1]
    assert _score(Says({True: 0.3}), "binary", None, 0.3)[1]
    assert not _score(Says(1.99), "anomaly", None, 2.0)[1]
    assert _score(Says(2.0), "anomaly", None, 2.0)[1]


def test_multiclass_scores_name_every_class() -> None:
    """Each declared class has a probability; the most probable is decided on, ties by order."""
    assert _score(Says({"blue": 0.6, "red": 0.4}), "multiclass", COLOURS) == (
        {"red": 0.4, "green": 0.0, "blue": 0.6},
        "blue",
    )
    assert _score(Says({2: 0.4, 1: 0.4, 3: 0.2}), "multiclass", (1, 2, 3)) == (
        {"1": 0.4, "2": 0.4, "3": 0.2},
        1,
    )


def test_a_regression_has_no_decision() -> None:
    """A regression scores a float of Python's, whatever number the model returns."""
    score, decision = _score(Says(3), "regression")
    assert (3.0, float, None) == (score, type(score), decision)
    assert _score(Says(None), "regression") == (0.0, None)


def test_a_classifier_that_learnt_nothing_is_uniform() -> None:
    """Whatever River says, version 0 of a new model scores the same for every class."""
    assert Scorer(Decides(True), "binary", None, 0.5, "main@0").score({}) == (0.5, True)
    assert Scorer(Decides(True), "binary", None, 0.6, "main@0").score({}) == (0.5, False)
    third = dict.fromkeys(COLOURS, 1 / 3)
    assert Scorer(Decides("blue"), "multiclass", COLOURS, 0.5, "main@0").score({}) == (third, "red")


def test_a_model_that_came_with_knowledge_uses_it() -> None:
    """Version 0 of a model that was trained in the pipeline's file scores what it knows."""
    model: Any = linear_model.LogisticRegression()
    for _ in range(50):
        model.learn_one({"amount": 1.0}, True)
    score, _ = Scorer(model, "binary", None, 0.5, "main@0").score({"amount": 1.0})
    assert score == model.predict_proba_one({"amount": 1.0})[True] > 0.5


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression", "anomaly"])
def test_null_features_are_left_out(kind: Kind) -> None:
    """The model gets what is there, and what was handed in keeps its nulls."""
    says = {"binary": {True: 0.5}, "multiclass": {"red": 1.0}}.get(kind, 1.0)
    model = Says(says)
    features: Features = {"amount": 1.0, "age": None}
    Scorer(model, kind, COLOURS, 0.5, "main@1").score(features)
    assert model.given == [{"amount": 1.0}]
    assert features == {"amount": 1.0, "age": None}


def test_no_copy_where_nothing_is_null() -> None:
    """On the hot path the model gets the very dictionary."""
    model = Says(1.0)
    features: Features = {"amount": 1.0}
    Scorer(model, "regression", None, 0.5, "main@1").score(features)
    assert model.given[0] is features


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression", "anomaly"])
def test_a_score_is_finite_or_told_of(kind: Kind, bad: float) -> None:
    """A score that is no finite number becomes a dead letter, not a prediction."""
    says: Any = {"binary": {True: bad}, "multiclass": {"red": bad, "blue": 0.1}}.get(kind, bad)
    with pytest.raises(BadRecord) as told:
        _score(Says(says), kind, COLOURS)
    assert told.value.reason == "model_not_finite"


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression", "anomaly"])
def test_a_model_that_raises_is_told_of(kind: Kind) -> None:
    """An exception inside the model names its type and text, on one line."""
    with pytest.raises(BadRecord) as told:
        _score(Says(ValueError("no such\n  thing")), kind, COLOURS)
    assert (told.value.reason, told.value.detail) == ("model_failed", "ValueError: no such thing")


def test_a_filter_decides_by_its_own_rule() -> None:
    """A threshold filter of River's knows its threshold better than the pipeline does."""
    model = anomaly.ThresholdFilter(anomaly.HalfSpaceTrees(seed=1), threshold=0.0)
    assert _score(model, "anomaly", None, 99.0) == (0.0, True)
    assert _score(preprocessing.StandardScaler() | model, "anomaly", None, 99.0) == (0.0, True)


@pytest.mark.parametrize(
    ("kind", "classes", "label", "target"),
    [
        ("binary", None, 1, True),
        ("binary", None, False, False),
        ("binary", None, 1.0, True),
        ("binary", ("no", "yes"), "yes", True),
        ("binary", ("no", "yes"), "no", False),
        ("binary", (False, True), True, True),
        ("multiclass", COLOURS, "blue", "blue"),
        ("multiclass", (1, 2, 3), 2.0, 2),
        ("regression", None, 3, 3.0),
        ("anomaly", None, 1, None),
        ("anomaly", None, None, None),
    ],
)
def test_what_river_learns_from(kind: Kind, classes: Any, label: Any, target: Any) -> None:
    """Binary labels become bool, the others what they were declared as; nulls are left out."""
    model = Says()
    learner = Learner(model, kind, classes)
    learner.learn({"amount": 1.0, "age": None}, label)
    assert [({"amount": 1.0}, target)] == model.given
    assert type(target) is type(model.given[0][1])
    assert learner.outcomes == 1


def test_a_label_that_does_not_fit_teaches_nothing() -> None:
    """The model isn't called, and the outcome isn't counted."""
    model = Says()
    learner = Learner(model, "binary", None)
    unfit: list[Any] = [None, 2, "1", [1], {}, float("nan")]
    for label in unfit:
        with pytest.raises(BadRecord, match="label_not_valid"):
            learner.learn({}, label)
    assert (model.given, learner.outcomes) == ([], 0)


def test_a_model_that_fails_to_learn_is_told_of() -> None:
    """The outcome isn't counted."""
    learner = Learner(linear_model.LinearRegression(), "regression", None)
    with pytest.raises(BadRecord, match="model_failed: TypeError: "):
        learner.learn({"amount": "text"}, 1.0)
    assert learner.outcomes == 0


@pytest.mark.parametrize(
    ("kind", "classes", "raw", "label"),
    [
        ("binary", None, 0, 0),
        ("binary", None, True, 1),
        ("binary", None, 0.0, 0),
        ("binary", (1, 0), False, 0),
        ("binary", ("ham", "spam"), "spam", "spam"),
        ("anomaly", None, 1, 1),
        ("multiclass", (1, 2, 3), 3.0, 3),
        ("multiclass", None, "any", "any"),
        ("regression", None, -2, -2),
        ("regression", None, 2.5, 2.5),
    ],
)
def test_labels_that_fit(kind: Kind, classes: Any, raw: Any, label: Any) -> None:
    """A label becomes the class as it was declared, or stays the number that it is."""
    parsed = parse_label(kind, classes, raw)
    assert (label, type(label)) == (parsed, type(parsed))


@pytest.mark.parametrize(
    ("kind", "classes", "raw"),
    [
        ("binary", None, None),
        ("binary", None, 2),
        ("binary", None, "1"),
        ("binary", None, 0.5),
        ("binary", None, [0]),
        ("binary", ("ham", "spam"), True),
        ("binary", (1, 2), True),
        ("multiclass", COLOURS, "pink"),
        ("multiclass", (1, 2, 3), True),
        ("multiclass", None, 0.5),
        ("regression", None, True),
        ("regression", None, "2"),
        ("regression", None, float("nan")),
        ("regression", None, float("inf")),
        ("regression", None, 10**400),
        ("regression", None, None),
    ],
)
def test_labels_that_do_not_fit(kind: Kind, classes: Any, raw: Any) -> None:
    """Anything else is told of, on one line."""
    with pytest.raises(BadRecord, match=r"label_not_valid: the label is [^\n]+; [^\n]+") as told:
        parse_label(kind, classes, raw)
    assert len(str(told.value)) < 200


@pytest.mark.parametrize(
    ("model", "classes", "kind"),
    [
        (linear_model.LogisticRegression(), None, "binary"),
        (tree.HoeffdingTreeClassifier(), None, "binary"),
        (tree.HoeffdingTreeClassifier(), ("a", "b"), "binary"),
        (tree.HoeffdingTreeClassifier(), COLOURS, "multiclass"),
        (multiclass.OneVsRestClassifier(linear_model.LogisticRegression()), COLOURS, "multiclass"),
        (preprocessing.StandardScaler() | neighbors.KNNRegressor(), None, "regression"),
        (compose.Pipeline(preprocessing.StandardScaler() | anomaly.LODA()), None, "anomaly"),
        (anomaly.QuantileFilter(anomaly.HalfSpaceTrees(), q=0.9), (0, 1), "anomaly"),
    ],
)
def test_the_kind_of_a_model(model: Any, classes: Any, kind: str) -> None:
    """A kind is seen through pipelines, pipelines in pipelines, and wrappers."""
    assert kind == kind_of(model, classes)


@pytest.mark.parametrize(
    ("model", "classes", "says"),
    [
        (linear_model.LogisticRegression, None, "is a class; write LogisticRegression()"),
        (object(), None, "object is no River model"),
        (None, None, "NoneType is no River model"),
        (compose.Pipeline(), None, "has no steps"),
        (preprocessing.StandardScaler(), None, "predicts nothing; end the pipeline with a model"),
        (cluster.KMeans(), None, "KMeans is no classifier"),
        (GAUSSIAN(), None, "scores the label"),
        (
            anomaly.ThresholdFilter(GAUSSIAN(), threshold=0.9),
            None,
            "scores the label",
        ),
        (multioutput.ClassifierChain(linear_model.LogisticRegression()), None, "several labels"),
        (active.EntropySampler(linear_model.LogisticRegression()), None, "use the model it wraps"),
        (
            preprocessing.StandardScaler() | linear_model.LogisticRegression(),
            COLOURS,
            r"wrap it: multiclass.OneVsRestClassifier\(LogisticRegression\(\)\)",
        ),
        (linear_model.LinearRegression(), (0, 1), "leave classes out"),
        (anomaly.LODA(), COLOURS, "declare two"),
        (linear_model.LogisticRegression(), (0,), "at least two"),
        (linear_model.LogisticRegression(), (1, "1"), "written the same"),
    ],
)
def test_what_is_no_model_is_refused(model: Any, classes: Sequence[Any] | None, says: str) -> None:
    """The error says on one line what to do instead."""
    with pytest.raises(DefinitionError, match=says) as told:
        kind_of(model, classes)
    assert "\n" not in str(told.value)


def test_a_learner_goes_on_from_its_snapshot() -> None:
    """The live learner and one restored from its bytes stay the same, sets of text included."""
    kind: Kind = "multiclass"
    names = tuple(f"class-{i}" for i in range(50))
    learner = Learner(tree.HoeffdingTreeClassifier(), kind, names)
    for i, name in enumerate(names):
        learner.learn({"amount": float(i)}, name)
    before = learner.model
    restored = Learner(loads(learner.snapshot()), kind, names)
    assert learner.model is not before
    assert learner.snapshot() == restored.snapshot()
    assert learner.outcomes == 50


def test_a_model_that_cannot_be_stored_stays() -> None:
    """A learner tells at its first snapshot that the model would never come back."""
    model = compose.FuncTransformer(_doubled) | linear_model.LogisticRegression()
    learner = Learner(model, "binary", None)
    with pytest.raises(StreamprocError, match=r"test_scoring\._doubled, which no model is made of"):
        learner.snapshot()
    assert learner.model is model
    learner = Learner(model, "binary", None, allow=[f"{__name__}._doubled"])
    learner.snapshot()
    assert learner.model is not model


def _doubled(x: Any) -> Any:
    return {name: 2 * value for name, value in x.items()}
