"""An alert explained from the topics that a worker writes, on the embedded broker."""

from __future__ import annotations

import orjson
import pytest
from confluent_kafka import Producer
from river import linear_model

from agents.evidence import explanation_of
from streamproc import Drift, Events, Field, Pipeline
from streamproc.alerts import new_judge
from streamproc.cli.evidence import WIDTH, drawn
from streamproc.codec import JsonCodec
from streamproc.errors import StreamprocError
from streamproc.kafka.embedded import EmbeddedBroker
from streamproc.kafka.topics import create
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


def test_an_alert_is_explained_by_its_id(embedded: EmbeddedBroker) -> None:
    """What the log of sums says of it, over the wire; an id that is not there is one line."""
    config = {"bootstrap.servers": embedded.address}
    create(config, PIPELINE)
    fold, judge, codec = drift_fold(PIPELINE), new_judge(PIPELINE, 1), JsonCodec()
    producer = Producer({**config, "linger.ms": 5})
    told = payments(1, 5, 480, amount=lambda day, rng: rng.gauss(50 if day < 4 else 90, 20))
    ids = set()
    for at in range(0, len(told), 200):
        fold.update(told[at : at + 200])
        record = sent("drift", 0, fold)
        producer.produce(PIPELINE.topics.buckets, orjson.dumps(record), partition=0)
        for alert in judge.update([record], at):
            ids.add(alert["alert_id"])
            value = codec.encode("alert", alert)
            producer.produce(PIPELINE.topics.alerts, value, alert["key"], partition=0)
    assert producer.flush(10) == 0
    assert len(ids) == 1
    settings = Settings.load(brokers=embedded.address)
    found = explanation_of(PIPELINE, settings, ids.pop()[:8])
    assert found.alert["subject"] == "amount"
    assert abs(found.alert["first_seen_ms"] - 4 * DAY_MS) <= 3 * HOUR_MS
    assert sum(bar.now for bar in found.bars) > 0
    assert max(map(len, drawn(found))) <= WIDTH
    with pytest.raises(StreamprocError, match="no alert has the id 'nobody'"):
        explanation_of(PIPELINE, settings, "nobody")
