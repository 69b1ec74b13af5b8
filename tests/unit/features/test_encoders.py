"""Encoders of numbers, in their order: before the windows, after them, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.errors import BadRecord, DefinitionError
from streamproc.features import (
    Bucketed,
    Clipped,
    Difference,
    FeatureSet,
    Field,
    Hashed,
    Imputed,
    Log,
    Missing,
    OneHot,
    Over,
    Ratio,
    Window,
)

NUMBERS = st.one_of(
    st.floats(-1e150, 1e150), st.integers(-(2**63), 2**64 - 1), st.sampled_from([0, -0.0, 5e-324])
)
DAY = Window("amount", by="card", over=("1d",), aggregates=("count", "mean"))
MEAN = "amount_mean_1d_by_card"


def encoded(spec: Any, *values: Any) -> list[Any]:
    """Return an encoder's one feature for each value of the field ``x``."""
    (name,) = spec.names
    features = FeatureSet([spec], "at", 0)
    return [features.compute({"x": value}, "1", "k", 0)[name] for value in values]


def test_the_logarithm_keeps_the_sign() -> None:
    """Of 1 plus the number's size, so that 0 is 0; null stays null."""
    found = encoded(Log("x"), 0, math.e - 1, 1 - math.e, None, 10**18)
    assert found == pytest.approx([0.0, 1.0, -1.0, None, math.log(10**18 + 1)])


def test_buckets_are_half_open() -> None:
    """A number equal to an edge is in the bucket above it.

         10      50     200
    0    |   1   |   2   |   3
    """
    found = encoded(Bucketed("x", (10, 50, 200)), -1, 9.99, 10, 49, 50, 200, 1e9, None)
    assert found == [0, 0, 1, 1, 2, 3, 3, None]


def test_clipping_leaves_what_is_between() -> None:
    """Beyond either end the end itself; null stays null."""
    assert encoded(Clipped("x", -1, 5.5), -2, -1, 0, 5.5, 6, None) == [-1, -1, 0, 5.5, 5.5, None]


def test_over_is_strictly_above() -> None:
    """The threshold itself is not over it; null stays null."""
    assert encoded(Over("x", 220), 219, 220, 220.01, None) == [0, 0, 1, None]


def test_missing_is_told_of_any_type() -> None:
    """Null and absent are missing; zero, false, an empty text and an empty list are not."""
    assert encoded(Missing("x"), None, 0, False, "", [], {}) == [1, 0, 0, 0, 0, 0]
    assert FeatureSet([Missing("x")], "at", 0).compute({}, "1", "k", 0) == {"x_missing": 1}


def test_a_ratio_has_no_value_where_it_has_none() -> None:
    """Null for a null on either side, for a zero below, and for what is no usable number."""
    features = FeatureSet([Ratio("x", "y")], "at", 0)
    pairs = [(6, 4), (6, 0), (6, -0.0), (None, 2), (2, None), (1e150, 5e-324), (0, 3), (2**64, 2)]
    found = [features.compute({"x": x, "y": y}, "1", "k", 0)["x_per_y"] for x, y in pairs]
    assert found == [1.5, None, None, None, None, None, 0.0, 2.0**63]


def test_a_difference_of_large_integers_is_rounded_once() -> None:
    """The result is a float that JSON holds, exact where a float is."""
    features = FeatureSet([Difference("x", "y")], "at", 0)
    pairs = [(3, 5), (2**62 + 1, 2**62), (2**64 - 1, -(2**63)), (None, 1), (1, None)]
    found = [features.compute({"x": x, "y": y}, "1", "k", 0)["x_minus_y"] for x, y in pairs]
    assert found == [-2.0, 1.0, float(2**64 - 1 + 2**63), None, None]
    assert orjson.dumps(found)


@given(NUMBERS, NUMBERS)
def test_whatever_the_numbers_the_features_are_finite(x: float, y: float) -> None:
    """No encoder gives NaN, infinity, or an integer that JSON does not hold."""
    spec = (
        *(Log("x"), Clipped("x", -1e9, 1e9), Bucketed("x", (0, 1e100)), Over("x", -5)),
        *(Ratio("x", "y"), Difference("x", "y"), Imputed("x", "y"), Log("x_minus_y")),
        *(Window("x", "k", ("1d",), ("sum", "std")), Log("x_sum_1d_by_k")),
        Ratio("y", "x_std_1d_by_k"),
    )  # fmt: skip
    features = FeatureSet(spec, "at", 0)
    for number in range(3):
        found = features.compute({"x": x, "y": y}, str(number), "k", number)
        for value in found.values():
            assert value is None or math.isfinite(value)  # type: ignore[arg-type]
        orjson.dumps(found)


def test_encoders_of_windows_are_computed_after_them() -> None:
    """In the order declared, each from what came before it, at every event.

    amount    10        null      30
    mean      10         10       20
    """
    spec = (
        Field("amount"),
        DAY,
        Imputed("amount", MEAN),
        Ratio("amount_imputed", MEAN),
        Over("amount_imputed", 25),
        Missing(MEAN),
    )
    features = FeatureSet(spec, "at", 0)
    found = [
        features.compute({"amount": amount}, str(number), "k", number)
        for number, amount in enumerate([None, 10, None, 30])
    ]
    names = ("amount_imputed", f"amount_imputed_per_{MEAN}", "amount_imputed_over_25",
             f"{MEAN}_missing")  # fmt: skip
    assert [tuple(each[name] for name in names) for each in found] == [
        (None, None, None, 1),
        (10, 1.0, 0, 0),
        (10.0, 1.0, 0, 0),
        (30, 1.5, 1, 0),
    ]
    declared = [name for feature in spec for name in feature.names]
    assert [declared] * 4 == [list(each) for each in found]


def test_nothing_imputed_comes_from_the_future() -> None:
    """A window's mean at an event holds what was known by then, whatever comes after."""
    spec = (DAY, Imputed("amount", MEAN))
    for later in (5, 5_000):
        features = FeatureSet(spec, "at", 0)
        features.compute({"amount": 10}, "1", "k", 0)
        found = features.compute({}, "2", "k", 1)
        features.compute({"amount": later}, "3", "k", 2)
        assert found["amount_imputed"] == 10.0
    assert encoded(Imputed("x", -1), None, 0, 7) == [-1, 0, 7]


def test_a_name_is_a_feature_declared_before_and_else_a_field() -> None:
    """The clipped amount is a feature; what is not declared is read from the event."""
    spec = (Clipped("amount", 0, 100), Difference("amount", "amount_clipped"), Log("tip"))
    found = FeatureSet(spec, "at", 0).compute({"amount": 150, "tip": 0}, "1", "k", 0)
    assert found == {"amount_clipped": 100, "amount_minus_amount_clipped": 50.0, "tip_log": 0.0}
    own = (Log("amount"), Field("amount"))  # the field and the feature have one value
    assert list(FeatureSet(own, "at", 0).compute({"amount": 0}, "1", "k", 0)) == [
        "amount_log",
        "amount",
    ]


@pytest.mark.parametrize(
    "spec",
    [
        (Log("x"),), (Clipped("x", 0, 1),), (Bucketed("x", (1,)),), (Over("x", 1),),
        (Ratio("x", "amount"),), (Ratio("amount", "x"),), (Difference("amount", "x"),),
        (Imputed("x", 0),), (Imputed("amount", "x"),),
        (Ratio("x", MEAN),), (Ratio(MEAN, "x"),), (Difference(MEAN, "x"),), (Imputed(MEAN, "x"),),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    ("value", "reason"),
    [("5", "field_not_number"), (True, "field_not_number"), (math.nan, "number_out_of_range")],
)
def test_a_field_of_another_type_is_refused_before_anything_changes(
    spec: tuple[Any, ...], value: object, reason: str
) -> None:
    """By encoders that are computed after the windows too: those stay as they were."""
    features = FeatureSet((DAY, *spec), "at", 0)
    with pytest.raises(BadRecord, match="'x'") as refused:
        features.compute({"amount": 1.0, "x": value}, "1", "k", 0)
    assert (reason, 0) == (refused.value.reason, features.window_entries)
    features.compute({"amount": 1.0, "x": 1}, "1", "k", 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Log(""), r"Log: '' is no name; write Log\('amount'\)"),
        (lambda: Clipped("x", 5, 5), r"Clipped\('x'\): low 5 is not below high 5; write the"),
        (lambda: Clipped("x", 5, math.inf), r"Clipped\('x'\): high must be a finite number"),
        (lambda: Clipped("x", "0", 1), r"Clipped\('x'\): low must be a finite number"),  # type: ignore[arg-type]
        (lambda: Bucketed("x", ()), "name at least one edge, such as edges="),
        (lambda: Bucketed("x", (1, 1)), "edges must rise; write e.g. edges="),
        (lambda: Bucketed("x", (5, 1)), "edges must rise; write e.g. edges="),
        (lambda: Bucketed("x", (1, math.nan)), "each edge must be a finite number, such as 10"),
        (lambda: Bucketed("x", ("1",)), "each edge must be a finite number, such as 10"),  # type: ignore[arg-type]
        (lambda: Over("x", True), r"Over\('x'\): threshold must be a finite number"),
        (lambda: Ratio("x", ""), r"Ratio: '' is no name; write Ratio\('amount', 'balance'\)"),
        (lambda: Difference(5, "x"), "Difference: 5 is no name; write Difference"),  # type: ignore[arg-type]
        (lambda: Missing(None), r"Missing: None is no name; write Missing"),  # type: ignore[arg-type]
        (lambda: Imputed("x", None), r"Imputed\('x'\): otherwise must be a finite number"),  # type: ignore[arg-type]
        (lambda: Imputed("x", ""), "Imputed: '' is no name; write"),
    ],
)  # fmt: skip
def test_a_declaration_that_cannot_be_names_the_remedy(make: Any, message: str) -> None:
    """What is wrong is told where it is written, with what to write."""
    with pytest.raises(DefinitionError, match=message) as refused:
        make()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ((Ratio("amount", MEAN), DAY), rf"Ratio\('amount'\): feature '{MEAN}' is declared after"),
        ((Log("x_clipped"), Clipped("x", 0, 1)), "'x_clipped' is declared after it; move it"),
        ((Log("x_log"), Log("x")), "feature 'x_log' is declared after it"),
        ((Field("c", "text"), Log("c")), r"Log\('c'\): 'c' is declared as text, not a number; use"),
        ((Field("c", "bool"), Ratio("x", "c")), "'c' is declared as bool, not a number; use"),
    ],
)  # fmt: skip
def test_what_cannot_be_computed_in_order_names_the_remedy(
    spec: tuple[Any, ...], message: str
) -> None:
    """A feature of later on, or one that is no number, is told of with what to do."""
    with pytest.raises(DefinitionError, match=message):
        FeatureSet(spec, "at", 0)


def test_categories_may_be_of_any_type_that_was_declared() -> None:
    """A field declared as text or bool, a calendar's part and a window's count are categories."""
    spec = (
        *(Field("country", "text"), Field("online", "bool"), DAY),
        *(OneHot("country", ("NL",)), OneHot("online", (True,))),
        *(OneHot("amount_count_1d_by_card", (1, 2)), Hashed("country", 1)),
    )
    found = FeatureSet(spec, "at", 0).compute(
        {"country": "NL", "online": True, "amount": 1.5}, "1", "k", 0
    )
    ones = {name for name, value in found.items() if value == 1 and "_is_" in name}
    expected = {"country_is_NL", "online_is_true", "amount_count_1d_by_card_is_1"}
    assert (expected, 1) == (ones, abs(found["country_hash_0"]))  # type: ignore[arg-type]
