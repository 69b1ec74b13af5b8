"""Producing to the embedded broker: what arrives, what is refused, and how it is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, TopicPartition

from streamproc.errors import StreamprocError
from streamproc.kafka.embedded import PARTITIONS, EmbeddedBroker
from streamproc.kafka.producing import Pace, Produced, produce
from streamproc.timeline import Entry, Kind

START_MS = 1_530_403_200_000
TOPICS: dict[Kind, str] = {"event": "cards.events", "label": "cards.labels"}


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    """A broker of the test's own."""
    with EmbeddedBroker() as started:
        yield started


def config(broker: EmbeddedBroker, **more: Any) -> dict[str, Any]:
    """Return what a client needs."""
    return {"bootstrap.servers": broker.address, **more}


def consume(broker: EmbeddedBroker, topic: str, count: int) -> list[Message]:
    """Return the first records of a topic, waiting for so many."""
    consumer = Consumer(config(broker, **{"group.id": "test", "enable.auto.commit": False}))
    records: list[Message] = []
    try:
        consumer.assign([TopicPartition(topic, n, 0) for n in range(PARTITIONS)])
        deadline_s = time.monotonic() + 30
        while len(records) < count and time.monotonic() < deadline_s:
            records += consumer.consume(count, timeout=0.5)
    finally:
        consumer.close()
    return records


def murmur2(key: bytes) -> int:
    """Return the hash that Kafka's Java client takes a key's partition from, after its source."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = (0x9747B28C ^ len(key)) & mask
    whole = len(key) // 4 * 4
    for i in range(0, whole, 4):
        k = int.from_bytes(key[i : i + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    if tail := key[whole:]:
        h = (h ^ int.from_bytes(tail, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return (h ^ h >> 15) & 0x7FFFFFFF


def test_every_entry_arrives_once_in_order_with_key_time_and_partition(
    broker: EmbeddedBroker,
) -> None:
    """Each topic has its entries as they were, in order, in the Java client's partition."""
    entries = [
        Entry("label" if n % 3 == 0 else "event", START_MS + n, b"%d" % (n % 50), b"value %d" % n)
        for n in range(3_000)
    ]
    seen: list[int] = []
    produced = produce(
        entries, config(broker), TOPICS, on_progress=lambda p: seen.append(p.sent["event"])
    )
    assert produced.sent == {"event": 2_000, "label": 1_000}
    assert (produced.unsent, produced.interrupted) == (0, False)
    assert seen[-1] == 2_000
    for kind, topic in TOPICS.items():
        records = consume(broker, topic, produced.sent[kind])
        for partition in range(PARTITIONS):
            expected = [
                (entry.time_ms, entry.key, entry.value)
                for entry in entries
                if entry.kind == kind and murmur2(entry.key) % PARTITIONS == partition
            ]
            assert [
                (record.timestamp()[1], record.key(), record.value())
                for record in records
                if record.partition() == partition
            ] == expected


def test_a_full_queue_is_waited_for(broker: EmbeddedBroker) -> None:
    """A queue of ten holds the sending up and loses nothing."""
    entries = [Entry("event", START_MS, b"k", b"%d" % n) for n in range(500)]
    small = config(broker, **{"queue.buffering.max.messages": 10})
    assert produce(entries, small, TOPICS).sent == {"event": 500}
    assert [r.value() for r in consume(broker, TOPICS["event"], 500)] == [e.value for e in entries]


def test_a_record_that_is_too_large_is_told_with_its_topic(broker: EmbeddedBroker) -> None:
    """The message names the topic and the setting, in one line."""
    entries = [Entry("event", START_MS, b"k", b"x" * 2_000_000)]
    with pytest.raises(StreamprocError, match=r"cards\.events: .*too large.*message\.max\.bytes"):
        produce(entries, config(broker), TOPICS)


def test_a_time_that_kafka_cannot_stamp_is_refused(broker: EmbeddedBroker) -> None:
    """A time of 0 would be replaced by the present; it is an error instead."""
    with pytest.raises(StreamprocError, match="--start"):
        produce([Entry("event", 0, b"k", b"v")], config(broker), TOPICS)


def test_a_broker_that_goes_away_is_told_with_topic_and_partition(broker: EmbeddedBroker) -> None:
    """Records that are not acknowledged in time are an error, not a silent loss.

    The time is long enough for a slow machine to deliver the first one in it.
    """

    def entries() -> Iterator[Entry]:
        yield Entry("event", START_MS, b"k", b"1")
        assert consume(broker, TOPICS["event"], 1)
        broker.stop()
        while True:  # the error ends it
            yield Entry("event", START_MS, b"k", b"2")

    short = config(broker, **{"message.timeout.ms": 8_000, "queue.buffering.max.messages": 100})
    with pytest.raises(StreamprocError, match=r"cards\.events, partition \d: .*timed out"):
        produce(entries(), short, TOPICS)


def test_an_error_while_reading_comes_through(broker: EmbeddedBroker) -> None:
    """A bad row ends the sending with its own message."""

    def entries() -> Iterator[Entry]:
        yield Entry("event", START_MS, b"k", b"1")
        raise StreamprocError("row 2: mend it")

    with pytest.raises(StreamprocError, match="row 2: mend it"):
        produce(entries(), config(broker), TOPICS)


INTERRUPTED = """
import sys
from itertools import count
from streamproc.kafka.producing import Pace, produce
from streamproc.timeline import Entry, Kind

def entries():
    for n in count():
        yield Entry("event", 1_530_403_200_000 + n, b"k", b"v")

def show(so_far):
    if so_far.sent["event"] and not so_far.interrupted:
        print("sending", flush=True)

address, rate = sys.argv[1], float(sys.argv[2])
produced = produce(
    entries(), {"bootstrap.servers": address}, {"event": "cards.events"},
    pace=Pace(events_per_s=rate), on_progress=show,
)
print(produced.interrupted, produced.sent["event"], produced.unsent, flush=True)
"""


@pytest.mark.parametrize("up", [True, False])
def test_a_ctrl_c_ends_it_within_two_seconds(broker: EmbeddedBroker, up: bool) -> None:
    """What was handed over is delivered where the broker is up, and told as unsent where not."""
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, broker.address, "500"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "sending\n"
    if not up:
        broker.stop()
        for _ in range(20):  # some more is handed over that nobody takes
            process.stdout.readline()
    os.kill(process.pid, signal.SIGINT)
    stopped_s = time.monotonic()
    last = process.stdout.read().splitlines()[-1]
    assert process.wait(10) == 0
    assert time.monotonic() - stopped_s < 2
    interrupted, sent, unsent = last.split()
    assert interrupted == "True"
    process.stdout.close()
    if up:
        assert unsent == "0"
        assert len(consume(broker, TOPICS["event"], int(sent))) == int(sent)
    else:
        assert int(unsent) > 0


def test_nothing_to_send_is_no_error(broker: EmbeddedBroker) -> None:
    """An empty file sends nothing, and says so."""
    produced = produce([], config(broker), TOPICS, pace=Pace(speed=10))
    assert produced == Produced(seconds=produced.seconds)
