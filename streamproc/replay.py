"""A file through the very path that production runs, with no broker: the backtest.

The tasks are those the worker runs, fed as one partition. Model versions are taken up at once, so
that a replay is what an infinitely fast worker would have done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import orjson
from river import dummy, stats

from streamproc.alerts import new_judge
from streamproc.codec import JsonCodec
from streamproc.errors import DefinitionError
from streamproc.features.lookup import Find
from streamproc.models.scoring import Scorer
from streamproc.models.versions import loads
from streamproc.monitors import outcome_fold
from streamproc.pipeline import Pipeline
from streamproc.tasks.fold import FoldTask, predictions_task, watches_predictions
from streamproc.tasks.judge import JudgeTask
from streamproc.tasks.learn import IDLE_MS, LearnTask
from streamproc.tasks.records import Out, Output, PlainRecord, Task
from streamproc.tasks.score import ScoreTask
from streamproc.timeline import Entry

AT_ONCE = 1_000
"""How many records are fed at once, at most, if not said otherwise."""

LEAST_AT_ONCE = 10
"""How many are, at least, where a bucket of the monitors ends: one by one takes twice the CPU."""

_NO_END_MS = 1 << 62


def without_model(pipeline: Pipeline) -> Pipeline:
    """Return a pipeline that computes the same features and joins the same labels, and no more.

    It has no monitors, and a model that takes next to no time; for what needs features alone.
    """
    regression = pipeline.kind == "regression"
    model = dummy.StatisticRegressor(stats.Mean()) if regression else dummy.PriorClassifier()
    return replace(pipeline, model=model, monitors=(), publish_every=1 << 30)


class Replay:
    """Runs entries through a pipeline; hands on what each topic would have got.

    ``now_ms`` stands for the clock: no event may be later. Alerts are told at the time of the
    newest record that was fed by then. ``on_output`` is called with each output of a task, after it
    was taken in downstream. ``find`` returns the rows that are looked up, as ``PastTables.find``
    does; raises :class:`DefinitionError` where it is needed. No more than ``at_once`` records are
    fed at once, and fewer where a bucket of the monitors ends, so that alerts come as soon as live.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        now_ms: int,
        on_output: Callable[[Output], None],
        find: Find | None = None,
        at_once: int | None = None,
    ) -> None:
        if pipeline.lookups and find is None:
            names = ", ".join(pipeline.lookup_topics)
            raise DefinitionError(f"rows of {names} are looked up; say where by find=")
        self.pipeline = pipeline
        self.now_ms = now_ms
        self.models: list[Scorer] = []
        self._newest_ms = 0
        lengths_ms = (getattr(each, "bucket_ms", _NO_END_MS) for each in pipeline.monitors)
        self._bucket_ms = min(lengths_ms, default=_NO_END_MS)
        self._on_output = on_output
        self._at_once = AT_ONCE if at_once is None else at_once
        codec, topics = JsonCodec(), pipeline.topics
        self.score = ScoreTask(pipeline, 0, codec)
        if find is not None:
            self.score.look_up(find)
        self.learn = LearnTask(pipeline, partitions=1)
        self._down: dict[str, tuple[Task, str]] = {"learn": (self.learn, topics.learn)}
        self._watching: Task | None = None
        if watches_predictions(pipeline):
            self._watching = watching = predictions_task(pipeline, 0, codec)
            for role in ("predictions", "dead_letters", "late"):
                if (topic := getattr(topics, role)) in watching.waiting():
                    self._down[role] = (watching, topic)
        of_outcomes = outcome_fold(pipeline)
        if of_outcomes is not None:
            bias = FoldTask("bias", 0, of_outcomes, topics.outcomes, "outcome", codec)
            self._down["outcomes"] = (bias, topics.outcomes)
        if pipeline.monitors:
            judge = JudgeTask(new_judge(pipeline, 1), topics.buckets, codec)
            self._down["buckets"] = (judge, topics.buckets)
        self._offsets = dict.fromkeys((*self._down, "event", "label", *pipeline.reaction_topics), 0)

    def run(self, entries: Iterable[Entry]) -> None:
        """Process all entries, then what was still waiting for its turn."""
        remaining = iter(entries)
        while chunk := self._chunk(remaining):
            self._feed(chunk)
        self.now_ms += IDLE_MS  # the silence after which a learner that waits goes on
        for task, _ in list(self._down.values()):
            self._drain(task)

    def _chunk(self, entries: Iterator[Entry]) -> list[Entry]:
        """Take entries up to the outcome that may complete a version, which is then taken up.

        Or to what ends a bucket of the monitors, which is then judged.
        """
        counted = "label" if self.pipeline.labels else "event"
        left = max(1, self.learn.until_version - self.learn.queued)
        chunk: list[Entry] = []
        ended = False
        for entry in islice(entries, self._at_once):
            chunk.append(entry)
            left -= entry.kind == counted
            if self._newest_ms < entry.time_ms <= self.now_ms:  # the future is refused
                ended |= entry.time_ms // self._bucket_ms > self._newest_ms // self._bucket_ms
                self._newest_ms = entry.time_ms
            if not left or (ended and len(chunk) >= LEAST_AT_ONCE):
                break
        return chunk

    def _feed(self, chunk: list[Entry]) -> None:
        topics = self.pipeline.topics
        # Before the predictions by which their bucket is over.
        for topic in self.pipeline.reaction_topics:
            came = [entry for entry in chunk if entry.topic == topic]
            if came and self._watching is not None:
                records = self._inputs(topic, topic, came)
                self._watching.take(topic, records, True, self.now_ms)
        for kind, of_kind in (("event", topics.events), ("label", topics.labels)):
            if of_kind:
                came = [entry for entry in chunk if entry.kind == kind]
                records = self._inputs(kind, of_kind, came)
                self.score.take(of_kind, records, True, self.now_ms)
        self._drain(self.score)

    def _inputs(self, counted: str, topic: str, came: list[Entry]) -> list[PlainRecord]:
        first = self._offsets[counted]
        self._offsets[counted] = first + len(came)
        return [
            PlainRecord(topic, first + i, entry.time_ms, entry.key, entry.value)
            for i, entry in enumerate(came)
        ]

    def _drain(self, task: Task) -> None:
        """Let a task process all that is due, and those downstream of it."""
        while (output := task.process(self.now_ms)).records:
            self._on_output(output)
            self._take_up(output)
            for role, (below, topic) in self._down.items():
                if outs := output.records.get(role):
                    below.take(topic, self._records(role, topic, outs), True, self.now_ms)
                    self._drain(below)

    def _records(self, role: str, topic: str, outs: list[Out]) -> list[PlainRecord]:
        first = self._offsets[role]
        self._offsets[role] = first + len(outs)
        time_ms = self._newest_ms if role == "buckets" else self.now_ms
        return [
            PlainRecord(topic, first + i, time_ms, out["key"], out["value"], out.get("headers"))
            for i, out in enumerate(outs)
        ]

    def _take_up(self, output: Output) -> None:
        pipeline = self.pipeline
        for out in output.records.get("models", ()):
            record: dict[str, Any] = orjson.loads(out["value"] or b"{}")
            if "sha256" in record:
                model = loads(output.blobs[record["sha256"]])
                name = record["model"]
                scorer = Scorer(model, pipeline.kind, pipeline.classes, pipeline.threshold, name)
                self.models.append(scorer)
                self.score.take_up(scorer)
