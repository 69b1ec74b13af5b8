"""What is shown of an alert: equal to what an independent count of the stream says."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import Any, cast
from xml.etree import ElementTree

import orjson
import pytest

from streamproc.alerts import new_judge
from streamproc.cli.evidence import HEIGHT, WIDTH, drawn
from streamproc.cli.evidence_svg import svg
from streamproc.explaining import Explanation, explained
from streamproc.messages import Alert
from streamproc.monitors import Drift, PredictionBias, bias_fold, drift_fold
from tests.unit.monitors.streams import DAY_MS, HOUR_MS, Facts, sent

KEYS = ("covariate_drift/amount", "covariate_drift/shop\x1b<&>", "covariate_drift/features")
DAYS, CHANGED_DAY = 8, 6
CHANGED_MS = CHANGED_DAY * DAY_MS
FACTS = Facts(
    monitors=[Drift(reference="3d"), PredictionBias(slices=("country",))],
    numeric_features=("amount", "age"),
    categorical_features=("shop\x1b<&>",),
    lateness_ms=0,
)


def stream() -> list[dict[str, Any]]:
    """Return outcomes: on the sixth day amounts rise, a new shop appears, and more is fraud."""
    rng = random.Random(3)
    made = []
    for number in range(DAYS * 24 * 30):
        at_ms = number * (HOUR_MS // 30)
        after = at_ms >= CHANGED_MS
        amount = rng.gauss(80.0 if after else 50.0, 20.0)
        shop = "a new one" if after and rng.random() < 0.4 else rng.choice(("web", "till"))
        features = {
            "amount": None if rng.random() < 0.05 else amount,
            "age": rng.gauss(40, 10),
            "shop\x1b<&>": shop,
        }
        made.append(
            {
                "id": str(number),
                "event_time_ms": at_ms,
                "features": features,
                "score": 0.1,
                "decision": False,
                "model": "main@2" if after else "main@1",
                "label": int(rng.random() < (0.4 if after else 0.1)),
                "label_time_ms": at_ms,
                "slices": {"country": rng.choice(("NL", "DE"))},
            }
        )
    return made


@pytest.fixture(scope="module")
def told() -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[Alert]]:
    """Return the stream, the log of sums of two partitions, and the alerts."""
    made = stream()
    judge = new_judge(FACTS, 2)
    folds: list[tuple[str, int, Any]] = [("drift", i, drift_fold(FACTS)) for i in range(2)]
    folds += [("bias", i, bias_fold(FACTS)) for i in range(2)]
    records: list[dict[str, Any]] = []
    alerts: list[Alert] = []
    for at in range(0, len(made), 90):
        for stage, partition, fold in folds:
            fold.update(made[at : at + 90][partition::2])
            record = orjson.loads(orjson.dumps(sent(stage, partition, fold)))
            records.append(record)
            alerts += judge.update([record], at)
    return made, records, alerts


def about(told: Any, key: str) -> Alert:
    """Return the alert that was opened, as if it were about something else that goes with it."""
    subject, alert_id = key.partition("/")[2], key.encode().hex()
    opened: Any = {**told[2][0], "key": key, "subject": subject, "alert_id": alert_id}
    return cast(Alert, opened)


def shown(told: Any, key: str) -> Explanation:
    """Return the explanation of an alert about something."""
    return explained(FACTS, told[1], about(told, key), [about(told, each) for each in KEYS])


def test_bars_equal_an_independent_count(told: Any) -> None:
    """Before and since, by bin, each counted from the stream itself."""
    found = shown(told, "covariate_drift/amount")
    first_ms = found.alert["first_seen_ms"]
    assert abs(first_ms - CHANGED_MS) <= 3 * HOUR_MS
    bars = [bar for bar in found.bars if bar.label != "missing"]
    assert 4 <= len(bars) <= 10
    for side, since in (("then", False), ("now", True)):
        values = [
            each["features"]["amount"]
            for each in told[0]
            if (each["event_time_ms"] >= first_ms) == since
        ]
        there = [value for value in values if value is not None]
        assert {getattr(bar, f"{side}_n") for bar in found.bars} == {len(values)}
        counted = [sum(bar.low <= value < bar.high for value in there) for bar in bars]
        assert [getattr(bar, side) for bar in bars] == counted
        missing = next(bar for bar in found.bars if bar.label == "missing")
        assert getattr(missing, side) == len(values) - len(there)
        assert sum(getattr(bar, side) for bar in found.bars) == len(values)


def test_categories_are_counted_by_name(told: Any) -> None:
    """A category that is new had none before."""
    found = shown(told, "covariate_drift/shop\x1b<&>")
    first_ms = found.alert["first_seen_ms"]
    now = Counter(
        each["features"]["shop\x1b<&>"] for each in told[0] if each["event_time_ms"] >= first_ms
    )
    assert {bar.label: bar.now for bar in found.bars} == dict(now)
    new = next(bar for bar in found.bars if bar.label == "a new one")
    assert new.then == 0
    assert {row.values["shop\x1b<&>"] for row in found.examples} == {"a new one"}


def test_the_evidence_crosses_the_alarm_when_it_was_opened(told: Any) -> None:
    """Below 1 before the change, at 1 or above after it."""
    found = shown(told, "covariate_drift/amount")
    before = [p.value for p in found.points if p.start_ms < CHANGED_MS]
    after = [p.value for p in found.points if p.start_ms >= CHANGED_MS]
    assert before
    assert max(before) < 1.0 <= max(after)
    assert found.known_from_ms == 0


def test_examples_are_events_of_the_stream(told: Any) -> None:
    """Ids, values, score and model as they were, from since it began; what is near is named."""
    found = shown(told, "covariate_drift/amount")
    by_id = {each["id"]: each for each in told[0]}
    assert len(found.examples) == 5
    for row in found.examples:
        event = by_id[row.id]
        assert event["event_time_ms"] >= found.alert["first_seen_ms"]
        assert row.values == event["features"]
        assert (row.score, row.model) == (event["score"], event["model"])
    assert found.models_now[-1] == "main@2"
    assert found.models_then[0] == "main@1"
    assert "covariate_drift/shop\x1b<&>" in {other["key"] for other in found.others}


def test_of_bias_the_slices_are_told(told: Any) -> None:
    """Observed, predicted and outcomes since, counted from the stream itself."""
    alert: Any = {
        **told[2][0],
        "kind": "prediction_bias",
        "slice": {"country": "NL"},
        "first_seen_ms": CHANGED_MS,
    }
    found = explained(FACTS, told[1], alert)
    since = [each for each in told[0] if each["label_time_ms"] >= CHANGED_MS]
    (table,) = [each for each in found.tables if each.head[0].startswith("slice")]
    slices = {name: [n, observed] for name, n, observed, _ in table.rows}
    assert slices["overall"] == [len(since), sum(each["label"] for each in since)]
    of_one = [each for each in since if each["slices"]["country"] == "NL"]
    assert slices["country=NL"] == [len(of_one), sum(each["label"] for each in of_one)]
    assert found.unit == "observed less predicted"
    assert found.points[-1].value == pytest.approx(0.3, abs=0.4)
    assert max(map(len, drawn(found))) <= WIDTH
    assert ElementTree.fromstring(svg(found)) is not None


def test_nothing_is_wider_than_80_columns_and_svg_is_xml(told: Any) -> None:
    """Of every kind there is, with a name that means to steer the terminal."""
    for key in KEYS:
        found = shown(told, key)
        lines = list(drawn(found))
        assert max(map(len, lines)) <= WIDTH
        assert all(line.isprintable() for line in lines)
        assert len(lines) > HEIGHT
        root = ElementTree.fromstring(svg(found))
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        texts = [each.text or "" for each in root.iter("{http://www.w3.org/2000/svg}text")]
        assert any(key.split("/")[0] in text for text in texts)


def test_a_log_that_was_cut_says_from_when_on_it_is(told: Any) -> None:
    """Retention took the beginning: what is left is shown."""
    _, records, alerts = told
    late = [each for each in records if each["watermark_ms"] > 2 * DAY_MS]
    found = explained(FACTS, late, alerts[0])
    assert found.known_from_ms is not None
    assert found.known_from_ms > DAY_MS
    assert "the log of sums goes back to 1970-01-0" in list(drawn(found))[-1]
    gone = explained(FACTS, [], alerts[0])
    assert next(drawn(gone)).startswith("no evidence")
    assert ElementTree.fromstring(svg(gone)) is not None


def test_what_is_watched_no_more_is_no_failure(told: Any) -> None:
    """The feature left the pipeline since."""
    fewer = replace(FACTS, numeric_features=("age",))
    found = explained(fewer, told[1], shown(told, "covariate_drift/amount").alert)
    assert found.points == []
