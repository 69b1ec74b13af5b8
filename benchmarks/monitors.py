"""What monitors cost a worker: CPU an event, beside scoring and learning from the same payments.

All in process time, without brokers: the tasks are a worker's own, fed by a replay of July.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import payments
from benchmarks.processes import ROOT
from streamproc import Drift, Field, PredictionBias, Window
from streamproc.alerts import new_judge
from streamproc.codec import JsonCodec
from streamproc.files import Row, rows
from streamproc.monitors import outcome_fold
from streamproc.monitors.sketch import Sketch
from streamproc.pipeline import Pipeline
from streamproc.replay import Replay
from streamproc.tasks.fold import FoldTask, predictions_task
from streamproc.tasks.judge import JudgeTask
from streamproc.tasks.records import Out, Output, PlainRecord, Task
from streamproc.tasks.sums import sums_in_records

BATCH = 1_000
EVENTS = 150_000
"""Payments, the first of July: 16 days, of which labels come for nine."""

SLICES, PARTITIONS, MANY = 200, 16, 1_000
HOUR_MS = 3_600_000
SPANS = ("1h", "3h", "6h", "12h", "1d", "2d", "3d", "5d", "7d")
KINDS = ("count", "mean", "std", "max", "sum")
REGION = "region"
_BUCKETS, _MEASURED, _VALUES = 36, 8, 200
Made = Callable[[], Pipeline]


@dataclass
class Written:
    """What a replay wrote, by role."""

    by_role: dict[str, list[Out]] = field(default_factory=dict)

    def take(self, output: Output) -> None:
        """Keep what a task put out."""
        for role in ("predictions", "outcomes", "buckets"):
            self.by_role.setdefault(role, []).extend(output.records.get(role, ()))

    def records(self, role: str) -> list[PlainRecord]:
        """Return the records of one topic."""
        return [
            PlainRecord(role, at, 1 << 40, out["key"], out["value"], out.get("headers"))
            for at, out in enumerate(self.by_role.get(role, ()))
        ]


@dataclass(frozen=True)
class Figures:
    """Microseconds of CPU an event; ``decoding_us`` is part of both folds."""

    series: int
    slices: int
    bucket: str
    scoring_us: float
    decoding_us: float
    predictions_us: float
    outcomes_us: float
    judge_us: float
    sums_bytes: float

    @property
    def monitors_us(self) -> float:
        """What all monitors cost an event."""
        return self.predictions_us + self.outcomes_us + self.judge_us


@dataclass(frozen=True)
class Many:
    """What many series on many partitions cost the one judge."""

    ms_per_bucket: float
    us_per_row: float
    kb_per_series: float


def example() -> Pipeline:
    """Return the example's pipeline."""
    return Pipeline.load(ROOT / "examples" / "payments.py")


def wide() -> Pipeline:
    """Return it with 48 features, which with score and decision are 50 series, and 200 slices."""
    base = example()
    window = Window("amount", by="customer_id", over=SPANS, aggregates=KINDS)
    monitors = [
        PredictionBias(slices=(REGION,)) if isinstance(each, PredictionBias) else each
        for each in base.monitors
    ]
    return replace(base, features=(*base.features[:2], window), monitors=monitors)


def bucketed(pipeline: Pipeline, bucket: str) -> Pipeline:
    """Return it with other buckets: at 0.11 payments/s an hour has 400, a day 9,600."""
    watched: Sequence[Any] = pipeline.monitors
    with_buckets = [each for each in watched if hasattr(each, "bucket")]  # not health
    return replace(pipeline, monitors=[replace(each, bucket=bucket) for each in with_buckets])


def measure(pipeline: Pipeline, bucket: str, most: int = EVENTS) -> Figures:
    """Measure a pipeline's monitors on so many payments."""
    pipeline = bucketed(pipeline, bucket)
    fed = list(_entries(pipeline, most))
    events = sum(entry.kind == "event" for entry in fed)
    bare, written = replace(pipeline, monitors=[]), Written()
    scoring_us = _us(lambda: Replay(bare, 1 << 60, lambda _: None).run(fed), events)
    Replay(pipeline, 1 << 60, written.take).run(fed)
    codec, judged = JsonCodec(), written.records("buckets")
    predictions, outcomes = written.records("predictions"), written.records("outcomes")
    of_outcomes, of_predictions = outcome_fold(pipeline), predictions_task(pipeline, 0, codec)
    assert of_outcomes is not None
    (topic, *_) = of_predictions.waiting()
    bias = FoldTask("bias", 0, of_outcomes, "outcomes", "outcome", codec)
    judge = JudgeTask(new_judge(pipeline, 1), "buckets", codec)

    def decode() -> None:
        for role in (predictions, outcomes):
            for at in range(0, len(role), BATCH):
                codec.decode_many("prediction", [it.value() for it in role[at : at + BATCH]])

    return Figures(
        series=len(pipeline.numeric_features) + 2,
        slices=SLICES if pipeline.slice_fields else 0,
        bucket=bucket,
        scoring_us=scoring_us,
        decoding_us=_us(decode, events),
        predictions_us=_us(lambda: _run(of_predictions, topic, predictions), events),
        outcomes_us=_us(lambda: _run(bias, "outcomes", outcomes), events),
        judge_us=_us(lambda: _run(judge, "buckets", judged), events),
        sums_bytes=sum(len(it.value() or b"") for it in judged) / events,
    )


def measure_many() -> Many:
    """Measure one judge on 1,000 series of 16 partitions, each with 200 values a bucket."""
    names = [f"f{i}" for i in range(MANY)]
    made = replace(
        example(), features=[Field(name) for name in names], monitors=[Drift(reference="1d")]
    )
    chance = np.random.default_rng(7)
    pool = [Sketch.of(chance.normal(size=_VALUES)).packed() for _ in range(257)]
    judge = JudgeTask(new_judge(made, PARTITIONS), "buckets", JsonCodec())
    before_kb, spent_s = _rss_kb(), 0.0
    for hour in range(_BUCKETS):
        taken = []
        for partition in range(PARTITIONS):
            first = (hour * PARTITIONS + partition) * 31
            series = {name: pool[(first + i) % len(pool)] for i, name in enumerate(names)}
            bucket = {"stage": "drift", "monitor": 0, "bucket_ms": hour * HOUR_MS, "series": series}
            passed_ms = (hour + 1) * HOUR_MS + made.lateness_ms
            taken += sums_in_records("drift", partition, passed_ms, False, [bucket])
        began_s = time.process_time()
        told = [PlainRecord("buckets", at, 0, None, value) for at, value in enumerate(taken)]
        _run(judge, "buckets", told)
        spent_s += (time.process_time() - began_s) * (hour >= _BUCKETS - _MEASURED)
    assert not judge.judge.late
    ms = spent_s / _MEASURED * 1e3
    kb = (_rss_kb() - before_kb) / MANY
    return Many(ms, ms * 1e3 / MANY / PARTITIONS, kb)


def _entries(pipeline: Pipeline, most: int) -> Iterator[Any]:
    """Yield payments of July, and their labels, with the field that is sliced by."""

    def sliced(found: Iterable[Row]) -> Iterator[dict[str, Any]]:
        for row in islice(found, most):
            yield {**row, REGION: f"r{int(str(row['customer_id'])) % SLICES}"}

    return payments.due((row for path in payments.months("07") for row in sliced(rows(path))),
                        pipeline)  # fmt: skip


def _run(task: Task, topic: str, records: list[PlainRecord]) -> None:
    for at in range(0, len(records), BATCH):  # at a thousand a second
        task.take(topic, records[at : at + BATCH], True, at)
        task.process(at)


def _us(run: Callable[[], None], events: int) -> float:
    gc.collect()
    began_s = time.process_time()
    run()
    return (time.process_time() - began_s) / events * 1e6


def _rss_kb() -> float:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4.096
