"""Reading from librdkafka: a thread that polls, and answers the group's rebalances.

librdkafka answers rebalances only inside ``poll``, so a thread of its own polls, whatever the event
loop is busy with.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import confluent_kafka
import structlog
from confluent_kafka import KafkaError, KafkaException
from faust.types import TP

from streamproc.errors import StreamprocError
from streamproc.tasks.records import Record

log = structlog.get_logger("transport")

BATCH_RECORDS = 2_000
QUEUED_RECORDS = 200_000
"""How many records wait in a worker at most, over all its partitions; give or take a fetch each."""

_LEAST_RECORDS = 2_000
_POLL_S = 0.1
_PAUSED_POLL_S = 0.002
_GATHER_S = 0.0005  # a little later more records are there, at the cost of one
_COMMITTED_SOON_S = 0.5
_COMMITTED_TIMEOUT_S = 30.0
_HANDLER_TIMEOUT_S = 20.0
_BACK_S = 60.0


@dataclass(slots=True)
class Batch:
    """Records of one partition in the log's order; ``caught_up`` where they end the log.

    ``start`` is the offset at which the batch before it ended, so that a lost one is noticed;
    ``end`` the offset after the log's last record, as far as the fetch told.
    """

    topic: str
    partition: int
    start: int
    records: list[Record]
    caught_up: bool
    end: int

    @property
    def next_offset(self) -> int:
        """Where the batch after it starts."""
        return self.records[-1].offset() + 1 if self.records else self.start

    def extend(self, other: Batch) -> None:
        """Add the records that came next."""
        self.records += other.records
        self.caught_up, self.end = other.caught_up, other.end


class FencedError(StreamprocError):
    """The group knows another member by this worker's name."""


class Poller(threading.Thread):
    """Owns the librdkafka consumer: polls it, and answers its rebalances.

    ``progress`` tells, by partition, how many of the delivered records are dealt with. A partition
    of which more than its share of :data:`QUEUED_RECORDS` waits is paused until a third is left, so
    that the others, the learner's above all, are not held up behind it. (Pausing throws away what
    librdkafka has prefetched, so it is done seldom.)
    """

    def __init__(
        self,
        config: dict[str, Any],
        loop: asyncio.AbstractEventLoop,
        on_batches: Callable[[int, list[Batch]], None],
        on_rebalance: Callable[[str, set[TP], int], Any],
        start_offsets: Callable[[dict[TP, int]], dict[TP, int]],
        progress: Mapping[TP, int],
        end_open_transactions: Callable[[], None],
        on_left: Callable[[str], None],
        on_failure: Callable[[Exception], None],
    ) -> None:
        super().__init__(name="poller", daemon=True)
        self._config = {**config, "on_commit": _committed, "error_cb": self._note_away}
        self._away_s = float("-inf")  # when the brokers were last seen to be away
        self.consumer = confluent_kafka.Consumer(self._config)
        self._lock = threading.Lock()
        self._to_commit: dict[TP, int] = {}
        self.assigned: set[TP] = set()
        self.offsets: dict[TP, int] = {}
        self.group: Any = None
        self._topics: list[str] = []
        self._rejoin = threading.Event()
        self._generation = 0
        self._next: dict[TP, int] = {}
        self._loop = loop
        self._on_batches = on_batches
        self._on_rebalance = on_rebalance
        self._start_offsets = start_offsets
        self._progress = progress
        self._delivered: dict[TP, int] = defaultdict(int)
        self._paused: set[TP] = set()
        self._end_open_transactions = end_open_transactions
        self._on_left = on_left
        self._on_failure = on_failure
        self._stopping = threading.Event()

    def subscribe(self, topics: list[str]) -> None:
        """Subscribe; partitions come by way of the rebalance callbacks."""
        self._topics = topics
        self.consumer.subscribe(
            topics, on_assign=self._assign, on_revoke=self._revoke, on_lost=self._lose
        )

    def commit(self, offsets: dict[TP, int]) -> None:
        """Commit offsets, soon, and before partitions are given up or the group is left.

        Only this thread talks to the group: a commit that waits in another one may wait for ever.
        """
        with self._lock:
            self._to_commit |= offsets

    def rejoin(self) -> None:
        """Give all partitions up and ask for them again, to read from what is committed."""
        self._rejoin.set()

    def stop(self) -> None:
        """Leave the group and end the thread."""
        self._stopping.set()

    def run(self) -> None:
        """Poll until stopped."""
        try:
            while not self._stopping.is_set():
                if self._rejoin.is_set():
                    self._rejoin.clear()
                    self.consumer.unsubscribe()
                    self.subscribe(self._topics)
                self._commit(asynchronous=True)
                self._pause_and_resume()
                message = self.consumer.poll(_PAUSED_POLL_S if self._paused else _POLL_S)
                if message is not None:
                    generation = self._generation
                    self._stopping.wait(_GATHER_S)
                    messages = [message, *self._there()]
                    if generation == self._generation:  # else a rebalance came in between
                        self._deliver_unless_fenced(messages)
        except Exception as error:  # the thread's end must end the worker, whatever it was
            self._loop.call_soon_threadsafe(self._on_failure, error)
        finally:
            self._commit(asynchronous=False)
            member = self.consumer.memberid()
            self.consumer.close()
            if member:
                self._on_left(member)

    def _there(self) -> list[Any]:
        """Return what has been fetched, as far as it goes into a batch.

        One call of ``consume`` may return less than there is: of many small fetches, one.
        """
        messages: list[Any] = []
        while len(messages) < BATCH_RECORDS:
            some = self.consumer.consume(BATCH_RECORDS, 0)
            if not some:
                break
            messages += some
        return messages

    def _commit(self, asynchronous: bool) -> None:
        with self._lock:
            offsets, self._to_commit = self._to_commit, {}
        if not offsets:
            return
        wanted = [confluent_kafka.TopicPartition(*tp, at) for tp, at in offsets.items()]
        try:
            if asynchronous:
                self.consumer.commit(offsets=wanted)
            else:
                self.consumer.commit(offsets=wanted, asynchronous=False)
        except KafkaException as error:
            _committed(error.args[0], wanted)

    def _pause_and_resume(self) -> None:
        most = max(_LEAST_RECORDS, QUEUED_RECORDS // max(1, len(self.assigned)))
        waiting = {tp: sent - self._progress.get(tp, 0) for tp, sent in self._delivered.items()}
        full = {tp for tp, records in waiting.items() if records > most} - self._paused
        free = {tp for tp in self._paused if waiting[tp] < most // 3}
        if full:
            self.consumer.pause([confluent_kafka.TopicPartition(*tp) for tp in full])
        if free:
            self.consumer.resume([confluent_kafka.TopicPartition(*tp) for tp in free])
        self._paused = (self._paused | full) - free

    def _note_away(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT):
            self._away_s = time.monotonic()

    def _deliver_unless_fenced(self, messages: list[Any]) -> None:
        """Hand messages on; join anew where a broker that came back took us for somebody else.

        Seen once: it was stopped a second after the group had formed, and knew another member by
        this name when it was back. Without such an absence it is another process.
        """
        try:
            self._deliver(messages)
        except FencedError as fenced:
            if time.monotonic() - self._away_s > _BACK_S:
                raise
            log.warning("joining_anew", why=str(fenced))
            self._away_s = float("-inf")
            self.consumer.close()
            self.consumer = confluent_kafka.Consumer(self._config)
            self.subscribe(self._topics)

    def _deliver(self, messages: list[Any]) -> None:
        found: dict[tuple[str, int], list[Record]] = defaultdict(list)
        ended: set[tuple[str, int]] = set()
        for message in messages:
            error = message.error()
            place = (message.topic(), message.partition())
            if error is None:
                found[place].append(message)
                ended.discard(place)
            elif error.code() == KafkaError._PARTITION_EOF:
                found[place]
                ended.add(place)
            elif error.fatal() or error.code() in _FATAL:
                if "fenced" in error.str():
                    raise FencedError(
                        f"another process took this worker's name ({error.str()}); give each its "
                        "own STREAMPROC_INSTANCE"
                    )
                raise KafkaException(error)
            else:
                log.warning("consumer_error", error=error.str(), topic=message.topic())
        batches = []
        for place, records in found.items():
            tp = TP(*place)
            batch = Batch(*tp, self._next[tp], records, place in ended, self._end_of(place))
            self._next[tp] = batch.next_offset
            self._delivered[tp] += len(records)
            batches.append(batch)
        self._loop.call_soon_threadsafe(self._on_batches, self._generation, batches)

    def _end_of(self, place: tuple[str, int]) -> int:
        tp = confluent_kafka.TopicPartition(*place)
        ends: tuple[int, int] = self.consumer.get_watermark_offsets(tp, cached=True)
        return ends[1]

    def _assign(self, consumer: Any, partitions: list[Any]) -> None:
        committed = self._committed_of(consumer, partitions)
        offsets = {TP(tp.topic, tp.partition): tp.offset for tp in committed}
        starts = self._start_offsets(offsets)
        consumer.assign(
            [
                confluent_kafka.TopicPartition(
                    tp.topic, tp.partition, at if at >= 0 else confluent_kafka.OFFSET_BEGINNING
                )
                for tp, at in starts.items()
            ]
        )
        self.assigned = set(starts)
        self._delivered.clear()
        self._paused.clear()
        self.offsets = {tp: max(at, 0) for tp, at in starts.items()}
        self._next = dict(self.offsets)
        # Of this generation: a commit with it is refused as soon as the partitions are another's.
        self.group = consumer.consumer_group_metadata()
        self._generation += 1
        self._on_rebalance("assigned", set(starts), self._generation)

    def _committed_of(self, consumer: Any, partitions: list[Any]) -> list[Any]:
        """Return the committed offsets, which an open transaction of a dead worker holds up.

        And a broker that has just come back: it is not the group's coordinator yet.
        """
        try:
            return list(consumer.committed(partitions, timeout=_COMMITTED_SOON_S))
        except KafkaException:
            self._end_open_transactions()
        until_s = time.monotonic() + _COMMITTED_TIMEOUT_S
        while True:
            try:
                return list(consumer.committed(partitions, timeout=_COMMITTED_TIMEOUT_S))
            except KafkaException as error:
                if error.args[0].code() not in _NO_COORDINATOR or time.monotonic() > until_s:
                    raise
                self._stopping.wait(_POLL_S)

    def _lose(self, consumer: Any, partitions: list[Any]) -> None:
        """Give up what is, or will soon be, another's: the brokers were not heard for too long."""
        self.group = None
        self._revoke(consumer, partitions, "lost")

    def _revoke(self, consumer: Any, partitions: list[Any], how: str = "revoked") -> None:
        revoked = {TP(tp.topic, tp.partition) for tp in partitions}
        self._generation += 1
        waiting = self._on_rebalance(how, revoked, self._generation)
        try:
            waiting.result(_HANDLER_TIMEOUT_S)
        except TimeoutError:
            # To go on would give partitions away that are still worked on: end, and restore.
            raise StreamprocError(
                f"a rebalance waited {_HANDLER_TIMEOUT_S:.0f} s for this worker; is it short of "
                "CPU? Start it again"
            ) from None
        self.group = None
        self._commit(asynchronous=False)
        # librdkafka keeps a pause through a rebalance: whoever comes back would stay silent.
        if self._paused:
            consumer.resume([confluent_kafka.TopicPartition(*tp) for tp in self._paused])
        self.assigned -= revoked
        self._delivered.clear()
        self._paused.clear()


def _committed(error: KafkaError | None, partitions: list[Any]) -> None:
    """Tell of a commit that failed: records since the last would be processed once more."""
    if error is not None:
        log.warning("commit_failed", error=error.str(), partitions=len(partitions))


_NO_COORDINATOR = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)

_FATAL = (
    KafkaError._FATAL,
    KafkaError._AUTHENTICATION,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError._AUTO_OFFSET_RESET,
)
