"""What the brokers can tell: whether labels meet their events, and how much comes in a day.

Labels meet events where the same key is in the same partition of both topics.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from streamproc.errors import StreamprocError
from streamproc.kafka.topics import HasTopics
from streamproc.pipeline import Pipeline

SAMPLE_RECORDS = 2_000
"""How many of the newest records of a partition are looked at."""

_DAY_MS = 86_400_000
_LEAST_MS = 600_000
_WAIT_S = 5.0
_POLL_S = 0.1
_NO_LEADER = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)


def check_meeting(config: Mapping[str, Any], pipeline: Pipeline) -> int | None:
    """Compare the partitions of the keys that the newest events and labels share; return how many.

    None without labels. Raises :class:`StreamprocError` where a key is in different partitions:
    its labels would never be joined.
    """
    if pipeline.topics.labels is None:
        return None
    consumer = _consumer(config)
    try:
        events = _partitions_of_keys(consumer, pipeline.topics.events)
        labels = _partitions_of_keys(consumer, pipeline.topics.labels)
    except KafkaException as error:
        raise StreamprocError(
            f"events and labels could not be read: {error.args[0].str()}; see whether this user "
            "may read them"
        ) from None
    finally:
        consumer.close()
    shared = events.keys() & labels.keys()
    apart = [key for key in shared if events[key] != labels[key]]
    if apart:
        key = min(apart)
        raise StreamprocError(
            f"{len(apart):,} of {len(shared):,} keys are in another partition of "
            f"{pipeline.topics.labels} than of {pipeline.topics.events}, such as {key!r:.40}, so "
            "their labels would meet no event; write both with one partitioner (Java's default is "
            "librdkafka's murmur2_random)"
        )
    return len(shared)


def records_per_day(
    config: Mapping[str, Any], pipeline: HasTopics, now_ms: int, embedded: bool = False
) -> tuple[float, float | None]:
    """Return how many events and labels came in the last day; labels are None where there are none.

    An ``embedded`` broker knows no offsets by time; all that it has is taken for recent.
    They are counted by offsets, to which transactions add a little. Of topics that are younger, it
    is as many as would come in a day. Raises :class:`StreamprocError` where they can't be read.
    """
    consumer = _consumer(config)
    try:
        events = _a_day_by_now(consumer, pipeline.topics.events, now_ms, embedded)
        labels = pipeline.topics.labels
        if labels is None:
            return events, None
        return events, _a_day_by_now(consumer, labels, now_ms, embedded)
    except KafkaException as error:
        raise StreamprocError(
            f"how much comes in a day is not known: {error.args[0].str()}; give --events-per-day"
        ) from None
    finally:
        consumer.close()


def _a_day_by_now(consumer: Consumer, topic: str, now_ms: int, embedded: bool) -> float:
    """Ask as long as a topic that was just made has no leader that knows of it."""
    deadline_s = time.monotonic() + _WAIT_S
    while True:
        try:
            return _a_day(consumer, topic, now_ms, embedded)
        except KafkaException as error:
            if error.args[0].code() not in _NO_LEADER or time.monotonic() > deadline_s:
                raise
            time.sleep(_POLL_S)


def _a_day(consumer: Consumer, topic: str, now_ms: int, embedded: bool) -> float:
    """Return the records of a topic in the last day, or a day's worth of those that there are."""
    known = consumer.list_topics(topic, timeout=_WAIT_S).topics[topic]
    asked = [TopicPartition(topic, number, now_ms - _DAY_MS) for number in known.partitions]
    count, starts = 0, []
    for place in asked if embedded else consumer.offsets_for_times(asked, timeout=_WAIT_S):
        low, high = consumer.get_watermark_offsets(place, timeout=_WAIT_S)
        place.offset = low if embedded else place.offset
        if 0 <= place.offset < high:
            count += high - place.offset
            starts.append(place)
    first_ms = _first_ms(consumer, starts, now_ms) if starts else now_ms
    return count * _DAY_MS / min(max(now_ms - first_ms, _LEAST_MS), _DAY_MS)


def _first_ms(consumer: Consumer, starts: list[TopicPartition], now_ms: int) -> int:
    """Return the least timestamp of the first records from these places on."""
    consumer.assign(starts)
    left, first_ms = {place.partition for place in starts}, now_ms
    deadline_s = time.monotonic() + _WAIT_S
    while left and time.monotonic() < deadline_s:
        for record in consumer.consume(100, _POLL_S):
            number = record.partition()
            if record.error() is None and number in left:
                left.discard(number)
                first_ms = min(first_ms, record.timestamp()[1])
    return first_ms


def _consumer(config: Mapping[str, Any]) -> Consumer:
    group = f"streamproc-check-{uuid4().hex}"
    return Consumer({**config, "group.id": group, "enable.auto.commit": False, "log_level": 0})


def _partitions_of_keys(consumer: Consumer, topic: str) -> dict[bytes, set[int]]:
    """Return in which partitions the keys of a topic's newest records are."""
    found: dict[bytes, set[int]] = {}
    known = consumer.list_topics(topic, timeout=_WAIT_S).topics[topic]
    starts, left = [], {}
    for number in known.partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=_WAIT_S)
        if high > low:
            starts.append(TopicPartition(topic, number, max(low, high - SAMPLE_RECORDS)))
            left[number] = high
    consumer.assign(starts)
    deadline_s = time.monotonic() + _WAIT_S
    while left and time.monotonic() < deadline_s:
        for record in consumer.consume(1_000, _POLL_S):
            number, key = record.partition(), record.key()
            if record.error() is not None or number is None:
                continue
            if key:
                found.setdefault(key, set()).add(number)
            if (record.offset() or 0) + 1 >= left.get(number, 0):
                left.pop(number, None)
    return found
