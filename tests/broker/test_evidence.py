"""An alert explained from the sums that a worker writes, on the embedded broker."""

from __future__ import annotations

from typing import Any

import orjson
from confluent_kafka import Producer
from river import linear_model

from agents.evidence import explanation_of
from streamproc import Drift, Events, Field, Pipeline
from streamproc.alerts import new_judge
from streamproc.cli.evidence import WIDTH, drawn
from streamproc.kafka.embedded import EmbeddedBroker
from streamproc.kafka.topics import create
from streamproc.messages import Alert
from streamproc.monitors import drift_fold
from streamproc.settings import Settings
from tests.unit.monitors.streams import DAY_MS, HOUR_MS, payments, sent

PIPELINE = Pipeline(
    name="cards",
    events=Events("cards.events", id="id", key="card", time="at"),
    features=[Field("amount")],
    model=linear_model.LogisticRegression(),
    monitors=[Drift(reference="2d")],
)
ALERT: Any = {
    "alert_id": "a",
    "key": "covariate_drift/amount",
    "kind": "covariate_drift",
    "subject": "amount",
    "slice": None,
    "first_seen_ms": 0,
}


def test_an_alert_is_explained_by_its_id(embedded: EmbeddedBroker) -> None:
    """What the log of sums says of it, over the wire; an id that is not there is one line."""
    config = {"bootstrap.servers": embedded.address}
    create(config, PIPELINE)
    fold, judge = drift_fold(PIPELINE), new_judge(PIPELINE, 1)
    producer = Producer({**config, "linger.ms": 5})
    told = payments(1, 5, 480, amount=lambda day, rng: rng.gauss(50 if day < 4 else 90, 20))
    alerts: list[Alert] = []
    for at in range(0, len(told), 200):
        fold.update(told[at : at + 200])
        record = sent("drift", 0, fold)
        producer.produce(PIPELINE.topics.buckets, orjson.dumps(record), partition=0)
        for alert in judge.update([record], at):
            alerts.append(alert)
    assert producer.flush(10) == 0
    assert {alert["status"] for alert in alerts} <= {"open", "update"}
    settings = Settings.load(brokers=embedded.address)
    found = explanation_of(PIPELINE, settings, alerts[0])
    assert found.alert["subject"] == "amount"
    assert abs(found.alert["first_seen_ms"] - 4 * DAY_MS) <= 3 * HOUR_MS
    assert sum(bar.now for bar in found.bars) > 0
    assert max(map(len, drawn(found))) <= WIDTH


def test_topics_that_are_not_there_have_nothing_to_say(embedded: EmbeddedBroker) -> None:
    """As of a pipeline that never ran there."""
    found = explanation_of(PIPELINE, Settings.load(brokers=embedded.address), ALERT)
    assert (found.points, found.bars, found.versions) == ([], [], [])
