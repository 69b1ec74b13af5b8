"""Whether labels meet their events: the same key in the same partition of both topics."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from confluent_kafka import Consumer, KafkaException, TopicPartition

from streamproc.errors import StreamprocError
from streamproc.pipeline import Pipeline

SAMPLE_RECORDS = 2_000
"""How many of the newest records of a partition are looked at."""

_WAIT_S = 5.0
_POLL_S = 0.1


def check_meeting(config: Mapping[str, Any], pipeline: Pipeline) -> int | None:
    """Compare the partitions of the keys that the newest events and labels share; return how many.

    None without labels. Raises :class:`StreamprocError` where a key is in different partitions:
    its labels would never be joined.
    """
    if pipeline.topics.labels is None:
        return None
    consumer = Consumer(
        {
            **config,
            "group.id": f"streamproc-check-{uuid4().hex}",
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
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
