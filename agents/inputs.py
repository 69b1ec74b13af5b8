"""What was fetched and waits to be taken in by tasks, in the log's order, and none of it lost."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping

import structlog
from faust.types import TP

from agents.careful import CAREFUL_RECORDS, find_killers, survives
from agents.metrics import Metrics
from agents.poller import Batch
from streamproc.errors import AwayError, StreamprocError
from streamproc.pipeline import Pipeline
from streamproc.tasks.records import Task
from streamproc.tasks.score import ScoreTask

log = structlog.get_logger("inputs")

TAKEN_RECORDS = 2_000
"""From how many waiting records on a task takes no more in, so that they wait undecoded."""

REGISTRY_AGAIN_S = 5.0
"""After how long a registry that does not answer is asked again; the record waits."""


class Inputs:
    """The batches of the partitions that are assigned.

    ``progress`` tells the poller, by partition, how many records are dealt with.
    """

    def __init__(self, pipeline: Pipeline, metrics: Metrics, clock_ms: Callable[[], int]) -> None:
        self._pipeline, self._metrics, self._clock_ms = pipeline, metrics, clock_ms
        self.progress: dict[TP, int] = {}
        self._fetched: dict[TP, deque[Batch]] = defaultdict(deque)
        self._offered: dict[TP, int] = defaultdict(int)
        self._ends: dict[TP, int] = {}
        self._next: dict[TP, int] = {}
        self._careful: dict[Task, int] = {}  # how many more records are tried out
        self._tried: dict[TP, int] = {}
        self._caught_up: dict[TP, bool] = {}
        self._away_until_s: dict[TP, float] = {}

    @property
    def queued(self) -> int:
        """The number of records taken in and not yet processed."""
        return sum(self._offered.values()) - sum(self.progress.values())

    def end_of(self, tp: TP) -> int | None:
        """Return the offset after the last record of a partition, as of its newest fetch."""
        return self._ends.get(tp)

    def begin(self, starts: Mapping[TP, int]) -> None:
        """Expect the records of these partitions, from these offsets on."""
        self._next = {tp: max(at, 0) for tp, at in starts.items()}
        self._tried.clear()
        self._caught_up.clear()

    def add(self, batch: Batch) -> None:
        """Keep a batch. Raises :class:`StreamprocError` where one before it is missing."""
        tp = TP(batch.topic, batch.partition)
        if batch.start != self._next[tp]:
            raise _lost(tp, self._next[tp], batch.start)
        self._next[tp] = batch.next_offset
        self._fetched[tp].append(batch)
        self._offered[tp] += len(batch.records)
        self._caught_up[tp] = batch.caught_up
        # The markers of transactions take offsets, too: who has read all is not behind by them.
        self._ends[tp] = batch.next_offset if batch.caught_up else batch.end

    def revoke(self, tps: Iterable[TP]) -> None:
        """Forget what was fetched of these partitions."""
        self.progress.clear()
        self._offered.clear()
        for tp in tps:
            self._fetched.pop(tp, None)

    def clear(self) -> None:
        """Forget all that was fetched: it will be fetched again."""
        self._fetched.clear()

    def feed(self, task: Task, partition: int) -> None:
        """Let a task take in some of what was fetched for it, and tell the poller what waits."""
        for topic, waiting in task.waiting().items():
            tp = TP(topic, partition)
            fetched = self._fetched[tp]
            while fetched and waiting < TAKEN_RECORDS:
                batch = fetched[0]
                if task in self._careful and self._is_untried(tp, batch):
                    break
                if not self._taken(tp, task, batch):
                    break
                fetched.popleft()
                waiting += len(batch.records)
                if batch.records:
                    self._metrics.taken(self._pipeline, topic, len(batch.records))
            behind = sum(len(batch.records) for batch in fetched)
            if behind and isinstance(task, ScoreTask):
                task.take(topic, (), False, self._clock_ms())  # there is more than it has
            waiting += behind
            self.progress[tp] = self._offered[tp] - waiting

    def _taken(self, tp: TP, task: Task, batch: Batch) -> bool:
        """Let a task take a batch in; return False where the registry is away, to ask again."""
        if time.monotonic() < self._away_until_s.get(tp, 0.0):
            return False
        try:
            task.take(batch.topic, batch.records, batch.caught_up, self._clock_ms())
        except AwayError as error:
            log.error("registry_away", error=str(error), again_in_s=REGISTRY_AGAIN_S)
            self._metrics.registry_away.set(1)
            self._away_until_s[tp] = time.monotonic() + REGISTRY_AGAIN_S
            return False
        if self._away_until_s.pop(tp, None) is not None:
            self._metrics.registry_away.set(0)
        return True

    # ---------------------------------------------------------------- records that kill

    def be_careful(self, task: Task) -> None:
        """Try out what this task takes in next, before it does."""
        self._careful = {task: CAREFUL_RECORDS, **self._careful}

    async def try_out(self, task: Task, partition: int) -> None:
        """Find the records that end the process, where there may be any, in what was fetched.

        What comes meanwhile is for the next time, and at the end of the logs all was tried out that
        may have ended an earlier process.
        """
        if task not in self._careful:
            return
        assert isinstance(task, ScoreTask)  # no other is started with care
        ended = True
        for topic in task.refused:
            tp = TP(topic, partition)
            batches = [each for each in self._fetched[tp] if self._is_untried(tp, each)]
            records = [record for batch in batches for record in batch.records]
            if records:
                found = await find_killers(task, topic, records, self._clock_ms(), survives)
                task.refused[topic] |= found
                self._tried[tp] = batches[-1].next_offset
                self._careful[task] -= len(records)
            ended = ended and self._caught_up.get(tp, False)
        if ended or self._careful[task] <= 0:
            del self._careful[task]

    def _is_untried(self, tp: TP, batch: Batch) -> bool:
        return bool(batch.records) and batch.next_offset > self._tried.get(tp, 0)

    def forget(self, task: Task) -> None:
        """Let go of a task that was dropped."""
        self._careful.pop(task, None)


def _lost(tp: TP, expected: int, came: int) -> StreamprocError:
    return StreamprocError(
        f"{tp.topic}/{tp.partition}: the records from offset {expected} to {came} were read and "
        "then lost inside this worker, which is a fault of ours; nothing after the last commit is "
        "lost: start the worker again, and report this"
    )
