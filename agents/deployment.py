"""What the stages of one worker share: the pipeline, where it runs, and how to read topics."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from streamproc.codec import Codec
from streamproc.errors import StreamprocError
from streamproc.models.versions import Store
from streamproc.pipeline import Pipeline
from streamproc.settings import Settings
from streamproc.tasks.records import Record

LOGGER = logging.getLogger("librdkafka")
"""Where librdkafka tells of brokers that went away: into the worker's log, not past it."""

_READ_RECORDS = 5_000
_READ_TIMEOUT_S = 30.0


class Upstream(Protocol):
    """The stage before one, in the same worker: the same members share the same partitions."""

    def caught_up(self, partition: int) -> bool:
        """Say whether a partition's task, where it is here, has processed all there is."""


@dataclass(frozen=True)
class Deployment:
    """A pipeline on a cluster; ``partitions`` are the events', ``epoch`` marks this run."""

    pipeline: Pipeline
    settings: Settings
    codec: Codec
    store: Store
    partitions: int
    embedded: bool
    epoch: int

    def consumer_config(self) -> dict[str, Any]:
        """Return the configuration of the group's consumer."""
        return {
            **self.settings.kafka_config(),
            "group.id": self.pipeline.name,
            "client.id": self.settings.instance,
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

    def read(self, topic: str, partition: int, start: int, end: int | None) -> Iterator[Record]:
        """Yield a partition's records from ``start`` to before ``end``, or what is there now.

        Raises :class:`StreamprocError` where the broker falls silent.
        """
        config = {
            **self.settings.kafka_config(),
            "group.id": f"{self.pipeline.name}-restore",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,
        }
        consumer = confluent_kafka.Consumer(config)
        try:
            consumer.assign([TopicPartition(topic, partition, start)])
            while end is None or start < end:
                messages: list[Any] = [consumer.poll(_READ_TIMEOUT_S)]
                for message in (*messages, *consumer.consume(_READ_RECORDS, 0)):
                    if message is None:
                        raise StreamprocError(
                            f"the broker sent nothing of {topic}/{partition} for "
                            f"{_READ_TIMEOUT_S:.0f} s; see whether it is up"
                        )
                    error = message.error()
                    if error is None:
                        if end is not None and message.offset() >= end:
                            return
                        start = message.offset() + 1
                        yield message
                    elif error.code() == KafkaError._PARTITION_EOF:
                        return
                    elif error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                        raise KafkaException(error)
        finally:
            consumer.close()
