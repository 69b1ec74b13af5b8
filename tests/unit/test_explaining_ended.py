"""What is shown of an alert that ended: the numbers since are those up to its end."""

from __future__ import annotations

import random
from typing import Any, cast

import orjson
import pytest

from streamproc.alerts import new_judge
from streamproc.cli.evidence import drawn
from streamproc.explaining import Explanation, explained
from streamproc.messages import Alert
from streamproc.monitors import Drift, drift_fold, outcome_fold
from streamproc.monitors.outcomespec import LabelShift
from streamproc.monitors.quality_fold import quality_fold
from streamproc.monitors.quality_spec import DataQuality
from tests.unit.monitors.streams import DAY_MS, HOUR_MS, Facts, sent

DAYS, FROM_DAY, TO_DAY, AN_HOUR = 30, 10, 13, 60
DELAY_MS = 2 * DAY_MS
FACTS = Facts(
    monitors=[Drift(), DataQuality(), LabelShift()],
    numeric_features=("amount", "age"),
    feature_names=("amount", "age"),
    number_fields=("amount", "age"),
    lateness_ms=0,
    learns=False,
)
KEYS = ("covariate_drift/amount", "data_quality/age, missing", "label_shift/labels")


def stream() -> list[dict[str, Any]]:
    """Return outcomes: for three days amounts are doubled, ages are missing, and more is fraud."""
    rng = random.Random(3)
    made = []
    for number in range(DAYS * 24 * AN_HOUR):
        at_ms = number * HOUR_MS // AN_HOUR
        fault = FROM_DAY * DAY_MS <= at_ms < TO_DAY * DAY_MS
        missing = rng.random() < (0.3 if fault else 0.02)
        made.append(
            {
                "id": str(number),
                "event_time_ms": at_ms,
                "scored_at_ms": at_ms,
                "features": {
                    "amount": rng.gauss(50, 20) * (2 if fault else 1),
                    "age": None if missing else rng.gauss(40, 10),
                },
                "score": 0.1,
                "decision": False,
                "model": "main@1",
                "label": int(rng.random() < (0.3 if fault else 0.1)),
                "label_time_ms": at_ms + DELAY_MS,
                "slices": {},
            }
        )
    return made


@pytest.fixture(scope="module")
def told() -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Alert]]:
    """Return the stream, the log of sums, and the newest step of each alert."""
    made = stream()
    judge = new_judge(FACTS, 1)
    folds: list[Any] = [drift_fold(FACTS), quality_fold(FACTS), outcome_fold(FACTS)]
    records: list[dict[str, Any]] = []
    newest: dict[str, Alert] = {}
    for at in range(0, len(made), AN_HOUR):
        for fold in folds:
            fold.update(made[at : at + AN_HOUR])
        drift, quality, outcomes = (
            sent(stage, 0, fold)
            for stage, fold in zip(("drift", "drift", "bias"), folds, strict=True)
        )
        drift["buckets"] += quality["buckets"]
        for record in (drift, outcomes):
            records.append(orjson.loads(orjson.dumps(record)))
            newest |= {each["key"]: each for each in judge.update(records[-1:], at)}
    return made, records, newest


def shown(told: Any, key: str) -> Explanation:
    """Return the explanation of an alert."""
    return explained(FACTS, told[1], told[2][key])


def since(told: Any, found: Explanation, delay_ms: int = 0) -> list[dict[str, Any]]:
    """Return the events between its first time and its end, as far as they were known by then."""
    assert found.until_ms is not None
    return [
        each
        for each in told[0]
        if found.first_ms <= each["event_time_ms"] < found.until_ms - delay_ms
    ]


@pytest.mark.parametrize("key", KEYS)
def test_a_resolve_says_when_it_was_over(told: Any, key: str) -> None:
    """In event time, of labels when they were known; nothing before it says so."""
    alert = told[2][key]
    assert alert["status"] == "resolved"
    end_ms = TO_DAY * DAY_MS + DELAY_MS * (key == KEYS[2])
    assert end_ms < alert["ended_ms"] <= end_ms + DAY_MS
    assert abs(alert["first_seen_ms"] - FROM_DAY * DAY_MS) <= 6 * HOUR_MS


def test_the_distribution_since_is_that_until_its_end(told: Any) -> None:
    """Not of the weeks after it, which were as usual."""
    found = shown(told, KEYS[0])
    between = since(told, found)
    assert {bar.now_n for bar in found.bars} == {len(between)}
    for bar in found.bars:
        assert bar.low is not None
        assert bar.high is not None
        amounts = [each["features"]["amount"] for each in between]
        assert bar.now == sum(bar.low <= amount < bar.high for amount in amounts)
    assert all(point.start_ms < (found.until_ms or 0) for point in found.points)
    lines = list(drawn(found))
    assert any("▲ since 1970-01-11" in line and " until 1970-01-14" in line for line in lines)


def test_shares_since_are_those_until_its_end(told: Any) -> None:
    """Of what is missing by event, of labels by outcome."""
    found = shown(told, KEYS[1])
    between = since(told, found)
    (row,) = [row for row in found.tables[0].rows if row[0] == "age, missing"]
    missing = sum(each["features"]["age"] is None for each in between)
    assert row[2] == pytest.approx(missing / len(between))
    assert found.examples

    found = shown(told, KEYS[2])
    between = since(told, found, DELAY_MS)
    (row,) = [row for row in found.tables[0].rows if row[0] == "since"]
    assert row[1:3] == (len(between), sum(each["label"] for each in between))


def test_of_one_that_lasts_all_since_is_shown(told: Any) -> None:
    """As of one whose message is older than that, and does not say when it ended."""
    alert: Any = {**told[2][KEYS[0]], "ended_ms": None}
    for each in (alert, {name: value for name, value in alert.items() if name != "ended_ms"}):
        found = explained(FACTS, told[1], cast(Alert, each))
        n = sum(event["event_time_ms"] >= found.first_ms for event in told[0])
        assert {bar.now_n for bar in found.bars} == {n}
