"""Faust's consumer: what it hands on, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from faust.types import TP

from agents import transport
from agents.poller import Batch
from agents.transport import Consumer

CARDS = TP("cards", 0)
SCORES = TP("scores", 0)


class Record:
    """A record that knows its offset."""

    def __init__(self, offset: int) -> None:
        self._offset = offset

    def offset(self) -> int:
        """Return it."""
        return self._offset


def batch(*offsets: int, tp: TP = CARDS, caught_up: bool = False) -> Batch:
    """Return a batch of records."""
    records: list[Any] = [Record(offset) for offset in offsets]
    return Batch(*tp, offsets[0], records, caught_up, 9)


class Flow(Consumer):
    """Faust's consumer, of which only the taking of batches is there."""

    def __init__(self) -> None:
        self.app: Any = SimpleNamespace(
            consumer_generation_id=1, patient_topics={"scores"}, on_rebalance_start=lambda: None,
            rebalancing=True,
        )  # fmt: skip
        self.flow_active = True
        self.can_resume_flow = asyncio.Event()
        self._news, self._handled = asyncio.Event(), asyncio.Event()
        self._arrived: dict[TP, Batch] = {}
        self._patient: dict[TP, Batch] = {}
        self._read_offset: Any = {}
        self._main = asyncio.get_running_loop()
        self.assigning: Callable[[], None] = lambda: None

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Do what a test asks for in place of Faust's handlers."""
        self.assigning()

    def stop_flow(self) -> None:
        """Stop the flow, as Faust does when partitions are revoked."""
        self.flow_active = False
        self.can_resume_flow.clear()

    def resume_flow(self) -> None:
        """Start it again."""
        self.flow_active = True
        self.can_resume_flow.set()

    async def taken(self) -> list[tuple[str, list[int], bool]]:
        """Return what Faust is handed by one call."""
        found: list[Any] = [message.value async for _, message in self.getmany(0.01)]
        return [(b.topic, [r.offset() for r in b.records], b.caught_up) for b in found]


def test_what_comes_of_a_partition_meanwhile_is_one_batch() -> None:
    """Each message costs Faust the same, whatever is in it; the news of the last batch counts."""

    async def scenario() -> list[tuple[str, list[int], bool]]:
        flow = Flow()
        flow._handled.set()
        flow._on_batches(1, [batch(1, 2, caught_up=True), batch(1, tp=TP("cards", 1))])
        flow._on_batches(1, [batch(3)])
        flow._on_batches(0, [batch(4)])  # of an assignment that is over
        return await flow.taken()

    assert asyncio.run(scenario()) == [("cards", [1, 2, 3], False), ("cards", [1], False)]


def test_batches_that_arrive_before_the_flow_is_on_again_are_kept() -> None:
    """A wait that began before a rebalance hands out nothing until Faust would take it."""

    async def scenario() -> tuple[bool, Any]:
        flow = Flow()
        flow._handled.set()
        flow.stop_flow()
        waiting = asyncio.ensure_future(flow.taken())
        flow._on_batches(1, [batch(1)])
        for _ in range(5):
            await asyncio.sleep(0)
        early = waiting.done()
        flow.resume_flow()
        return early, await waiting

    assert asyncio.run(scenario()) == (False, [("cards", [1], False)])


def test_nothing_is_handed_out_before_faust_has_heard_of_the_assignment() -> None:
    """Faust may start the flow of an assignment that is over, while it handles the next one.

    What it is given then it drops without a word: so it is kept until the handlers have run.
    """

    async def scenario() -> tuple[bool, Any]:
        flow = Flow()
        flow._begin(2)
        flow.resume_flow()
        flow._on_batches(2, [batch(1)])
        waiting = asyncio.ensure_future(flow.taken())
        for _ in range(5):
            await asyncio.sleep(0)
        early = waiting.done()
        await flow._rebalance("assigned", {CARDS}, 2)
        return early, await waiting

    assert asyncio.run(scenario()) == (False, [("cards", [1], False)])


def test_an_assignment_that_is_over_when_it_was_handled_starts_nothing() -> None:
    """The next one does."""

    async def scenario() -> bool:
        flow = Flow()
        flow._begin(2)
        flow.assigning = lambda: flow._begin(3)
        await flow._rebalance("assigned", {CARDS}, 2)
        return flow._handled.is_set()

    assert asyncio.run(scenario()) is False


def test_batches_nobody_waits_for_are_gathered_for_a_while(monkeypatch: Any) -> None:
    """Those of the monitors: all that came of a partition, as one."""
    monkeypatch.setattr(transport, "PATIENCE_S", 0.0)

    async def scenario() -> tuple[Any, Any]:
        flow = Flow()
        flow._handled.set()
        flow._on_batches(1, [batch(1, tp=SCORES), batch(1)])
        flow._on_batches(1, [batch(2, tp=SCORES, caught_up=True)])
        first = await flow.taken()
        return first, await flow.taken()

    first, then = asyncio.run(scenario())
    assert (first, then) == ([("cards", [1], False)], [("scores", [1, 2], True)])
