"""The demo's consumer: reads the topics a pipeline writes, all from their first record."""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from streamproc.errors import StreamprocError
from streamproc.kafka.embedded import PARTITIONS
from streamproc.pipeline import Topics

_MOST = 2_000
_COMMITTED_TIMEOUT_S = 2.0


class TopicReader:
    """Reads predictions, outcomes, models, alerts and dead letters without joining a group.

    It has the name of the worker's group, only to ask how far that has come.
    """

    def __init__(self, address: str, group: str, topics: Topics) -> None:
        self._watched = (topics.predictions, topics.outcomes)
        self._consumer = Consumer(
            {
                "bootstrap.servers": address,
                "group.id": group,
                "enable.auto.commit": False,
                # A record that is gone before it was read must not go unseen.
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": 20,
                "log_level": 0,
            }
        )
        names = (*self._watched, topics.models, topics.alerts, topics.dead_letters)
        self._next = {(name, number): 0 for name in names for number in range(PARTITIONS)}
        self._consumer.assign([TopicPartition(*place, 0) for place in self._next])

    def read(self, timeout_s: float, take: Callable[[str, bytes], None]) -> int:
        """Hand on what is there, topic and value; wait for a first record for ``timeout_s``.

        Returns how many there were. Raises :class:`StreamprocError` for records that the broker
        dropped before they were read.
        """
        first = self._consumer.poll(timeout_s)
        if first is None:
            return 0
        messages = [first, *self._consumer.consume(_MOST, 0)]
        for message in messages:
            self._check(message.error())
            place = message.topic() or "", message.partition() or 0
            self._next[place] = (message.offset() or 0) + 1
            take(place[0], message.value() or b"")
        return len(messages)

    def unwatched(self) -> int:
        """Return how many records the worker has not committed of its own output that it watches.

        That is those of the partition it is furthest behind with.
        """
        places = [place for place in self._next if place[0] in self._watched]
        asked = [TopicPartition(*place) for place in places]
        committed = self._consumer.committed(asked, timeout=_COMMITTED_TIMEOUT_S)
        return max(self._next[at.topic, at.partition] - max(at.offset, 0) for at in committed)

    def close(self) -> None:
        """End the connections."""
        self._consumer.close()

    def _check(self, error: KafkaError | None) -> None:
        if error is None:
            return
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            raise StreamprocError(
                "the embedded broker dropped records before they were read, as this machine is "
                "too slow for this pace; give the demo more --seconds"
            )
        raise KafkaException(error)
