"""When snapshots are taken, of what, and what becomes of them where the store or a commit fails."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from agents import keeping
from agents.keeping import Keeper
from agents.metrics import Metrics
from streamproc.errors import StreamprocError
from streamproc.state.files import Files
from streamproc.state.snapshots import Snapshots
from streamproc.state.tables import Floor, Stack
from streamproc.tasks.frozen import Freezer
from tests.unit.tasks.kit import EVENTS, Scoring, event


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EVERY_S", "FIRST_S", "AGAIN_S"):
        monkeypatch.setattr(keeping, name, 0.0)


class Kept:
    """A task, its keeper, and a store that may fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.scoring = Scoring(track=True)
        self.snapshots = Snapshots(Files(f"memory://{uuid.uuid4().hex}"), "shop/score-0", {})
        self.metrics = Metrics("w1")
        self.failing = False
        self.at = 0
        self.keeper = Keeper(
            Freezer(self.scoring.task), self.snapshots, lambda: {"tail": self.at}, self.metrics
        )
        whole = Files.put

        def put(files: Files, name: str, blob: bytes) -> None:
            if self.failing:
                raise StreamprocError("the disk is full")
            whole(files, name, blob)

        monkeypatch.setattr(Files, "put", put)

    def commit(self, events: int = 1) -> None:
        """Process some events and begin to commit them."""
        self.scoring.put(EVENTS, *(event(self.at + i, self.at + i) for i in range(events))).run()
        self.at += events
        self.keeper.committed((self.at, 0))

    async def until(self, condition: Callable[[], bool], settled: bool = True) -> None:
        """Let rounds go by until something holds."""
        async with asyncio.timeout(5):
            while not condition():
                self.keeper.step(settled)
                await asyncio.sleep(0.001)

    async def take(self) -> None:
        """Commit and write one snapshot."""
        await self.until(lambda: self.keeper.state == "asked")
        self.commit()
        await self.until(lambda: self.keeper.state == "idle")

    def ids(self, at: int) -> set[str]:
        """Return the ids in the newest snapshot up to an offset."""
        found = self.snapshots.newest((at, 0))
        return set(Stack(found.tables["remembered"], Floor()).rows) if found else set()


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Kept:
    """Return a task that is kept."""
    return Kept(monkeypatch)


def test_a_snapshot_is_of_a_commit_and_written_when_that_was_made(kept: Kept) -> None:
    """What was processed since is not in it; nothing is written while it may yet be aborted."""

    async def scenario() -> None:
        await kept.until(lambda: kept.keeper.state == "asked")
        kept.commit(events=2)
        await kept.until(lambda: kept.keeper.state == "packed", settled=False)
        kept.scoring.put(EVENTS, event(9, 9)).run()
        for _ in range(5):
            kept.keeper.step(settled=False)
            await asyncio.sleep(0.001)
        assert kept.snapshots.newest((99, 0)) is None
        await kept.until(lambda: kept.keeper.state == "idle")

    asyncio.run(scenario())
    assert kept.ids(2) == {"0", "1"}
    assert kept.ids(1) == set()
    found = kept.snapshots.newest((2, 0))
    assert found is not None
    assert found.tails == {"tail": 0}  # as it was before the commit


def test_a_store_that_fails_is_tried_again_with_the_same(kept: Kept) -> None:
    """The task goes on; what was frozen is written in the end, and nothing is left out."""

    async def scenario() -> None:
        await kept.until(lambda: kept.keeper.state == "asked")
        kept.commit()
        kept.failing = True
        await kept.until(lambda: _value(kept.metrics.snapshot_failures) >= 2)
        kept.commit()
        assert not kept.keeper.at_rest
        kept.failing = False
        await kept.until(lambda: kept.keeper.state == "idle")
        assert kept.ids(9) == {"0"}
        await kept.take()

    asyncio.run(scenario())
    assert kept.ids(9) == {"0", "1", "2"}
    assert _value(kept.metrics.store_away) == 0


def test_files_that_are_gone_make_the_next_one_whole(kept: Kept) -> None:
    """A store that was emptied gets everything, not the changes alone."""

    async def scenario() -> None:
        await kept.take()
        for name in kept.snapshots.files.names(kept.snapshots.folder):
            kept.snapshots.files.remove(f"{kept.snapshots.folder}/{name}")
        await kept.take()  # not written: what it builds on is gone
        assert kept.ids(9) == set()
        await kept.take()

    asyncio.run(scenario())
    assert kept.ids(9) == {"0", "1", "2"}


def test_a_task_that_did_not_move_is_not_written_again(kept: Kept) -> None:
    """An idle partition costs nothing."""

    async def scenario() -> None:
        await kept.take()
        await kept.until(lambda: kept.keeper.state == "asked")
        kept.keeper.committed((kept.at, 0))
        assert kept.keeper.state == "asked"

    asyncio.run(scenario())
    assert _value(kept.metrics.snapshots) == 1


def test_the_end_writes_a_last_one(kept: Kept) -> None:
    """What was committed last is in it, so that the next start has nothing to replay."""

    async def scenario() -> None:
        await kept.take()
        kept.scoring.put(EVENTS, event(50, 50)).run()
        await kept.keeper.finish((2, 0))

    asyncio.run(scenario())
    assert kept.ids(2) == {"0", "50"}


def test_a_keeper_that_was_stopped_while_it_asked_goes_on(kept: Kept) -> None:
    """A partition that goes and comes back to the same task is kept again."""

    async def scenario() -> None:
        kept.keeper.step(settled=True)
        assert kept.keeper.state == "asking"
        kept.keeper.stop()
        await asyncio.sleep(0.01)
        assert kept.keeper.at_rest
        await kept.take()

    asyncio.run(scenario())
    assert kept.ids(9) == {"0"}


def test_changes_that_nobody_took_make_the_next_one_whole(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a store was away for long, memory did not grow, and everything is written."""
    monkeypatch.setattr("streamproc.tasks.frozen.MOST_CHANGES", 3)

    async def scenario() -> None:
        await kept.take()
        kept.commit(events=10)
        await kept.take()

    asyncio.run(scenario())
    assert len(kept.ids(99)) == 12
    assert len(kept.snapshots.chain) == 1


def _value(metric: Any) -> float:
    return float(metric._value.get())
