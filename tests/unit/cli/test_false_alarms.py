"""What `streamproc check` says of the one knob."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from river import anomaly, drift, linear_model, multiclass

from streamproc import (
    Calibration,
    ConceptDrift,
    DataQuality,
    Drift,
    Events,
    Field,
    Health,
    Labels,
    LabelShift,
    Performance,
    Pipeline,
    PredictionBias,
    Reactions,
    cli,
)
from streamproc.cli.false_alarms import described_alarms, drawn_alarms, traffic_of
from streamproc.monitors.hopes import Traffic
from tests.commands import WIDTH
from tests.servers import ROOT

ALL = (DataQuality(), Drift(weight=2.0), LabelShift(), ConceptDrift(), PredictionBias(("country",)))


def pipeline(monitors: Any = ALL, **more: Any) -> Pipeline:
    """Return a pipeline that is watched."""
    given: dict[str, Any] = {
        "name": "cards",
        "events": Events("cards.events", id="id", key="card", time="at"),
        "labels": Labels("cards.labels", id="id", value="fraud"),
        "features": [Field("amount"), Field("age")],
        "model": linear_model.LogisticRegression(),
        "monitors": monitors,
    }
    return Pipeline(**{**given, **more})


def hopes(found: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """Return what is to be hoped for of a monitor, by the change."""
    (part,) = (each for each in found["monitors"] if each["kind"] == kind)
    return {each["change"]: each for each in part["hopes"]}


def test_the_knob_is_shared_out_by_weight() -> None:
    """All that is given out is what the pipeline says; health tests nothing."""
    chosen = pipeline((*ALL, Health()), false_alarms="2 per 30d")

    found = described_alarms(chosen, Traffic(1e4, 1e4, 0.01), "given", None)

    shares = {each["kind"]: each["share"] for each in found["monitors"]}
    assert shares == pytest.approx(
        {"DataQuality": 1 / 6, "Drift": 1 / 3, "LabelShift": 1 / 6, "ConceptDrift": 1 / 6,
         "PredictionBias": 1 / 6}
    )  # fmt: skip
    days = [each["days_per_false_alarm"] for each in found["monitors"]]
    assert sum(1 / each for each in days) == pytest.approx(2 / 30)
    series = {each["kind"]: each["series"] for each in found["monitors"]}
    # amount, age, both together, the score, the decision; a loss and the wrong decisions
    assert (series["Drift"], series["ConceptDrift"], series["PredictionBias"]) == (5, 2, None)
    (drift,) = (each for each in found["monitors"] if each["kind"] == "Drift")
    assert drift["days_per_false_alarm_of_each"] == 5 * drift["days_per_false_alarm"]


def test_what_is_outside_the_budget_is_said() -> None:
    """Limits of health, and series of a detector of River's, with what is not tested by it."""
    assert described_alarms(pipeline(), None, None, None)["notes"] == []
    features = [Field("amount"), Field("age"), Field("country", type="text")]
    adwin: Any = drift.ADWIN
    rest = Drift(detector=adwin())
    chosen = pipeline((Drift(features=["amount"]), rest, Health()), features=features)

    found = described_alarms(chosen, None, None, None)

    assert found["notes"] == [
        "Drift: ADWIN keeps to no budget over 1 numeric feature; how features go together is "
        "not tested.",
        "Health is outside the budget: its limits are rules, not tests.",
    ]
    chosen = pipeline((Drift(detector=drift.KSWIN()),), features=[Field("amount")])
    (note,) = described_alarms(chosen, None, None, None)["notes"]
    assert note == "Drift: KSWIN keeps to no budget over 1 numeric feature and the score."
    lines = list(drawn_alarms(found))
    assert "  Health is outside the budget: its limits are rules, not tests." in lines
    assert max(map(len, lines)) <= WIDTH


def test_what_is_not_to_be_hoped_for_is_said() -> None:
    """At a base rate of 1 % few labels tell little, and what is tolerated is never told."""
    found = described_alarms(pipeline(), Traffic(1e4, 500.0, 0.01), "given", None)

    bias, drift = hopes(found, "PredictionBias"), hopes(found, "Drift")
    assert drift["a mean moves by 0.5 sd"]["seen"] is True
    assert bias["1.5 times the positives, 1% slice"]["seen"] is False
    assert bias["1.5 times the positives, 1% slice"]["days"] > 60
    assert bias["1.2 times the positives, overall"]["events"] is None
    lines = list(drawn_alarms(found))
    assert any(line.endswith("not to be hoped for") for line in lines)
    assert any(line.endswith("not told: too small") for line in lines)
    assert max(map(len, lines)) <= WIDTH


MODELS: dict[str, Any] = {
    "binary": linear_model.LogisticRegression(),
    "multiclass": multiclass.OneVsRestClassifier(linear_model.LogisticRegression()),
    "regression": linear_model.LinearRegression(),
}
CLASSES = {"multiclass": ("low", "middle", "high")}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("traffic", [Traffic(1e4, 5e3, 0.01), Traffic(10.0, 1.0, 0.01)])
def test_of_every_monitor_it_is_told_what_it_will_see(kind: str, traffic: Traffic) -> None:
    """Whatever the model does, and however little comes; no change twice, the larger sooner."""
    calibration = () if kind == "regression" else (Calibration(),)
    reactions = Reactions("cards.calls", id="id", value="called")
    monitors = (*ALL, *calibration, Performance(), reactions)
    labels = Labels("cards.labels", id="id", value="fraud", classes=CLASSES.get(kind))
    chosen = pipeline(monitors, model=MODELS[kind], labels=labels)
    assert chosen.kind == kind

    found = described_alarms(chosen, traffic, "given", None)

    assert [each["kind"] for each in found["monitors"] if not each["hopes"]] == []
    for part in found["monitors"]:
        changes = [each["change"] for each in part["hopes"]]
        assert len(changes) == len(set(changes))
        assert any(each["events"] is not None for each in part["hopes"])
    lines = list(drawn_alarms(found))
    assert max(map(len, lines)) <= WIDTH
    assert all("  " not in line.strip()[60:] for line in lines)
    assert "\n".join(lines).isascii()
    json.dumps(found, allow_nan=False)


def test_rare_labels_make_no_promises() -> None:
    """At 1 % of 500 labels a day, what comes of labels takes weeks, and it is said how few are."""
    monitors = (PredictionBias(), Calibration(), Performance())
    found = described_alarms(pipeline(monitors), Traffic(500.0, 500.0, 0.01), "given", None)

    bias, calibration, performance = (hopes(found, type(each).__name__) for each in monitors)
    assert bias["1.5 times the positives, found, of 5%"]["events"] is None
    assert bias["3 times the positives, found, of 5%"]["days"] > 60
    assert calibration["too bold: the slope goes from 1 to 0.8"]["seen"] is False
    assert calibration["odds 3 times as high as scores say"]["days"] > 7
    assert performance["a loss equal to that of zero-rule"]["seen"] is False
    told = "  1.000% of the labels positive, 5 a day."
    assert told in list(drawn_alarms(found))
    assert found["supposed"] == [
        "Supposed for Calibration and Performance: a model with an AUC of about 0.86 before.",
        "Supposed for slices that are found: as many as there can be, 500.",
    ]


def test_what_has_to_be_given_is_said() -> None:
    """Where labels are known to come and not which part of them is positive."""
    found = described_alarms(pipeline(), Traffic(1e4, 1e4), "measured", None)

    assert found["supposed"] == [
        "For LabelShift and PredictionBias give --positives, the part of the labels that is "
        "positive."
    ]


def test_without_traffic_delays_are_in_events() -> None:
    """And nothing is said of days, nor of positives that nobody knows."""
    found = described_alarms(pipeline(), None, None, None)

    assert found["traffic"] is None
    assert not hopes(found, "PredictionBias")
    for hope in hopes(found, "Drift").values():
        assert (hope["days"], hope["seen"]) == (None, None)
        assert hope["events"] > 1
    assert "--events-per-day" in " ".join(drawn_alarms(found))
    json.dumps(found, allow_nan=False)


def test_a_pipeline_without_monitors_or_labels_is_described() -> None:
    """Of an anomaly score nothing is known by labels."""
    assert list(drawn_alarms(described_alarms(pipeline(()), None, None, None))) == []
    chosen = pipeline((Drift(),), labels=None, model=anomaly.HalfSpaceTrees())
    traffic, _ = traffic_of(chosen, 5e3, None, None, None)
    assert traffic == Traffic(5e3, 0.0, None)


def test_what_is_given_goes_before_what_is_measured_and_that_before_the_sample() -> None:
    """Labels may be fewer than events; an empty topic says nothing."""
    sample = {"events": 48, "labelled": 24, "span_ms": 43_200_000, "positives": 0.25}
    chosen = pipeline()

    assert traffic_of(chosen, 7.0, (9.0, 3.0), sample, None) == (Traffic(7.0, 7.0, 0.25), "given")
    measured = traffic_of(chosen, None, (9.0, 3.0), sample, 0.5)
    assert measured == (Traffic(9.0, 3.0, 0.5), "measured")
    assert traffic_of(chosen, None, (0.0, 0.0), sample, None) == (
        Traffic(96.0, 48.0, 0.25),
        "sample",
    )
    assert traffic_of(chosen, None, None, None, 0.5) == (None, None)


def test_the_command_says_it_in_days_by_a_sample(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A day of 480 payments, 5 % of which are fraud."""
    rows = [
        f"{n},2018-04-01T{n // 20:02d}:{n % 20 * 3:02d}:00Z,{n % 7},1,{n % 50},{int(n % 20 == 0)}"
        for n in range(480)
    ]
    file = tmp_path / "payments.csv"
    header = "transaction_id,event_time,customer_id,terminal_id,amount,fraud"
    file.write_text("\n".join([header, *rows]) + "\n")
    path = str(ROOT / "examples/payments.py")

    assert cli.run(["check", path, "--sample", str(file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["false_alarms"]

    assert told["traffic"]["from"] == "sample"
    assert told["traffic"]["positives"] == pytest.approx(0.05)
    assert told["traffic"]["events_per_day"] == pytest.approx(480, rel=0.01)
    assert cli.run(["check", path, "--events-per-day", "9600", "--positives", "0.01"]) == 0
    shown = capsys.readouterr().out
    assert "9,600 events and 9,600 labels a day (given)" in shown
    assert max(map(len, shown.splitlines())) <= WIDTH
