"""A whole worker on brokers that are a few lists.

Faust is Faust and all of ours is ours, the thread that polls included: only librdkafka, what serves
metrics and what follows models are not there.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from types import SimpleNamespace
from typing import Any

import confluent_kafka
import pytest
from faust.tables.manager import TableManager
from faust.types import TP

from agents import app as app_module
from agents import writing
from agents.app import App
from streamproc.codec import JsonCodec
from streamproc.errors import StreamprocError
from streamproc.settings import Settings
from streamproc.tasks.records import Out, Output
from streamproc.tasks.score import ScoreTask
from tests.unit.agents.faust_brokers import Brokers
from tests.unit.tasks.kit import EVENTS, LABELS, pipeline

_DEADLINE_S = 10.0


class Steps:
    """A task that takes a record off its queue, and then deals with it: one a round."""

    def __init__(self, stage: Stage, offsets: dict[str, int]) -> None:
        self._stage, self._at = stage, offsets[EVENTS]
        self._records: deque[Any] = deque()

    def waiting(self) -> dict[str, int]:
        """Return what waits."""
        return {EVENTS: len(self._records)}

    def take(self, topic: str, records: Sequence[Any], caught_up: bool, now_ms: int) -> None:
        """Take records in."""
        self._records += records

    def process(self, now_ms: int) -> Output:
        """Deal with one record, unless it is to wait; raise at one that nobody can bear."""
        output = Output()
        if not self._records or self._stage.waits:
            return output
        record = self._records.popleft()
        value = record.value()
        self._at = record.offset() + 1
        self._stage.processed.append(value)
        if value == self._stage.unbearable:
            raise StreamprocError("nobody can bear this record")
        output.blobs = {"its hash": value} if value == self._stage.stored else {}
        output.to("predictions").append(Out(key=None, value=value))
        return output

    def positions(self) -> dict[str, int]:
        """Return where it is."""
        return {EVENTS: self._at}


class Stage:
    """Makes those, and tells what all of them processed."""

    name = "steps"
    topics: tuple[str, ...] = (EVENTS,)
    patient = False

    def __init__(self) -> None:
        self.processed: list[bytes] = []
        self.unbearable = self.stored = b""
        self.waits = False

    def start(self, partition: int, offsets: dict[str, int]) -> Steps:
        """Return a task."""
        return Steps(self, offsets)

    def start_offsets(self, committed: dict[TP, int]) -> dict[TP, int]:
        """Go on where committed."""
        return {}

    def keeper(self, partition: int) -> None:
        """Take no snapshots."""


class Scores(Stage):
    """Makes tasks that score."""

    topics = (EVENTS, LABELS)

    def start(self, partition: int, offsets: dict[str, int]) -> Any:
        """Return a task."""
        return ScoreTask(pipeline(), partition, JsonCodec())


class Worker:
    """A worker on those brokers that runs one stage, until the end of a scenario."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        brokers: Brokers,
        stage: Any,
        *,
        exactly_once: bool = False,
    ) -> None:
        self.brokers, self.app = brokers, App("not built yet")
        self._exactly_once, self._stage = exactly_once, stage
        self._patch = monkeypatch

    def _build(self) -> App:
        nothing: Any = SimpleNamespace(
            stop=lambda: None, ready=threading.Event(), until_ready=lambda: asyncio.sleep(0)
        )
        nothing.ready.set()
        probed = SimpleNamespace(embedded=not self._exactly_once)
        topics = [SimpleNamespace(name=EVENTS, partitions=2)]
        in_app = {
            "probe": lambda *args: probed,
            "create": lambda *args: topics,
            "_server": lambda *args: nothing,
            "_follower": lambda *args: nothing,
            "_lookups": lambda *args: nothing,
            "ScoreStage": lambda *args: self._stage,
            "topic_ids": lambda *args: {},
        }
        for name, value in in_app.items():
            self._patch.setattr(app_module, name, value, raising=False)
        self._patch.setattr(confluent_kafka, "Consumer", self.brokers.new_consumer)
        self._patch.setattr(confluent_kafka, "Producer", self.brokers.new_producer)
        self._patch.setattr(writing, "COMMIT_EVERY_S", 0.0)
        self._patch.setattr(TableManager, "sleep", lambda manager, seconds: asyncio.sleep(0))
        return app_module.build(pipeline(), Settings.load(store="memory://faults"))

    def go(self, scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a scenario beside the worker, then stop the worker; raises if it ended before."""

        async def all_of_it() -> None:
            self.app = self._build()
            await self.app.start()
            try:
                await scenario()
            finally:
                await self.app.stop()

        asyncio.run(all_of_it())

    async def settled(self) -> None:
        """Wait until tasks have started and Faust has handled the assignment."""
        await self.until(lambda: self.app.runner.ready() and not self.app.rebalancing)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition, as long as the worker is well."""

        async def wait() -> None:
            while not condition():
                await asyncio.sleep(0.001)

        await asyncio.wait_for(wait(), _DEADLINE_S)
