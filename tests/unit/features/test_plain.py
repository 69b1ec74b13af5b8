"""Events of numbers and windows alone are read at once, to the same effect as one by one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.errors import BadRecord
from streamproc.features import Calendar, Feature, FeatureSet, Field, LabelWindow, Window

SPECS: list[list[Feature]] = [
    [Window("x", by="k", over=("5ms",), aggregates=("count", "sum", "mean"))],
    [
        Field("y"),
        Window("x", by="shop", over=("5ms",), aggregates=("mean", "max")),
        LabelWindow(by="shop", over=("5ms",)),
        Field("x"),
        Window("y", by=("shop", "k"), over=("9ms", "5ms"), aggregates=("sum",)),
    ],
    [LabelWindow(by="k", over=("5ms",)), Field("y")],
    [Field('name\'s "own"\n'), Window("y", by="shop", over=("5ms",), aggregates=("last",))],
]
ODD: list[Any] = [
    *(1.0, 2.5, -0.0, 1e150, 1.1e150, -1.1e150, 3, 10**40, 10**151, 2**53 + 1),
    *(None, True, "text", "", "s" * 1000, "s" * 1001, [], {}),
]
VALUES = st.sampled_from(ODD)
FIELDS = st.fixed_dictionaries(
    {}, optional={"x": VALUES, "y": VALUES, "shop": VALUES, "k": VALUES, 'name\'s "own"\n': VALUES}
)


GOOD = {"x": 1.5, "y": 2.5, "shop": "s", "k": "k", 'name\'s "own"\n': 3.5}


def outcome(batch: Any, event: dict[str, Any], number: int) -> Any:
    """Return why an event was refused, or None where it was added."""
    try:
        batch.add(event, str(number), "k", number, number % 3 == 2)
    except BadRecord as error:
        return error.reason, error.detail
    return None


def check(events: list[dict[str, Any]], spec: list[Feature], key_field: str | None) -> None:
    """Compare what comes out, read at once and one by one."""
    found = []
    for plain in (True, False):
        features = FeatureSet(spec, "at", 0, key_field=key_field)
        assert features.plain is not None
        if not plain:
            features.plain = None
        batch = features.batch()
        refused = [outcome(batch, event, at) for at, event in enumerate(events)]
        told = [[(n, type(v), v) for n, v in each.items()] for each in batch.enter()]
        found.append((refused, told))
    assert found[0] == found[1]


@settings(max_examples=200, deadline=None)
@given(st.lists(FIELDS, max_size=6), st.sampled_from(SPECS), st.sampled_from(["k", None]))
def test_what_comes_out_is_the_same(
    events: list[dict[str, Any]], spec: list[Feature], key_field: str | None
) -> None:
    """The same features of the same types in the same order, or the same refusal."""
    check(events, spec, key_field)


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("field", GOOD)
def test_one_field_that_is_odd(field: str, spec: list[Feature], odd: Any) -> None:
    """Every kind of value in every field, between plain events."""
    check([GOOD, {**GOOD, field: odd}, GOOD], spec, "k")


@pytest.mark.parametrize("other", [Field("note", type="text"), Calendar("at", ("hour",))])
def test_other_features_are_read_one_by_one(other: Feature) -> None:
    """Texts, times and encoders have readers of their own."""
    assert FeatureSet([*SPECS[0], other], "at", 0, key_field="k").plain is None
