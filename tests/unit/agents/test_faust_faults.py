"""The known faults of Faust that the design steps around, a test or two each.

A whole worker runs on Faust here, on brokers that are a few lists: see ``faust_kit``.
"""

from __future__ import annotations

import threading
from typing import Any

import faust
import orjson
import pytest
from confluent_kafka import KafkaError
from faust.types import TP

from agents import writing
from agents.transport import Consumer
from streamproc.features import Window
from tests.unit.agents.faust_brokers import Brokers, refusal
from tests.unit.agents.faust_kit import Scores, Stage, Worker
from tests.unit.tasks.kit import EVENTS, LABELS, NOW_MS, Scoring, event, pipeline

A, B = TP(EVENTS, 0), TP(EVENTS, 1)
PREDICTIONS = "shop.predictions"
SPAN = 60


def numbers(first: int, end: int) -> dict[int, bytes]:
    """Return a record for each offset."""
    return {offset: b"%d" % offset for offset in range(first, end)}


def test_nothing_is_committed_past_a_record_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust commits past a message that is worked on while others overtake it (#606)."""
    brokers, stage, away = Brokers(A, B), Stage(), threading.Event()
    stage.stored = b"2"  # its file is on the way to the store while all others go on
    worker = Worker(monkeypatch, brokers, stage)

    async def scenario() -> None:
        monkeypatch.setattr(worker.app.runner.store, "put", lambda *file: away.wait(10))
        brokers.append(A, numbers(0, 3))
        await worker.until(lambda: b"2" in stage.processed)
        brokers.append(A, numbers(3, 5))
        await worker.until(lambda: worker.app.runner.end_of(*A) == 5)
        while await worker.app.consumer.commit():  # as Faust does every now and then
            pass
        brokers.append(B, numbers(0, 2))
        await worker.until(lambda: brokers.committed.get(B) == 2)
        assert brokers.committed.get(A, 0) <= 2, "it would be lost if the worker died now"
        away.set()
        await worker.until(lambda: brokers.committed.get(A) == 5)

    try:
        worker.go(scenario)
    finally:
        away.set()


@pytest.mark.parametrize("how", ["refused", "fenced", "lost"])
def test_a_rebalance_crashes_nobody_and_doubles_nothing(
    monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Faust's exactly_once crashes, or doubles events, when a partition moves on (#323)."""
    monkeypatch.setattr(writing, "TRANSACTION_EVERY_S", 3600.0)
    brokers, stage = Brokers(A), Stage()
    worker = Worker(monkeypatch, brokers, stage, exactly_once=True)

    async def scenario() -> None:
        brokers.append(A, numbers(0, 3))
        await worker.until(lambda: len(stage.processed) == 3)
        # Meanwhile another member got the partition, and wrote two of what this one has in hand.
        brokers.generation += 1
        brokers.written += [(PREDICTIONS, b"0"), (PREDICTIONS, b"1")]
        brokers.committed[A] = 2
        if how == "fenced":
            brokers.fails = [refusal(KafkaError._FENCED)]
        if how == "lost":
            brokers.rebalance(lost=True)
        else:
            monkeypatch.setattr(writing, "TRANSACTION_EVERY_S", 0.0)
        await worker.until(lambda: brokers.generation == 3)
        monkeypatch.setattr(writing, "TRANSACTION_EVERY_S", 0.0)
        brokers.append(A, numbers(3, 5))
        await worker.until(lambda: brokers.committed[A] == 5)

    worker.go(scenario)
    assert brokers.values(PREDICTIONS) == list(numbers(0, 5).values())


def test_what_was_processed_is_committed_before_a_rebalance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Faust lets go of partitions with what it processed uncommitted: events come twice (#502)."""
    monkeypatch.setattr(writing, "TRANSACTION_EVERY_S", 3600.0)
    brokers, stage = Brokers(A), Stage()
    worker = Worker(monkeypatch, brokers, stage, exactly_once=True)

    async def scenario() -> None:
        brokers.append(A, numbers(0, 3))
        await worker.until(lambda: len(stage.processed) == 3)
        brokers.rebalance()
        brokers.append(A, numbers(3, 5))
        await worker.until(lambda: len(stage.processed) >= 5)
        monkeypatch.setattr(writing, "TRANSACTION_EVERY_S", 0.0)
        await worker.until(lambda: brokers.committed[A] == 5)

    worker.go(scenario)
    assert stage.processed == list(numbers(0, 5).values())
    assert brokers.values(PREDICTIONS) == stage.processed


def hopping(step: int, which: int, times: list[int]) -> list[int]:
    """Count as one of Faust's hopping windows does: the one that began so many steps ago."""
    windows = [faust.HoppingWindow(SPAN, step).ranges(float(ms))[which] for ms in times]
    return [
        sum(begin <= ms <= end for ms in times[: i + 1]) for i, (begin, end) in enumerate(windows)
    ]


def test_windows_slide() -> None:
    """Faust's tables have hopping and tumbling windows and no sliding ones (faust/tables/table.py).

    Whatever the step, and whichever of the windows a record is in is asked, they miscount here.
    """
    made = pipeline(features=[Window("amount", "card", (f"{SPAN}ms",), ("count",))])
    times = {first: [first, first + SPAN - 1, first + SPAN] for first in range(SPAN, 2 * SPAN)}
    events = sorted((ms, card) for card, of_card in times.items() for ms in of_card)
    scoring = Scoring(made).put(EVENTS, *(event(i, *each) for i, each in enumerate(events))).run()
    counted: dict[int, list[int]] = {first: [] for first in times}
    for (_, card), said in zip(events, scoring.said("predictions"), strict=True):
        counted[card] += said["features"].values()
    choices = {(step, which) for step in (2, 5, 30, SPAN) for which in range(SPAN // step)}
    rivals = {each: {card: hopping(*each, times[card]) for card in times} for each in choices}
    assert counted == {first: [1, 2, 2] for first in times}, "the window is (t - span, t]"
    assert counted not in rivals.values()


def test_what_cannot_be_decoded_is_a_dead_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust acks a value that it cannot decode and throws the error into the agent."""
    brokers = Brokers(A, TP(LABELS, 0))
    worker = Worker(monkeypatch, brokers, Scores())
    bad = b"\xff{"

    async def scenario() -> None:
        worker.app.runner.clock_ms = lambda: NOW_MS
        records = [orjson.dumps(event(1, NOW_MS)), bad, orjson.dumps(event(2, NOW_MS))]
        brokers.append(A, dict(enumerate(records)))
        await worker.until(lambda: brokers.committed.get(A) == 3)

    worker.go(scenario)
    scored = [orjson.loads(value)["id"] for value in brokers.values(PREDICTIONS)]
    assert (scored, brokers.values("shop.dead-letters")) == (["1", "2"], [bad])


def test_an_event_that_could_not_be_processed_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust acks an event whose agent raised (`finally` in faust/streams.py), and commits past it.

    Here the worker ends, uncommitted, and the next one begins with that event.
    """
    brokers, stage = Brokers(A), Stage()
    stage.unbearable = b"2"
    brokers.append(A, numbers(0, 5))
    worker = Worker(monkeypatch, brokers, stage)

    async def raised() -> None:
        await worker.until(lambda: worker.app.runner.failure is not None)
        await worker.app.consumer.commit()
        brokers.rebalance()  # before the worker has ended: nothing is committed then either
        await worker.until(lambda: brokers.generation == 2)

    worker.go(raised)
    assert "nobody can bear" in str(worker.app.runner.failure)
    assert brokers.committed.get(A, 0) <= 2
    stage.unbearable, stage.processed = b"", []
    again = Worker(monkeypatch, brokers, stage)
    again.go(lambda: again.until(lambda: brokers.committed.get(A) == 5))
    assert stage.processed[-3:] == [b"2", b"3", b"4"]


def test_what_an_agent_lost_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust drops what an agent's body was at when it raised, and goes on behind it with another.

    Nothing behind it is taken then: the worker ends and says so.
    """
    brokers, stage = Brokers(A), Stage()
    worker = Worker(monkeypatch, brokers, stage)
    offered: list[int] = []

    async def scenario() -> None:
        runner = worker.app.runner
        offer = runner.offer

        def raise_once(batch: Any) -> None:
            if batch.records:
                offered.append(batch.start)
                if len(offered) == 1:
                    raise MemoryError
            offer(batch)

        monkeypatch.setattr(runner, "offer", raise_once)
        brokers.append(A, numbers(0, 2))
        await worker.until(lambda: len(offered) == 1)
        brokers.append(A, numbers(2, 4))
        await worker.until(lambda: len(offered) == 2)
        await worker.until(lambda: runner.failure is not None or bool(stage.processed))

    worker.go(scenario)
    assert "the records from offset 0 to 2 were read and then lost" in str(
        worker.app.runner.failure
    )
    assert (stage.processed, brokers.committed.get(A, 0)) == ([], 0)


def test_a_topic_that_idles_stalls_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """With Faust, agents answer late or never after topics were idle for long (#306, #549).

    Half an hour of polls that find nothing, then an event: it is scored at once, though no time-out
    runs down, and though the labels, for which a task might wait, have been silent all along.
    """
    getmany = Consumer.getmany
    monkeypatch.setattr(Consumer, "getmany", lambda consumer, timeout: getmany(consumer, 3600.0))
    brokers = Brokers(A, TP(LABELS, 0))
    worker = Worker(monkeypatch, brokers, Scores())

    async def scenario() -> None:
        worker.app.runner.clock_ms = lambda: NOW_MS
        await worker.settled()
        consumer: Any = brokers.consumer
        consumer.idle_polls = 18_000
        await worker.until(lambda: consumer.idle_polls == 0)
        brokers.append(A, {0: orjson.dumps(event(1, NOW_MS))})
        await worker.until(lambda: bool(brokers.values(PREDICTIONS)))

    worker.go(scenario)


def test_a_full_buffer_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all buffers are full, Faust sleeps a second at a time (faust/transport/consumer.py).

    It asks for no records then: they would come a second late, or not at all.
    """
    brokers, stage = Brokers(A, B), Stage()
    worker = Worker(monkeypatch, brokers, stage)

    async def scenario() -> None:
        await worker.settled()
        for tp in (A, B):
            worker.app.consumer.on_buffer_full(tp)
        brokers.append(A, numbers(0, 3))
        await worker.until(lambda: len(stage.processed) == 3)

    worker.go(scenario)


def test_nothing_behind_a_read_offset_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust drops, without a word, what lies behind an offset that it has read before."""
    brokers, stage = Brokers(A), Stage()
    worker = Worker(monkeypatch, brokers, stage)

    async def scenario() -> None:
        await worker.settled()
        consumer: Any = worker.app.consumer
        consumer._read_offset[A] = 9
        brokers.append(A, numbers(0, 3))
        await worker.until(lambda: brokers.committed.get(A) == 3)

    worker.go(scenario)


def test_faust_keeps_no_books_of_offsets(monkeypatch: pytest.MonkeyPatch) -> None:
    """With acks, gaps in a log's offsets make Faust commit past what waits, or never again."""
    brokers, stage = Brokers(A), Stage()
    stage.waits = True
    worker = Worker(monkeypatch, brokers, stage)

    async def scenario() -> None:
        for offset in (0, 10, 11, 30):
            brokers.append(A, {offset: b"%d" % offset})
            await worker.until(lambda offset=offset: worker.app.runner.end_of(*A) == offset + 1)  # type: ignore[misc]
        consumer: Any = worker.app.consumer
        assert not await consumer.commit(), "Faust found something to commit"
        assert not consumer.unacked
        assert brokers.committed.get(A, 0) == 0
        stage.waits = False
        await worker.until(lambda: brokers.committed.get(A) == 31)

    worker.go(scenario)
