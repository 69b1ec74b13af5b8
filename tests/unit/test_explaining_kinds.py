"""Every kind of alert is explained: what is shown equals what the stream itself says."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any, cast
from xml.etree import ElementTree

import orjson
import pytest

from streamproc.alerts import new_judge
from streamproc.cli.evidence import HEIGHT, WIDTH, drawn
from streamproc.cli.evidence_svg import svg
from streamproc.explaining import Explanation, Table, explained
from streamproc.messages import Alert
from streamproc.monitors import Drift, PredictionBias, drift_fold, outcome_fold
from streamproc.monitors.health_spec import REPORT_MS, Health
from streamproc.monitors.outcomespec import Calibration, ConceptDrift, LabelShift
from streamproc.monitors.performance_fold import PerformanceFold
from streamproc.monitors.performance_spec import Performance
from streamproc.monitors.quality_fold import quality_fold
from streamproc.monitors.quality_spec import DataQuality
from streamproc.monitors.reactions import ReactionFold, Reactions
from tests.unit.monitors.streams import DAY_MS, HOUR_MS, Facts, sent

DAYS, CHANGED_DAY, AN_HOUR = 16, 12, 30
CHANGED_MS = CHANGED_DAY * DAY_MS
DELAY_MS = 5 * HOUR_MS
CLICKS = Reactions("shop.clicks", id="id", value="clicked", reference="3d")
FACTS = Facts(
    monitors=[
        Drift(reference="3d"),
        PredictionBias(slices=("country",)),
        Calibration(),
        LabelShift(),
        ConceptDrift(),
        Performance(slices=("country",)),
        DataQuality(reference="3d", producer="country"),
        CLICKS,
        Health(),
    ],
    learns=False,
    numeric_features=("amount", "age"),
    feature_names=("amount", "age"),
    number_fields=("amount", "age"),
    lateness_ms=0,
    threshold=0.5,
)


def event(number: int, rng: random.Random) -> dict[str, Any]:
    """Return an outcome; from the change on amounts go with age, and yes has other causes."""
    at_ms = number * (HOUR_MS // AN_HOUR)
    after = at_ms >= CHANGED_MS
    age, own = rng.gauss(0, 1), rng.gauss(0, 1)
    amount = age if after else own
    score = min(max(rng.betavariate(2, 5), 0.001), 0.999)
    label = int(rng.random() < (1 - score if after else score))
    missing = rng.random() < (0.3 if after else 0.02)
    country = rng.choice(("NL", "DE"))
    return {
        "id": f"e{number}",
        "event_time_ms": at_ms,
        "record_time_ms": at_ms + 600_000 * (after and country == "NL"),
        "scored_at_ms": at_ms,
        "features": {"amount": None if missing else amount, "age": age},
        "score": score,
        "decision": score >= 0.5,
        "model": "main@10" if after else "main@9",
        "label": label,
        "label_time_ms": at_ms + DELAY_MS,
        "slices": {"country": country},
        "reacted": rng.random() < (0.6 if after else 0.2),
    }


class World:
    """The stream, the log of two partitions, and the alerts that it gave."""

    def __init__(self, change: Callable[[dict[str, Any]], dict[str, Any]] = lambda e: e) -> None:
        rng = random.Random(7)
        self.events = [change(event(n, rng)) for n in range(DAYS * 24 * AN_HOUR)]
        self.records: list[dict[str, Any]] = []
        self.alerts: list[Alert] = []
        judge = new_judge(FACTS, 2)
        folds: list[tuple[str, int, Any]] = []
        for i in range(2):
            guesses = PerformanceFold(FACTS, "predictions")
            predictions = (drift_fold(FACTS), quality_fold(FACTS), ReactionFold(7, CLICKS), guesses)
            folds += [("drift", i, fold) for fold in predictions]
            folds += [("bias", i, outcome_fold(FACTS))]
        for at in range(0, len(self.events), AN_HOUR):
            some = self.events[at : at + AN_HOUR]
            for _, i, fold in folds:
                mine = some[i::2]
                clicks = [
                    {"watermark_ms": each["event_time_ms"], "value": 1.0}
                    for each in (mine if isinstance(fold, ReactionFold) else [])
                    if each["reacted"]
                ]
                fold.update([*mine, *clicks])
            for stage, i in (("drift", 0), ("drift", 1), ("bias", 0), ("bias", 1)):
                made = [sent(s, p, fold) for s, p, fold in folds if (s, p) == (stage, i)]
                whole = {**made[0], "buckets": [b for each in made for b in each["buckets"]]}
                self._take(judge, orjson.loads(orjson.dumps(whole)), at)

    def _take(self, judge: Any, record: dict[str, Any], now_ms: int) -> None:
        self.records.append(record)
        self.alerts += judge.update([record], now_ms)

    def about(self, kind: str, subject: str, slice_: dict[str, str] | None = None) -> Explanation:
        """Return the explanation of an alert about something from the change on."""
        alert: Any = {
            **self.alerts[0],
            "alert_id": "0" * 16,
            "kind": kind,
            "subject": subject,
            "slice": slice_,
            "key": f"{kind}/{subject}",
            "first_seen_ms": CHANGED_MS,
        }
        return explained(FACTS, self.records, cast(Alert, alert), self.alerts)

    def sides(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return the events before the change, and those since."""
        n = CHANGED_DAY * 24 * AN_HOUR
        return self.events[:n], self.events[n:]


@pytest.fixture(scope="module")
def world() -> World:
    """Return the world of these tests."""
    return World()


def table(found: Explanation, head: str) -> Table:
    """Return the table whose first column is named so."""
    return next(each for each in found.tables if each.head[0].startswith(head))


def mean(values: list[float]) -> float:
    """Return the mean."""
    return sum(values) / len(values)


def test_the_change_is_found_at_all(world: World) -> None:
    """What is explained here is what the judge found."""
    about = {each["kind"] for alert in world.alerts for each in alert["members"]}
    assert {"covariate_drift", "data_quality", "label_shift", "performance"} <= about
    assert {"concept_drift", "prediction_bias"} & about


KINDS = [
    ("covariate_drift", "features"),
    ("covariate_drift", "age"),
    ("prior_drift", "score"),
    ("prior_drift", "decision"),
    ("label_shift", "labels"),
    ("concept_drift", "decisions"),
    ("concept_drift", "loss"),
    ("prediction_bias", "predictions"),
    ("calibration", "score"),
    ("performance", "zero_rule"),
    ("performance", "shop.clicks, how many"),
    ("performance", "shop.clicks, clicked"),
    ("data_quality", "amount, missing"),
    ("data_quality", "rate of events"),
    ("data_quality", "dead letters"),
    ("data_quality", "age, stuck"),
    ("data_quality", "amount, never there"),
    ("data_quality", "age, never varied"),
    ("data_quality", "late events"),
    ("data_quality", "clock"),
    ("data_quality", "labels, all one class"),
]


@pytest.mark.parametrize(("kind", "subject"), KINDS)
def test_each_has_a_plot_numbers_and_says_what_there_is_not(
    world: World, kind: str, subject: str
) -> None:
    """In 80 columns and as XML: evidence, then and now, slices, examples and versions."""
    found = world.about(kind, subject)
    assert len(found.points) > 300
    assert any(each.beside is not None for each in found.points)
    assert found.bars or found.tables
    assert found.known_from_ms is not None
    lines = list(drawn(found))
    assert max(map(len, lines)) <= WIDTH
    assert all(line.isprintable() for line in lines)
    assert len(lines) > HEIGHT
    notes = " ".join(found.notes)
    assert found.examples or "no examples" in notes
    assert "no slices" in notes or any("slice" in each.head[0] for each in found.tables)
    if found.examples:
        assert found.models_now == ["main@10"]
        assert found.models_then == ["main@9"]
        by_id = {each["id"]: each for each in world.events}
        for each in found.examples:
            assert each.values == by_id[each.id]["features"]
            assert by_id[each.id]["event_time_ms"] >= CHANGED_MS
    root = ElementTree.fromstring(svg(found))
    texts = [each.text or "" for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert len(list(root.iter("{http://www.w3.org/2000/svg}polyline"))) == 2
    assert {told.head[0] for told in found.tables} <= set(texts)


def test_labels_and_decisions_are_counted(world: World) -> None:
    """By event time, though buckets are of when labels became known."""
    shares = table(world.about("label_shift", "labels"), "share of positives")
    errors = table(world.about("concept_drift", "decisions"), "share of wrong")
    for row, wrong, side in zip(shares.rows, errors.rows, world.sides(), strict=True):
        known = [each for each in side if each["label_time_ms"] < DAYS * DAY_MS + DELAY_MS]
        assert row[1:3] == (len(known), sum(each["label"] for each in known))
        assert wrong[2] == sum(each["label"] != each["decision"] for each in known)


def test_reliability_is_by_score_before_and_since(world: World) -> None:
    """Groups of scores, in each what was predicted and what came true; all are in some group."""
    rows = table(world.about("calibration", "score"), "score").rows
    before, since = world.sides()
    assert 5 <= len(rows) <= 10
    for at, side in ((1, before), (4, since)):
        assert sum(cast(float, row[at]) for row in rows) == len(side)
        predicted = sum(cast(float, row[at]) * cast(float, row[at + 1]) for row in rows)
        observed = sum(cast(float, row[at]) * cast(float, row[at + 2]) for row in rows)
        assert predicted == pytest.approx(sum(each["score"] for each in side), rel=1e-6)
        assert observed == pytest.approx(sum(each["label"] for each in side), rel=1e-9)
    high = rows[-1]
    assert cast(float, high[3]) > 0.4 > 0.2 > 1 - cast(float, high[6]) - 0.4


def test_the_metric_is_beside_its_baseline(world: World) -> None:
    """Brier score of the window: below zero-rule's before, above it since."""
    found = world.about("performance", "zero_rule")
    before = [p for p in found.points if DAY_MS < p.start_ms < CHANGED_MS]
    assert all(p.beside is not None and p.value < p.beside for p in before[-48:])
    assert found.points[-1].value > (found.points[-1].beside or 1.0)
    brier = next(row for row in table(found, "window of").rows if row[0] == "brier")
    window = world.sides()[0][-7 * 24 * AN_HOUR :]
    expected = mean([(each["score"] - each["label"]) ** 2 for each in window])
    assert brier[1] == pytest.approx(expected, rel=0.01)


def test_shares_of_quality_are_over_time(world: World) -> None:
    """Missing values by bucket, and by event before and since; examples lack the feature."""
    found = world.about("data_quality", "amount, missing")
    missing = [
        mean([each["features"]["amount"] is None for each in side]) for side in world.sides()
    ]
    row = next(row for row in table(found, "share of events").rows if row[0] == "amount, missing")
    assert row[1:] == tuple(map(pytest.approx, missing))
    assert found.points[-1].beside == pytest.approx(missing[0])
    assert {each.values["amount"] for each in found.examples} == {None}
    rate = world.about("data_quality", "rate of events")
    assert {p.value for p in rate.points} == {AN_HOUR}
    assert rate.points[-1].beside == AN_HOUR


def test_a_clocks_delay_is_beside_that_of_all(world: World) -> None:
    """In minutes, of the producer that the alert is about."""
    found = world.about("data_quality", "clock", {"country": "NL"})
    assert {(p.value, p.beside) for p in found.points if p.start_ms < CHANGED_MS} == {(0.0, 0.0)}
    assert {(p.value, p.beside) for p in found.points if p.start_ms >= CHANGED_MS} == {(10.0, 0.0)}


def test_reactions_are_by_prediction(world: World) -> None:
    """Counted before and since."""
    rows = table(world.about("performance", "shop.clicks, how many"), "when").rows
    for row, side in zip(rows, world.sides(), strict=True):
        assert row[1:3] == (len(side), sum(each["reacted"] for each in side))


def test_of_all_features_the_correlation_is_told(world: World) -> None:
    """0 before, 1 since; ranks of what did not move stay."""
    found = world.about("covariate_drift", "features")
    name, before, since = table(found, "correlation").rows[0]
    assert name == "amount and age"
    assert cast(float, before) == pytest.approx(0.0, abs=0.05)
    assert cast(float, since) == pytest.approx(1.0, abs=0.01)
    assert {row[0] for row in table(found, "median").rows} == {"amount", "age"}


def test_examples_of_outcomes_are_those_that_were_most_off(world: World) -> None:
    """With what was observed, of the alert's slice where features tell."""
    found = world.about("prediction_bias", "predictions")
    by_id = {each["id"]: each for each in world.events}
    for each in found.examples:
        assert each.observed == by_id[each.id]["label"]
        assert abs(each.observed - each.score) > 0.7
    inside = world.about("prediction_bias", "predictions", {"age": "0.5 and above"})
    assert {each.values["age"] >= 0.5 for each in inside.examples} == {True}
    side = world.sides()[1]
    some = [each for each in side if each["features"]["age"] >= 0.5]
    off = mean([each["label"] - each["score"] for each in some])
    since = [p for p in inside.points if p.start_ms >= CHANGED_MS]
    seen = sum(p.value * p.n for p in since) / sum(p.n for p in since)
    assert seen == pytest.approx(off, abs=0.02)


def test_of_slices_of_performance_all_are_named(world: World) -> None:
    """How many outcomes each has in the newest window."""
    rows = table(world.about("performance", "zero_rule"), "slice, newest").rows
    counts = Counter(each["slices"]["country"] for each in world.events[-7 * 24 * AN_HOUR :])
    assert {str(row[0]).partition("=")[2] for row in rows} == set(counts)
    for row in rows:
        assert row[1] == pytest.approx(counts[str(row[0]).partition("=")[2]], rel=0.05)


def reports(values: Callable[[int], dict[str, Any]], minutes: int) -> list[dict[str, Any]]:
    """Return what one of two workers reports; the other is well."""
    made = []
    for at_ms in range(0, minutes * 60_000, REPORT_MS):
        told = {"stage": "health", "at_ms": at_ms}
        made.append({**told, "instance": "w1", "values": values(at_ms)})
        made.append({**told, "instance": "w2", "values": {"behind_ms": 0, "latency_ms": 20}})
    return made


def of_health(subject: str, records: list[dict[str, Any]], name: str | None) -> Explanation:
    """Return the explanation of an alert of health since the tenth minute."""
    alert: Any = {
        "alert_id": "0" * 16,
        "kind": "health",
        "subject": subject,
        "slice": {"instance": name} if name else None,
        "key": f"health/{subject}",
        "first_seen_ms": 600_000,
        "summary": "",
    }
    return explained(FACTS, records, cast(Alert, alert))


def test_health_is_beside_its_limit() -> None:
    """In seconds; the other worker's value is told, too; there are no events to show."""
    made = reports(lambda t: {"behind_ms": max(t - 600_000, 0), "waiting": t}, 20)
    found = of_health("lag", made, "w1")
    assert {p.beside for p in found.points} == {60.0}
    assert found.points[-1].value == 600.0 - REPORT_MS / 1_000
    assert table(found, "most seconds").rows == (("w1", 0.0, 595.0), ("w2, now", None, 0.0))
    assert any("no slices, and no examples" in line for line in drawn(found))
    assert max(map(len, drawn(found))) <= WIDTH
    assert ElementTree.fromstring(svg(found)) is not None


def test_a_silent_worker_and_a_held_model_are_shown() -> None:
    """How long it has been silent; how many versions were held back."""
    made = [
        each
        for each in reports(lambda t: {}, 15)
        if each["instance"] == "w2" or each["at_ms"] < 600_000
    ]
    found = of_health("worker", made, "w1")
    assert found.points[-1].value == pytest.approx(300, abs=10)
    assert found.points[-1].beside == 60.0
    held = {"why": "weights has 2e+198", "features": ["amount"], "outcomes": 1000}
    versions = [
        {
            "stage": "model",
            "version": 3,
            "at_ms": at * 60_000,
            "held_back": held if at > 9 else None,
        }
        for at in range(13)
    ]
    found = of_health("model", versions, None)
    assert [p.value for p in found.points] == [0.0] * 10 + [1.0, 2.0, 3.0]


@pytest.mark.parametrize("subject", ["staleness", "labels", "events", "learner", "snapshot"])
def test_each_of_health_is_known(subject: str) -> None:
    """Even where nothing was reported of it."""
    made = reports(lambda t: {"watermark_ms": t, "label_ms": 5, "learner_records": 7}, 12)
    found = of_health(subject, made, None if subject in ("labels", "events") else "w1")
    lines = list(drawn(found))
    assert max(map(len, lines)) <= WIDTH
    assert any("no examples" in line for line in lines)


@pytest.mark.parametrize(("kind", "subject"), KINDS)
def test_what_is_watched_no_more_is_one_line(world: World, kind: str, subject: str) -> None:
    """The monitor left the pipeline since."""
    found = world.about(kind, subject)
    gone = explained(Facts(monitors=[]), world.records, found.alert)
    assert gone.points == []
    assert "the pipeline watches this no more" in gone.notes
    assert next(drawn(gone)).startswith("no evidence")
