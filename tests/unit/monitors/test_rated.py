"""Decisions of two classes: a share of yes, of which a handful is no page."""

from __future__ import annotations

import random
from typing import Any

import pytest

from streamproc.messages import Alert
from streamproc.monitors import Drift
from tests.unit.monitors.streams import DAY_MS, HOUR_MS, Facts, judged

AN_HOUR = 200


def alerts_of(
    shares: list[tuple[int, float]], kind: str = "binary", learns: bool = False, seed: int = 1
) -> list[Alert]:
    """Return the alerts of a model that says yes to such a share of events, for so many hours."""
    rng = random.Random(seed)
    made: list[dict[str, Any]] = []
    for share in [share for hours, share in shares for _ in range(hours)]:
        for _ in range(AN_HOUR):
            number = len(made)
            made.append(
                {
                    "id": str(number),
                    "event_time_ms": number * HOUR_MS // AN_HOUR,
                    "features": {},
                    "score": 0.1,
                    "decision": rng.random() < share,
                    "model": "main@1",
                }
            )
    facts = Facts(monitors=[Drift()], kind=kind, learns=learns, numeric_features=(), lateness_ms=0)
    return judged(facts, "drift", made, batch=AN_HOUR)


@pytest.mark.parametrize("kind", ["binary", "anomaly"])
def test_the_first_few_that_are_yes_are_no_page(kind: str) -> None:
    """Of 1 in 1,000, where the reference had none: one a bucket, five in all."""
    a_few = [(1, 0.005), (4, 0.0)] * 5
    for seed in range(5):
        alerts = alerts_of([(8 * 24, 0.0), *a_few], kind, seed=seed)
        assert [each for each in alerts if each["severity"] == "critical"] == []
        assert not any("new" in each["summary"] for each in alerts)


def test_a_yes_that_is_rare_is_no_finding() -> None:
    """1 in 1,000 before, and after."""
    for seed in range(3):
        assert alerts_of([(28 * 24, 0.001)], seed=seed) == []


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize(("before", "since"), [(0.001, 0.02), (0.02, 0.001), (0.98, 0.999)])
def test_a_jump_is_found_and_said_as_a_share(before: float, since: float, learns: bool) -> None:
    """Within a day or two; it becomes critical once it is more than a handful, and ends."""
    days = 16
    alerts = alerts_of([(days * 24, before), (72, since), (96, before)], learns=learns)
    first, last = alerts[0], alerts[-1]
    assert {each["key"] for each in alerts} == {"prior_drift/decision"}
    assert abs(first["first_seen_ms"] - days * DAY_MS) <= 12 * HOUR_MS
    side = "higher" if since > before else "lower"
    assert f"the share of decisions that are yes is {side}: " in first["summary"]
    assert first["expected"] == pytest.approx(before, rel=0.5)
    assert last["severity"] == "critical"
    assert last["status"] == "resolved"
    assert "it is as usual again" in last["summary"]
