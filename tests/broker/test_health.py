"""A worker on the embedded broker that watches what comes in, what people do, and itself."""

from __future__ import annotations

import json
import signal
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest
from confluent_kafka import Producer, TopicPartition

from streamproc.kafka.embedded import EmbeddedBroker
from streamproc.monitors.sketch import unpacked
from tests.commands import Running, run

PIPELINE = """
from river import linear_model
from streamproc import DataQuality, Events, Field, Health, Pipeline, Reactions

pipeline = Pipeline(
    name="cards",
    events=Events("cards.events", id="id", key="card", time="at"),
    features=[Field("amount", least=0)],
    model=linear_model.LogisticRegression(),
    monitors=[
        DataQuality(),
        Health(),
        Reactions("cards.overrides", id="id", value="overridden"),
    ],
)
"""
EVENTS = 20


@pytest.fixture
def env(embedded: EmbeddedBroker, tmp_path: Path) -> Mapping[str, str]:
    """The environment that names the broker and the pipeline, which is there with events."""
    (tmp_path / "cards.py").write_text(PIPELINE)
    rows = [
        f"{n},{n % 7},2018-04-01T00:00:{n:02}Z,{n - 2 if n % 5 else 'odd'}" for n in range(EVENTS)
    ]
    (tmp_path / "cards.csv").write_text("\n".join(["id,card,at,amount", *rows, ""]))
    return {"STREAMPROC_BROKERS": embedded.address, "STREAMPROC_PIPELINE": "cards.py"}


def told(brokers: str, topic: str) -> Generator[dict[str, Any]]:
    """Yield what is on the first partition of a topic, then nothing till there is more."""
    config = {"bootstrap.servers": brokers, "group.id": "told", "enable.auto.commit": False}
    consumer = confluent_kafka.Consumer(config)
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        while True:
            message = consumer.poll(0.2)
            yield {} if message is None or message.error() else json.loads(message.value() or b"{}")
    finally:
        consumer.close()


def test_a_worker_counts_reports_and_says_goodbye(
    tmp_path: Path, env: Mapping[str, str], embedded: EmbeddedBroker
) -> None:
    """Counts of events, dead letters and reactions; its health; and that it ended on purpose."""
    assert run(tmp_path, "topics", env=env).code == 0
    producer = Producer({"bootstrap.servers": embedded.address, "linger.ms": 5})
    for n in range(8):
        value = json.dumps({"id": str(n), "overridden": n % 2 == 0})
        producer.produce("cards.overrides", value, str(n % 7), partition=0)
    assert producer.flush(10) == 0
    assert run(tmp_path, "produce", "cards.csv", env=env).code == 0
    counts: dict[str, int] = {}
    reports: list[dict[str, Any]] = []
    buckets = told(embedded.address, "cards.buckets")

    def all_told() -> bool:
        record = next(buckets)
        if record.get("stage") == "health":
            reports.append(record)
        for bucket in record.get("buckets", ()):
            for name, row in bucket["series"].items():
                if isinstance(row, dict):
                    of = sum(row.values())
                else:
                    of = unpacked(row).n if name == "values" else row[0]
                counts[name] = counts.get(name, 0) + of
        return bool(reports) and counts.get("events", 0) == EVENTS - 4

    with Running(tmp_path, "worker", "cards.py", env=env) as worker:
        worker.until(all_told)
        assert worker.interrupt(signal.SIGTERM, within_s=10).code == 0
    assert reports[0]["values"]["behind_ms"] < 5_000
    while not reports[-1].get("leaves"):
        all_told()
    buckets.close()
    assert counts["range/amount"] == 1
    assert counts["dead/field_not_number amount"] == 4
    assert counts["values"] == 8
