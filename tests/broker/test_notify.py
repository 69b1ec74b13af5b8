"""Threads that tell of alerts, with the groups of a real client; what may go wrong is in unit/."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from agents.deployment import Deployment
from agents.logs import outside
from agents.metrics import Metrics
from agents.notify import Notifier
from agents.posting import Endpoint
from streamproc.kafka.embedded import EmbeddedBroker
from streamproc.kafka.topics import create, probe
from streamproc.messages import Alert
from streamproc.notify.sink import Sink
from streamproc.notify.webhook import Webhook
from streamproc.pipeline import Pipeline
from streamproc.settings import Settings
from tests.alert_steps import step
from tests.kafka.processes import EXAMPLE, eventually
from tests.receiver import Receiver

TOPIC = "payments.alerts"
SECRET = "T0/B0/open-sesame"
WEBHOOK = Webhook("payments", "abracadabra", pause_s=0.0)


@dataclass
class Outside:
    """A broker with the topics of a pipeline, and what is sent from it."""

    at: Deployment
    metrics: Metrics

    def write(self, *steps: Alert) -> None:
        """Put steps on the topic of alerts."""
        config = {"bootstrap.servers": self.at.settings.brokers, "linger.ms": 5}
        producer = Producer(config)
        for each in steps:
            producer.produce(TOPIC, orjson.dumps(each), each["key"], partition=0)
        assert producer.flush(10) == 0

    @contextmanager
    def telling(self, url: str, sink: Sink = WEBHOOK, timeout_s: float = 5.0) -> Iterator[Notifier]:
        """Tell a sink of alerts, in a thread."""
        notifier = Notifier(self.at, sink, Endpoint(url, sink.path, timeout_s), self.metrics)
        notifier.start()
        try:
            yield notifier
        finally:
            notifier.stop()
            notifier.join(10)
            assert not notifier.is_alive()

    def committed(self, sink: str = "webhook") -> int:
        """Return the offset up to which a sink was told."""
        group = f"payments-notify-{sink}"
        consumer = Consumer({"bootstrap.servers": self.at.settings.brokers, "group.id": group})
        try:
            (found,) = consumer.committed([TopicPartition(TOPIC, 0)], timeout=10)
        finally:
            consumer.close()
        return int(found.offset)


@pytest.fixture
def out(embedded: EmbeddedBroker, tmp_path: Path) -> Outside:
    """A broker with the topics of the example."""
    pipeline = Pipeline.load(EXAMPLE)
    settings = Settings.load(brokers=embedded.address, store=str(tmp_path))
    create(settings.kafka_config(), pipeline)
    at = outside(pipeline, settings, probe(settings.kafka_config()), 4)
    return Outside(at, Metrics("w1"))


def told(receiver: Receiver) -> list[tuple[str, str]]:
    """Return the id and the status of each alert that was posted."""
    found = []
    for posted in receiver.posted:
        alert_id, status, _ = posted.headers["Idempotency-Key"].rsplit("-", 2)
        found.append((alert_id.removeprefix("id-"), status))
    return found


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for half a minute at most."""
    eventually(condition, what, 30)


def test_a_first_start_tells_what_is_open_and_a_second_nothing(
    out: Outside, receiver: Receiver
) -> None:
    """Alerts of the past say nothing, what comes is told in order, and nothing twice."""
    url = f"http://{receiver.address}/{SECRET}"
    out.write(step("a"), step("b"), step("a", "resolved"), step("b", "update"))
    with out.telling(url):
        until(lambda: told(receiver) == [("b", "update")], "what is open")
        out.write(step("c"))
        until(lambda: told(receiver)[1:] == [("c", "open")], "what opens")
        until(lambda: out.committed() == 5, "the offset")
    with out.telling(url):
        out.write(step("b", "resolved"))
        until(lambda: len(told(receiver)) > 2, "what is over")

    assert told(receiver) == [("b", "update"), ("c", "open"), ("b", "resolved")]
    assert receiver.posted[0].path == f"/{SECRET}"


def test_of_two_workers_one_tells(out: Outside, receiver: Receiver) -> None:
    """And the other goes on when it ends."""
    url = f"http://{receiver.address}"
    out.write(step("a"))
    with out.telling(url) as first, out.telling(url):
        until(lambda: told(receiver) == [("a", "open")], "the first")
        out.write(step("b"))
        until(lambda: len(told(receiver)) > 1, "the second")
        first.stop()
        first.join(10)
        out.write(step("c"))
        until(lambda: len(told(receiver)) > 2, "the third")

    assert told(receiver) == [("a", "open"), ("b", "open"), ("c", "open")]
