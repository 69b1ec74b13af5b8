"""Faust's consumer on librdkafka, in micro-batches.

Faust hands on what this consumer yields: one message per partition and fetch, whose value is a
:class:`Batch` of raw records. A thread polls, since librdkafka answers rebalances only inside
``poll``; the rest runs in Faust's event loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import confluent_kafka
import structlog
from confluent_kafka import KafkaError, KafkaException
from faust.transport.consumer import Consumer as FaustConsumer
from faust.transport.drivers.aiokafka import Transport as AiokafkaTransport
from faust.transport.producer import Producer as FaustProducer
from faust.types import TP, ConsumerMessage

from streamproc.errors import StreamprocError
from streamproc.tasks.records import Record

log = structlog.get_logger("transport")

BATCH_RECORDS = 2_000
QUEUED_RECORDS = 200_000
"""How many records wait in a worker at most, over all its partitions; give or take a fetch each."""

_LEAST_RECORDS = 2_000
_POLL_S = 0.1
_PAUSED_POLL_S = 0.002
_GATHER_S = 0.002  # a little later more records are there, at the cost of one
_COMMITTED_TIMEOUT_S = 30.0
_HANDLER_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one partition in the log's order; ``caught_up`` where they end the log.

    ``end`` is the offset after the log's last record, as far as the fetch told.
    """

    topic: str
    partition: int
    records: Sequence[Record]
    caught_up: bool
    end: int


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
        on_failure: Callable[[Exception], None],
    ) -> None:
        super().__init__(name="poller", daemon=True)
        self.consumer = confluent_kafka.Consumer({**config, "on_commit": _committed})
        self._lock = threading.Lock()
        self._to_commit: dict[TP, int] = {}
        self.assigned: set[TP] = set()
        self.offsets: dict[TP, int] = {}
        self._generation = 0
        self._loop = loop
        self._on_batches = on_batches
        self._on_rebalance = on_rebalance
        self._start_offsets = start_offsets
        self._progress = progress
        self._delivered: dict[TP, int] = defaultdict(int)
        self._paused: set[TP] = set()
        self._on_failure = on_failure
        self._stopping = threading.Event()

    def subscribe(self, topics: list[str]) -> None:
        """Subscribe; partitions come by way of the rebalance callbacks."""
        self.consumer.subscribe(
            topics, on_assign=self._assign, on_revoke=self._revoke, on_lost=self._revoke
        )

    def commit(self, offsets: dict[TP, int]) -> None:
        """Commit offsets, soon, and before partitions are given up or the group is left.

        Only this thread talks to the group: a commit that waits in another one may wait for ever.
        """
        with self._lock:
            self._to_commit |= offsets

    def stop(self) -> None:
        """Leave the group and end the thread."""
        self._stopping.set()

    def run(self) -> None:
        """Poll until stopped."""
        try:
            while not self._stopping.is_set():
                self._commit(asynchronous=True)
                self._pause_and_resume()
                message = self.consumer.poll(_PAUSED_POLL_S if self._paused else _POLL_S)
                if message is not None:
                    self._stopping.wait(_GATHER_S)
                    self._deliver([message, *self._there()])
        except Exception as error:  # the thread's end must end the worker, whatever it was
            self._loop.call_soon_threadsafe(self._on_failure, error)
        finally:
            self._commit(asynchronous=False)
            self.consumer.close()

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
                self.offsets[TP(*place)] = message.offset()
            elif error.fatal() or error.code() in _FATAL:
                raise KafkaException(error)
            else:
                log.warning("consumer_error", error=error.str(), topic=message.topic())
        for place, records in found.items():
            self._delivered[TP(*place)] += len(records)
        batches = [
            Batch(*place, records, place in ended, self._end_of(place))
            for place, records in found.items()
        ]
        self._loop.call_soon_threadsafe(self._on_batches, self._generation, batches)

    def _end_of(self, place: tuple[str, int]) -> int:
        tp = confluent_kafka.TopicPartition(*place)
        ends: tuple[int, int] = self.consumer.get_watermark_offsets(tp, cached=True)
        return ends[1]

    def _assign(self, consumer: Any, partitions: list[Any]) -> None:
        committed = consumer.committed(partitions, timeout=_COMMITTED_TIMEOUT_S)
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
        self._generation += 1
        self._on_rebalance("assigned", set(starts), self._generation)

    def _revoke(self, consumer: Any, partitions: list[Any]) -> None:
        revoked = {TP(tp.topic, tp.partition) for tp in partitions}
        self._generation += 1
        waiting = self._on_rebalance("revoked", revoked, self._generation)
        try:
            waiting.result(_HANDLER_TIMEOUT_S)
        except TimeoutError:
            # To go on would give partitions away that are still worked on: end, and restore.
            raise StreamprocError(
                f"a rebalance waited {_HANDLER_TIMEOUT_S:.0f} s for this worker; is it short of "
                "CPU? Start it again"
            ) from None
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


_FATAL = (
    KafkaError._FATAL,
    KafkaError._AUTHENTICATION,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError._AUTO_OFFSET_RESET,
)


class Consumer(FaustConsumer):
    """What Faust drives: takes batches from the poller and tells Faust of rebalances."""

    app: Any
    poller: Poller | None = None

    async def on_start(self) -> None:
        """Make the consumer; it polls from ``subscribe`` on."""
        self._arrived: list[Batch] = []
        self._news = asyncio.Event()
        self._main = asyncio.get_running_loop()
        self.poller = Poller(
            self.app.consumer_config(),
            self._main,
            self._on_batches,
            self._on_rebalance,
            self.app.start_offsets,
            self.app.runner.progress,
            self.app.fail,
        )

    async def on_stop(self) -> None:
        """Leave the group."""
        if self.poller is not None and self.poller.is_alive():
            self.poller.stop()
            await self._main.run_in_executor(None, self.poller.join)
        await super().on_stop()

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe, and begin to poll."""
        assert self.poller is not None
        self.poller.subscribe(sorted(topics))
        if not self.poller.is_alive():
            self.poller.start()

    def _on_batches(self, generation: int, batches: list[Batch]) -> None:
        if generation == self.app.consumer_generation_id:
            self._arrived.extend(batches)
            self._news.set()

    def _on_rebalance(self, what: str, tps: set[TP], generation: int) -> Any:
        """Run Faust's handlers in its loop; called from the poller's thread.

        The generation changes first: a batch may arrive before the handlers' first step.
        """
        self._main.call_soon_threadsafe(self._begin, generation)
        return asyncio.run_coroutine_threadsafe(self._rebalance(what, tps, generation), self._main)

    def _begin(self, generation: int) -> None:
        self.app.consumer_generation_id = generation
        self._arrived.clear()

    async def _rebalance(self, what: str, tps: set[TP], generation: int) -> None:
        log.info("partitions", status=what, partitions=[f"{t}/{p}" for t, p in sorted(tps)])
        if what == "revoked":
            self.app.on_rebalance_start()
            await self.on_partitions_revoked(tps)
        else:
            if not self.app.rebalancing:
                self.app.on_rebalance_start()
            await self.on_partitions_assigned(tps, generation)

    async def _wait_next_records(self, timeout: float) -> tuple[Any, set[TP] | None]:
        """Wait for batches, and take them only while the flow is on.

        A wait that began before a rebalance may end after it, when Faust has yet to start the flow
        again and would drop what it is given.
        """
        if not self.flow_active:
            await self.can_resume_flow.wait()
        self.not_waiting_next_records.set()
        if not self._arrived:
            self._news.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), timeout)
        if not self.flow_active:
            await self.can_resume_flow.wait()
        return await self._getmany(None, timeout), self._get_active_partitions()

    async def _getmany(self, active: set[TP] | None, timeout: float) -> Any:
        arrived, self._arrived = self._arrived, []
        by_partition: dict[TP, list[Batch]] = defaultdict(list)
        for batch in arrived:
            by_partition[TP(batch.topic, batch.partition)].append(batch)
        return by_partition

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        at = record.records[-1].offset() if record.records else (self._read_offset[tp] or 0)
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            at,
            0.0,
            0,
            [],
            None,
            record,
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Tell Faust where each partition starts; the poller has assigned it so already."""
        return dict(self.poller.offsets) if self.poller else {}

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        return True  # the runner commits, with what it wrote

    async def position(self, tp: TP) -> int | None:
        """Return where a partition was read from at first."""
        return self.poller.offsets.get(tp) if self.poller else None

    async def _seek(self, partition: TP, offset: int) -> None:
        raise NotImplementedError("records are read from the committed offset on, nothing seeks")

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Nothing to seek: ``assign`` named the offsets."""

    def assignment(self) -> set[TP]:
        """Return the partitions that are ours."""
        return set(self.poller.assigned) if self.poller else set()

    def highwater(self, tp: TP) -> int:
        """Return 0: the runner knows the ends of the logs."""
        return 0

    def topic_partitions(self, topic: str) -> int | None:
        """Return that it is not known here."""
        return None

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Return nothing: no table is recovered."""
        return {}

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Return nothing, likewise."""
        return {}

    async def create_topic(self, *args: Any, **kwargs: Any) -> None:
        """Topics are made by ``streamproc.kafka.topics`` before the worker starts."""

    def key_partition(
        self, topic: str, key: bytes | None, partition: int | None = None
    ) -> int | None:
        """Return that it is not known here: the runner names the partitions it writes to."""
        return None

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's own stall detector goes by its acks, which are off."""

    def close(self) -> None:
        """The poller closes what it owns."""


class Producer(FaustProducer):
    """Faust's producer, which stays idle: the runner writes, on librdkafka."""

    async def flush(self) -> None:
        """Nothing is buffered."""


class Transport(AiokafkaTransport):
    """Brings the two to Faust."""

    Consumer = Consumer
    Producer = Producer


class Batches:
    """Faust's order of delivery: every batch that arrived, as it is."""

    def iterate(self, records: Mapping[TP, list[Batch]]) -> Iterator[tuple[TP, Batch]]:
        """Yield each partition's batches."""
        for tp, batches in records.items():
            for batch in batches:
                yield tp, batch
