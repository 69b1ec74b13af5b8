"""A pipeline file that was changed: what state can follow goes on, a new window is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from streamproc.kafka.topics import create
from streamproc.pipeline import Pipeline
from tests.kafka.processes import Worker, command, payments_as
from tests.kafka.topic_reader import TopicReader, as_json
from tests.kafka_server import KafkaServer

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

CUSTOMERS = 7


class Shop:
    """A pipeline on a Kafka, payments that are numbered, and what was predicted of them."""

    def __init__(self, kafka: KafkaServer, folder: Path, name: str) -> None:
        self.kafka, self.folder, self.name, self.sent = kafka, folder, name, 0
        self.pipeline = payments_as(name, folder)
        create({"bootstrap.servers": kafka.address}, Pipeline.load(self.pipeline))

    def send(self, count: int) -> None:
        """Produce so many payments more, a minute apart."""
        producer = Producer(
            {
                "bootstrap.servers": self.kafka.address,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
            }
        )
        for number in range(self.sent, self.sent + count):
            event = {
                "transaction_id": number,
                "customer_id": number % CUSTOMERS,
                "terminal_id": 1,
                "amount": float(number),
                "event_time": 1_772_000_000_000 + number * 60_000,
            }
            key = b"%d" % (number % CUSTOMERS)
            producer.produce(f"{self.name}.transactions", orjson.dumps(event), key)
        assert producer.flush(10) == 0
        self.sent += count

    def predict(self, *options: str) -> dict[str, Any]:
        """Run a worker until all that was sent is predicted; return the last prediction."""
        line = command("worker", self.pipeline, *options)
        with Worker(self.pipeline, self.kafka.address, self.folder, line=line) as worker:
            reader = TopicReader(self.kafka.address, f"{self.name}.predictions", as_json)
            with reader as found:
                found.until(
                    lambda: len(found.records) >= self.sent, "predictions", check=worker.check
                )
                worker.stop()
                assert len(found.records) == self.sent
                return next(r for r in found.records if r["id"] == str(self.sent - 1))

    def change(self, old: str, new: str) -> None:
        """Edit the pipeline file."""
        text = self.pipeline.read_text("utf-8")
        assert old in text
        self.pipeline.write_text(text.replace(old, new), "utf-8")


def test_a_new_window_is_refused_until_told_where_its_past_comes_from(
    kafka: KafkaServer, tmp_path: Path
) -> None:
    """The remedy is in the message, and does what it says; a threshold changes nothing."""
    shop = Shop(kafka, tmp_path, "changed")
    shop.send(70)
    shop.predict()
    assert list((tmp_path / "store/snapshots/changed").glob("score-*/*.json"))
    shop.change('"30d")', '"30d", "2h")')
    with Worker(shop.pipeline, kafka.address, tmp_path) as refused:
        refused.process.wait(60)
        assert refused.process.returncode == 1
        assert "--rebuild-from earliest" in refused.tail()
        assert "over 1d, 7d, 30d, 2h" in refused.tail()
    shop.send(14)
    rebuilt = shop.predict("--rebuild-from", "earliest")["features"]
    # A payment each minute, every seventh by this customer: the twelfth of 84.
    assert rebuilt["amount_count_2h_by_customer_id"] == 12
    assert rebuilt["amount_count_30d_by_customer_id"] == 12
    shop.send(7)
    assert shop.predict()["features"]["amount_count_2h_by_customer_id"] == 13
    shop.change("pipeline = Pipeline(", "pipeline = Pipeline(\n    threshold=0.9,")
    shop.send(7)
    assert shop.predict()["features"]["amount_count_2h_by_customer_id"] == 14
    shop.send(7)
    assert shop.predict("--fresh-state")["features"]["amount_count_30d_by_customer_id"] == 1


def test_offsets_that_were_set_back_are_refused(kafka: KafkaServer, tmp_path: Path) -> None:
    """A worker predicts nothing twice because a group's offsets are lost, unless it is told to."""
    shop = Shop(kafka, tmp_path, "setback")
    shop.send(70)
    shop.predict()
    shop.send(7)
    shop.predict()  # it started from what the first one had committed
    admin = AdminClient({"bootstrap.servers": kafka.address})
    back = [TopicPartition("setback.transactions", partition, 0) for partition in range(4)]
    asked = admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions("setback", back)])
    asked["setback"].result(30)
    with Worker(shop.pipeline, kafka.address, tmp_path) as refused:
        refused.process.wait(60)
        assert refused.process.returncode == 1
        assert "is committed at 0, and a worker has started from" in refused.tail()
        assert "--rebuild-from earliest" in refused.tail()
    line = command("worker", shop.pipeline, "--rebuild-from", "earliest")
    with (
        Worker(shop.pipeline, kafka.address, tmp_path, line=line) as worker,
        TopicReader(kafka.address, "setback.predictions", as_json) as found,
    ):
        found.until(lambda: len(found.records) >= 77 + 77, "predictions", check=worker.check)
