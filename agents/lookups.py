"""Following the topics that are looked up in: every worker reads all of them, outside the group."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import confluent_kafka
import structlog
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, TopicPartition

from agents.deployment import Deployment
from agents.metrics import Metrics
from agents.reading import LOGGER
from streamproc.errors import AwayError, StreamprocError
from streamproc.features.lookup_tables import LatestTables
from streamproc.kafka.topics import probe

log = structlog.get_logger("lookups")
_POLL_S = 0.1
_MOST_RECORDS = 5_000
_SILENT_S = 30.0
_REGISTRY_AGAIN_S = 5.0


class LookupFollower(threading.Thread):
    """Keeps the tables of a worker as the topics have them.

    ``ready`` is set when all that was there at the start has been read. ``on_failed`` hears why,
    where that can't go on.
    """

    def __init__(
        self,
        at: Deployment,
        tables: LatestTables,
        metrics: Metrics,
        on_failed: Callable[[Exception], None],
    ) -> None:
        super().__init__(name="lookups", daemon=True)
        self.ready = threading.Event()
        self.failure: Exception | None = None
        self._at, self._tables, self._metrics = at, tables, metrics
        self._on_failed = on_failed
        self._stopping = threading.Event()
        self._unread: set[tuple[str, int]] = set()
        self._began_s = self._heard_s = time.monotonic()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()

    async def until_ready(self) -> None:
        """Wait until the tables are read; raises :class:`StreamprocError` where nothing comes."""
        while not self.ready.is_set():
            if self.failure is not None:
                raise self.failure
            if time.monotonic() - self._heard_s > _SILENT_S:
                topics = ", ".join(self._tables.by_topic)
                raise StreamprocError(
                    f"nothing came of {topics} for {_SILENT_S:.0f} s, and they are not read to "
                    "their end; see whether the broker is up"
                )
            await asyncio.sleep(0.01)

    def run(self) -> None:
        """Follow the topics until stopped."""
        if not self._tables.by_topic:
            self.ready.set()
            return
        try:
            self._follow()
        except Exception as error:  # with tables that stand still events would be given old rows
            self.failure = error
            self._on_failed(error)

    def _follow(self) -> None:
        config = {
            **self._at.settings.kafka_config(),
            "group.id": f"{self._at.pipeline.name}-lookups",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 100,
            "logger": LOGGER,
        }
        there = probe(self._at.settings.kafka_config()).partitions
        for topic in self._tables.by_topic:
            if topic not in there:
                raise StreamprocError(
                    f"there is no topic {topic} any more; make it by `streamproc topics`"
                )
            self._unread |= {(topic, number) for number in range(there[topic])}
        consumer = confluent_kafka.Consumer(config)
        try:
            consumer.assign([TopicPartition(*place, OFFSET_BEGINNING) for place in self._unread])
            while not self._stopping.is_set():
                first = consumer.poll(_POLL_S)
                if first is not None:
                    self._take([first, *consumer.consume(_MOST_RECORDS, 0)])
        finally:
            consumer.close()

    def _take(self, messages: Iterable[Any]) -> None:
        """Take rows in, and tell of the bad ones: where the first is, and how many."""
        bad: dict[str, list[str]] = {}
        for message in messages:
            self._heard_s = time.monotonic()
            error = message.error()
            if error is None:
                wrong = self._taken(message)
                if wrong is not None:
                    place = f"{message.partition()} at offset {message.offset()}: {wrong}"
                    bad.setdefault(message.topic(), []).append(place)
            elif error.code() == KafkaError._PARTITION_EOF:
                self._ended(message.topic(), message.partition())
            elif error.fatal() or error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise KafkaException(error)
            else:
                log.warning("consumer_error", error=error.str(), topic=message.topic())
        for topic, places in bad.items():
            self._metrics.lookup_bad_rows.labels(topic).inc(len(places))
            log.warning("lookup_rows_bad", topic=topic, rows=len(places), first=places[0])

    def _taken(self, message: Any) -> str | None:
        """Take one row in; one with a schema that the registry does not tell waits for it."""
        rows = self._tables.by_topic[message.topic()]
        while not self._stopping.is_set():
            try:
                return rows.take(message, self._at.codec.decode_input)
            except AwayError as error:
                self._heard_s = time.monotonic()
                self._metrics.registry_away.set(1)
                log.error("registry_away", error=str(error), again_in_s=_REGISTRY_AGAIN_S)
                self._stopping.wait(_REGISTRY_AGAIN_S)
                self._metrics.registry_away.set(0)
        return None

    def _ended(self, topic: str, partition: int) -> None:
        self._unread.discard((topic, partition))
        if not self._unread and not self.ready.is_set():
            self.ready.set()
            tables = self._tables.by_topic.items()
            log.info(
                "lookups_read",
                rows={topic: len(rows) for topic, rows in tables},
                bytes={topic: rows.size_bytes for topic, rows in tables},
                took_ms=round((time.monotonic() - self._began_s) * 1000),
            )
