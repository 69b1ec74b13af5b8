"""A pipeline on several partitions, in memory: its tasks, their logs, and a scheduler by chance."""

from __future__ import annotations

import random
import uuid
from collections import defaultdict
from collections.abc import Mapping
from typing import Any
from zlib import crc32

import orjson

from streamproc.codec import JsonCodec
from streamproc.pipeline import Pipeline
from streamproc.state.files import Files
from streamproc.state.snapshots import Snapshots
from streamproc.tasks.frozen import Freezer, thaw
from streamproc.tasks.records import Output, PlainRecord
from streamproc.tasks.rekeyed import RekeyedTask
from streamproc.tasks.replaying import replay
from streamproc.tasks.score import ScoreTask
from tests.unit.tasks.kit import EVENTS, LABELS, NOW_MS, record

Log = tuple[str, int]


class Cluster:
    """Score tasks and tasks of windows, each on every partition, and what they have written.

    Each step commits: what a task wrote, where it stands, and what waits there.
    """

    def __init__(self, made: Pipeline, partitions: int, chance: random.Random) -> None:
        self.pipeline, self.partitions, self.chance = made, partitions, chance
        self.logs: dict[Log, list[PlainRecord]] = defaultdict(list)
        self.committed: dict[Log, int] = defaultdict(int)
        self.queued: list[Mapping[str, int]] = [{} for _ in range(partitions)]
        self.read: dict[Log, int] = defaultdict(int)
        self.now_ms = NOW_MS
        self.crashes = self.thawed = 0
        folder = f"memory://{uuid.uuid4().hex}"
        self.kept = [Snapshots(Files(folder), f"rekeyed-{n}", {}) for n in range(partitions)]
        self.score = [self._new_score(n) for n in range(partitions)]
        self.windows = [self._new_windows(n) for n in range(partitions)]
        self.freezers = [Freezer(task) for task in self.windows]

    def _new_score(self, n: int) -> ScoreTask:
        return ScoreTask(self.pipeline, n, JsonCodec(), partitions=self.partitions)

    def _new_windows(self, n: int) -> RekeyedTask:
        return RekeyedTask(self.pipeline, n, self.partitions, track=True)

    def put(self, topic: str, key: object, value: Any) -> None:
        """Append an event or a label to the log of its key's partition."""
        partition = crc32(str(key).encode()) % self.partitions
        log = self.logs[topic, partition]
        log.append(record(topic, len(log), value))

    def step(self) -> bool:
        """Let one task, by chance, read some of its logs and process; say whether it did much."""
        self.now_ms += self.chance.choice((0, 1, 5, 40))
        n = self.chance.randrange(self.partitions)
        task: ScoreTask | RekeyedTask = self.chance.choice((self.score, self.windows))[n]
        topics = list(task.waiting())
        for topic in topics:
            log, at = self.logs[topic, n], self.read[topic, n]
            some = log[at : at + self.chance.choice((0, 1, 3, 50))]
            self.read[topic, n] = at + len(some)
            ended = self.read[topic, n] == len(log)
            task.take(topic, some, ended, self.now_ms)
        output = task.process(self.now_ms)
        self._write(n, output)
        for topic, at in task.positions().items():
            self.committed[topic, n] = at
        if isinstance(task, RekeyedTask):
            self.queued[n] = task.queued
        return not output.empty

    def _write(self, n: int, output: Output) -> None:
        topics = self.pipeline.topics
        written = {(getattr(topics, role), n): outs for role, outs in output.records.items()}
        sent = {(getattr(topics, role), to): outs for (role, to), outs in output.sent.items()}
        for (topic, to), outs in (*written.items(), *sent.items()):
            log = self.logs[topic, to]
            for out in outs:
                place = len(log)
                headers = out.get("headers")
                log.append(PlainRecord(topic, place, 0, out["key"], out["value"], headers))

    def keep(self) -> None:
        """Write a snapshot of one task of windows, of what changed since its last."""
        n = self.chance.randrange(self.partitions)
        freezer, kept = self.freezers[n], self.kept[n]
        freezer.begin(everything=not kept.chain)
        while not freezer.pack():
            pass
        taken = freezer.take()
        covers = (self.committed[self.pipeline.topics.rekeyed, n], 0)
        kept.write(covers, taken.tables, taken.meta, taken.floors, {})

    def crash(self) -> None:
        """Lose a task, by chance, and make it again from what is committed."""
        self.crashes += 1
        n = self.chance.randrange(self.partitions)
        if self.chance.random() < 0.5:
            self.score[n] = task = self._new_score(n)
            self._replay_score(task, n)
            topics = list(task.waiting())
        else:
            self.windows[n] = again = self._new_windows(n)
            self.freezers[n] = Freezer(again)
            topic = self.pipeline.topics.rekeyed
            to, start = self.committed[topic, n], 0
            found = self.kept[n].newest((to, 0))
            if found is not None:
                thaw(again, found)
                start = found.offsets[0]
                self.thawed += 1
            again.replay(self.logs[topic, n][start:to])
            again.settle(self.queued[n])
            topics = [topic]
        for topic in topics:
            self.read[topic, n] = self.committed[topic, n]

    def _replay_score(self, task: ScoreTask, n: int) -> None:
        events, labels = self.committed[EVENTS, n], self.committed[LABELS, n]
        said = {orjson.loads(each.value() or b"")["id"]: each.value() or b""
                for each in self.logs[self.pipeline.topics.predictions, n]}  # fmt: skip
        replay(
            task,
            self.logs[EVENTS, n][:events],
            self.logs[LABELS, n][:labels],
            lambda made: said.get(made.id),
            [(events, labels)],
            NOW_MS,
        )

    def run(self, crashes: float = 0.0) -> None:
        """Run until nothing more comes of any task; a share of the steps is a crash, up to 40."""
        idle = 0
        while idle < 60 * self.partitions:
            if self.crashes < 40 and self.chance.random() < crashes:
                self.keep()
                self.crash()
            idle = 0 if self.step() else idle + 1

    def said(self, role: str) -> list[dict[str, Any]]:
        """Return the messages on a topic, of all partitions."""
        return [each for n in range(self.partitions) for each in self.said_in(role, n)]

    def said_in(self, role: str, n: int) -> list[dict[str, Any]]:
        """Return the messages in one partition of a topic."""
        log = self.logs[getattr(self.pipeline.topics, role), n]
        return [orjson.loads(each.value() or b"{}") for each in log]
