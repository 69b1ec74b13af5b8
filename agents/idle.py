"""Looking whether a partition has anything on its way to the judge."""

from __future__ import annotations

import threading
from collections.abc import Collection

import structlog
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition

from agents.deployment import Deployment
from streamproc.tasks.fold import folded_topics
from streamproc.tasks.waits import Place

log = structlog.get_logger("judge")

_ASK_S = 10.0


class Lag:
    """Says which partitions are idle: all that their topics hold is read, and what it gave is out.

    An input is looked at before what is made of it. Offsets are committed together with what was
    made, so where the group has committed all of an input, that is all there; and where it has
    committed all of the last of them, the sums are in the judge's log, before whatever is written
    to that from now on.
    """

    def __init__(self, deployment: Deployment) -> None:
        topics = deployment.pipeline.topics
        inputs = [topics.events, *([topics.labels] if topics.labels else [])]
        # With windows by another entity an event's position stays until its prediction is out.
        self._ways = {
            "drift": [topics.events, *folded_topics(deployment.pipeline)],
            "bias": [*inputs, topics.outcomes],
        }
        self._deployment = deployment
        self._found: list[frozenset[Place]] = []

    def ask(self, places: Collection[Place]) -> None:
        """Begin to look."""
        self._found = []
        looking = (tuple(places), self._found)
        threading.Thread(target=self._look, args=looking, name="lag", daemon=True).start()

    def answer(self) -> frozenset[Place] | None:
        """Return which of the places asked for were idle; None while that is not known."""
        return self._found[0] if self._found else None

    def _look(self, places: tuple[Place, ...], found: list[frozenset[Place]]) -> None:
        try:
            found.append(frozenset(place for place in places if self._is_idle(place)))
        except Exception as error:  # whatever it is: nobody is known to be idle
            log.warning("lag_unknown", error=str(error))
            found.append(frozenset())

    def _is_idle(self, place: Place) -> bool:
        stage, partition = place
        return all(self._all_read(topic, partition) for topic in self._ways[stage])

    def _all_read(self, topic: str, partition: int) -> bool:
        """Say whether the group has committed all that a partition held at some time from now."""
        at = self._deployment
        end = at.end_of(topic, partition)
        committed = self._committed(topic, partition)
        if committed >= end:
            return True
        # What is between may be the markers of transactions, which are no records.
        return next(at.read(topic, partition, committed, end, unblock=False), None) is None

    def _committed(self, topic: str, partition: int) -> int:
        group = ConsumerGroupTopicPartitions(
            self._deployment.pipeline.name, [TopicPartition(topic, partition)]
        )
        asked = self._deployment.admin.list_consumer_group_offsets(
            [group], require_stable=True, request_timeout=_ASK_S
        )
        (found,) = asked[self._deployment.pipeline.name].result(_ASK_S).topic_partitions
        if found.error is not None:
            raise KafkaException(found.error)
        return max(0, int(found.offset))
