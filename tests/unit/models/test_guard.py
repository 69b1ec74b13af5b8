"""What holds a model's version back, and what doesn't."""

from __future__ import annotations

import json
import random
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from river import base, forest, linear_model, naive_bayes, preprocessing, stats, tree

from streamproc.models.guard import EXPLODED, Guard, Trouble
from streamproc.models.numbers import MOST_NAMES, numbers_of

ROWS: list[tuple[dict[str, Any], bool]] = [
    ({"amount": float(n % 9), "age": n % 5 / 2}, n % 3 == 0) for n in range(60)
]


def taught(model: Any, rows: Any = ROWS) -> Any:
    """Return a model that learnt from rows."""
    for features, label in rows:
        model.learn_one(dict(features), label)
    return model


def trouble(model: Any, guard: Guard, probes: Any = (), kind: Any = "binary") -> Trouble | None:
    """Return what a guard says of a binary classifier, or of another kind of model."""
    return guard.trouble(model, kind, None, probes)


@pytest.mark.parametrize("wrong", [nan, inf, -inf])
def test_a_weight_that_is_no_number_is_named(wrong: float) -> None:
    """One weight of two is enough, with or without versions before it."""
    for before in (taught(linear_model.LogisticRegression()), linear_model.LogisticRegression()):
        guard = Guard.of(before)
        model = taught(linear_model.LogisticRegression())
        model._weights["age"] = wrong
        found = trouble(model, guard)
        assert found is not None
        assert found.why == "1 of weights are not finite"
        assert found.features == ("age",)


def test_weights_that_explode_are_held_back_and_those_that_grow_are_not() -> None:
    """The largest of all versions let through is the measure, and so it moves along."""
    model = taught(linear_model.LogisticRegression())
    guard = Guard.of(model)
    for weight in (9.0, 9e3, 8e9):  # each below a million times the one before, or 1
        model._weights["amount"] = weight
        assert trouble(model, guard) is None
    model._weights["amount"] = weight * EXPLODED * 1.01
    found = trouble(model, guard)
    assert found is not None
    assert found.features == ("amount",)
    assert "went from 8e+09 at most" in found.why
    model._weights["amount"] = weight * EXPLODED * 0.99
    assert trouble(model, guard) is None, "what was held back is no measure"


def test_a_first_version_may_have_weights_of_any_ordinary_size() -> None:
    """Of a regression on large numbers nothing is known before; one beyond 1e100 is wrong."""
    guard = Guard.of(linear_model.LinearRegression())
    model = taught(linear_model.LinearRegression(), [({"area": 90.0}, 4e5)])
    model.intercept = 4e9
    assert trouble(model, guard, kind="regression") is None
    guard = Guard.of(linear_model.LinearRegression())
    model.intercept = 4e109
    assert trouble(model, guard, kind="regression") is not None


def test_a_scaler_that_one_value_blinds_is_held_back() -> None:
    """Its weights are sound, and its scores, yet the feature would be 0 for ever."""
    made = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    guard = Guard.of(made)
    assert trouble(taught(made), guard, [ROWS[0][0]]) is None
    made.learn_one({"amount": 1e149, "age": 1.0}, True)
    found = trouble(made, guard, [ROWS[0][0]])
    assert found is not None
    assert found.features == ("amount",)


def test_nan_in_the_state_counts_where_there_was_none() -> None:
    """A model that has NaN from its beginning keeps it."""
    model = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    taught(model)
    guard = Guard.of(model)
    model["StandardScaler"].means["age"] = nan
    found = trouble(model, guard)
    assert found == Trouble("1 of means are NaN", ("age",))
    assert trouble(model, Guard.of(model)) is None


class Odd(base.Classifier):
    """A model that says what it is told to, or fails."""

    def __init__(self, says: Any = 0.5) -> None:
        self.says = says

    def learn_one(self, x: Any, y: Any) -> None:
        """Learn nothing."""

    def predict_proba_one(self, x: Any, **kwargs: Any) -> dict[Any, float]:
        """Return what it says for this amount."""
        return {True: self.says(x["amount"])}


def test_a_version_is_tried_on_what_was_scored_before() -> None:
    """No finite score on one is too few, failing on some may be the model's way."""
    probes = [{"amount": amount} for amount in range(10)]

    def one_nan(amount: int) -> float:
        return nan if amount == 7 else 0.5

    def fails_below(limit: int) -> Any:
        def says(amount: int) -> float:
            if amount < limit:
                raise ZeroDivisionError
            return 0.5

        return says

    found = [
        trouble(Odd(says), Guard({}), probes) for says in (one_nan, fails_below(4), fails_below(5))
    ]
    assert [each is not None for each in found] == [True, False, True]
    assert "nan" in str(found[0])
    assert "fails on 5 of 10" in str(found[2])


def test_what_begins_infinite_is_no_trouble() -> None:
    """A minimum of nothing is infinite, and trees split without a limit to their depth."""
    numbers = numbers_of({"low": stats.Min()})
    assert numbers["min"].infinite == 1
    rng = random.Random(3)
    rows = [({"amount": rng.random(), "age": rng.random()}, rng.random() < 0.5) for _ in range(300)]
    for model in (tree.HoeffdingTreeClassifier(grace_period=20), forest.ARFClassifier(3, seed=1)):
        guard = Guard.of(model)
        for at in range(0, 300, 100):
            taught(model, rows[at : at + 100])
            assert trouble(model, guard, [rows[at][0]]) is None


def test_what_a_guard_knows_goes_through_json() -> None:
    """Restored, it decides alike."""
    model = taught(linear_model.LogisticRegression())
    guard = Guard.of(model)
    again = Guard(json.loads(json.dumps(guard.known)))
    assert again.known == guard.known
    model._weights["amount"] = 3e7
    assert trouble(model, again) == trouble(model, guard) is not None


def test_arrays_slots_and_loops_are_walked() -> None:
    """Numbers are found in arrays, in slots, behind properties, and where a model holds itself."""

    class Slotted:
        __slots__ = ("own", "table")

    slotted: Any = Slotted()
    slotted.table = np.array([[1.0, -nan], [inf, -7.0]])
    slotted.own = [slotted, {"x": -1e101}]
    found = numbers_of(slotted)
    assert (found["table"].largest, found["table"].nan, found["table"].infinite) == (7.0, 1, 1)
    assert found["own"].wild_keys == ("x",)
    many = {f"name{n}": n for n in range(MOST_NAMES + 9)}
    holder = taught(naive_bayes.GaussianNB())  # type: ignore[no-untyped-call]
    holder.__dict__.update({name: float(n) for name, n in many.items()})
    assert len(numbers_of(holder)) == MOST_NAMES
