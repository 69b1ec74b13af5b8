"""The runner's rounds: what is written before what is committed, and partitions that go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import orjson
import pytest
from faust.types import TP

from agents import runner as runner_module
from agents import writing
from agents.metrics import Metrics
from agents.poller import Batch
from agents.runner import Runner
from agents.writing import AtLeastOnce, Writer
from streamproc.errors import AwayError, StreamprocError
from streamproc.features import Window
from streamproc.models.versions import Store
from streamproc.tasks.bounds import Bounds
from streamproc.tasks.records import Out, Output, PlainRecord
from streamproc.tasks.rekeyed import RekeyedTask
from tests.unit.tasks.kit import pipeline

EVENTS = "shop.orders"


class Log:
    """A producer that keeps what it is given; it may be full, or fail, when told to."""

    def __init__(self) -> None:
        self.written: list[tuple[str, int, bytes]] = []
        self.full = 0
        self.fails: str | None = None
        self.unflushed = 0
        self.flushes = 0
        self.arrived = 0
        self.quick = False

    def __len__(self) -> int:
        """Return how many have not arrived yet."""
        return len(self.written) - self.arrived

    def produce_batch(self, topic: str, batch: list[Any], partition: int, on_delivery: Any) -> int:
        """Keep all but as many as there is no room for."""
        kept = batch[: len(batch) - self.full] if self.full else batch
        for each in batch[len(kept) :]:
            each["_error"] = "full"
        self.full = 0
        self.written += [(topic, partition, each["value"]) for each in kept]
        if self.fails:
            on_delivery(Failed(self.fails), Failed(topic))
        return len(kept)

    def produce(self, topic: str, value: bytes, key: Any, partition: int, **more: Any) -> None:
        """Keep it, or say that there is no room."""
        if self.full:
            self.full -= 1
            raise BufferError
        self.written.append((topic, partition, value))

    def poll(self, timeout: float) -> int:
        """Let what was written arrive, where the brokers are quick."""
        if self.quick:
            self.arrived = len(self.written)
        return 0

    def flush(self, timeout: float) -> int:
        """Return how many were not written."""
        self.flushes += 1
        self.arrived = len(self.written) - self.unflushed
        return self.unflushed


class Failed:
    """An error, or a message, as a delivery report has them."""

    def __init__(self, text: str) -> None:
        self.text = text

    def str(self) -> str:
        """Return what went wrong."""
        return self.text

    topic = str

    def partition(self) -> int:
        """Return a partition."""
        return 0


class Echo:
    """A task that writes each record it is given, two a round, and knows where it is."""

    def __init__(self) -> None:
        self.records: list[Any] = []
        self.at: int | None = None
        self.blobs: dict[str, bytes] = {}

    def waiting(self) -> dict[str, int]:
        """Return what waits."""
        return {EVENTS: len(self.records)}

    def take(self, topic: str, records: Sequence[Any], caught_up: bool, now_ms: int) -> None:
        """Take records in."""
        self.records += records

    def process(self, now_ms: int) -> Output:
        """Write two, and a file where told to."""
        output = Output(blobs=dict(self.blobs) if self.records else {})
        now, self.records = self.records[:2], self.records[2:]
        for each in now:
            output.to("predictions").append(Out(key=None, value=each.value()))
            self.at = each.offset() + 1
        return output

    def positions(self) -> dict[str, int]:
        """Return where it is."""
        return {} if self.at is None else {EVENTS: self.at}


class EchoStage:
    """Makes those."""

    name = "echo"
    topics = (EVENTS,)
    patient = False

    def __init__(self) -> None:
        self.started: list[tuple[int, dict[str, int]]] = []
        self.fails: Exception | None = None

    def start(self, partition: int, offsets: dict[str, int]) -> Echo:
        """Return a task."""
        self.started.append((partition, offsets))
        if self.fails:
            raise self.fails
        return Echo()

    def start_offsets(self, committed: dict[TP, int]) -> dict[TP, int]:
        """Go on where committed."""
        return {}


class Rig:
    """A runner with those, and what it committed."""

    def __init__(self) -> None:
        self.log, self.stage = Log(), EchoStage()
        self.commits: list[tuple[dict[TP, int], int]] = []
        log: Any = self.log
        self.runner = Runner(
            pipeline(), self.writer(log), Store("memory://runner"), [self.stage], Metrics("w"),  # type: ignore[list-item]
            clock_ms=lambda: 5,
        )  # fmt: skip
        self.runner.models_known.set()

    def writer(self, log: Any) -> Writer:
        """Return what writes to the log."""
        return AtLeastOnce(log, lambda at: self.commits.append((at, len(self.log.written))))

    def assign(self, *partitions: int) -> None:
        """Assign partitions that nobody has read yet."""
        self.runner.start_offsets({TP(EVENTS, p): -1001 for p in partitions})
        self.runner.assigned({TP(EVENTS, p) for p in partitions})

    def offer(self, partition: int, *offsets: int) -> None:
        """Hand the runner a batch, as though nothing were missing before it."""
        records: Any = [PlainRecord(EVENTS, n, 0, None, b"%d" % n) for n in offsets]
        self.runner.offer(Batch(EVENTS, partition, offsets[0], records, True, 99))

    def go(self, scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a scenario beside the rounds, then stop."""

        async def all_of_it() -> None:
            rounds = asyncio.ensure_future(self.runner.run())
            try:
                await asyncio.wait_for(scenario(), 10)
                await self.runner.stop()
            finally:
                self.runner.fail(self.runner.failure or Exception("the end"))
                await rounds

        asyncio.run(all_of_it())

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition."""
        while not condition():
            await asyncio.sleep(0.001)


def test_records_that_come_before_the_task_wait_for_it() -> None:
    """All are written, in order, to their own partition; at the end their offset is committed."""
    rig = Rig()

    async def scenario() -> None:
        rig.runner.start_offsets({TP(EVENTS, 3): 0})
        rig.offer(3, 0, 1, 2)
        rig.runner.assigned({TP(EVENTS, 3)})
        await rig.until(lambda: len(rig.log.written) == 3)
        rig.offer(3, 3)
        await rig.until(lambda: len(rig.log.written) == 4)

    rig.go(scenario)
    assert rig.log.written == [("shop.predictions", 3, b"%d" % n) for n in range(4)]
    assert rig.stage.started == [(3, {EVENTS: 0})]
    assert rig.commits[-1] == ({TP(EVENTS, 3): 4}, 4)


def test_nothing_is_committed_that_was_not_written_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """At each commit everything up to the offset is in the log, and was flushed."""
    monkeypatch.setattr(writing, "COMMIT_WITHIN_S", 0.0)
    rig = Rig()

    async def scenario() -> None:
        rig.assign(0)
        for n in range(0, 30, 3):
            rig.offer(0, n, n + 1, n + 2)
            await asyncio.sleep(0)
        await rig.until(lambda: len(rig.log.written) == 30)

    rig.go(scenario)
    assert all(at[TP(EVENTS, 0)] == written for at, written in rig.commits)
    assert len(rig.commits) == rig.log.flushes > 1


def test_the_journal_has_where_a_tasks_batches_ended() -> None:
    """Once, in the entry of the transaction that holds them, by partition."""
    rig = Rig()
    rig.runner.journals = True

    async def scenario() -> None:
        rig.assign(2)
        await rig.until(lambda: bool(rig.runner.tasks))
        task: Any = rig.runner.tasks["echo", 2]
        task.bounds = Bounds()
        for at in ((1, 0), (1, 1), (3, 2)):
            task.bounds.note(at)
        rig.offer(2, 0, 1)
        await rig.until(lambda: len(rig.log.written) == 2)
        await rig.runner._commit()
        rig.offer(2, 2, 3)
        await rig.until(lambda: len(rig.log.written) == 5)

    rig.go(scenario)
    entries = [orjson.loads(value) for topic, _, value in rig.log.written if "journal" in topic]
    assert [(each["inputs"], each.get("bounds")) for each in entries] == [
        ({f"{EVENTS}/2": [0, 2]}, {"2": [[1, 0], [1, 1]]}),
        ({f"{EVENTS}/2": [2, 4]}, None),
    ]


REKEYED = "shop.rekeyed"


def sent(plan: str, source: int, *items: tuple[int, str]) -> PlainRecord:
    """Return what a score task sends to windows: events of one shop, by time and id."""
    rows = [[at, at, None, 0, "s", at, name, False, [1.0]] for at, name in items]
    value = {"source": source, "plan": plan, "items": rows, "watermark": items[-1]}
    return PlainRecord(REKEYED, 0, 0, None, orjson.dumps(value))


def test_the_journal_has_what_waits_before_rekeyed_windows() -> None:
    """What waits still, by partition and source, with the transaction that holds the answers.

    The task's offset is in the transaction also where it did not move: it fences by it.
    """
    rig = Rig()
    rig.runner.journals = True
    windows = Window("amount", by="shop", over=("1d",), aggregates=("count",))
    task = RekeyedTask(pipeline(features=[windows]), 1, 2)
    plan = task.plan.signature
    task.take(REKEYED, [sent(plan, 0, (5, "a"), (9, "c")), sent(plan, 1, (7, "b"))], True, 0)

    async def scenario() -> None:
        rig.runner.tasks["rekeyed", 1] = task
        await rig.until(lambda: task.sources.waiting == 1)
        await rig.runner._commit()
        task.sources.all[1].asked[3] = (9, 1, "c")
        task.sources.hear(1, (7, 1, "b"), [], 0, complete=3)
        rig.runner.wake(rig.stage)  # type: ignore[arg-type]
        rig.runner._due["rekeyed", 1] = None
        await rig.until(lambda: task.sources.waiting == 0)

    rig.go(scenario)
    entries = [orjson.loads(value) for topic, _, value in rig.log.written if "journal" in topic]
    told = [each["queued"]["1"] for each in entries if "queued" in each]
    assert told[-2:] in ([{"0": 1, "1": 0}, {"0": 0}], [{"0": 1}, {"0": 0}])
    assert {each["inputs"][f"{REKEYED}/1"][1] for each in entries} == {1}
    answered = [(topic, to) for topic, to, value in rig.log.written if b"rows" in value]
    assert answered == [("shop.windows", 0), ("shop.windows", 1), ("shop.windows", 0)]


def test_offsets_are_committed_when_all_has_arrived_without_waiting_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rounds go on while records are on their way; their offsets follow when they are there."""
    monkeypatch.setattr(writing, "COMMIT_EVERY_S", 0.0)
    monkeypatch.setattr(writing, "COMMIT_WITHIN_S", 3600.0)
    rig = Rig()

    async def scenario() -> None:
        rig.assign(0)
        for n in range(0, 9, 3):
            rig.offer(0, n, n + 1, n + 2)
            await rig.until(lambda n=n: len(rig.log.written) == n + 3)  # type: ignore[misc]
        assert rig.commits == []
        rig.log.quick = True
        await rig.until(lambda: bool(rig.commits))
        assert (rig.commits, rig.log.flushes) == ([({TP(EVENTS, 0): 9}, 9)], 0)

    rig.go(scenario)


def test_what_the_broker_has_not_taken_is_not_committed() -> None:
    """Where a flush leaves records, the offsets wait for the next time."""
    rig = Rig()

    async def scenario() -> None:
        rig.assign(0)
        rig.offer(0, 0)
        await rig.until(lambda: len(rig.log.written) == 1)
        rig.log.unflushed = 1

    rig.go(scenario)
    assert rig.commits == []


def test_a_record_that_cannot_be_written_ends_the_worker_uncommitted() -> None:
    """The error names the topic, the reason and the remedy, and no offset moves."""
    rig = Rig()
    rig.log.fails = "Message size too large"

    async def scenario() -> None:
        rig.assign(0)
        rig.offer(0, 0)
        await rig.until(lambda: len(rig.log.written) == 1)

    with pytest.raises(
        StreamprocError, match=r"shop.predictions/0: Message size .* mend the topic"
    ):
        rig.go(scenario)
    assert rig.commits == []


def test_a_full_producer_loses_and_reorders_nothing() -> None:
    """What there was no room for goes in after, in order."""
    rig = Rig()

    async def scenario() -> None:
        rig.assign(0)
        rig.log.full = 1
        rig.offer(0, *range(6))
        await rig.until(lambda: len(rig.log.written) == 6)

    rig.go(scenario)
    assert [value for _, _, value in rig.log.written] == [b"%d" % n for n in range(6)]


def test_partitions_that_go_are_committed_and_forgotten() -> None:
    """What was processed is committed, what was not is dropped; they start anew if they return."""
    rig = Rig()
    tp = TP(EVENTS, 0)

    async def scenario() -> None:
        rig.assign(0, 1)
        rig.offer(0, 0, 1)
        await rig.until(lambda: len(rig.log.written) == 2)
        rig.offer(0, 2, 3)
        await rig.runner.revoked({tp})
        assert rig.commits[-1][0][tp] == len(rig.log.written)
        assert list(rig.runner.tasks) == [("echo", 1)]
        written = len(rig.log.written)
        rig.runner.start_offsets({tp: written, TP(EVENTS, 1): -1001})
        rig.runner.assigned({tp})
        rig.offer(0, *range(written, 4))
        await rig.until(lambda: len(rig.log.written) == 4)

    rig.go(scenario)
    assert [value for _, _, value in rig.log.written] == [b"0", b"1", b"2", b"3"]
    assert rig.stage.started[-1][0] == 0


def test_a_partition_that_goes_while_its_task_starts_leaves_none_behind() -> None:
    """A task that was still being restored is not put up when its partition is gone."""
    rig = Rig()
    rig.runner.models_known.clear()

    async def scenario() -> None:
        rig.assign(0)
        await asyncio.sleep(0)
        await rig.runner.revoked({TP(EVENTS, 0)})
        rig.runner.models_known.set()
        rig.assign(1)
        await rig.until(lambda: ("echo", 1) in rig.runner.tasks)

    rig.go(scenario)
    assert list(rig.runner.tasks) == [("echo", 1)]


def test_records_that_were_lost_on_the_way_end_the_worker() -> None:
    """What comes after a gap is not processed, so that nothing after the gap is committed."""
    rig = Rig()

    async def scenario() -> None:
        rig.runner.start_offsets({TP(EVENTS, 0): 4})
        rig.runner.assigned({TP(EVENTS, 0)})
        rig.offer(0, 4, 7)  # a gap inside a batch is the log's own: compacted, or a marker
        await rig.until(lambda: len(rig.log.written) == 2)
        rig.offer(0, 9, 10)
        await rig.until(lambda: rig.runner.failure is not None)

    rig.go(scenario)
    assert "/0: the records from offset 8 to 9 were read and then lost" in str(rig.runner.failure)
    assert [value for _, _, value in rig.log.written] == [b"4", b"7"]


def test_the_end_of_a_log_that_was_read_is_where_reading_ended() -> None:
    """The markers of transactions after the last record are no lag."""
    rig = Rig()

    async def scenario() -> None:
        rig.assign(0)
        rig.offer(0, 0, 1)  # says that it is the log's end, whose offset is 99
        await rig.until(lambda: len(rig.log.written) == 2)

    rig.go(scenario)
    assert rig.runner.end_of(EVENTS, 0) == 2


def test_a_store_that_is_away_holds_up_who_needs_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """That task waits, uncommitted; the others go on; when the store is back, so does it."""
    monkeypatch.setattr(runner_module, "STORE_AGAIN_S", 0.0)
    monkeypatch.setattr(writing, "COMMIT_WITHIN_S", 0.0)
    rig = Rig()
    blob, away = b"a model", StreamprocError("the disk is full; free some")
    put: list[str] = []

    def store(sha256: str, data: bytes) -> None:
        put.append(sha256)
        if len(put) < 4:
            raise away

    monkeypatch.setattr(rig.runner.store, "put", store)

    async def scenario() -> None:
        rig.assign(0, 1)
        await rig.until(lambda: len(rig.runner.tasks) == 2)
        task: Any = rig.runner.tasks["echo", 0]
        task.blobs = {"its hash": blob}
        rig.offer(0, 0, 1)
        rig.offer(1, 0, 1)
        await rig.until(lambda: len(rig.log.written) == 4)

    rig.go(scenario)
    assert put == ["its hash"] * 4
    assert [partition for _, partition, _ in rig.log.written] == [1, 1, 0, 0]
    assert rig.commits[0][0] == {TP(EVENTS, 1): 2}
    assert rig.commits[-1][0] == {TP(EVENTS, 0): 2}


def test_a_start_that_was_given_up_does_not_hide_the_one_after_it() -> None:
    """A partition that goes and comes back while its task starts can go again."""
    rig = Rig()
    rig.runner.models_known.clear()

    async def scenario() -> None:
        rig.assign(0)
        await asyncio.sleep(0)
        await rig.runner.revoked({TP(EVENTS, 0)})
        rig.assign(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not rig.runner.ready()
        await rig.runner.revoked({TP(EVENTS, 0)})
        rig.runner.models_known.set()
        rig.assign(1)
        await rig.until(lambda: ("echo", 1) in rig.runner.tasks)

    rig.go(scenario)
    assert list(rig.runner.tasks) == [("echo", 1)]


def test_a_task_that_cannot_start_ends_the_worker_with_the_reason() -> None:
    """The reason is kept, and the first one is."""
    rig = Rig()
    rig.stage.fails = StreamprocError("the store is gone; mount it")

    async def scenario() -> None:
        rig.assign(0)
        await rig.until(lambda: rig.runner.failure is not None)

    rig.go(scenario)
    rig.runner.fail(StreamprocError("another"))
    assert str(rig.runner.failure) == "the store is gone; mount it"


def test_a_record_waits_for_a_registry_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its partition stands still, another goes on, and nothing is lost or passed over."""
    monkeypatch.setattr("agents.inputs.REGISTRY_AGAIN_S", 0.02)
    rig = Rig()
    away = [True]
    whole = Echo.take

    def take(self: Echo, topic: str, records: Sequence[Any], *rest: Any) -> None:
        if away[0] and any(each.value() == b"7" for each in records):
            raise AwayError("no schema registry answered")
        whole(self, topic, records, *rest)

    monkeypatch.setattr(Echo, "take", take)

    async def scenario() -> None:
        rig.assign(0, 1)
        await rig.until(lambda: len(rig.runner.tasks) == 2)
        rig.offer(0, 0, 7)
        rig.offer(1, 0, 1)
        await rig.until(lambda: len(rig.log.written) == 2)
        assert rig.runner.metrics.registry_away._value.get() == 1
        away[0] = False
        await rig.until(lambda: len(rig.log.written) == 4)
        assert rig.runner.metrics.registry_away._value.get() == 0

    rig.go(scenario)
    assert max(rig.runner.progress.values()) == 2
