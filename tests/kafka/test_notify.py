"""Alerts on their way from the topic to an Alertmanager and to a webhook, through a real worker.

They are put on the topic by hand: how they come about is for others to test.
"""

from __future__ import annotations

import hashlib
import hmac
import signal
import socket
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import Producer

from streamproc.kafka.topics import create
from streamproc.messages import Alert
from streamproc.pipeline import Pipeline
from tests.alert_steps import step
from tests.alertmanager_server import AlertmanagerServer
from tests.kafka.processes import STOP_WITHIN_S, Worker, eventually, payments_as
from tests.kafka.topic_reader import TopicReader, id_of
from tests.kafka_server import KafkaServer
from tests.receiver import Posted, Receiver
from tests.servers import free_port

pytestmark = [pytest.mark.kafka, pytest.mark.alertmanager, pytest.mark.timeout(240)]

EVENTS = 20
SECRET = "abracadabra"
PATH = "/services/T0/open-sesame"


def write(address: str, topic: str, *steps: tuple[str, str]) -> None:
    """Put steps of alerts on the topic, decided now, of what began an hour ago."""
    now_ms = time.time_ns() // 1_000_000
    producer = Producer({"bootstrap.servers": address})
    for key, status in steps:
        times: dict[str, Any] = {"first_seen_ms": now_ms - 3_600_000, "detected_at_ms": now_ms}
        made: Alert = step(f"covariate_drift/{key}", status, alert_id=f"id-{key}", **times)
        producer.produce(topic, orjson.dumps(made), made["key"])
    assert producer.flush(20) == 0


def forget(address: str, topic: str, key: str) -> None:
    """Take a key away from the topic, as an operator may."""
    producer = Producer({"bootstrap.servers": address})
    producer.produce(topic, None, f"covariate_drift/{key}")
    assert producer.flush(20) == 0


def predict(address: str, name: str) -> None:
    """Send events, and wait for their predictions."""
    producer = Producer({"bootstrap.servers": address, "partitioner": "murmur2_random"})
    for number in range(EVENTS):
        event = {
            "transaction_id": number,
            "customer_id": number,
            "amount": 9.5,
            "event_time": "2018-07-01T10:25:22Z",
        }
        producer.produce(f"{name}.transactions", orjson.dumps(event), str(number))
    assert producer.flush(20) == 0
    with TopicReader(address, f"{name}.predictions", id_of) as predictions:
        predictions.until_count(EVENTS, silent_s=30)


def told(webhook: Receiver) -> list[str]:
    """Return the keys and statuses of what the webhook was sent, each signed as it should be."""
    return [_checked(posted) for posted in webhook.posted]


def _checked(posted: Posted) -> str:
    headers = posted.headers
    signed = f"v1:{headers['X-Streamproc-Timestamp']}:".encode() + posted.body
    expected = "v1=" + hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(headers["X-Streamproc-Signature"], expected)
    assert abs(int(headers["X-Streamproc-Timestamp"]) - time.time()) < 120
    assert posted.path == PATH
    key, status, _ = headers["Idempotency-Key"].removeprefix("id-").split("-")
    return f"{key} {status}"


def test_alerts_reach_both_through_crashes_and_absences(
    kafka: KafkaServer, alertmanager: AlertmanagerServer, tmp_path: Path
) -> None:
    """Each step once, none of the past, none lost; and no secret in any log.

    A worker starts on a history, another beside it; the webhook no longer answers, and events are
    scored all the same; the workers are killed; Alertmanager forgets all in a restart.
    """
    pipeline = payments_as("notifies", tmp_path)
    create({"bootstrap.servers": kafka.address}, Pipeline.load(pipeline))
    topic, port = "notifies.alerts", free_port()
    where = alertmanager.url.removeprefix("http://")
    more = {
        "STREAMPROC_ALERTMANAGER": f"http://ada:open-sesame@{where}",
        "STREAMPROC_WEBHOOK": f"http://127.0.0.1:{port}{PATH}",
        "STREAMPROC_WEBHOOK_SECRET": SECRET,
    }

    def worker(name: str) -> Worker:
        return Worker(pipeline, kafka.address, tmp_path, name, more=more)

    write(kafka.address, topic, ("old", "open"), ("b", "open"), ("old", "resolved"))
    write(kafka.address, topic, ("gone", "open"))
    forget(kafka.address, topic, "gone")
    with worker("w1") as first, worker("w2") as second:
        with Receiver(port=port) as webhook:
            eventually(lambda: told(webhook) == ["b open"], "what is open", 60)
            eventually(lambda: set(alertmanager.subjects()) == {"b"}, "it in Alertmanager")
            write(kafka.address, topic, ("c", "open"))
            eventually(lambda: told(webhook) == ["b open", "c open"], "what opens", 60)
            eventually(lambda: set(alertmanager.subjects()) == {"b", "c"}, "both")
        with socket.create_server(("127.0.0.1", port)):  # it takes connections, and never answers
            write(kafka.address, topic, ("c", "resolved"), ("d", "open"))
            eventually(lambda: set(alertmanager.subjects()) == {"b", "d"}, "one to end", 60)
            predict(kafka.address, "notifies")
            eventually(
                lambda: bool(first.logged("notify_away") or second.logged("notify_away")), "a line"
            )
        first.stop(signal.SIGKILL)
        second.stop(signal.SIGKILL)
    alertmanager.stop()
    alertmanager.start()
    assert alertmanager.subjects() == {}
    with Receiver(port=port) as webhook, worker("w1") as third:
        eventually(lambda: len(told(webhook)) >= 2, "what nobody took", 60)
        eventually(lambda: set(alertmanager.subjects()) == {"b", "d"}, "all that is open", 60)
        write(kafka.address, topic, ("b", "resolved"))
        eventually(lambda: "b resolved" in told(webhook), "what ends", 60)
        assert third.stop() < STOP_WITHIN_S

    assert told(webhook) == ["c resolved", "d open", "b resolved"]
    for log in (first.log, second.log, third.log):
        text = log.read_text()
        for secret in ("open-sesame", SECRET, PATH):
            assert secret not in text
