"""Writing a task's snapshots beside the rounds: when, what, and only what is committed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from agents.metrics import Metrics
from streamproc.errors import StreamprocError
from streamproc.state.snapshots import Offsets, Snapshots
from streamproc.tasks.frozen import Freezer, Frozen
from streamproc.tasks.judging import JudgeFreezer

log = structlog.get_logger("snapshots")

EVERY_S = 10.0
"""How long at least from one snapshot of a task to the next; so much is replayed at a start."""

FIRST_S = 1.0
"""How long after a start the first is due: a start that took long shall not take long again."""

AGAIN_S = 2.0
"""After how long a store that failed is tried again."""


class Keeper:
    """Takes the snapshots of one task, :data:`EVERY_S` apart, or ``every_s``.

    A snapshot goes through these, in this order: ``idle`` until it is time; ``asking`` where the
    topics end that a restore reads besides the inputs; ``asked``, until a commit says where the
    task stands; ``packing``, a little a round; ``packed``, until that commit is known to have been
    made; ``writing``, in a thread.
    """

    def __init__(
        self,
        freezer: Freezer | JudgeFreezer,
        snapshots: Snapshots,
        ask_tails: Callable[[], dict[str, int]],
        metrics: Metrics,
        every_s: float | None = None,
    ) -> None:
        self._freezer = freezer
        self._snapshots = snapshots
        self._ask_tails = ask_tails
        self._metrics = metrics
        self._every_s = every_s
        self.state = "idle"
        self._due_s = time.monotonic() + FIRST_S
        self._everything = not snapshots.chain
        self._tails: dict[str, int] = {}
        self._covers: Offsets | None = None
        self._written: Offsets | None = None
        self._frozen: Frozen | None = None
        self._settled = False
        self._doing: asyncio.Task[None] | None = None
        self.written_s = time.monotonic()

    @property
    def at_rest(self) -> bool:
        """Whether nothing has been frozen that is not written: the task may be taken elsewhere."""
        return self._frozen is None and self.state in ("idle", "asking", "asked")

    def committed(self, at: Offsets) -> None:
        """Hear of a commit that has begun, of all that the task has processed."""
        if self.state != "asked" or at == self._written:
            return
        self._covers, self._settled = at, False
        self._everything |= self._freezer.too_many_changes()
        with self._timed():
            self._freezer.begin(self._everything)
        self.state = "packing"

    def step(self, settled: bool) -> bool:
        """Do a little, between two rounds; return whether there is more to do at once.

        ``settled`` says that every commit that has begun is known to have been made.
        """
        self._settled |= settled
        if self.state == "idle" and time.monotonic() >= self._due_s:
            self._due_s = time.monotonic() + (self._every_s or EVERY_S)
            self._begin("asking", self._ask())
        elif self.state == "packing":
            with self._timed():
                if self._freezer.pack():
                    self._frozen = self._freezer.take()
                    self.state = "packed"
            return True
        elif self.state == "packed" and self._settled:
            self._begin("writing", self._write())
        return False

    async def finish(self, at: Offsets) -> None:
        """Write a last snapshot, of a task that is at rest, or what was begun before."""
        if self.state in ("asking", "writing") and self._doing is not None:
            await self._doing
        if self.state == "idle" and at != self._written:
            await self._ask()
        self.committed(at)
        while self.state == "packing":
            self.step(settled=True)
            await asyncio.sleep(0)
        if self.state == "packed":
            await self._write()

    def stop(self) -> None:
        """Wait for nothing more; a file on its way is still written.

        Where the task is kept, and its partition comes back, it begins again.
        """
        if self._doing is not None:
            self._doing.cancel()
        if self.state == "asking":
            self.state = "idle"

    def _begin(self, state: str, doing: Coroutine[Any, Any, None]) -> None:
        self.state = state
        self._doing = asyncio.create_task(doing)

    async def _ask(self) -> None:
        try:
            self._tails = await asyncio.to_thread(self._ask_tails)
            self.state = "asked"
        except Exception as error:  # the brokers do not answer: there is no hurry
            log.warning("snapshot_waits", **self._why(error))
            self._due_s = time.monotonic() + AGAIN_S
            self.state = "idle"

    async def _write(self) -> None:
        covers, frozen = self._covers, self._frozen
        assert covers is not None and frozen is not None  # noqa: PT018  packed says both
        try:
            whole = await asyncio.to_thread(self._write_there, covers, frozen)
        except Exception as error:  # kept until the store takes it: the task knows it no more
            self._metrics.snapshot_failures.inc()
            self._metrics.store_away.set(1)
            log.error("snapshot_failed", **self._why(error))
            await asyncio.sleep(AGAIN_S)
            self.state = "packed"
            return
        self._frozen, self._everything = None, not whole
        self._metrics.store_away.set(0)
        self.state = "idle"
        if whole:
            self._written, self.written_s = covers, time.monotonic()
            self._metrics.snapshots.inc()
        else:
            self._due_s = time.monotonic()
            log.warning("snapshot_incomplete", folder=self._snapshots.folder)

    def _write_there(self, covers: Offsets, frozen: Frozen) -> bool:
        """Write; return False where files that it builds on are there no longer."""
        with self._timed():
            if frozen.everything:
                self._snapshots.chain = []
            if not self._snapshots.whole():
                return False
            self._snapshots.write(covers, frozen.tables, frozen.meta, frozen.floors, self._tails)
            return True

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """Count the CPU that this thread takes."""
        began_s = time.thread_time()
        try:
            yield
        finally:
            self._metrics.snapshot_cpu.inc(time.thread_time() - began_s)

    def _why(self, error: Exception) -> dict[str, Any]:
        said = str(error) if isinstance(error, StreamprocError) else repr(error)
        return {"folder": self._snapshots.folder, "error": said, "again_in_s": AGAIN_S}


def unusable_told_to(metrics: Metrics) -> Callable[[str, str], None]:
    """Return what hears of a snapshot that is passed over, and why: it is counted, and logged."""

    def tell(file: str, why: str) -> None:
        metrics.snapshots_unusable.inc()
        log.error("snapshot_unusable", file=file, why=why, instead="an older one, or the log")

    return tell
