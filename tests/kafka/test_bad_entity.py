"""Windows by another field than the key, live: what names no entity is a dead letter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import Producer

from streamproc.kafka.topics import create
from streamproc.pipeline import Pipeline
from tests.kafka.processes import Worker
from tests.kafka.topic_reader import TopicReader, as_json
from tests.kafka_server import KafkaServer

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

PIPELINE = """
from river import linear_model
from streamproc import Events, LabelWindow, Labels, Pipeline, Window

pipeline = Pipeline(
    name="entities",
    events=Events("entities.events", id="id", key="card", time="at"),
    labels=Labels("entities.labels", id="id", value="fraud"),
    features=[
        Window("amount", by=("shop", "country"), over="3650d", aggregates="count"),
        LabelWindow(by="shop", over="7d", aggregates="count"),
    ],
    model=linear_model.LogisticRegression(),
)
"""
COUNT = "amount_count_3650d_by_shop_and_country"
BAD: dict[str, list[dict[str, Any]]] = {
    "missing_entity": [{"shop": None}, {"country": None}, {"shop": ...}],
    "entity_not_valid": [
        {"shop": ["s"]}, {"shop": {"name": "s"}}, {"country": ""}, {"shop": 1.5}, {"shop": False},
        {"country": "x" * 500_000},
    ],
}  # fmt: skip


def test_what_names_no_entity_is_a_dead_letter(kafka: KafkaServer, tmp_path: Path) -> None:
    """Null, absent, a list, an object, empty, a float, 500 kB; good ones between all count."""
    path = tmp_path / "entities.py"
    path.write_text(PIPELINE)
    config: dict[str, Any] = {"bootstrap.servers": kafka.address}
    create(config, Pipeline.load(path), 1)
    producer = Producer(config)
    good, bad = 0, list[tuple[str, str]]()

    def send(number: str, **changed: Any) -> None:
        fields = {"id": number, "card": "c", "at": 1_772_000_000_000 + good, "amount": 1.0}
        fields |= {"shop": "s", "country": "NL", **changed}
        value = orjson.dumps({name: each for name, each in fields.items() if each is not ...})
        producer.produce("entities.events", value, b"c")

    for reason, cases in BAD.items():
        for changed in cases:
            send(f"bad-{len(bad)}", **changed)
            bad.append((f"bad-{len(bad)}", reason))
            good += 1
            send(str(good))
    assert producer.flush(20) == 0
    with (
        TopicReader(kafka.address, "entities.dead-letters", _reason) as letters,
        TopicReader(kafka.address, "entities.predictions", as_json) as predictions,
        Worker(path, kafka.address, tmp_path) as worker,
    ):
        predictions.until_count(good, check=worker.check)
        letters.until_count(len(bad), check=worker.check)
        worker.stop()
        assert letters.until_end() == bad
        found = {each["id"]: each["features"][COUNT] for each in predictions.until_end()}
    assert found == {str(number): number for number in range(1, good + 1)}


def _reason(message: Any) -> tuple[str, str]:
    return as_json(message)["id"], dict(message.headers())["reason"].decode()
