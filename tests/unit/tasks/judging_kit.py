"""A judge whose one monitor notices any difference in what it is given, and logs for it."""

from __future__ import annotations

import hashlib
import random
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import orjson
import pytest

from streamproc import alerts
from streamproc.monitors import Drift
from streamproc.monitors.finding import Finding
from streamproc.monitors.judge import Judge
from streamproc.monitors.spec import Watched
from streamproc.state.snapshots import Snapshots
from streamproc.tasks import judging
from streamproc.tasks.judge import JudgeTask
from streamproc.tasks.judging import JudgeFreezer
from tests.unit.monitors.streams import HOUR_MS, Facts

FACTS = Facts(monitors=[Drift(bucket="1h")])
PARTITIONS = 3


class Chain:
    """Finds something, or not, by a hash of all that it was ever given, in its order."""

    def __init__(self) -> None:
        self.hash = b""

    def combined(self, parts: Sequence[int]) -> int:
        """Return the sum."""
        return sum(parts)

    def relearn(self, key: str) -> bool:
        """Do nothing: it learns nothing."""
        return False

    def update(self, start_ms: int, rows: dict[str, Any]) -> list[Finding]:
        """Return a finding in three of four buckets; in every second of these it is over."""
        self.hash = hashlib.sha256(
            self.hash + orjson.dumps([start_ms, list(rows.items())])
        ).digest()
        if not self.hash[0] % 4:
            return []
        subject, effect = "ab"[self.hash[1] % 2], float(self.hash[2])
        return [
            Finding(
                "covariate_drift", subject, None, self.hash[0] % 2 == 0, "warning", effect,
                effect, 0.1, 0.0, effect, self.hash[3], start_ms, self.hash.hex(),
            )
        ]  # fmt: skip


def new_judge(pipeline: Watched = FACTS, partitions: int = PARTITIONS) -> Judge:
    """Return a judge with such a monitor in the place of its first."""
    judge = alerts.new_judge(pipeline, partitions)
    judge._monitors[0] = Chain()
    return judge


@contextmanager
def chains_allowed() -> Iterator[None]:
    """Let snapshots hold such a monitor, in a row of its own."""
    names = judging.allowed() | {f"{__name__}.Chain"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "_APART", (*judging._APART, Chain))
        patch.setattr(judging, "allowed", lambda: names)
        yield


def keep(snapshots: Snapshots, task: JudgeTask, at: int) -> None:
    """Write a snapshot of a task at an offset."""
    freezer = JudgeFreezer(task)
    freezer.begin()
    while not freezer.pack():
        assert task.held
    assert not task.held
    frozen = freezer.take()
    snapshots.chain = []
    snapshots.write((at, 0), frozen.tables, frozen.meta, frozen.floors, {})


def sums_of(hours: int, partitions: int = PARTITIONS) -> list[bytes]:
    """Return a log of sums, three records an hour and partition; partitions take turns."""
    chance = random.Random(7)
    return [
        orjson.dumps(
            {
                "stage": "drift",
                "partition": partition,
                "watermark_ms": hour * HOUR_MS + third,
                "caught_up": chance.random() < 0.5,
                "buckets": [
                    {
                        "monitor": 0,
                        "bucket_ms": hour * HOUR_MS,
                        "series": {name: chance.randrange(9) for name in "xyz"},
                    }
                ],
            }
        )
        for hour in range(hours)
        for third in range(3)
        for partition in range(partitions)
    ]


def plain(value: Any) -> Any:
    """Return all that an object is made of, to the bit, whichever parts of it are one object.

    >>> plain([1, (2.0, {"a": None})])
    ['1', ['2.0', [("'a'", 'None')]]]
    """
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, dict):
        return [(plain(key), plain(each)) for key, each in value.items()]
    if isinstance(value, list | tuple | deque):
        return [plain(each) for each in value]
    if type(value).__module__ == "builtins":
        return repr(value)
    return type(value).__name__, plain(value.__reduce_ex__(5)[1:3])
