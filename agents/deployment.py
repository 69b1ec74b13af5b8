"""What the stages of one worker share: the pipeline, where it runs, and how to read topics."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import confluent_kafka
import orjson
from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from agents.writing import TRANSACTION_TIMEOUT_S
from streamproc.codec import Codec, JsonCodec
from streamproc.errors import StreamprocError
from streamproc.models.versions import Store
from streamproc.pipeline import Pipeline
from streamproc.settings import Settings
from streamproc.tasks.records import Record

LOGGER = logging.getLogger("librdkafka")
"""Where librdkafka tells of brokers that went away: into the worker's log, not past it."""

_READ_RECORDS = 5_000
_LATELY_RECORDS = 2_000
_READ_TIMEOUT_S = 30.0


class Upstream(Protocol):
    """The stage before one, in the same worker: the same members share the same partitions."""

    def caught_up(self, partition: int) -> bool:
        """Say whether a partition's task, where it is here, has processed all there is."""


def codec_of(pipeline: Pipeline, settings: Settings) -> Codec:
    """Return what a pipeline's messages are written in: JSON, or Avro where a registry is set."""
    if settings.registry is None:
        return JsonCodec()
    from streamproc.kafka.registry import Registry  # its client takes half a second to import

    return Registry(settings.registry).codec(pipeline.topics)


@dataclass(frozen=True)
class Deployment:
    """A pipeline on a cluster; ``partitions`` are the events', ``epoch`` marks this run."""

    pipeline: Pipeline
    settings: Settings
    codec: Codec
    store: Store
    partitions: int
    embedded: bool
    exactly_once: bool
    epoch: int
    fresh_model: bool = False

    def consumer_config(self) -> dict[str, Any]:
        """Return the configuration of the group's consumer."""
        return {
            **self.settings.kafka_config(),
            "group.id": self.pipeline.name,
            "client.id": self.settings.instance,
            **({} if self.embedded else {"group.instance.id": self.settings.instance}),
            "group.protocol": "classic",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "partition.assignment.strategy": "range",
            "session.timeout.ms": 6_000,
            "heartbeat.interval.ms": 1_000,
            "fetch.min.bytes": 100_000,
            "fetch.wait.max.ms": 2,
            "fetch.error.backoff.ms": 50,
            # Little is fetched ahead: no partition's records pile up before those of another.
            "queued.min.messages": 1_000,
            # By default a partition that has so much waits a whole second for its next fetch, and
            # with it the learner, who merges all partitions, and with it all the others.
            "fetch.queue.backoff.ms": 2,
            "allow.auto.create.topics": True,
            "topic.metadata.refresh.interval.ms": 5_000,
            "enable.partition.eof": True,
            "logger": LOGGER,
        }

    def producer_config(self) -> dict[str, Any]:
        """Return the configuration of the worker's producer."""
        return {
            **self.settings.kafka_config(),
            "client.id": self.settings.instance,
            # The embedded broker hands out one record batch a fetch: let them grow.
            "linger.ms": 5 if self.embedded else 0.5,
            "batch.num.messages": 10_000,
            "queue.buffering.max.messages": 200_000,
            "message.max.bytes": 20_000_000,
            "partitioner": "murmur2_random",
            "enable.idempotence": not self.embedded,
            "message.timeout.ms": 0,
            "delivery.report.only.error": True,
            "retry.backoff.ms": 20,
            "logger": LOGGER,
        }

    def transactional_config(self, instance: str) -> dict[str, Any]:
        """Return the configuration of the producer that writes as ``instance``, in transactions."""
        return {
            **self.producer_config(),
            "transactional.id": f"{self.pipeline.name}-{instance}",
            "transaction.timeout.ms": int(TRANSACTION_TIMEOUT_S * 1000),
            # The last transaction's markers may not be there yet: ask again soon.
            "retry.backoff.ms": 5,
            "retry.backoff.max.ms": 20,
            "message.timeout.ms": int(TRANSACTION_TIMEOUT_S * 1000),
        }

    def lately_wrote(self) -> set[str]:
        """Return the instances that wrote the journal's last records."""
        journal = self.pipeline.topics.journal
        start = max(0, self.end_of(journal, 0) - _LATELY_RECORDS)
        records = self.read(journal, 0, start, None)
        return {orjson.loads(record.value() or b"{}").get("instance", "") for record in records}

    def refused(self, partition: int) -> set[int]:
        """Return the offsets of a partition's events that were refused as ahead of their time.

        They stay so, though their time has come since.
        """
        found = set()
        for record in self.read(self.pipeline.topics.dead_letters, partition, 0, None):
            told = dict(record.headers() or ())
            of_an_event = told.get("source_topic") == self.pipeline.topics.events.encode()
            if of_an_event and told.get("reason") == b"time_in_future":
                found.add(int(told["source_offset"]))
        return found

    def end_of(self, topic: str, partition: int) -> int:
        """Return the offset after a partition's last record, committed or not; 0 without topic."""
        admin = AdminClient({**self.settings.kafka_config(), "log_level": 4})
        tp = TopicPartition(topic, partition)
        try:
            found = admin.list_offsets(
                {tp: OffsetSpec.latest()},  # type: ignore[no-untyped-call]
                isolation_level=IsolationLevel.READ_UNCOMMITTED,
            )
            return int(found[tp].result(_READ_TIMEOUT_S).offset)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return 0
            raise

    def read(self, topic: str, partition: int, start: int, end: int | None) -> Iterator[Record]:
        """Yield a partition's records from ``start`` to before ``end``, or what is there now.

        What is in a transaction yet is waited for, until it is committed or aborted. Raises
        :class:`StreamprocError` where the broker falls silent.
        """
        if end is None:
            end = self.end_of(topic, partition)
        config = {
            **self.settings.kafka_config(),
            "group.id": f"{self.pipeline.name}-restore",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,
            "logger": LOGGER,
        }
        consumer = confluent_kafka.Consumer(config)
        try:
            consumer.assign([TopicPartition(topic, partition, start)])
            while start < end:
                messages: list[Any] = [consumer.poll(_READ_TIMEOUT_S)]
                for message in (*messages, *consumer.consume(_READ_RECORDS, 0)):
                    if message is None:
                        raise StreamprocError(
                            f"the broker sent nothing of {topic}/{partition} for "
                            f"{_READ_TIMEOUT_S:.0f} s; see whether it is up"
                        )
                    error = message.error()
                    if error is None:
                        if message.offset() >= end:
                            return
                        start = message.offset() + 1
                        yield message
                    elif error.code() == KafkaError._PARTITION_EOF:
                        start = max(start, message.offset())
                    elif error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                        raise KafkaException(error)
        finally:
            consumer.close()
