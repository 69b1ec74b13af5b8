"""Drives the tasks of a worker: restore, process, write, commit.

At least once: what a task wants written is produced at once; now and then the producer is flushed
and then the offsets are committed from which each task would have to go on. So after a crash
records may be processed, and predictions written, a second time; none is left out.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog
from confluent_kafka import Producer as KafkaProducer
from faust.types import TP

from agents.metrics import Metrics
from agents.poller import Batch
from streamproc.errors import StreamprocError
from streamproc.models.versions import Store
from streamproc.pipeline import Pipeline
from streamproc.tasks.records import Out, Output, Task

log = structlog.get_logger("runner")

TAKEN_RECORDS = 2_000
"""From how many waiting records on a task takes no more in, so that they wait undecoded."""

ROUND_EVERY_S = 0.004
"""How long at least a round and the wait for the next take together, unless there is a backlog."""

COMMIT_EVERY_S = 0.5
"""How often offsets are committed: then as soon as all that was written has arrived."""

COMMIT_WITHIN_S = 2.0
"""How often at least; where more is written all the time, rounds stand still until it arrived."""

_TICK_S = 0.05
_FLUSH_S = 1.0


Place = tuple[str, int]
"""A stage's name and a partition: where a task is."""


class Stage(Protocol):
    """What a worker runs for each partition of its first topic."""

    name: str
    topics: tuple[str, ...]
    patient: bool
    """Whether nobody waits for it, so that its records may be gathered for a while."""

    def start(self, partition: int, offsets: dict[str, int]) -> Task:
        """Return the task of a partition, its state as of the offsets it goes on from.

        May block: it is called in a thread.
        """

    def start_offsets(self, committed: dict[TP, int]) -> dict[TP, int]:
        """Return where to read from, for those partitions that don't go on where committed."""


@dataclass
class Runner:
    """Holds the tasks of the partitions this worker was assigned, and runs them in turn."""

    pipeline: Pipeline
    producer: KafkaProducer
    store: Store
    stages: list[Stage]
    metrics: Metrics
    clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    commit: Callable[[dict[TP, int]], None] = lambda offsets: None
    tasks: dict[Place, Task] = field(default_factory=dict)
    failure: Exception | None = None

    def __post_init__(self) -> None:
        self._stage_of = {topic: stage for stage in self.stages for topic in stage.topics}
        self._fetched: dict[TP, deque[Batch]] = defaultdict(deque)
        self._starting: dict[Place, asyncio.Task[None]] = {}
        self._due: dict[Place, None] = {}
        self._patient = {stage.name for stage in self.stages if stage.patient}
        self._wake = asyncio.Event()
        self._busy = asyncio.Lock()
        self._committed: dict[TP, int] = {}
        self._offered: dict[TP, int] = defaultdict(int)
        self.progress: dict[TP, int] = {}
        self._failed_delivery: str | None = None
        self._stopping = False
        self._ends: dict[TP, int] = {}
        self._next: dict[TP, int] = {}
        self.models_known = asyncio.Event()

    @property
    def queued(self) -> int:
        """The number of records taken in and not yet processed."""
        return sum(self._offered.values()) - sum(self.progress.values())

    def ready(self) -> bool:
        """Say whether every task this worker was assigned has its state."""
        return bool(self.tasks) and not self._starting

    def end_of(self, topic: str, partition: int) -> int | None:
        """Return the offset after the last record of a partition, as of its newest fetch."""
        return self._ends.get(TP(topic, partition))

    # ---------------------------------------------------------------- what comes in

    def offer(self, batch: Batch) -> None:
        """Take a batch from an agent; the task of its partition gets it in the next round."""
        tp = TP(batch.topic, batch.partition)
        if batch.start != self._next[tp]:
            self.fail(_lost(tp, self._next[tp], batch.start))
            return
        self._next[tp] = batch.next_offset
        self._fetched[tp].append(batch)
        self._offered[tp] += len(batch.records)
        self._ends[tp] = batch.end
        self._due[self._stage_of[batch.topic].name, batch.partition] = None
        self._wake.set()

    def wake(self, stage: Stage) -> None:
        """Begin the next round now, with a stage's tasks: one that waited may go on."""
        self._due.update((place, None) for place in self.tasks if place[0] == stage.name)
        self._wake.set()

    def _feed(self, place: Place, task: Task) -> None:
        """Let a task take in some of what was fetched for it, and tell the poller what waits."""
        partition = place[1]
        for topic, waiting in task.waiting().items():
            tp = TP(topic, partition)
            fetched = self._fetched[tp]
            while fetched and waiting < TAKEN_RECORDS:
                batch = fetched.popleft()
                task.take(topic, batch.records, batch.caught_up, self.clock_ms())
                waiting += len(batch.records)
                if batch.records:
                    self.metrics.taken(self.pipeline, topic, len(batch.records))
            waiting += sum(len(batch.records) for batch in fetched)
            self.progress[tp] = self._offered[tp] - waiting

    def start_offsets(self, committed: dict[TP, int]) -> dict[TP, int]:
        """Return where each assigned partition is to be read from."""
        starts = dict(committed)
        for stage in self.stages:
            own = {tp: at for tp, at in committed.items() if tp.topic in stage.topics}
            starts |= stage.start_offsets(own) if own else {}
        self._committed = {tp: at for tp, at in committed.items() if at >= 0}
        self._next = {tp: max(at, 0) for tp, at in starts.items()}
        return starts

    # ---------------------------------------------------------------- partitions come and go

    def assigned(self, tps: Iterable[TP]) -> None:
        """Start the tasks of these partitions; their records wait until the state is there."""
        loop = asyncio.get_running_loop()
        for tp in sorted(tps):
            stage = self._stage_of[tp.topic]
            place = (stage.name, tp.partition)
            if place not in self.tasks and place not in self._starting:
                self._starting[place] = loop.create_task(self._start(stage, tp.partition))

    async def _start(self, stage: Stage, partition: int) -> None:
        place = (stage.name, partition)
        offsets = {t: self._committed.get(TP(t, partition), 0) for t in stage.topics}
        try:
            await self.models_known.wait()
            began = time.monotonic()
            task = await asyncio.to_thread(stage.start, partition, offsets)
            took_ms = round((time.monotonic() - began) * 1000)
            log.info("task_started", stage=stage.name, partition=partition, took_ms=took_ms)
        except Exception as error:  # a task that can't start ends the worker, with the reason
            self.fail(error)
            return
        finally:
            if self._starting.get(place) is asyncio.current_task():
                del self._starting[place]
        self.tasks[place] = task
        self._due[place] = None
        self._wake.set()

    async def revoked(self, tps: Iterable[TP]) -> None:
        """Commit what was processed and drop the tasks of these partitions."""
        async with self._busy:
            await self._commit()
            places = {(self._stage_of[tp.topic].name, tp.partition) for tp in tps}
            for place in places:
                if place in self._starting:
                    self._starting.pop(place).cancel()
                self.tasks.pop(place, None)
            self._committed = {}
            self.progress.clear()
            self._offered.clear()
            for tp in tps:
                self._fetched.pop(tp, None)

    # ---------------------------------------------------------------- the rounds

    async def run(self) -> None:
        """Process, write and commit, round after round, until stopped.

        A round takes the tasks for which something came; every now and then all, since a task that
        waits for news may go on when none comes.
        """
        committed_s = everyone_s = time.monotonic()
        while True:
            began_s = time.monotonic()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _TICK_S)
            self._wake.clear()
            async with self._busy:
                if self._stopping:  # while this round waited its turn: all is committed already
                    break
                now_s = time.monotonic()
                since_s = now_s - committed_s
                if since_s >= COMMIT_WITHIN_S or (
                    since_s >= COMMIT_EVERY_S and not len(self.producer)
                ):
                    await self._commit()
                    committed_s = now_s
                if now_s - everyone_s >= _TICK_S:
                    everyone_s = now_s
                    self._due.update(dict.fromkeys(self.tasks))
                more = False
                for place, task in self._take_due():
                    if await self._process(place, task):
                        self._due[place] = None
                        more = True
                self.producer.poll(0)
                self._check_deliveries()
            if more:
                self._wake.set()
            else:  # a little later more will have come, and cost no more than one record
                await asyncio.sleep(max(0.0, began_s + ROUND_EVERY_S - time.monotonic()))

    def _take_due(self) -> list[tuple[Place, Task]]:
        """Return the tasks whose turn it is: all that are due, but one for which nobody waits."""
        due, self._due = list(self._due), {}
        turn: list[Place] = []
        patient: list[Place] = []
        for place in due:
            (patient if place[0] in self._patient else turn).append(place)
        turn += patient[:1]
        self._due.update(dict.fromkeys(patient[1:]))
        return [(place, self.tasks[place]) for place in turn if place in self.tasks]

    async def _process(self, place: Place, task: Task) -> bool:
        """Let a task process some of what is due; return whether there may be more."""
        self._feed(place, task)
        waited = sum(task.waiting().values())
        output = task.process(self.clock_ms())
        left = sum(task.waiting().values())
        if output.records:
            await self._write(place, output)
            self.metrics.wrote(output)
            oldest_ms = getattr(task, "oldest_ms", None)
            if oldest_ms is not None:
                self.metrics.latency.observe((self.clock_ms() - oldest_ms) / 1000)
            await asyncio.sleep(0)
        return bool(output.records) or 0 < left < waited

    async def _write(self, place: Place, output: Output) -> None:
        if output.blobs:
            for sha256, blob in output.blobs.items():
                await asyncio.to_thread(self.store.put, sha256, blob)
        partition = place[1]
        for role, records in output.records.items():
            topic = getattr(self.pipeline.topics, role)
            to = partition if role in ("predictions", "outcomes", "dead_letters") else 0
            await self._produce(topic, to, records)

    async def _produce(self, topic: str, partition: int, records: list[Out]) -> None:
        """Hand records to librdkafka, in order; wait where its queue is full."""
        batch: list[Any] = []
        for record in records:
            if "headers" in record:
                await self._produce_batch(topic, partition, batch)
                batch = []
                await self._produce_one(topic, partition, record)
            else:
                batch.append(record)
        await self._produce_batch(topic, partition, batch)

    async def _produce_batch(self, topic: str, partition: int, batch: list[Any]) -> None:
        while batch:
            with suppress(BufferError):  # what did not go in says so itself
                self.producer.produce_batch(
                    topic, batch, partition=partition, on_delivery=self._delivered
                )
            batch = [record for record in batch if record.pop("_error", None) is not None]
            if batch:
                await self._room_in_producer()

    async def _produce_one(self, topic: str, partition: int, record: Out) -> None:
        while True:
            try:
                self.producer.produce(
                    topic,
                    value=record["value"],
                    key=record["key"],
                    partition=partition,
                    headers=list(record["headers"]),
                    on_delivery=self._delivered,
                )
                return
            except BufferError:
                await self._room_in_producer()

    async def _room_in_producer(self) -> None:
        await asyncio.to_thread(self.producer.poll, 0.05)
        if self._stopping:
            raise StreamprocError(
                "stopped while the brokers took nothing; what came since the last commit is "
                "processed when the worker starts again"
            )

    def _delivered(self, error: Any, message: Any) -> None:
        if error is not None and self._failed_delivery is None:
            self._failed_delivery = f"{message.topic()}/{message.partition()}: {error.str()}"

    async def _commit(self) -> None:
        """Flush what was written, then commit the offsets of what it was made from."""
        offsets = {
            TP(topic, partition): at
            for (_, partition), task in self.tasks.items()
            for topic, at in task.positions().items()
        }
        moved = {tp: at for tp, at in offsets.items() if self._committed.get(tp) != at}
        if not moved:
            return
        left = len(self.producer)
        if left:
            left = await asyncio.to_thread(self.producer.flush, _FLUSH_S)
        self._check_deliveries()
        if left:
            log.warning("broker_slow", unwritten_records=left)
            return
        self.commit(moved)
        self._committed |= moved

    def _check_deliveries(self) -> None:
        if self._failed_delivery:
            raise StreamprocError(
                f"a record could not be written to {self._failed_delivery}; nothing after the "
                "last commit is lost: mend the topic and start the worker again"
            )

    def fail(self, error: Exception) -> None:
        """End the worker for a reason; the first is the one that is told."""
        if self.failure is None:
            self.failure = error
        self._stopping = True
        self._wake.set()

    async def stop(self) -> None:
        """Commit what was processed, and stop."""
        self._stopping = True
        self._wake.set()
        for starting in self._starting.values():
            starting.cancel()
        if self.failure is None:
            async with self._busy:
                await self._commit()


def _lost(tp: TP, expected: int, came: int) -> StreamprocError:
    return StreamprocError(
        f"{tp.topic}/{tp.partition}: the records from offset {expected} to {came} were read and "
        "then lost inside this worker, which is a fault of ours; nothing after the last commit is "
        "lost: start the worker again, and report this"
    )
