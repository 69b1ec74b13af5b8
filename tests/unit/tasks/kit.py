"""Small pipelines, records without a broker, and what a task's output says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from river import base, linear_model, preprocessing

from streamproc.codec import JsonCodec
from streamproc.events import Events, Labels
from streamproc.features import Calendar, Field, Window
from streamproc.models.scoring import Scorer
from streamproc.models.versions import loads
from streamproc.pipeline import Pipeline
from streamproc.tasks.learn import LearnTask
from streamproc.tasks.records import Headers, Out, Output, PlainRecord
from streamproc.tasks.score import ScoreTask

NOW_MS = 1_000_000_000
EVENTS, LABELS, LEARN = "shop.orders", "shop.labels", "shop.learn"


def pipeline(**changed: Any) -> Pipeline:
    """Return a pipeline with a window, labels and a logistic regression."""
    definition: dict[str, Any] = {
        "name": "shop",
        "events": Events(EVENTS, id="order", key="card", time="at"),
        "labels": Labels(LABELS, id="order", value="fraud", time="known_at", horizon="1s"),
        "features": [
            Field("amount"),
            Calendar("at", ("hour",)),
            Window(
                "amount", by="card", over=("50ms", "200ms"), aggregates=("count", "sum", "mean")
            ),
        ],
        "model": preprocessing.StandardScaler() | linear_model.LogisticRegression(),
        "publish_every": 10,
        "lateness": "20ms",
    }
    return Pipeline(**{**definition, **changed})


def record(
    topic: str, offset: int, value: Any, time_ms: int = 0, headers: Headers = ()
) -> PlainRecord:
    """Return a record; what is not bytes is written as JSON."""
    data = value if value is None or isinstance(value, bytes) else orjson.dumps(value)
    return PlainRecord(topic, offset, time_ms, b"key", data, headers)


def event(order: Any, at: Any, card: Any = 7, amount: Any = 5.0, **more: Any) -> dict[str, Any]:
    """Return an event."""
    return {"order": order, "card": card, "at": at, "amount": amount, **more}


def label(order: Any, known_at: Any, fraud: Any = 1) -> dict[str, Any]:
    """Return a label."""
    return {"order": order, "fraud": fraud, "known_at": known_at}


class Recorder(base.Classifier):
    """A model that keeps the amounts it learnt from, in order."""

    def __init__(self) -> None:
        self.amounts: list[float] = []

    def learn_one(self, x: Any, y: Any) -> None:
        """Remember, but for an amount it cannot bear."""
        if x["amount"] == -1.0:
            raise ValueError("cannot bear this")
        self.amounts.append(x["amount"])

    def predict_proba_one(self, x: Any, **kwargs: Any) -> dict[Any, float]:
        """Say nothing of use."""
        return {True: 0.5}


ALLOW = (f"{Recorder.__module__}.Recorder",)


class Scoring:
    """A score task and its two logs; ``put`` appends to them, ``out`` is all it has written."""

    def __init__(self, made: Pipeline | None = None, **options: Any) -> None:
        self.pipeline = made or pipeline()
        self.task = ScoreTask(self.pipeline, 0, JsonCodec(), **options)
        self.offsets = {EVENTS: 0, LABELS: 0}
        self.out: dict[str, list[Out]] = {}
        for topic in self.task.waiting():
            self.task.take(topic, [], True, NOW_MS)

    def put(
        self, topic: str, *values: Any, caught_up: bool = True, now_ms: int = NOW_MS, **more: Any
    ) -> Scoring:
        """Append values to a log and let the task take them in."""
        first = self.offsets[topic]
        records = [record(topic, first + i, value, **more) for i, value in enumerate(values)]
        self.offsets[topic] += len(records)
        self.task.take(topic, records, caught_up, now_ms)
        return self

    def run(self, now_ms: int = NOW_MS, most: int = 500) -> Scoring:
        """Process until nothing more is due."""
        before = None
        while before != (before := self.task.waiting()):
            collect(self.out, self.task.process(now_ms, most))
        return self

    def said(self, role: str) -> list[dict[str, Any]]:
        """Return the messages written to a topic."""
        return [orjson.loads(out["value"] or b"{}") for out in self.out.get(role, ())]

    def reasons(self) -> list[str]:
        """Return the reasons of the dead letters."""
        return [headers_of(out)["reason"] for out in self.out.get("dead_letters", ())]


def collect(into: dict[str, list[Out]], output: Output) -> None:
    """Add what a task wrote to what it wrote before."""
    for role, outs in output.records.items():
        into.setdefault(role, []).extend(outs)


def headers_of(out: Out) -> dict[str, str]:
    """Return the headers as text."""
    return {name: value.decode() for name, value in out.get("headers", ())}


class Learning:
    """A learn task and its log; keeps the versions it published, with their bytes."""

    def __init__(self, made: Pipeline, partitions: int) -> None:
        self.pipeline = made
        self.partitions = partitions
        self.log: list[PlainRecord] = []
        self.versions: list[dict[str, Any]] = []
        self.blobs: dict[str, bytes] = {}
        self.out: dict[str, list[Out]] = {}
        self.task = LearnTask(made, partitions)
        self.task.learner._allow = ALLOW

    def send(self, outs: Iterable[Out], now_ms: int = NOW_MS) -> None:
        """Append records to the log and let the task take them in."""
        records = [
            PlainRecord(LEARN, len(self.log) + i, 0, out["key"], out["value"])
            for i, out in enumerate(outs)
        ]
        self.log += records
        self.task.take(LEARN, records, True, now_ms)

    def run(self, now_ms: int = NOW_MS, most: int = 500, rounds: int = 1_000_000) -> list[Scorer]:
        """Process until nothing more is due; return the models of the new versions."""
        scorers = []
        for _ in range(rounds):
            output = self.task.process(now_ms, most)
            if not output.records:
                break
            collect(self.out, output)
            self.blobs |= output.blobs
            for out in output.records.get("models", ()):
                version = orjson.loads(out["value"] or b"{}")
                if "sha256" in version:
                    self.versions.append(version)
                    model = loads(output.blobs[version["sha256"]], ALLOW)
                    kind = self.pipeline.kind
                    scorers.append(Scorer(model, kind, None, 0.5, version["model"]))
        return scorers

    def crash(self, pieces: int = 2, unreadable: int = 0) -> None:
        """Start anew from the newest version; take in again, by pieces, what it doesn't know.

        The last so many versions are ``unreadable``: the one before them is gone on from.
        """
        self.task = LearnTask(self.pipeline, self.partitions)
        readable = self.versions[: len(self.versions) - unreadable]
        if readable:
            newest: Any = readable[-1]
            blob = self.blobs[newest["sha256"]]
            self.task.restore(newest, loads(blob, ALLOW), blob)
        self.task.silent_until = len(self.versions)
        self.task.learner._allow = ALLOW
        start = self.task.positions()[LEARN]
        size = (len(self.log) - start) // pieces + 1
        for at in range(start, len(self.log), size):
            self.task.take(LEARN, self.log[at : at + size], at + size >= len(self.log), NOW_MS)
            self.run(most=2)

    def hashes(self) -> list[tuple[int, int, str]]:
        """Return each version's number, outcomes and hash."""
        return [(v["version"], v["outcomes"], v["sha256"]) for v in self.versions]


def news(
    partition: int, watermark_ms: int, outcomes: Sequence[dict[str, Any]], sent: int, **more: Any
) -> Out:
    """Return what a score task tells the learner."""
    told = {
        "partition": partition, "epoch": 0, "outcomes_sent": sent, "watermark_ms": watermark_ms,
        "caught_up": False, "outcomes": list(outcomes), **more,
    }  # fmt: skip
    return Out(key=b"%d" % partition, value=orjson.dumps(told))


def outcome(record_id: Any, time_ms: int, amount: float = 1.0, fraud: Any = 1) -> dict[str, Any]:
    """Return an outcome as a score task sends it."""
    return {
        "id": str(record_id), "key": "k", "event_time_ms": time_ms - 5, "score": 0.25,
        "decision": False, "model": "main@0", "features": {"amount": amount, "gone": None},
        "scored_at_ms": 1, "trace": "t", "label": fraud, "label_time_ms": time_ms,
        "labelled_at_ms": 2,
    }  # fmt: skip
