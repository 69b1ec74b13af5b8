"""Reading partitions outside the group: what a restore needs, and what is told on topics."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from streamproc.errors import StreamprocError
from streamproc.tasks.records import Record

LOGGER = logging.getLogger("librdkafka")
"""Where librdkafka tells of brokers that went away: into the worker's log, not past it."""

_READ_RECORDS = 5_000
_READ_TIMEOUT_S = 30.0
_LOOK_S = 0.25
_ASK_S = 1.0
_BLOCKED_S = 1.0
"""How long nothing comes of what is there before a dead worker's transaction is thought of."""


def assign(consumer: Any, at: TopicPartition) -> None:
    """Let a consumer read a partition, at once.

    Left alone librdkafka looks for the leaders of topics that are new to it once a second; it also
    takes what it is told when asked for something else.
    """
    consumer.assign([at])
    with suppress(KafkaException):  # no broker is there: whoever reads will see
        consumer.list_topics(at.topic, timeout=_ASK_S)


class Readers:
    """Consumers without a group, used again: to make one takes longer than most readings do.

    ``config`` is that of confluent_kafka. Threads may read at the same time, each by its own.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = {
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,
            "logger": LOGGER,
            **config,
        }
        self._lock = threading.Lock()
        self._idle: list[confluent_kafka.Consumer] = []

    def close(self) -> None:
        """Let go of those that nobody reads with; whoever reads again makes new ones."""
        with self._lock:
            idle, self._idle = self._idle, []
        for consumer in idle:
            consumer.close()

    def read(self, at: TopicPartition, end: int, stuck: Callable[[], None]) -> Iterator[Record]:
        """Yield the records from ``at`` to before the offset ``end``.

        ``stuck`` is called where nothing comes for a while, as before an open transaction. Raises
        :class:`StreamprocError` where nothing comes for long.
        """
        next_offset = at.offset
        if next_offset >= end:
            return
        with self._one() as consumer:
            assign(consumer, at)
            silent_s = 0.0
            while next_offset < end:
                first: Any = consumer.poll(_LOOK_S)
                silent_s = 0.0 if first is not None else silent_s + _LOOK_S
                if silent_s >= _READ_TIMEOUT_S:
                    raise StreamprocError(
                        f"the broker sent nothing of {at.topic}/{at.partition} for "
                        f"{_READ_TIMEOUT_S:.0f} s; see whether it is up"
                    )
                if first is None:
                    if silent_s >= _BLOCKED_S:
                        stuck()
                    continue
                more: list[Any] = consumer.consume(_READ_RECORDS, 0)
                for message in (first, *more):
                    error = message.error()
                    if error is None:
                        if message.offset() >= end:
                            return
                        next_offset = message.offset() + 1
                        yield message
                    elif error.code() == KafkaError._PARTITION_EOF:
                        next_offset = max(next_offset, message.offset())
                    elif error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                        raise KafkaException(error)

    @contextmanager
    def _one(self) -> Iterator[Any]:
        """Lend a consumer that is assigned nothing."""
        with self._lock:
            consumer = self._idle.pop() if self._idle else None
        if consumer is None:
            consumer = confluent_kafka.Consumer(self._config)
        try:
            yield consumer
            consumer.unassign()
        except BaseException:  # whatever it was, another reader shall not meet with it
            consumer.close()
            raise
        with self._lock:
            self._idle.append(consumer)
