"""What a worker says of its own health, every few seconds, to the judge; see `Health`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import orjson

from agents.keeping import Keeper
from agents.stage import Place
from streamproc.monitors.health_spec import REPORT_MS
from streamproc.tasks.learn import LearnTask
from streamproc.tasks.merge import AT_ONCE
from streamproc.tasks.records import Out, Task
from streamproc.tasks.score import ScoreTask

PROMPT_MS = 2_000
"""A task whose last event was as young as this is not behind, though more may have come since."""


class Reporter:
    """Looks at a worker's tasks now and then, and makes records of what it saw.

    ``end_of`` says where a partition of a topic ends.
    """

    def __init__(self, instance: str, end_of: Callable[[str, int], int | None]) -> None:
        self._instance = instance
        self._end_of = end_of
        self._prompt_ms: WeakKeyDictionary[ScoreTask, int] = WeakKeyDictionary()
        self._slowest_ms: int | None = None
        self._told_ms: int | None = None

    def saw(self, latency_ms: int) -> None:
        """Take in how long ago the oldest event of a batch had come when it was scored."""
        self._slowest_ms = max(latency_ms, self._slowest_ms or 0)

    def look(
        self, tasks: Mapping[Place, Task], keepers: Iterable[Keeper], now_ms: int
    ) -> list[Out]:
        """Look at the tasks; return what is to be told, if it is time.

        A worker without tasks tells as well: it is there, and takes over when another goes.
        """
        scoring = {place[1]: task for place, task in tasks.items() if isinstance(task, ScoreTask)}
        for task in scoring.values():
            young = task.oldest_ms is not None and now_ms - task.oldest_ms < PROMPT_MS
            if young or task.caught_up or task not in self._prompt_ms:
                self._prompt_ms[task] = now_ms
        if self._told_ms is None:
            self._told_ms = now_ms  # what is so at a start is so for seconds yet
        if now_ms - self._told_ms < REPORT_MS:
            return []
        self._told_ms = now_ms
        values = self._of_scoring(scoring, now_ms)
        learning = [task for task in tasks.values() if isinstance(task, LearnTask)]
        values["learner_records"] = sum(task.queued for task in learning) if learning else None
        late_s = [time.monotonic() - keeper.written_s for keeper in keepers if not keeper.at_rest]
        values["snapshot_ms"] = int(1000 * max(late_s, default=0))
        values["latency_ms"], self._slowest_ms = self._slowest_ms, None
        return [self._record(now_ms, {k: v for k, v in values.items() if v is not None})]

    def leaves(self, now_ms: int) -> list[Out]:
        """Return what is to be told where the worker ends on purpose."""
        return [self._record(now_ms, {}, leaves=True)]

    def _of_scoring(self, scoring: Mapping[int, ScoreTask], now_ms: int) -> dict[str, Any]:
        if not scoring:
            return {}
        waiting = 0
        for partition, task in scoring.items():
            for topic, at in task.positions().items():
                waiting += max(0, (self._end_of(topic, partition) or 0) - at)
        times = {
            "watermark_ms": max(task.watermark_ms for task in scoring.values()),
            "label_ms": max(task.label_ms for task in scoring.values()),
        }
        return {
            "behind_ms": max(now_ms - self._prompt_ms[task] for task in scoring.values()),
            "waiting": waiting,
            **{name: at_ms for name, at_ms in times.items() if at_ms > AT_ONCE},
        }

    def _record(self, now_ms: int, values: dict[str, Any], **more: Any) -> Out:
        told = {"stage": "health", "instance": self._instance, "at_ms": now_ms, "values": values}
        return Out(key=None, value=orjson.dumps(told | more))
