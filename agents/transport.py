"""Faust's consumer on librdkafka, in micro-batches.

Faust hands on what this consumer yields: one message a partition, whose value is a
:class:`~agents.poller.Batch` of the raw records that came since the last.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from typing import Any

import structlog
from faust.transport.consumer import Consumer as FaustConsumer
from faust.transport.drivers.aiokafka import Transport as AiokafkaTransport
from faust.transport.producer import Producer as FaustProducer
from faust.types import TP, ConsumerMessage

from agents.poller import Batch, Poller

log = structlog.get_logger("transport")

PATIENCE_S = 0.2
"""How long batches for the monitors are gathered: nobody waits for them."""


class Consumer(FaustConsumer):
    """What Faust drives: takes batches from the poller and tells Faust of rebalances."""

    app: Any
    poller: Poller | None = None

    async def on_start(self) -> None:
        """Make the consumer; it polls from ``subscribe`` on."""
        self._arrived: dict[TP, Batch] = {}
        self._patient: dict[TP, Batch] = {}
        self._news = asyncio.Event()
        self._handled = asyncio.Event()
        self._main = asyncio.get_running_loop()
        self.poller = Poller(
            self.app.consumer_config(),
            self._main,
            self._on_batches,
            self._on_rebalance,
            self.app.start_offsets,
            self.app.runner.progress,
            self.app.end_open_transactions,
            self.app.left,
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
        """Keep what came until Faust takes it, as one batch a partition: each costs the same."""
        if generation != self.app.consumer_generation_id:
            return
        for batch in batches:
            if batch.topic not in self.app.patient_topics:
                _add(self._arrived, batch)
                self._news.set()
                continue
            if not self._patient:
                self._main.call_later(PATIENCE_S, self._release)
            _add(self._patient, batch)

    def _release(self) -> None:
        for batch in self._patient.values():
            _add(self._arrived, batch)
        self._patient.clear()
        self._news.set()

    def _on_rebalance(self, what: str, tps: set[TP], generation: int) -> Any:
        """Run Faust's handlers in its loop; called from the poller's thread.

        The generation changes first: a batch may arrive before the handlers' first step.
        """
        self._main.call_soon_threadsafe(self._begin, generation)
        return asyncio.run_coroutine_threadsafe(self._rebalance(what, tps, generation), self._main)

    def _begin(self, generation: int) -> None:
        self.app.consumer_generation_id = generation
        self._handled.clear()
        self._arrived.clear()
        self._patient.clear()

    async def _rebalance(self, what: str, tps: set[TP], generation: int) -> None:
        log.info("partitions", status=what, partitions=[f"{t}/{p}" for t, p in sorted(tps)])
        if what != "assigned":
            self.app.runner.lost = what == "lost"
            self.app.on_rebalance_start()
            await self.on_partitions_revoked(tps)
        else:
            if not self.app.rebalancing:
                self.app.on_rebalance_start()
            await self.on_partitions_assigned(tps, generation)
            if generation == self.app.consumer_generation_id:
                self._handled.set()

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """Yield a message a partition, of all that has arrived of it, while Faust takes them.

        Faust's own drops, without a word, what it holds when the flow stops, when a partition's
        buffer is full, and what it is given between an assignment and the start of the flow. This
        one hands out nothing then, and keeps it.
        """
        await self._handled.wait()
        if not self.flow_active:
            await self.can_resume_flow.wait()
        if not self._arrived:
            self._news.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), timeout)
        while self._arrived and self.flow_active and self._handled.is_set():
            tp = next(iter(self._arrived))
            yield tp, self._to_message(tp, self._arrived.pop(tp))

    async def _drain_messages(self, fetcher: Any) -> None:
        """Hand on what arrives until stopped.

        Faust's own makes two tasks a message for it, and drops what is behind a partition's "read
        offset": after a rebalance, where a log's end was seen early, all that came before that.
        """
        with suppress(asyncio.CancelledError):  # in a rebalance Faust takes it for a crash
            while not (self.should_stop or fetcher.should_stop):
                async for _, message in self.getmany(1.0):
                    await self.callback(message)

    async def _getmany(self, active: set[TP] | None, timeout: float) -> Any:
        raise NotImplementedError("what the poller brought is taken by getmany()")

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


def _add(waiting: dict[TP, Batch], batch: Batch) -> None:
    tp = TP(batch.topic, batch.partition)
    if tp in waiting:
        waiting[tp].extend(batch)
    else:
        waiting[tp] = batch
