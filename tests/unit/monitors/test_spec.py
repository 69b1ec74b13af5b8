"""Monitors are checked when they are written."""

from __future__ import annotations

from typing import Any

import pytest
from river import drift

from streamproc.errors import DefinitionError
from streamproc.monitors import Drift, PredictionBias, bias_fold
from streamproc.monitors.spec import drift_plan
from tests.unit.monitors.streams import Facts


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Drift(bucket="1 hour"), "Drift, bucket: '1 hour' is not a duration"),
        (lambda: Drift(bucket="0h"), "a bucket of 0 holds nothing"),
        (lambda: Drift(detector=drift.ADWIN), "write an instance, ADWIN()"),
        (lambda: Drift(detector=object()), "has no update and drift_detected"),
        (lambda: Drift(features=(1,)), "features are names"),  # type: ignore[arg-type]
        (lambda: PredictionBias(bucket="soon"), "PredictionBias, bucket: 'soon'"),
        (lambda: PredictionBias(slices=("country", "country")), "declared twice"),
        (lambda: PredictionBias(slices=((),)), "names no fields"),
    ],
)
def test_a_mistake_is_told_with_its_remedy(make: Any, told: str) -> None:
    """What cannot work raises when it is written, naming the field."""
    with pytest.raises(DefinitionError) as error:
        make()

    assert told in str(error.value)


def test_a_lone_name_is_a_list_of_one() -> None:
    """A text where a list of names is due is one name, not its letters."""
    assert Drift(features="amount").features == ("amount",)
    assert PredictionBias(slices="country").fields == ((), ("country",))


def test_nothing_is_watched_twice() -> None:
    """A monitor that names a feature has it, whichever comes first; the score goes to the first."""
    facts = Facts(
        monitors=[Drift(), Drift(bucket="6h", features=("amount",))],
        numeric_features=("amount", "count"),
    )

    plan = [(number, of.numbers, of.score) for number, _, of in drift_plan(facts)]

    assert plan == [(0, ("count",), True), (1, ("amount",), False)]


@pytest.mark.parametrize(
    "facts",
    [
        Facts(monitors=[PredictionBias()], kind="anomaly"),
        Facts(monitors=[PredictionBias(), PredictionBias(slices=("country",))]),
    ],
)
def test_bias_that_cannot_be_watched_is_refused(facts: Facts) -> None:
    """An anomaly score predicts no label, and two monitors would tell everything twice."""
    with pytest.raises(DefinitionError):
        bias_fold(facts)
