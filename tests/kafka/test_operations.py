"""What people ask of the monitors, on Apache Kafka: once in the judge's log, whatever crashes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import Producer

from streamproc.kafka.topics import create
from streamproc.pipeline import Pipeline
from tests.kafka.processes import Worker, eventually, payments_as
from tests.kafka.topic_reader import as_json, read_all
from tests.kafka_server import KafkaServer

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

NAME = "operations"


def _ask(address: str, *values: bytes) -> None:
    producer = Producer({"bootstrap.servers": address})
    for value in values:
        producer.produce(f"{NAME}.operations", value)
    assert producer.flush(30) == 0


def _operation(alert_id: str) -> bytes:
    return orjson.dumps({"command": "acknowledge", "alert_id": alert_id, "by": "ada", "at_ms": 5})


def test_what_people_ask_for_is_in_the_judges_log_once(kafka: KafkaServer, tmp_path: Path) -> None:
    """Also where the worker is killed on the way; what is no operation is a dead letter."""
    pipeline = payments_as(NAME, tmp_path)
    create({"bootstrap.servers": kafka.address}, Pipeline.load(pipeline), 2)

    def passed_on() -> list[str]:
        records: list[dict[str, Any]] = read_all(kafka.address, f"{NAME}.buckets", as_json)
        return [each["operation"]["alert_id"] for each in records if each["stage"] == "operation"]

    _ask(kafka.address, _operation("a"), b"{", _operation("b"))
    with Worker(pipeline, kafka.address, tmp_path) as first:
        eventually(lambda: bool(passed_on()), "the first operations to be passed on", 60)
        _ask(kafka.address, *(_operation(str(n)) for n in range(100)))
        first.process.kill()
    with Worker(pipeline, kafka.address, tmp_path):
        eventually(lambda: len(passed_on()) >= 102, "all to be passed on", 90)
        assert passed_on() == ["a", "b", *map(str, range(100))]
    (letter,) = read_all(
        kafka.address, f"{NAME}.dead-letters", lambda m: (m.value(), dict(m.headers() or ()))
    )
    assert (letter[0], letter[1]["reason"], letter[1]["stage"]) == (b"{", b"not_json", b"alerts")
