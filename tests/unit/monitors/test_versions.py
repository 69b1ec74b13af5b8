"""An alert names the versions that scored what it is about, whatever the partitions."""

from __future__ import annotations

import random
from typing import Any

import pytest

from streamproc.messages import Alert
from streamproc.monitors import Drift, PredictionBias
from streamproc.monitors.outcomespec import Calibration
from streamproc.monitors.versions import MOST, MOST_NAMED, Versions, version_of
from tests.unit.monitors.streams import DAY_MS, HOUR_MS, Facts, judged, payments

DELAY_MS = 2 * DAY_MS


def stream() -> list[dict[str, Any]]:
    """Return outcomes of a version a day: on the 20th amounts rise, and so does fraud."""
    made = payments(
        4,
        26,
        per_day=480,
        amount=lambda day, rng: rng.gauss(50 if day < 20 else 80, 20),
        rate=lambda day, country: 0.05 if day < 20 else 0.3,
        delay_ms=DELAY_MS,
    )
    for each in made:
        each["model"] = f"main@{each['event_time_ms'] // DAY_MS + 1}"
    return made


def facts(**more: Any) -> Facts:
    """Return a pipeline that watches what comes in, and outcomes."""
    monitors = [Calibration(), Drift(reference="7d"), PredictionBias()]
    return Facts(monitors=monitors, learns=False, lateness_ms=0, **more)


def first(alerts: list[Alert], kind: str) -> Alert:
    """Return the first message of a kind."""
    return next(each for each in alerts if each["kind"] == kind)


@pytest.mark.parametrize("stage", ["drift", "bias"])
def test_versions_are_those_of_the_events_it_is_about(stage: str) -> None:
    """From the first event on to the last that was tested, which of outcomes is of days before."""
    made = stream()
    alerts = judged(facts(), stage, made, batch=1)
    alert = first(alerts, "covariate_drift" if stage == "drift" else "prediction_bias")
    first_ms = alert["first_seen_ms"]
    assert abs(first_ms - 20 * DAY_MS) <= 6 * HOUR_MS
    tested_ms = alert["detected_at_ms"]  # here: how many records had come
    known = made[: int(tested_ms)]
    if stage == "drift":
        first_ms -= first_ms % HOUR_MS
    expected = {each["model"] for each in known if each["event_time_ms"] >= first_ms}
    assert set(alert["models"]) in (expected, expected - {known[-1]["model"]})
    assert alert["models"] == sorted(alert["models"], key=version_of)
    assert "main@22" not in alert["models"]
    only = alert["models"][0] if len(alert["models"]) == 1 else None
    assert alert["model"] == only


@pytest.mark.parametrize("stage", ["drift", "bias"])
def test_versions_are_the_same_on_any_number_of_partitions(stage: str) -> None:
    """And in any order; alerts are equal but for when they were told."""
    made = stream()
    told = []
    for partitions, shuffle in ((1, None), (3, random.Random(1))):
        alerts = judged(facts(), stage, made, partitions, 97, shuffle)
        told.append([{**each, "detected_at_ms": 0} for each in alerts])
    assert told[0] == told[1]
    assert all(each["models"] for each in told[0])


def test_no_more_are_remembered_or_named_than_are_allowed() -> None:
    """A version every bucket: those that scored last stay, the oldest and newest are named."""
    versions = Versions()
    for at in range(2 * MOST):
        versions.note(at, {"=sample": {"model": [f"main@{at}"]}})
    found = versions.since(0)
    assert len(found) == MOST_NAMED
    assert found[0] == f"main@{MOST}"
    assert found[-1] == f"main@{2 * MOST - 1}"
