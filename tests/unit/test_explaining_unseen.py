"""Examples of what data quality counts: categories that are new, and why there are none."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, cast

import orjson
import pytest

from streamproc.cli.evidence import drawn
from streamproc.explaining import Explanation, explained
from streamproc.messages import Alert
from streamproc.monitors import Drift, drift_fold
from streamproc.monitors.quality_fold import quality_fold
from streamproc.monitors.quality_spec import DataQuality
from tests.unit.monitors.streams import DAY_MS, HOUR_MS, Facts, sent

DAYS, CHANGED_DAY, AN_HOUR = 11, 9, 60
CHANGED_MS = CHANGED_DAY * DAY_MS
FACTS = Facts(
    monitors=[Drift(), DataQuality()],
    numeric_features=("amount",),
    categorical_features=("shop", "channel"),
    feature_names=("amount", "shop", "channel"),
    number_fields=("amount",),
    ranges={"amount": (0.0, 1_000.0)},
    categories={"shop": None, "channel": ("web", "till")},
    lateness_ms=0,
    learns=False,
)


def log_of(facts: Facts) -> list[dict[str, Any]]:
    """Return sums of a stream in which on the ninth day a shop and a channel are new.

    The shop was there once an hour before, and another all the time, though seldom.
    """
    rng = random.Random(4)
    folds: list[Any] = [drift_fold(facts), quality_fold(facts)]
    records = []
    for hour in range(DAYS * 24):
        made = []
        for i in range(AN_HOUR):
            at_ms = hour * HOUR_MS + i * HOUR_MS // AN_HOUR
            after = at_ms >= CHANGED_MS
            new = (after and rng.random() < 0.05) or (hour == CHANGED_DAY * 24 - 1 and i == 0)
            shop = "new" if new else "seldom" if rng.random() < 0.02 else f"s{i % 7}"
            channel = "phone" if after and rng.random() < 0.05 else rng.choice(("web", "till"))
            features = {"amount": rng.uniform(1, 99), "shop": shop, "channel": channel}
            made.append(
                {
                    "id": f"{hour}-{i}",
                    "event_time_ms": at_ms,
                    "scored_at_ms": at_ms,
                    "features": features,
                    "score": 0.1,
                    "decision": False,
                    "model": "main@1",
                    "slices": {},
                }
            )
        for fold in folds:
            fold.update(made)
        drift, quality = (sent("drift", 0, fold) for fold in folds)
        drift["buckets"] += quality["buckets"]
        records.append(orjson.loads(orjson.dumps(drift)))
    return records


@pytest.fixture(scope="module")
def records() -> list[dict[str, Any]]:
    """Return the log."""
    return log_of(FACTS)


def shown(
    records: list[dict[str, Any]], subject: str, facts: Facts = FACTS, first_ms: int = CHANGED_MS
) -> Explanation:
    """Return the explanation of an alert about data quality."""
    alert: Any = {
        "alert_id": "0" * 16,
        "kind": "data_quality",
        "subject": subject,
        "slice": None,
        "key": f"data_quality/{subject}",
        "first_seen_ms": first_ms,
        "summary": "",
    }
    return explained(facts, records, cast(Alert, alert))


@pytest.mark.parametrize(
    ("subject", "value"),
    [("shop, unseen category", "new"), ("channel, unseen category", "phone")],
)
def test_examples_have_the_category_that_is_new(
    records: list[dict[str, Any]], subject: str, value: str
) -> None:
    """Neither one that was there before, though seldom, nor one that was declared."""
    found = shown(records, subject)
    name = subject.partition(",")[0]
    assert [each.values[name] for each in found.examples] == [value] * 5
    assert not any("no examples" in line for line in drawn(found))
    (row,) = [row for row in found.tables[0].rows if row[0] == subject]
    assert row[1] == 0.0
    assert row[2] == pytest.approx(0.05, abs=0.02)


def test_where_the_log_begins_late_what_was_before_was_known(
    records: list[dict[str, Any]],
) -> None:
    """As long as half a reference it would take to be known: here there is a day."""
    of_a_day = records[(CHANGED_DAY - 1) * 24 :]
    assert shown(of_a_day, "shop, unseen category", first_ms=CHANGED_MS - HOUR_MS).examples
    found = shown(of_a_day, "shop, unseen category")
    assert {each.values["shop"] for each in found.examples} <= {"new"}


@pytest.mark.parametrize(
    ("subject", "why"),
    [
        ("event times ahead", "samples of events have no times"),
        ("amount, out of range", "none of the first 1,440 sampled since then is what it is about"),
        ("length, missing", "no Drift monitor samples length"),
        ("late events", "late events are on a topic of their own; `streamproc watch late`"),
    ],
)
def test_where_there_are_none_it_says_why(
    records: list[dict[str, Any]], subject: str, why: str
) -> None:
    """In one line, and none that says that there were no samples."""
    found = shown(records, subject)
    lines = [line for line in drawn(found) if "no examples" in line]
    assert lines == [f"no examples: {why}"]
    assert found.examples == []


def test_without_a_drift_monitor_nothing_is_sampled(records: list[dict[str, Any]]) -> None:
    """It says so."""
    facts = replace(FACTS, monitors=[DataQuality()])
    found = shown([], "shop, unseen category", facts)
    assert "no examples: no Drift monitor samples shop" in found.notes
