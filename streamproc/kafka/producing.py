"""Sending a timeline to the brokers, as fast as they take it or at a pace."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streamproc.errors import StreamprocError
from streamproc.timeline import Entry, Kind

_FLUSH_S = 1.2
_SERVE_EVERY = 1_000
_NAP_S = 0.1
_SOON_S = 0.000_5  # a shorter sleep takes longer than it says
_CONFIG: dict[str, Any] = {
    "partitioner": "murmur2_random",  # the Java client's: one key, one partition, whoever sends
    "linger.ms": 5,
    "enable.idempotence": True,  # a retry neither repeats a record nor overtakes one
    "queue.buffering.max.kbytes": 65_536,
    "message.timeout.ms": 30_000,
    "delivery.report.only.error": True,
    "log_level": 0,  # what fails is raised; librdkafka would write it to stderr as well
}


class Pace:
    """When each entry is to go: at full speed, at a rate, or at event time times a factor.

    ``events_per_s`` counts events, and labels go with the event they follow; ``speed`` is seconds
    of event time in a second. Give one of them or neither. ``clock`` tells seconds and ``sleep``
    waits for them. Raises `StreamprocError` where both are given, or one is not above 0.

    >>> slept_s: list[float] = []
    >>> pace = Pace(events_per_s=20, clock=lambda: sum(slept_s), sleep=slept_s.append)
    >>> for time_ms in (0, 10, 20):
    ...     pace.wait(Entry("event", time_ms, b"", b""))
    >>> slept_s
    [0.05, 0.05]
    """

    def __init__(
        self,
        *,
        events_per_s: float | None = None,
        speed: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if events_per_s is not None and speed is not None:
            raise StreamprocError("a rate and a speed contradict each other; give one")
        for name, value in (("rate", events_per_s), ("speed", speed)):
            if value is not None and not 0 < value < float("inf"):
                raise StreamprocError(f"a {name} of {value} is none; give one above 0")
        self._events_per_s = events_per_s
        self._speed = speed
        self._clock = clock
        self._sleep = sleep
        self._events = 0
        self._start_s = 0.0
        self._start_ms: int | None = None

    def wait(self, entry: Entry, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Sleep until the entry is to go, and call ``meanwhile`` every 0.1 s or sooner."""
        if self._events_per_s is None and self._speed is None:
            return
        due_s = self._due_s(entry)
        while (left_s := due_s - self._clock()) > _SOON_S:
            meanwhile()
            self._sleep(min(left_s, _NAP_S))

    def _due_s(self, entry: Entry) -> float:
        if self._start_ms is None:
            self._start_ms, self._start_s = entry.time_ms, self._clock()
        if self._speed is not None:
            return self._start_s + (entry.time_ms - self._start_ms) / 1_000 / self._speed
        assert self._events_per_s is not None
        due_s = self._start_s + self._events / self._events_per_s
        if entry.kind == "label":
            return self._start_s
        self._events += 1
        return due_s


@dataclass
class Produced:
    """What was sent: ``sent`` counts the records handed over, by kind.

    The brokers have acknowledged them all, but for ``unsent`` where a ctrl-C ended it.
    """

    sent: Counter[Kind] = field(default_factory=Counter)
    seconds: float = 0.0
    interrupted: bool = False
    unsent: int = 0


def produce(
    entries: Iterable[Entry],
    config: Mapping[str, Any],
    topics: Mapping[Kind, str],
    *,
    pace: Pace | None = None,
    on_progress: Callable[[Produced], None] | None = None,
) -> Produced:
    """Send entries to the topic of their kind, with their key, and their time as the timestamp.

    ``config`` is that of confluent_kafka, and goes before what is set here. ``on_progress`` is
    called from time to time and at the end. A ctrl-C ends the sending: within 1.5 s what was
    handed over is delivered or given up, and told as ``unsent``.

    Raises `StreamprocError` that names the topic and partition for a record that is refused.

    >>> from streamproc.kafka.embedded import EmbeddedBroker
    >>> entries = [Entry("event", 1_530_403_200_000, b"7", b'{"id": 1}')]
    >>> with EmbeddedBroker() as broker:
    ...     produce(entries, {"bootstrap.servers": broker.address}, {"event": "cards"}).sent
    Counter({'event': 1})
    """
    sending = _Sending(config, topics, pace or Pace(), on_progress)
    started_s = time.monotonic()
    try:
        for entry in entries:
            sending.send(entry)
        sending.finish()
    except KeyboardInterrupt:
        sending.give_up()
    finally:
        sending.close()
    sending.produced.seconds = time.monotonic() - started_s
    if on_progress is not None:
        on_progress(sending.produced)
    return sending.produced


class _Sending:
    """One run of `produce`: the producer, its failures and what is counted."""

    def __init__(
        self,
        config: Mapping[str, Any],
        topics: Mapping[Kind, str],
        pace: Pace,
        on_progress: Callable[[Produced], None] | None,
    ) -> None:
        self.produced = Produced()
        self._topics = topics
        self._pace = pace
        self._on_progress = on_progress
        self._failure: StreamprocError | None = None
        self._unserved = 0
        self._producer = Producer({**_CONFIG, **config, "on_delivery": self._delivered})

    def send(self, entry: Entry) -> None:
        """Wait for the entry's time and hand it to the producer."""
        self._pace.wait(entry, self._serve)
        topic = self._topics[entry.kind]
        if entry.time_ms <= 0:
            raise StreamprocError(
                f"a record of {entry.time_ms} ms since 1970 cannot be sent, since Kafka has no "
                "such timestamps; give the rows later times, e.g. by --start and --every"
            )
        while True:
            try:
                self._producer.produce(topic, entry.value, entry.key, timestamp=entry.time_ms)
                break
            except BufferError:  # the queue is full: wait until the brokers have taken some
                self._serve(_NAP_S)
            except KafkaException as error:
                raise _refused(topic, None, error.args[0]) from error
        self.produced.sent[entry.kind] += 1
        self._unserved += 1
        if self._unserved >= _SERVE_EVERY:
            self._serve()

    def finish(self) -> None:
        """Wait until the brokers have acknowledged everything."""
        while self._producer.flush(_NAP_S):
            self._check()
            self._report()
        self._check()

    def give_up(self) -> None:
        """Deliver what can be delivered in time, and drop the rest."""
        self.produced.interrupted = True
        self.produced.unsent = self._producer.flush(_FLUSH_S)

    def close(self) -> None:
        """End the connections; what is not delivered is dropped, so that this waits for nothing."""
        self._producer.purge()
        self._producer.close()

    def _serve(self, timeout_s: float = 0) -> None:
        self._unserved = 0
        self._producer.poll(timeout_s)
        self._check()
        self._report()

    def _report(self) -> None:
        if self._on_progress is not None:
            self._on_progress(self.produced)

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        # Called by poll and flush, where an exception would be lost: kept for _check.
        if error is not None and self._failure is None:
            self._failure = _refused(message.topic() or "", message.partition(), error)


def _refused(topic: str, partition: int | None, error: KafkaError) -> StreamprocError:
    where = topic if partition is None or partition < 0 else f"{topic}, partition {partition}"
    remedy = _REMEDIES.get(error.code(), "see the broker's log")
    return StreamprocError(f"{where}: a record was not taken ({error.str()}); {remedy}")


_REMEDIES = {
    KafkaError._MSG_TIMED_OUT: "check that the brokers are up and reachable",
    KafkaError._UNKNOWN_TOPIC: "make the topic by `streamproc topics PIPELINE`",
    KafkaError._UNKNOWN_PARTITION: "make the topic by `streamproc topics PIPELINE`",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "make the topic by `streamproc topics PIPELINE`",
    KafkaError.MSG_SIZE_TOO_LARGE: "leave columns out, or raise message.max.bytes",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "ask for the right to write to it",
}
