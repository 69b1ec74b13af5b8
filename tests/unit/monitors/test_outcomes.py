"""Monitors of outcomes from folds to alerts: calibration, labels, concept, found slices."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from math import exp, log
from typing import Any, cast

import numpy as np
import pytest

from streamproc.alerts import new_judge
from streamproc.errors import DefinitionError
from streamproc.messages import Alert
from streamproc.models.versions import dumps, loads
from streamproc.monitors import (
    Calibration,
    ConceptDrift,
    LabelShift,
    PredictionBias,
    bias_fold,
)
from streamproc.monitors.budget import FalseAlarms
from streamproc.monitors.foundslices import FoundSlices
from streamproc.monitors.growing import Span
from streamproc.monitors.outcome_sample import SAMPLED, Outcomes
from streamproc.monitors.outcomejudge import outcome_monitor
from streamproc.monitors.outcomes import combined
from streamproc.monitors.outcomespec import outcome_plan
from streamproc.monitors.packing import unpack_ints
from streamproc.monitors.slices import BiasMonitor
from streamproc.tasks.judging import allowed
from tests.unit.monitors.streams import DAY_MS, HOUR_MS, Facts, judged, sent, steps

Chance = Callable[[float, float], float]


def outcomes(
    seed: int, days: int, chance: Chance, per_day: int = 1_000, delay_ms: int = 2 * DAY_MS
) -> list[dict[str, Any]]:
    """Return outcomes whose chance of yes follows from the day and the logit of the score."""
    rng = random.Random(seed)
    made = []
    for i in range(days * per_day):
        event_ms = i * DAY_MS // per_day
        logit = rng.gauss(-1.0, 1.0)
        score = 1 / (1 + exp(-logit))
        made.append(
            {
                "id": str(i),
                "event_time_ms": event_ms,
                "label_time_ms": event_ms + delay_ms,
                "features": {"amount": rng.expovariate(1 / 50), "country": rng.choice("ABCD")},
                "score": score,
                "decision": score >= 0.5,
                "model": "main@1",
                "label": int(rng.random() < chance(event_ms / DAY_MS, logit)),
            }
        )
    return made


def logistic(logit: float) -> float:
    """Return the chance of a logit."""
    return 1 / (1 + exp(-logit))


def told(monitor: Any, made: list[dict[str, Any]], **facts: Any) -> list[Alert]:
    """Return the alerts of one monitor."""
    seldom = FalseAlarms(1, 3_000 * DAY_MS)
    facts = {"learns": False, "budget": seldom, **facts}
    return judged(Facts(monitors=[monitor], **facts), "bias", made)


@pytest.mark.parametrize(
    ("shift", "slope", "words"), [(0.7, 1.0, "too low in the large"), (0.0, 0.5, "too bold")]
)
def test_calibration_that_changes_is_told(shift: float, slope: float, words: str) -> None:
    """In the large or in its slope, while it lasts."""

    def chance(day: float, logit: float) -> float:
        changed = 20 <= day < 30
        return logistic(-1 + shift + slope * (logit + 1) if changed else logit)

    alerts = told(Calibration(bucket="6h"), outcomes(1, 40, chance))

    assert steps(alerts) == [("open", "calibration/score"), ("resolved", "calibration/score")]
    assert words in alerts[0]["summary"]
    assert 19 <= alerts[0]["first_seen_ms"] / DAY_MS < 23


def test_scores_that_are_off_are_named_on_any_number_of_partitions() -> None:
    """Too low around 0.18 and too high around 0.57: the same to the bit on 1, 4 and 16."""

    def off(logit: float) -> float:
        bumps = exp(-2 * (logit + 1.5) ** 2) - exp(-2 * (logit - 0.3) ** 2)
        return 1.2 * bumps + 0.51 + 0.87 * logit  # no part of it is a shift or a slope

    def chance(day: float, logit: float) -> float:
        return logistic(logit + off(logit) if 12 <= day < 24 else logit)

    made = outcomes(4, 30, chance, 2_000)
    facts = Facts(
        monitors=[Calibration(bucket="6h")],
        learns=False,
        lateness_ms=DAY_MS,
        budget=FalseAlarms(1, 3_000 * DAY_MS),
    )
    alerts = [
        [
            Alert(**{**each, "detected_at_ms": 0})
            for each in judged(facts, "bias", made, partitions, 300, random.Random(partitions))
        ]
        for partitions in (1, 4, 16)
    ]

    assert alerts[0] == alerts[1] == alerts[2]
    assert steps(alerts[0]) == [("open", "calibration/score"), ("resolved", "calibration/score")]
    opened = alerts[0][0]
    told = re.findall(r"between ([\d.]+) and ([\d.]+) too (low|high)", opened["summary"])
    assert told
    for low, high, side in told:
        p = (float(low) + float(high)) / 2
        assert (off(log(p / (1 - p))) > 0) == (side == "low")
    assert f"{opened['observed']:.2%} observed" in opened["summary"]
    assert f"{opened['expected']:.2%} expected over {opened['samples']:,}" in opened["summary"]


def test_label_shift_is_told_in_event_time() -> None:
    """Labels come 60 days late: the alert says from which event on."""
    alerts = told(
        LabelShift(bucket="6h"),
        outcomes(2, 40, lambda day, _: 0.02 if day < 25 else 0.08, 400, 60 * DAY_MS),
    )

    assert steps(alerts) == [("open", "label_shift/labels")]
    assert 24 <= alerts[0]["first_seen_ms"] / DAY_MS < 26
    assert "For events from 1970-01-2" in alerts[0]["summary"]
    assert alerts[0]["observed"] == pytest.approx(0.08, abs=0.04)


def test_a_concept_that_changes_is_told() -> None:
    """Where the odds are turned around decisions are wrong and losses high; better is no error."""
    made = outcomes(3, 30, lambda day, logit: logistic(logit if day < 20 else -logit), 400)
    alerts = told(ConceptDrift(bucket="6h"), made)
    keys = {key for status, key in steps(alerts) if status == "open"}
    assert keys == {"concept_drift/decisions"}
    members = {each["subject"] for alert in alerts for each in alert.get("members", ())}
    assert members == {"decisions", "loss"}

    better = outcomes(3, 30, lambda day, logit: logistic(logit) if day < 20 else float(logit > 0))
    opened = {k for s, k in steps(told(ConceptDrift(bucket="6h"), better)) if s == "open"}
    assert opened == {"concept_drift/loss"}


def test_the_classes_among_labels_are_watched() -> None:
    """A class that becomes more frequent is named."""
    rng = random.Random(5)
    made = outcomes(4, 30, lambda *_: 0.5, 200)
    for one in made:
        late = one["event_time_ms"] >= 20 * DAY_MS
        one["label"] = rng.choices("abc", (1, 1, 4) if late else (1, 1, 1))[0]
        one["score"], one["decision"] = {"a": 0.5, "b": 0.5}, "a"
    alerts = told(LabelShift(bucket="6h"), made, kind="multiclass", classes=None)

    assert [status for status, _ in steps(alerts)] == ["open"]
    assert "'c'" in alerts[0]["summary"]


@pytest.mark.parametrize("where", ["amount", "both"])
def test_a_slice_nobody_declared_is_found(where: str) -> None:
    """One feature's range, or a pair of features; it alone is told, and named in words."""

    def off(one: dict[str, Any]) -> bool:
        large = one["features"]["amount"] >= 110
        return bool(large or (where == "both" and one["features"]["amount"] >= 70)) and (
            where == "amount" or one["features"]["country"] == "A"
        )

    rng = random.Random(7)
    made = outcomes(6, 45, lambda _, logit: logistic(logit - 1.5), 800)
    for one in made:
        if 20 <= one["event_time_ms"] / DAY_MS < 30 and off(one):
            one["label"] = int(one["label"] or rng.random() < 0.35)
    opened, *_, over = told(PredictionBias(bucket="6h"), made)

    assert opened["status"] == "open"
    assert over["status"] == "resolved"
    assert opened["key"] == over["key"]
    assert opened["slice"] is not None
    assert "amount" in opened["slice"]
    assert float(opened["slice"]["amount"].split()[0]) > 60
    assert opened["slice"].get("country", "A") == "A"
    assert "Where " in opened["summary"]


def test_candidates_are_bounded() -> None:
    """Many features of many values do not make many candidates."""
    rng = random.Random(1)
    found = FoundSlices(HOUR_MS, 1e9, span=Span(0, 100))
    odd: list[Callable[[], Any]] = [rng.random, lambda: f"v{rng.random()}", lambda: None]
    for hour in range(6):
        made = [
            {"event_time_ms": 0, "features": {f"f{k}": rng.choice(odd)() for k in range(60)}}
            for _ in range(SAMPLED)
        ]
        some = Outcomes.of(made, np.arange(SAMPLED), np.zeros(SAMPLED), np.full(SAMPLED, 0.5))
        found.update(hour * HOUR_MS, some, turned=False, quiet=True)

    assert 300 < len(found) < 500


def test_what_is_declared_is_not_looked_for_too() -> None:
    """Else two tests would speak of one slice, under one key, and one end the other's alert.

    One alert for the slice, by name; and of the candidates it is not one.
    """
    rng = random.Random(3)
    made = outcomes(6, 40, lambda _, logit: logistic(logit - 1.5), 800)
    for one in made:
        one["features"] = {"country": one["features"]["country"]}
        one["slices"] = {**one["features"], "shop": str(rng.randrange(300))}
        if 20 <= one["event_time_ms"] / DAY_MS < 28 and one["features"]["country"] == "A":
            one["label"] = int(one["label"] or rng.random() < 0.15)
    alerts = told(PredictionBias(bucket="6h", slices=("country", "shop")), made)
    assert {each["key"] for each in alerts} == {"prediction_bias/country=A"}
    assert [each["reason"] for each in alerts if each["status"] != "update"] == [
        "found",
        "recovered",
    ]
    assert not any(each["summary"].startswith("Where ") for each in alerts)
    monitor = PredictionBias(slices=("country", ("amount", "age")))
    tests = outcome_monitor(monitor, Facts(learns=False), 1e9)
    fold = bias_fold(Facts(monitors=[monitor], learns=False))
    for at, one in enumerate(made[:20_000]):
        one["features"] |= {"amount": rng.random(), "age": rng.random()}
        one["label_time_ms"] = at * HOUR_MS // 400
    fold.update(made[:20_000])
    for bucket in fold.take():
        tests.update(bucket["bucket_ms"], bucket["series"])
    fields = {frozenset(each) for each in cast(BiasMonitor, tests.tests).candidates}
    assert fields == {
        frozenset(each) for each in (["amount"], ["age"], ["age", "country"], ["amount", "country"])
    }


def test_a_sample_is_the_same_however_it_was_gathered() -> None:
    """Kept are the rows of the least hashes, of all partitions, in any order."""
    made = outcomes(1, 1, lambda *_: 0.5, 3_000)
    facts = Facts(monitors=[PredictionBias(bucket="30d")], learns=False)
    whole = bias_fold(facts)
    whole.update(made)
    (one,) = whole.take()
    parts, rng = [], random.Random(2)
    rng.shuffle(made)
    for part in range(3):
        fold = bias_fold(facts)
        fold.update(made[part::3])
        parts.append(fold.take()[0]["series"]["=sample"])

    sample = one["series"]["=sample"]
    hashes = unpack_ints(sample["hash"]).tolist()
    assert len(hashes) == SAMPLED
    assert hashes == sorted(hashes)
    assert combined(parts) == sample == combined(parts[::-1])


NOTHING: list[Any] = [
    PredictionBias(slices=("country",)),
    Calibration(),
    LabelShift(),
    ConceptDrift(),
]


@pytest.mark.parametrize(
    "change",
    [
        {"label": 0},
        {"label": 1},
        {"label": None},
        {"score": float("nan")},
        {"score": None},
        {"score": 1e308},
        {"score": 0.0},
        {"score": 1.0},
        {"decision": None},
        {"label": "what"},
        {"features": {"amount": float("nan"), "x": [1], "y": 10**400}},
    ],
)
@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_bad_input_breaks_nothing_and_tells_nothing(change: dict[str, Any], kind: str) -> None:
    """Labels of one class or none, scores that are none, odd features: no crash, no alert."""
    made = outcomes(8, 12, lambda _, logit: logistic(logit), 150)
    for one in made:
        one |= change
    monitors = [m for m in NOTHING if kind == "binary" or not isinstance(m, Calibration)]
    facts = Facts(monitors=monitors, learns=False, kind=kind)

    assert judged(facts, "bias", made) == []


def test_time_that_stands_still_is_no_news() -> None:
    """All outcomes at one moment: nothing is sealed, nothing told."""
    made = outcomes(9, 2, lambda *_: 0.5)
    for one in made:
        one["event_time_ms"] = one["label_time_ms"] = 0
    assert judged(Facts(monitors=NOTHING, learns=False), "bias", made) == []


def test_what_says_nothing_of_a_model_is_refused() -> None:
    """Each refusal names the monitor and the remedy."""
    for kind, monitors, words in (
        ("anomaly", [ConceptDrift()], "ConceptDrift: an anomaly score predicts no label"),
        ("regression", [Calibration()], "Calibration: a regression gives no probability"),
        ("binary", [LabelShift(), LabelShift()], "LabelShift: declared twice"),
    ):
        with pytest.raises(DefinitionError, match=words):
            outcome_plan(Facts(monitors=monitors, kind=kind))
    with pytest.raises(DefinitionError, match="weight"):
        Calibration(weight=0)


def test_the_state_goes_into_a_snapshot_and_back() -> None:
    """All that the monitors keep may be read back, and goes on the same."""
    made = outcomes(10, 20, lambda _, logit: logistic(logit), 300)
    for one in made:
        one["slices"] = {"country": one["features"]["country"]}
        if one["slices"]["country"] == "B" and one["event_time_ms"] >= 15 * DAY_MS:
            one["label"] = 1
    facts = Facts(monitors=NOTHING, learns=False)
    fold, judge = bias_fold(facts), new_judge(facts, 1)
    other = new_judge(facts, 1)
    alerts: list[list[Alert]] = [[], []]
    for i in range(0, len(made), 500):
        fold.update(made[i : i + 500])
        record = sent("bias", 0, fold)
        for number, each in enumerate((judge, other)):
            alerts[number] += each.update([record], i)
        other = loads(dumps(other), allowed())

    assert alerts[0] == alerts[1]
    assert "prediction_bias/country=B" in {alert["key"] for alert in alerts[0]}
