"""Drives the tasks of a worker: restore, process, write, commit.

How what a task wants written and the offsets it was made from come together is the writer's
business: see ``agents.writing``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import orjson
import structlog
from faust.types import TP

from agents.clock import SteadyClock
from agents.inputs import Inputs
from agents.keeping import Keeper
from agents.metrics import Metrics
from agents.poller import Batch
from agents.reporting import Reporter
from agents.stage import Place, Stage, covered
from agents.writing import Lost, Writer
from streamproc.errors import StreamprocError
from streamproc.models.versions import Store
from streamproc.pipeline import Pipeline
from streamproc.state.snapshots import Offsets
from streamproc.tasks.records import Out, Output, Task
from streamproc.tasks.rekeyed import RekeyedTask

log = structlog.get_logger("runner")

STORE_AGAIN_S = 1.0
"""After how long a store that could not be written to is tried again."""

LAST_SNAPSHOTS_S = 0.8
"""How long a stop waits for them."""

_TICK_S = 0.05
_BESIDE_THE_EVENT = ("predictions", "outcomes", "dead_letters", "late")
"""The roles that are written to the partition of what they were made of."""


@dataclass(slots=True)
class _Storing:
    """An output whose files are on their way to the store."""

    output: Output
    doing: asyncio.Task[None] | None = None
    done: bool = False


@dataclass
class Runner:
    """Holds the tasks of the partitions this worker was assigned, and runs them in turn."""

    pipeline: Pipeline
    writer: Writer
    store: Store
    stages: list[Stage]
    metrics: Metrics
    clock_ms: Callable[[], int] = field(default_factory=SteadyClock)
    rejoin: Callable[[], None] = lambda: None
    all_started: Callable[[], None] = lambda: None
    instance: str = "worker-1"
    journals: bool = False
    tasks: dict[Place, Task] = field(default_factory=dict)
    failure: Exception | None = None

    def __post_init__(self) -> None:
        self._stage_of = {topic: stage for stage in self.stages for topic in stage.topics}
        self._reporter = Reporter(self.instance, self.end_of)
        self._inputs = Inputs(self.pipeline, self.metrics, self.clock_ms)
        self._starting: dict[Place, asyncio.Task[None]] = {}
        self._due: dict[Place, None] = {}
        self._patient = {stage.name for stage in self.stages if stage.patient}
        self._wake = asyncio.Event()
        self._busy = asyncio.Lock()
        self._committed: dict[TP, int] = {}
        self._queued: dict[Place, Mapping[str, int]] = {}  # as of the last commit
        self._wrote: set[Place] = set()  # since then
        self._assigned: frozenset[TP] = frozenset()
        self._committed_s = time.monotonic()
        self._storing: dict[Place, _Storing] = {}
        self.keepers: dict[Place, Keeper] = {}
        self._stopping = False
        self.models_known = asyncio.Event()
        self.lost = False
        self._member = False  # of the group, with partitions or without
        self._rebalances = self._committing = 0

    @property
    def queued(self) -> int:
        """The number of records taken in and not yet processed."""
        return self._inputs.queued

    @property
    def progress(self) -> dict[TP, int]:
        """How many records of each partition are dealt with."""
        return self._inputs.progress

    def ready(self) -> bool:
        """Say whether every task this worker was assigned has its state."""
        return bool(self.tasks) and not self._starting

    def end_of(self, topic: str, partition: int) -> int | None:
        """Return the offset after the last record of a partition, as of its newest fetch."""
        return self._inputs.end_of(TP(topic, partition))

    # ---------------------------------------------------------------- what comes in

    def offer(self, batch: Batch) -> None:
        """Take a batch from an agent; the task of its partition gets it in the next round."""
        try:
            self._inputs.add(batch)
        except StreamprocError as error:
            self.fail(error)
            return
        self._due[self._stage_of[batch.topic].name, batch.partition] = None
        self._wake.set()

    def wake(self, stage: Stage) -> None:
        """Begin the next round now, with a stage's tasks: one that waited may go on."""
        self._due.update((place, None) for place in self.tasks if place[0] == stage.name)
        self._wake.set()

    def start_offsets(self, committed: dict[TP, int]) -> dict[TP, int]:
        """Return where each assigned partition is to be read from."""
        starts = dict(committed)
        for stage in self.stages:
            own = {tp: at for tp, at in committed.items() if tp.topic in stage.topics}
            starts |= stage.start_offsets(own) if own else {}
        self._committed = {tp: at for tp, at in committed.items() if at >= 0}
        self._assigned = frozenset(starts)
        self._inputs.begin(starts)
        return starts

    # ---------------------------------------------------------------- partitions come and go

    def assigned(self, tps: Iterable[TP]) -> None:
        """Start the tasks of these partitions; their records wait until the state is there.

        Faust may tell of an assignment that has been taken back since: what is not ours by
        :meth:`start_offsets` is not started, as nobody knows from where.
        """
        loop = asyncio.get_running_loop()
        self._member = True
        for tp in sorted(self._assigned.intersection(tps)):
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
        if stage.careful(partition):
            log.warning("careful", stage=stage.name, partition=partition)
            self._inputs.be_careful(task)
        keeper = stage.keeper(partition)
        if keeper is not None:
            self.keepers[place] = keeper
        self._due[place] = None
        self._wake.set()
        if not self._starting:
            await asyncio.to_thread(self.all_started)

    async def revoked(self, tps: Iterable[TP]) -> None:
        """Commit what was processed, unless all is lost, and drop the tasks of these partitions."""
        async with self._busy:
            try:
                # Lost: nobody would take it, and the last one may wait for long. Failed: a task is
                # past a record that it made nothing of.
                if not self.lost and self.failure is None:
                    await self._commit()
                    await self.writer.finish()
            except Lost as lost:  # whoever gets them restores them, and so do we
                log.warning("not_committed", why=str(lost))
            self._rebalances += 1
            self._member = False
            self._drop({(self._stage_of[tp.topic].name, tp.partition) for tp in tps})
            self._committed, self._assigned = {}, frozenset()
            self._inputs.revoke(tps)

    # ---------------------------------------------------------------- the rounds

    async def run(self) -> None:
        """Process, write and commit, round after round, until stopped.

        A round takes the tasks for which something came; every now and then all, since a task that
        waits for news may go on when none comes.
        """
        everyone_s = time.monotonic()
        while True:
            began_s = time.monotonic()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _TICK_S)
            self._wake.clear()
            async with self._busy:
                if self._stopping:  # while this round waited its turn: all is committed already
                    break
                now_s = time.monotonic()
                if now_s - everyone_s >= _TICK_S:
                    everyone_s = now_s
                    self._due.update(dict.fromkeys(self.tasks))
                try:
                    more = await self._round()
                except Lost as lost:
                    self._start_over(lost)
                    continue
            if more:
                self._wake.set()
            else:  # a little later more will have come, and cost no more than one record
                next_s = began_s + self.writer.round_every_s
                await asyncio.sleep(max(0.0, next_s - time.monotonic()))

    async def _round(self) -> bool:
        """Process what is due, and commit when it is time; return whether there is more to do."""
        self.writer.check()
        await self._commit_if_due()
        more = False
        for place, task in self._take_due():
            if await self._process(place, task):
                self._due[place] = None
                more = True
        self.writer.check()
        for keeper in self.keepers.values():
            more |= keeper.step(self.writer.settled)
        await self._commit_if_due()
        return more

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
        storing = self._storing.get(place)
        if storing is not None and not storing.done:
            return False  # the task goes on when what it made is stored
        self._storing.pop(place, None)
        if storing is None:
            await self._inputs.try_out(task, place[1])
            self._inputs.feed(task, place[1])
        waited = sum(task.waiting().values())
        output = storing.output if storing else task.process(self.clock_ms())
        if output.blobs and storing is None:
            self._storing[place] = made = _Storing(output)
            made.doing = asyncio.create_task(self._store(place, made))
            return False
        left = sum(task.waiting().values())
        if not output.empty:
            self._wrote.add(place)
            await self._write(place, output)
            self.metrics.wrote(output)
            oldest_ms = getattr(task, "oldest_ms", None)
            if oldest_ms is not None:
                latency_ms = self.clock_ms() - oldest_ms
                self.metrics.latency.observe(latency_ms / 1000)
                self._reporter.saw(latency_ms)
            await asyncio.sleep(0)
        return not output.empty or 0 < left < waited

    async def _store(self, place: Place, storing: _Storing) -> None:
        """Store what has to be there before a record names it, while the other tasks go on."""
        for sha256, blob in storing.output.blobs.items():
            while True:
                try:
                    await asyncio.to_thread(self.store.put, sha256, blob)
                    break
                except StreamprocError as error:
                    log.error("store_away", error=str(error), again_in_s=STORE_AGAIN_S)
                    self.metrics.store_away.set(1)
                except Exception as error:  # a fault of ours: the task would wait for ever
                    self.fail(error)
                    return
                await asyncio.sleep(STORE_AGAIN_S)
        self.metrics.store_away.set(0)
        storing.done = True
        self._due[place] = None
        self._wake.set()

    async def _write(self, place: Place, output: Output) -> None:
        partition = place[1]
        for role, records in output.records.items():
            topic = getattr(self.pipeline.topics, role)
            to = partition if role in _BESIDE_THE_EVENT else 0
            await self.writer.write(topic, to, records)
        for (role, to), records in output.sent.items():
            await self.writer.write(getattr(self.pipeline.topics, role), to, records)

    async def _commit_if_due(self) -> None:
        now_s = time.monotonic()
        if self.writer.due(now_s - self._committed_s):
            self._committed_s = now_s
            await self._commit()

    async def _commit(self) -> None:
        """Commit where each task has come, with what was written on the way."""
        moved: dict[TP, int] = {}
        queued: dict[int, Mapping[str, int]] = {}
        for place, task in self.tasks.items():
            if place in self._storing:
                continue  # it is ahead of what it wrote
            partition = place[1]
            changed = self._newly_queued(place, task) if isinstance(task, RekeyedTask) else None
            if changed:
                queued[partition] = changed
            for topic, at in task.positions().items():
                tp = TP(topic, partition)
                if self._committed.get(tp) != at or place in self._wrote or changed:
                    moved[tp] = at  # also where it was: that fences who has lost the partition
        self._wrote.clear()
        if self.pipeline.watches_health:
            await self._report()
        if moved and self.journals:
            entry = self._entry(moved, queued)
            await self.writer.write(self.pipeline.topics.journal, 0, [entry])
        if await self.writer.commit(moved):
            self._committed |= moved
            self._committing = self._rebalances
            for place, keeper in self.keepers.items():
                keeper.committed(self._covered(place))

    async def _report(self) -> None:
        """Tell the judge how this worker is, when it is time, or that it ends."""
        if not self._member:
            return
        now_ms, reporter = self.clock_ms(), self._reporter
        told = reporter.look(self.tasks, self.keepers.values(), now_ms)
        if self._stopping:
            told = reporter.leaves(now_ms)
        if told:
            await self.writer.write(self.pipeline.topics.buckets, 0, told)

    def _newly_queued(self, place: Place, task: RekeyedTask) -> Mapping[str, int]:
        """Return how many items of each source wait, of those where it is not what it was."""
        before, now = self._queued.get(place, {}), task.queued
        self._queued[place] = now
        return {source: count for source, count in now.items() if count != before.get(source)}

    def _covered(self, place: Place) -> Offsets:
        """Return where a task stands by its commits, of its inputs."""
        name, partition = place
        inputs = next(stage.inputs for stage in self.stages if stage.name == name)
        return covered(inputs, partition, self._committed)

    def _entry(self, moved: dict[TP, int], queued: Mapping[int, Mapping[str, int]]) -> Out:
        """Return a transaction's entry in the journal: who consumed what of each input.

        And how much of it waits, by partition and source, where it doesn't go on at once.
        """
        entry = {
            "instance": self.instance,
            "now_ms": self.clock_ms(),
            "pipeline": self.pipeline.fingerprint,
            "inputs": {
                f"{tp.topic}/{tp.partition}": [self._committed.get(tp, 0), at]
                for tp, at in moved.items()
            },
        }
        if queued:
            entry["queued"] = {str(n): sources for n, sources in queued.items()}
        bounds = {
            str(partition): taken
            for (_, partition), task in self.tasks.items()
            if (noted := getattr(task, "bounds", None)) and (taken := noted.take())
        }
        if bounds:
            entry["bounds"] = bounds
        return Out(key=self.instance.encode(), value=orjson.dumps(entry))

    def _start_over(self, lost: Lost) -> None:
        """Drop every task and go back to the group for the offsets that are committed.

        Tasks that were started since the transaction began were started from these already.
        """
        if self._committing != self._rebalances:
            log.warning("not_committed", why=str(lost))
            return
        log.warning("starting_over", why=str(lost))
        self._drop(list({*self.tasks, *self._starting}))
        self._inputs.clear()
        self.rejoin()

    def _drop(self, places: Iterable[Place]) -> None:
        for place in places:
            if place in self._starting:
                self._starting.pop(place).cancel()
            self._queued.pop(place, None)
            if task := self.tasks.pop(place, None):
                self._inputs.forget(task)
            if keeper := self.keepers.pop(place, None):
                keeper.stop()
            if place in self._storing and (doing := self._storing.pop(place).doing):
                doing.cancel()
        self.writer.drop()

    def fail(self, error: Exception) -> None:
        """End the worker for a reason; the first is the one that is told."""
        if self.failure is None:
            self.failure = error
        self._stopping = True
        self.writer.stop()
        self._wake.set()

    async def stop(self) -> None:
        """Commit what was processed, and stop."""
        self._stopping = True
        self.writer.stop()
        self._wake.set()
        for starting in self._starting.values():
            starting.cancel()
        if self.failure is None:
            async with self._busy:
                with suppress(Lost):  # it will be processed when the worker starts again
                    await self._commit()
                    await self.writer.finish()
                    await self._take_last_snapshots()

    async def _take_last_snapshots(self) -> None:
        """Spare the next start the replay, unless it takes long."""
        last = [keeper.finish(self._covered(at)) for at, keeper in self.keepers.items()]
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*last), LAST_SNAPSHOTS_S)
