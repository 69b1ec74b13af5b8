"""How much comes in a day, by the offsets of a real Apache Kafka."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import Producer

from streamproc.cli.meeting import records_per_day
from streamproc.kafka.topics import create
from tests.kafka_server import KafkaServer
from tests.pipelines import topics_of

HOUR_MS = 3_600_000


@pytest.mark.parametrize(("hours", "expected"), [(12, 240), (48, 240), (0, 0)])
def test_what_came_in_the_last_day_is_counted(
    kafka: KafkaServer, hours: int, expected: int
) -> None:
    """Ten an hour: of a topic that is older by its last day, of a younger one what a day has."""
    pipeline = topics_of(f"traffic{hours}")
    config = {"bootstrap.servers": kafka.address}
    create(config, pipeline)
    now_ms = time.time_ns() // 1_000_000
    producer = Producer(config)
    for number in range(hours * 10):
        at_ms = now_ms - hours * HOUR_MS + number * HOUR_MS // 10
        producer.produce(pipeline.topics.events, b"{}", str(number), timestamp=at_ms)
    assert producer.flush(20) == 0

    events, labels = records_per_day(config, pipeline, now_ms)

    assert events == pytest.approx(expected, rel=0.02)
    assert labels == 0
