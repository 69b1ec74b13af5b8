"""The demo's figures, from records made by hand; no broker, no clock."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from river import linear_model

from streamproc.demo.observer import Observer, SeenAlert
from streamproc.demo.scenario import PIPELINE_FILE, START_MS, Scenario
from streamproc.demo.summary import shortcomings, summary
from streamproc.messages import ModelVersion
from streamproc.pipeline import Pipeline
from streamproc.simulator import DAY_MS
from streamproc.timeline import Entry

PIPELINE = Pipeline.load(PIPELINE_FILE)
DRIFT, BIAS = Scenario().faults


def frozen_model(version: ModelVersion) -> Any:
    """Return a model that finds large amounts suspicious."""
    assert version["version"] == 1
    model = linear_model.LogisticRegression()
    for amount, fraud in ((1.0, True), (-1.0, False)):
        model.learn_one({"amount": amount}, fraud)
    return model


@pytest.fixture
def observer() -> Observer:
    """Return an observer that has seen nothing."""
    return Observer(Scenario(), PIPELINE, frozen_model)


def event(number: int, time_ms: int = START_MS) -> Entry:
    """Return a payment as it is sent."""
    return Entry("event", time_ms, b"7", orjson.dumps({"transaction_id": number}))


def predicted(number: int) -> bytes:
    """Return what came back for a payment."""
    return orjson.dumps({"id": str(number)})


def outcome(model: str, score: float, label: int, amount: float = 0.0) -> bytes:
    """Return a prediction joined with its label."""
    features = {"amount": amount}
    return orjson.dumps({"model": model, "score": score, "label": label, "features": features})


def alert(status: str, kind: str, subject: str, slice_: Any = None, first_ms: int = 1) -> bytes:
    """Return one step of an alert's life."""
    told = {"status": status, "kind": kind, "subject": subject, "slice": slice_}
    return orjson.dumps({**told, "alert_id": f"{kind}{subject}{slice_}{first_ms}", "summary": "."})


def version(number: int) -> bytes:
    """Return the record of a published version, as far as the demo reads it."""
    return orjson.dumps({"model": f"main@{number}", "version": number, "sha256": "0" * 64})


def show_both_faults(observer: Observer) -> None:
    """Let both faults be found and resolved, the first after 3 events, the second after 2."""
    steps = (
        (DRIFT.start_ms, 3, ("covariate_drift", "amount", None)),
        (BIAS.start_ms, 2, ("prediction_bias", "predictions", {"country": "BE"})),
    )
    for start_ms, after, about in steps:
        for _ in range(after):
            observer.sent(event(observer.events, start_ms), 0.0)
        observer.alert(alert("open", *about))
        observer.alert(alert("resolved", *about))
    for number in range(observer.events):
        observer.prediction(predicted(number), 0.01)


def test_what_did_not_come_back_is_missing_and_what_came_twice_is_a_duplicate(
    observer: Observer,
) -> None:
    """Predictions are matched with events by id."""
    for number in range(3):
        observer.sent(event(number), 0.0)
    for number in (0, 2, 2):
        observer.prediction(predicted(number), 0.5)
    assert (observer.events, observer.predictions) == (3, 3)
    assert (observer.missing, observer.duplicates) == (1, 1)


def test_latency_is_from_sending_to_seeing(observer: Observer) -> None:
    """Percentiles of the seconds between, a duplicate not counted."""
    assert observer.latency_s(50) is None
    for number in range(101):
        observer.sent(event(number), 10.0)
        observer.prediction(predicted(number), 10.0 + number / 100)
    observer.prediction(predicted(0), 99.0)
    assert observer.latency_s(50) == pytest.approx(0.5)
    assert observer.latency_s(99) == pytest.approx(0.99)


def test_behind_is_the_stage_that_is_furthest_behind(observer: Observer) -> None:
    """Events without prediction, labels without outcome, outcomes not learnt."""
    for number in range(5):
        observer.sent(event(number), 0.0)
    assert observer.behind == 5
    for number in range(5):
        observer.prediction(predicted(number), 0.0)
    assert observer.behind == 0
    for _ in range(4):
        observer.sent(Entry("label", START_MS + DAY_MS, b"7", b"{}"), 0.0)
    assert observer.behind == 4
    for _ in range(4):
        observer.outcome(outcome("main@0", 0.5, 0))
    observer.model(orjson.dumps({"progress": "main", "learnt": {"0": [1, 0], "1": [1, 1]}}))
    assert observer.behind == 3
    observer.model(orjson.dumps({"progress": "main", "learnt": {"0": [1, 3], "1": [1, 1]}}))
    assert observer.behind == 0
    assert observer.settled()


def test_both_aucs_are_of_the_outcomes_that_a_learnt_version_predicted(observer: Observer) -> None:
    """The frozen first version scores the same outcomes again, on the features as they were."""
    observer.outcome(outcome("main@0", 0.9, 0, amount=9.0))  # nothing learnt: counts for neither
    observer.outcome(outcome("main@1", 0.9, 1, amount=2.0))  # before its version was seen
    assert observer.aucs() == (None, None)
    observer.model(version(1))
    observer.model(version(2))
    observer.outcome(outcome("main@2", 0.1, 0, amount=1.0))
    observer.outcome(outcome("main@2", 0.2, 0, amount=3.0))
    assert observer.aucs() == (1.0, 0.5)
    assert observer.versions == 2


def test_an_alert_counts_the_events_since_its_fault_began(observer: Observer) -> None:
    """Those sent before the fault do not count; updates and repeats open nothing anew."""
    observer.sent(event(0, DRIFT.start_ms - 1), 0.0)
    observer.sent(event(1, DRIFT.start_ms), 0.0)
    observer.sent(event(2, DRIFT.start_ms + 1), 0.0)
    seen = observer.alert(alert("open", "covariate_drift", "amount"))
    assert isinstance(seen, SeenAlert)
    assert (seen.fault, seen.opened_after_events) == (DRIFT, 2)
    for status in ("update", "open"):
        assert observer.alert(alert(status, "covariate_drift", "amount")) is None
    assert not observer.settled()
    assert observer.alert(alert("resolved", "covariate_drift", "amount")) is seen
    assert observer.alert(alert("resolved", "covariate_drift", "amount")) is None
    assert (len(observer.alerts), seen.resolved) == (1, True)


def test_a_run_that_showed_all_has_no_shortcomings(observer: Observer) -> None:
    """The summary has exactly the fields that are promised."""
    show_both_faults(observer)
    assert shortcomings(observer) == []
    assert summary(observer, 12.34) == {
        "events": 5,
        "predictions": 5,
        "outcomes": 0,
        "missing": 0,
        "duplicates": 0,
        "alerts": [
            {
                "kind": "covariate_drift",
                "subject": "amount",
                "slice": None,
                "opened_after_events": 3,
                "resolved": True,
            },
            {
                "kind": "prediction_bias",
                "subject": "predictions",
                "slice": {"country": "BE"},
                "opened_after_events": 2,
                "resolved": True,
            },
        ],
        "false_alarms": 0,
        "auc": None,
        "baseline_auc": 0.5,
        "seconds": 12.3,
    }


def test_a_false_alarm_is_counted_and_has_no_fault(observer: Observer) -> None:
    """One that opened before any fault began, on the very feature that will drift."""
    observer.sent(event(0), 0.0)
    observer.alert(alert("open", "covariate_drift", "amount"))
    result = summary(observer, 1.0)
    assert result["false_alarms"] == 1
    assert result["alerts"][0]["opened_after_events"] is None


def test_each_shortcoming_is_told_in_a_sentence(observer: Observer) -> None:
    """Missing and doubled predictions, a fault not found, an alert not resolved."""
    for number in range(2):
        observer.sent(event(number, DRIFT.start_ms), 0.0)
    for _ in range(2):
        observer.prediction(predicted(0), 0.0)
    observer.alert(alert("open", "covariate_drift", "amount"))
    assert shortcomings(observer) == [
        "1 of 2 events have no prediction",
        "1 predictions came twice",
        "the alert on this fault was not resolved: every amount is 1.5 times as high",
        "no alert named this fault: 6 % of the good payments in BE turn out to be fraud",
    ]
