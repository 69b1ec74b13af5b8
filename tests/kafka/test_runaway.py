"""A record that ends the worker each time is found at the third start, and put aside."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from confluent_kafka import Message, Producer

from streamproc.kafka.topics import create
from streamproc.pipeline import Pipeline
from tests.kafka.processes import Worker, eventually, payments_as
from tests.kafka.topic_reader import TopicReader, as_json, read_all
from tests.kafka_server import KafkaServer

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]

EVENTS, KILLER = 300, 150


def _reason(message: Message) -> tuple[str, bytes | None]:
    headers = dict(message.headers() or ())
    return bytes(headers["reason"] or b"").decode(), message.value()  # type: ignore[arg-type]


def test_a_record_that_kills_is_found_after_two_crashes(kafka: KafkaServer, tmp_path: Path) -> None:
    """The worker dies twice; started again it lives, and all others are predicted once."""
    pipeline = payments_as("runaway", tmp_path)
    line = [sys.executable, "-m", "tests.kafka.killing", str(KILLER), str(pipeline)]
    create({"bootstrap.servers": kafka.address}, Pipeline.load(pipeline))
    events = {
        number: b'{"transaction_id":%d,"customer_id":%d,"terminal_id":1,"amount":5.0,'
        b'"event_time":"2026-03-01T10:%02d:%02dZ"}'
        % (number, number % 7, number // 60, number % 60)
        for number in range(EVENTS)
    }
    producer = Producer(
        {
            "bootstrap.servers": kafka.address,
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
        }
    )
    for number, event in events.items():
        producer.produce("runaway.transactions", event, b"%d" % (number % 7))
    assert producer.flush(10) == 0
    for _ in range(2):
        with Worker(pipeline, kafka.address, tmp_path, line=line) as dies:
            eventually(lambda w=dies: not w.alive, "the worker to die", 60)  # type: ignore[misc]
    with Worker(pipeline, kafka.address, tmp_path, line=line) as lives:
        reader = TopicReader(kafka.address, "runaway.predictions", as_json)
        with reader as predictions:
            predictions.until(
                lambda: len(predictions.records) >= EVENTS - 1, "the others", check=lives.check
            )
        [killed] = lives.logged("record_kills")
        assert killed["topic"] == "runaway.transactions"
    assert read_all(kafka.address, "runaway.dead-letters", _reason) == [
        ("kills_worker", events[KILLER])
    ]
    said = sorted(
        int(each["id"]) for each in read_all(kafka.address, "runaway.predictions", as_json)
    )
    assert said == [number for number in range(EVENTS) if number != KILLER]
    with Worker(pipeline, kafka.address, tmp_path, line=line) as again:
        again.wait_until_scoring(4)  # neither a replay nor a snapshot brings it back
