"""Drift in a slice of the stream, which is too small a part of the whole to be seen there."""

from __future__ import annotations

import random

import pytest

from streamproc.errors import DefinitionError
from streamproc.monitors import Drift
from tests.unit.monitors.streams import Facts, judged, payments, steps


def test_what_moves_in_one_slice_is_found_there() -> None:
    """A twentieth of the payments, twice as high for ten days: found in their country alone."""
    rng = random.Random(4)
    made = payments(6, 50, per_day=400)
    for one in made:
        day = one["event_time_ms"] // 86_400_000
        if one["slices"]["country"] == "BE":
            one["slices"]["country"] = "LU" if rng.random() < 0.5 else "BE"
        if one["slices"]["country"] == "LU" and 30 <= day < 40:
            one["features"]["amount"] *= 2
    facts = Facts(monitors=[Drift(bucket="6h", slices=("country",))], learns=False)
    alerts = judged(facts, "drift", made)
    found = [step for step in steps(alerts) if step[1] != "covariate_drift/amount"]
    assert found == [
        ("open", "covariate_drift/amount/country=LU"),
        ("resolved", "covariate_drift/amount/country=LU"),
    ]
    (opened,) = (a for a in alerts if a["status"] == "open" and a["slice"])
    assert opened["slice"] == {"country": "LU"}
    assert "amount for country=LU" in opened["summary"]


@pytest.mark.parametrize("slices", [("country", "country"), ((),), ("",), (3,)])
def test_bad_slices_are_refused(slices: object) -> None:
    """Twice the same, none, and what is no name."""
    with pytest.raises((DefinitionError, TypeError)):
        Drift(slices=slices)  # type: ignore[arg-type]
