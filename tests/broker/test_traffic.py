"""How much comes in a day, as the brokers tell it."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import Producer

from streamproc import Pipeline
from streamproc.cli.meeting import records_per_day
from streamproc.kafka.embedded import EmbeddedBroker
from streamproc.kafka.topics import create
from tests.servers import ROOT

HOUR_MS = 3_600_000


def test_what_came_in_the_last_hours_is_told_as_a_day(embedded: EmbeddedBroker) -> None:
    """A topic that is twelve hours old has had half of a day's records; an empty one has none."""
    pipeline = Pipeline.load(ROOT / "examples/payments.py")
    config = {"bootstrap.servers": embedded.address}
    create(config, pipeline)
    now_ms = time.time_ns() // 1_000_000
    producer = Producer(config)
    for number in range(120):
        at_ms = now_ms - 12 * HOUR_MS + number * HOUR_MS // 10
        producer.produce(pipeline.topics.events, b"{}", str(number), timestamp=at_ms)
    assert producer.flush(20) == 0

    events, labels = records_per_day(config, pipeline, now_ms, embedded=True)

    assert events == pytest.approx(240, rel=0.02)
    assert labels == 0
