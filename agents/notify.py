"""Bringing alerts to those who are to hear of them: a thread for each sink, beside the stream.

Each follows the topic of alerts as a group of its own, so that one worker of all tells a sink, and
commits what was taken there. What it does, and how long it takes, holds up nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from random import Random
from typing import Any

import confluent_kafka
import structlog
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, TopicPartition

from agents.deployment import Deployment
from agents.metrics import Metrics
from agents.posting import Answer, Endpoint
from agents.reading import LOGGER
from streamproc.errors import BadRecord
from streamproc.messages import Alert
from streamproc.notify.alertmanager import Alertmanager
from streamproc.notify.backoff import wait_s
from streamproc.notify.outbox import News, Outbox
from streamproc.notify.sink import Sink
from streamproc.notify.webhook import Webhook

log = structlog.get_logger("notify")
_POLL_S = 0.2
_MOST_RECORDS = 1_000
_ASK_S = 10.0
_AGAIN_S = 5.0


def notifiers(at: Deployment, metrics: Metrics) -> list[Notifier]:
    """Return the threads of the sinks that the settings name; none where nothing is watched."""
    name, settings = at.pipeline.name, at.settings
    found: list[Notifier] = []
    if not at.pipeline.monitors:
        return found
    if settings.alertmanager is not None:
        sink: Sink = Alertmanager(name)
        endpoint = Endpoint(settings.alertmanager.get_secret_value(), sink.path)
        found.append(Notifier(at, sink, endpoint, metrics))
    if settings.webhook is not None:
        secret = settings.webhook_secret
        sink = Webhook(name, secret.get_secret_value() if secret else None)
        endpoint = Endpoint(settings.webhook.get_secret_value(), sink.path)
        found.append(Notifier(at, sink, endpoint, metrics))
    return found


class Notifier(threading.Thread):
    """Tells one sink of the alerts, for as long as this worker has their partition in its group."""

    def __init__(
        self,
        at: Deployment,
        sink: Sink,
        endpoint: Endpoint,
        metrics: Metrics,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        super().__init__(name=f"notify-{sink.name}", daemon=True)
        self._at, self._sink, self._endpoint, self._clock_ms = at, sink, endpoint, clock_ms
        self._topic = at.pipeline.topics.alerts
        self._sent = metrics.notifications
        for result in ("delivered", "failed", "refused", "given_up"):
            self._sent.labels(sink.name, result)  # Prometheus sees no increase from nothing to 1
        self._oldest = metrics.notify_oldest.labels(sink.name)
        self._oldest.set(0)
        self._random = Random(f"{at.settings.instance} {sink.name}")
        self._stopping = threading.Event()
        self._outbox: Outbox | None = None
        self._committed: int | None = None
        self._failures = self._singly = 0
        self._away = False
        self._not_before_s = self._repeated_s = float("-inf")

    def stop(self) -> None:
        """End the thread, and a try that is on its way."""
        self._stopping.set()
        self._endpoint.cut()

    def run(self) -> None:
        """Follow the topic until stopped; what goes wrong is begun anew."""
        while not self._stopping.is_set():
            try:
                self._follow()
            except Exception as error:  # the stream goes on, whatever it is
                text = error.args[0].str() if isinstance(error, KafkaException) else ""
                kind = type(error).__name__
                log.error("notify_failed", sink=self._sink.name, error=f"{kind} {text}".strip())
                self._stopping.wait(_AGAIN_S)

    def _follow(self) -> None:
        consumer = confluent_kafka.Consumer(
            {
                **self._at.settings.kafka_config(),
                "group.id": f"{self._at.pipeline.name}-notify-{self._sink.name}",
                "client.id": self._at.settings.instance,
                "group.protocol": "classic",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "session.timeout.ms": 6_000,
                "heartbeat.interval.ms": 1_000,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 100,
                "logger": LOGGER,
            }
        )
        try:
            consumer.subscribe([self._topic], on_assign=self._assigned, on_revoke=self._revoked)
            while not self._stopping.is_set():
                first = consumer.poll(_POLL_S)
                if first is not None:
                    for message in [first, *consumer.consume(_MOST_RECORDS, 0)]:
                        self._take(message)
                if self._outbox is not None and self._outbox.begun:
                    self._tell(self._outbox)
                    self._commit(consumer, self._outbox)
        finally:
            self._revoked()
            consumer.close()

    # ---------------------------------------------------------------- what comes in

    def _assigned(self, consumer: Any, partitions: list[Any]) -> None:
        """Read all of the topic, which is small: what is open has to be known, told or not."""
        for each in partitions:
            each.offset = OFFSET_BEGINNING
            if each.partition == 0:  # the embedded broker has more, which stay empty
                place = [TopicPartition(each.topic, 0)]
                told_until = consumer.committed(place, timeout=_ASK_S)[0].offset
                self._committed = told_until if told_until >= 0 else None
                self._outbox = Outbox(self._committed, self._sink.repeat_s is not None)
                self._repeated_s = float("-inf")
        consumer.assign(partitions)

    def _revoked(self, *_: Any) -> None:
        self._outbox = None
        self._oldest.set(0)

    def _take(self, message: Any) -> None:
        outbox, error = self._outbox, message.error()
        if outbox is None or message.partition() != 0:
            return
        if error is None:
            self._take_record(outbox, message)
        elif error.code() == KafkaError._PARTITION_EOF:
            if not outbox.begun:
                outbox.begin(message.offset())
        elif error.fatal() or error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise KafkaException(error)

    def _take_record(self, outbox: Outbox, message: Any) -> None:
        if message.value() is None:
            outbox.forget((message.key() or b"").decode("utf-8", "replace"), message.offset())
            return
        try:
            alert: Any = self._at.codec.decode("alert", message.value())
        except BadRecord as bad:
            place = f"{message.topic()}/{message.partition()} at {message.offset()}"
            log.error("alert_unreadable", sink=self._sink.name, at=place, error=bad.reason)
            return
        outbox.take(alert, message.offset(), message.timestamp()[1])

    # ---------------------------------------------------------------- what goes out

    def _tell(self, outbox: Outbox) -> None:
        """Try once, where it is time to."""
        now_ms, now_s = self._clock_ms(), time.monotonic()
        for each in outbox.give_up(now_ms):
            self._not_told(each.alert, "given_up", "it is over, and could not be told")
        repeat_s = self._sink.repeat_s
        if repeat_s is not None and now_s - self._repeated_s >= repeat_s:
            outbox.repeat(now_ms)
            self._repeated_s = now_s
        oldest_ms = outbox.oldest_ms
        self._oldest.set(0 if oldest_ms is None else max(0, now_ms - oldest_ms) / 1000)
        if now_s < self._not_before_s:
            return
        news = outbox.due(now_s, 1 if self._singly else self._sink.most)
        if not news:
            return
        answer = self._endpoint.post(*self._sink.request(news, now_ms))
        if self._stopping.is_set() and not answer.taken:
            return
        self._heed(outbox, news, answer)

    def _heed(self, outbox: Outbox, news: list[News], answer: Answer) -> None:
        now_s, steps = time.monotonic(), [each for each in news if each.offset is not None]
        self._singly = max(0, self._singly - 1)
        self._not_before_s = now_s + self._sink.pause_s
        if answer.taken:
            self._failures = 0
            outbox.settle(news, told=True)
            self._sent.labels(self._sink.name, "delivered").inc(len(steps))
            if self._away:
                self._away = False
                log.info("notify_back", sink=self._sink.name)
        elif answer.refused and len(news) > 1:
            self._singly = len(news)  # one of them may be the reason: the others shall not wait
        elif answer.refused:
            outbox.settle(news, told=False)
            for each in steps:
                self._not_told(each.alert, "refused", answer.why)
        else:
            self._put_off(outbox, news, answer)

    def _put_off(self, outbox: Outbox, news: list[News], answer: Answer) -> None:
        """Try again later: soon what was not tried yet, and later each time what was."""
        self._failures += 1
        now_s, fresh = time.monotonic(), all(each.attempts == 0 for each in news)
        waits_s = max(answer.retry_after_s, wait_s(self._failures, self._random))
        self._not_before_s = now_s + waits_s
        for each in news:
            each.attempts += 1
        own_s = wait_s(max(each.attempts for each in news), self._random)
        outbox.put_off(news, now_s + own_s)
        self._sent.labels(self._sink.name, "failed").inc()
        if fresh and not self._away:
            self._away = True
            log.warning("notify_away", sink=self._sink.name, why=answer.why)

    def _not_told(self, alert: Alert, result: str, why: str) -> None:
        self._sent.labels(self._sink.name, result).inc()
        told = {"alert_id": alert["alert_id"], "status": alert["status"]}
        log.error("alert_not_told", sink=self._sink.name, result=result, why=why, **told)

    def _commit(self, consumer: Any, outbox: Outbox) -> None:
        offset = outbox.dealt_with
        if offset is None or offset == self._committed:
            return
        try:
            place = TopicPartition(self._topic, 0, offset)
            consumer.commit(offsets=[place], asynchronous=False)
            self._committed = offset
        except KafkaException as error:  # the next one makes up for it
            log.warning("commit_failed", error=error.args[0].str(), topic=self._topic)
