"""The fused models against River's own, bit for bit, over streams with all that goes wrong."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from river import anomaly, compose, linear_model, optim, preprocessing

from streamproc.errors import BadRecord
from streamproc.messages import Features
from streamproc.models.fused import FusedLearner, fused_score
from streamproc.models.kinds import Kind
from streamproc.models.parts import parts_of
from streamproc.models.scoring import Learner, Scorer
from streamproc.models.versions import dumps, loads

Row = tuple[dict[str, Any], Any]


def _scaled(model: Any) -> Any:
    return preprocessing.StandardScaler() | model


MODELS: dict[str, tuple[Kind, Callable[[], Any]]] = {
    "logistic": ("binary", linear_model.LogisticRegression),
    "scaled logistic": ("binary", lambda: _scaled(linear_model.LogisticRegression())),
    "fast logistic": (
        "binary",
        lambda: _scaled(linear_model.LogisticRegression(optim.SGD(3), intercept_lr=0.37)),
    ),
    "adaptive logistic": (
        "binary",
        lambda: _scaled(linear_model.LogisticRegression(optim.AdaGrad(0.05))),
    ),
    "adaptive linear": ("regression", lambda: linear_model.LinearRegression(optim.AdaGrad())),
    "without some": (
        "binary",
        lambda: compose.Discard("c", "f") | _scaled(linear_model.LogisticRegression()),
    ),
    "adaptive, without some": (
        "binary",
        lambda: (
            compose.Discard("c", "f")
            | _scaled(linear_model.LogisticRegression(optim.AdaGrad(0.05)))
        ),
    ),
    "one alone": (
        "regression",
        lambda: compose.Select("b") | linear_model.LinearRegression(optim.AdaGrad(1)),
    ),
    "linear": ("regression", linear_model.LinearRegression),
    "scaled linear": ("regression", lambda: _scaled(linear_model.LinearRegression())),
    "clipped linear": (
        "regression",
        lambda: _scaled(linear_model.LinearRegression(clip_gradient=1.5, intercept_init=2)),
    ),
}

ALL_MODELS = {
    **MODELS,
    "divides by zero": (
        "binary",
        lambda: _scaled(linear_model.LogisticRegression(optim.AdaGrad(3, eps=0.0))),
    ),
    "needs them all": (
        "binary",
        lambda: compose.Select("b", "a") | _scaled(linear_model.LogisticRegression()),
    ),
}
"""Besides, those that River fails with where a feature is 0 or absent."""

MODERATE = st.one_of(
    st.floats(-1e3, 1e3), st.floats(-1, 1), st.integers(-50, 50), st.booleans(), st.just(7.0)
)
ODD = st.one_of(
    st.floats(), st.integers(), st.none(), st.text(max_size=2), st.integers(10**308, 10**310)
)
LABELS = st.booleans() | st.integers(0, 1)
SMALL_ROWS = st.dictionaries(st.sampled_from("abcdefg"), MODERATE, max_size=7)


@st.composite
def streams(draw: st.DrawFn) -> list[Row]:
    """Return outcomes of mostly the same names and usual numbers, and some of anything."""
    names = draw(st.permutations("abcde"))
    usual = st.tuples(*[MODERATE] * 5).map(lambda values: dict(zip(names, values, strict=True)))
    odd = st.dictionaries(st.sampled_from("abcdefg"), MODERATE | ODD, max_size=7)
    features = st.one_of(usual, usual, usual, SMALL_ROWS, odd)
    return draw(st.lists(st.tuples(features, LABELS), max_size=40))


def _bits(number: Any) -> bytes:
    return struct.pack("<d", number)


def _without_nulls(features: Features) -> dict[str, Any]:
    return {name: value for name, value in features.items() if value is not None}


def _rivers_score(model: Any, kind: Kind, features: Features) -> Any:
    """Return the bits of what River says, or None where it fails or says no finite number."""
    try:
        given = _without_nulls(features)
        says = (
            model.predict_proba_one(given)[True] if kind == "binary" else model.predict_one(given)
        )
        return _bits(float(says)) if np.isfinite(says) else None
    except Exception:  # whatever River raises
        return None


def _our_score(scorer: Scorer, features: Features) -> Any:
    try:
        score = scorer.score(features)[0]
        assert type(score) is float
        return _bits(score)
    except BadRecord:
        return None


def _rivers_learning(model: Any, kind: Kind, features: Features, label: Any) -> bool:
    try:
        model.learn_one(_without_nulls(features), bool(label) if kind == "binary" else float(label))
    except Exception:  # whatever River raises
        return False
    return True


def _our_learning(learner: Learner, features: Features, label: Any) -> bool:
    try:
        learner.learn(features, int(label) if learner.kind == "regression" else label)
    except BadRecord:
        return False
    return True


@pytest.mark.parametrize("name", ALL_MODELS)
@settings(max_examples=150, deadline=None)
@given(stream=streams(), look_every=st.sampled_from([1, 3, 1000]))
@example(stream=[({"a": 1.0}, 1), ({"a": float("inf")}, 1), ({"a": 1.0}, 0)] * 2, look_every=1000)
@example(stream=[({"a": 1e300}, 1), ({"a": -1e300}, 1), ({"a": 1e-300}, 0)] * 2, look_every=1000)
@example(stream=[({"a": 1.0}, 1), ({"a": "x"}, 1), ({"a": 1.0}, 0)] * 2, look_every=1000)
@example(stream=[({"a": 10**400}, 1), ({"a": 2**70, "b": -(10**400)}, 1)] * 2, look_every=1000)
def test_every_bit_is_rivers(name: str, stream: list[Row], look_every: int) -> None:
    """What is learnt, what fails and what is scored; the stored bytes too, whenever one looks."""
    kind, make = ALL_MODELS[name]
    learner, river = Learner(make(), kind, None), make()
    for number, (features, label) in enumerate(stream):
        given_before = repr(features)
        same = _rivers_learning(river, kind, features, label)
        assert same == _our_learning(learner, features, label)
        assert repr(features) == given_before
        if number % look_every == 0:
            assert dumps(river) == dumps(learner.model)
    blob = learner.snapshot()
    assert dumps(river) == blob
    scorer = Scorer(loads(blob), kind, None, 0.5, "main@1", learnt=True)
    for features, _ in stream:
        assert _rivers_score(river, kind, features) == _our_score(scorer, features)


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=60, deadline=None)
@given(before=streams(), after=streams())
def test_a_restored_learner_goes_on_as_river_does(
    name: str, before: list[Row], after: list[Row]
) -> None:
    """Live, restored from a snapshot, and River that was never stored: all the same."""
    kind, make = MODELS[name]
    live, river = Learner(make(), kind, None), make()
    for features, label in before:
        _rivers_learning(river, kind, features, label)
        _our_learning(live, features, label)
    restored = Learner(loads(live.snapshot()), kind, None)
    for features, label in after:
        _rivers_learning(river, kind, features, label)
        _our_learning(live, features, label)
        _our_learning(restored, features, label)
    assert dumps(river) == live.snapshot() == restored.snapshot()


@pytest.mark.parametrize("name", MODELS)
def test_what_is_usual_is_fused(name: str) -> None:
    """Names that are known, in any order or number of them, never get as far as River."""
    kind, make = MODELS[name]
    model = make()
    model.learn_one({"a": 1.0, "b": 2.0}, 1.0)
    parts = parts_of(model, kind)
    assert parts is not None
    fused = FusedLearner(parts)
    rows: list[Features] = [{"a": 2.5, "b": 1}, {"b": True, "a": -1.0}, {"b": 3.0}]
    assert all(fused.learn(features, True) for features in rows)
    fused.give_back()
    score = fused_score(model, kind, _refuse)
    assert {float} == {type(score(features)) for features in rows}


def test_what_is_chosen_is_fused() -> None:
    """A Discard or Select leaves the rest out, be it new or no number, and River isn't asked."""
    for chooser in (compose.Discard("c"), compose.Select("b", "a")):
        model = chooser | _scaled(linear_model.LogisticRegression(optim.AdaGrad(0.05)))
        model.learn_one({"a": 1.0, "b": 2.0, "c": 3.0}, True)
        parts = parts_of(model, "binary")
        assert parts is not None
        row: Features = {"c": "new", "b": 1.5, "a": 2}
        assert FusedLearner(parts).learn(row, False)
        assert type(fused_score(model, "binary", _refuse)(row)) is float


def _refuse(features: Features) -> Any:
    raise AssertionError(f"{features} went to River")


@pytest.mark.parametrize("raw", [-30.5, -30.0, -29.5, -18.5, -17.5, 17.5, 18.5, 29.5, 30.0, 30.5])
@pytest.mark.parametrize("label", [0, 1])
def test_where_river_changes_formula(raw: float, label: int) -> None:
    """River's sigmoid is 0 or 1 beyond 30, its gradient another one beyond 18."""

    def make() -> Any:
        return linear_model.LogisticRegression(intercept_init=raw)

    river, learner = make(), Learner(make(), "binary", None)
    scorer = Scorer(make(), "binary", None, 0.5, "main@1", learnt=True)
    assert _rivers_score(river, "binary", {}) == _our_score(scorer, {})
    for _ in range(3):
        _rivers_learning(river, "binary", {"a": 1e-9}, label)
        _our_learning(learner, {"a": 1e-9}, label)
    assert dumps(river) == dumps(learner.model)
    scorer = Scorer(learner.model, "binary", None, 0.5, "main@1", learnt=True)
    for value in (1e-9, 0, -1e-9):
        features: Features = {"a": value}
        assert _rivers_score(river, "binary", features) == _our_score(scorer, features)


@pytest.mark.parametrize("label", [-100.0, 0.0, 100.0])
def test_gradients_are_clipped_at_both_ends(label: float) -> None:
    """One that is too steep counts as much as River says."""
    kind, make = MODELS["clipped linear"]
    river, learner = make(), Learner(make(), kind, None)
    for number in range(5):
        river.learn_one({"a": number * 0.5}, label)
        learner.learn({"a": number * 0.5}, label)
    assert dumps(river) == dumps(learner.model)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("odd", [np.float32(0.1), np.float64(0.1), np.int64(3), Fraction(1, 10)])
def test_numbers_of_other_types_are_rivers(name: str, odd: Any) -> None:
    """A narrow float would be computed with narrowly; River widens some of them."""
    kind, make = MODELS[name]
    river, learner = make(), Learner(make(), kind, None)
    for number in range(9):
        features = {"a": 0.3 * number, "b": odd * number if number % 2 else 0.7}
        assert _rivers_learning(river, kind, features, 1) == _our_learning(learner, features, 1)
        assert dumps(river) == dumps(learner.model)
        scorer = Scorer(deepcopy(river), kind, None, 0.5, "main@1", learnt=True)
        assert _rivers_score(river, kind, features) == _our_score(scorer, features)


def test_many_sets_of_names_are_not_kept() -> None:
    """More of them than are remembered change no bit, and take no more memory."""
    learner, river = (
        Learner(MODELS["scaled logistic"][1](), "binary", None),
        _scaled(linear_model.LogisticRegression()),
    )
    names = "abcdefghij"
    for number in [1023, *range(1024), *range(1024)]:
        features: Features = {n: float(number % 7) for i, n in enumerate(names) if number >> i & 1}
        learner.learn(features, number % 2)
        river.learn_one(dict(features), bool(number % 2))
    assert learner._fused is not None
    assert 0 < len(learner._fused._layouts) <= 256
    assert dumps(river) == learner.snapshot()


def test_classes_other_than_0_and_1() -> None:
    """The positive class is the last, whatever the two are called."""
    learner = Learner(_scaled(linear_model.LogisticRegression()), "binary", ("ham", "spam"))
    river = _scaled(linear_model.LogisticRegression())
    for number in range(20):
        learner.learn({"a": number * 0.3, "b": number % 3}, "spam" if number % 3 else "ham")
        river.learn_one({"a": number * 0.3, "b": number % 3}, number % 3 > 0)
    assert dumps(river) == learner.snapshot()


def test_who_asks_for_the_model_may_change_it() -> None:
    """The learner goes on with what was made of its model."""
    learner = Learner(_scaled(linear_model.LogisticRegression()), "binary", None)
    river = _scaled(linear_model.LogisticRegression())
    for number in range(10):
        for model in (learner.model, river):
            model.learn_one({"a": number * 0.5}, number % 2 == 0)
        learner.learn({"a": number * 0.7}, 1)
        river.learn_one({"a": number * 0.7}, True)
    assert dumps(river) == dumps(learner.model)


@pytest.mark.parametrize(
    "scaler",
    [
        {"counts": {"a": 3}, "means": {"a": 1.0}, "vars": {"a": 0.5}},
        {"counts": {"a": 3, "b": 2}, "means": {"a": 1.0, "b": 0.5}, "vars": {"a": 0.5}},
        {"counts": {"a": 3, "b": 2}, "means": {"a": 1, "b": 5}, "vars": {"a": 2, "b": 10**400}},
    ],
)
def test_parts_that_do_not_know_the_same(scaler: dict[str, Any]) -> None:
    """A pipeline put together from parts that learnt elsewhere is taken as River takes it."""

    def make() -> Any:
        linear = linear_model.LogisticRegression()
        linear.learn_one({"a": 1.0, "b": 2.0}, True)
        return preprocessing.StandardScaler._from_state(**scaler) | linear

    river, learner = make(), Learner(make(), "binary", None)
    features: list[Features] = [{"a": 2.5}, {"a": 1}, {"a": 0.5, "b": 1.5}, {"a": 3.5}]
    for each in features:
        assert _rivers_learning(river, "binary", each, 1) == _our_learning(learner, each, 1)
        assert dumps(river) == dumps(learner.model)
        scorer = Scorer(deepcopy(river), "binary", None, 0.5, "main@1", learnt=True)
        assert _rivers_score(deepcopy(river), "binary", each) == _our_score(scorer, each)


@pytest.mark.parametrize("squares", [{}, {"a": 1.0}, {"a": 1, "b": 2}, {"b": 2.0, "a": 1.0}])
def test_an_optimizer_that_does_not_know_the_same(squares: dict[str, Any]) -> None:
    """Weights that were learnt with another optimizer go on as River has them."""

    def make() -> Any:
        linear = linear_model.LogisticRegression(optim.AdaGrad())
        linear.learn_one({"a": 1.0, "b": 2.0}, True)
        linear.optimizer.g2.clear()
        linear.optimizer.g2.update(squares)
        return linear

    river, learner = make(), Learner(make(), "binary", None)
    features: list[Features] = [{"a": 2.5}, {"a": 1}, {"a": 0.5, "b": 1.5}, {"a": 3.5}]
    for each in features:
        assert _rivers_learning(river, "binary", each, 1) == _our_learning(learner, each, 1)
        assert dumps(river) == dumps(learner.model)


class MyRegression(linear_model.LogisticRegression):
    """A model of a user's own."""


def _with_own_method(model: Any) -> Any:
    model.learn_one = deepcopy
    return model


def _rate() -> Any:
    return optim.schedulers.InverseScaling(0.1)


@pytest.mark.parametrize(
    ("kind", "model"),
    [
        ("multiclass", linear_model.LogisticRegression()),
        ("regression", linear_model.LogisticRegression()),
        ("binary", linear_model.LinearRegression()),
        ("anomaly", preprocessing.StandardScaler() | anomaly.LODA()),
        ("binary", linear_model.Perceptron()),
        ("binary", MyRegression()),
        ("binary", _with_own_method(linear_model.LogisticRegression())),
        ("binary", linear_model.LogisticRegression(optim.Adam())),
        ("binary", linear_model.LogisticRegression(optim.SGD(_rate()))),
        ("binary", linear_model.LogisticRegression(optim.AdaGrad(_rate()))),
        ("binary", linear_model.LogisticRegression(optim.AdaGrad(eps=1))),
        ("binary", linear_model.LogisticRegression(optim.SGD(float("nan")))),
        ("binary", linear_model.LogisticRegression(intercept_lr=_rate())),
        ("binary", linear_model.LogisticRegression(loss=optim.losses.Hinge())),
        ("binary", linear_model.LogisticRegression(loss=optim.losses.Log(weight_pos=3.0))),
        ("binary", linear_model.LogisticRegression(l1=0.1)),
        ("binary", linear_model.LogisticRegression(l2=0.1)),
        ("binary", linear_model.LogisticRegression(clip_gradient=0.1)),
        ("regression", linear_model.LinearRegression(loss=optim.losses.Huber())),
        ("regression", linear_model.LinearRegression(loss=optim.losses.Absolute())),
        ("binary", preprocessing.MinMaxScaler() | linear_model.LogisticRegression()),
        ("binary", preprocessing.StandardScaler(False) | linear_model.LogisticRegression()),
        (
            "binary",
            preprocessing.StandardScaler(window_size=9) | linear_model.LogisticRegression(),
        ),
        (
            "binary",
            _with_own_method(preprocessing.StandardScaler()) | linear_model.LogisticRegression(),
        ),
        (
            "binary",
            _with_own_method(preprocessing.StandardScaler() | linear_model.LogisticRegression()),
        ),
        (
            "binary",
            preprocessing.StandardScaler()
            | compose.Select("a")
            | linear_model.LogisticRegression(),
        ),
    ],
)
def test_every_other_model_is_rivers(kind: Kind, model: Any) -> None:
    """One part of another type or setting, and nothing is fused."""
    assert parts_of(model, kind) is None
    assert fused_score(model, kind, _refuse) is _refuse


@pytest.mark.parametrize("weights", [{"a": np.ones(2)}, {"a": 1}])
def test_odd_weights_are_rivers(weights: Any) -> None:
    """Weights that something else put there are used as River uses them."""
    model = linear_model.LogisticRegression()
    with suppress(TypeError):
        model._weights.update(weights)
    twin = deepcopy(model)
    learner = Learner(model, "binary", None)
    same = _our_learning(learner, {"a": 2.0}, 1)
    assert same == _rivers_learning(twin, "binary", {"a": 2.0}, 1)
    assert dumps(twin) == dumps(learner.model)
