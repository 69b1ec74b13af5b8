"""What monitors cost a worker on Kafka: CPU an event, with and without them, by turns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks import payments
from benchmarks.monitors import KINDS, SPANS
from benchmarks.throughput import Run, run_worker
from streamproc.pipeline import Pipeline

TURNS = 2
_TIMEOUT_S = 900.0
_MONITORS = re.compile(r"monitors=\[.*?\n    \],", re.DOTALL)
_WINDOWS = 'over=("1d", "7d", "30d"), aggregates=("count", "mean")'
WIDE = {_WINDOWS: f"over={SPANS}, aggregates={KINDS}",
         "PredictionBias()": 'PredictionBias(slices=("terminal_id",))'}  # fmt: skip
"""48 features, which with score and decision are 50 series, and as many slices as there may be."""


class Cost(NamedTuple):
    """Medians of CPU, of all threads of the worker, in microseconds an event."""

    name: str
    without_us: float
    hourly_us: float
    daily_us: float

    def share(self, with_us: float) -> float:
        """Return which part of a worker's CPU with monitors is theirs."""
        return 1 - self.without_us / with_us


def measured(folder: Path, brokers: str) -> Iterator[Cost]:
    """Yield what the example costs, then one of many features and slices; July is sent first."""
    files = payments.months("07")
    sent = payments.send(
        files, Pipeline.load(payments.named(folder, "sent", "watched")), brokers
    ).sent
    for name, changes in (("example", {}), ("wide", WIDE)):
        runs: dict[str, list[Run]] = {"none": [], "1h": [], "1d": []}
        for turn in range(TURNS):
            for bucket, done in runs.items():
                path = pipeline_file(folder, f"{name}-{bucket}-{turn}", changes, bucket)
                own = Pipeline.load(path).topics
                folds = () if bucket == "none" else (own.predictions, own.outcomes)
                more = (_TIMEOUT_S, "exactly_once", folds)
                done.append(run_worker(path, brokers, sent["event"], *more))
        yield Cost(name, *(median(run.cpu_us_per_event for run in done) for done in runs.values()))


def pipeline_file(folder: Path, name: str, changes: dict[str, str], bucket: str) -> Path:
    """Write the example with other features, and with other buckets or without monitors."""
    path = payments.named(folder, f"watched-{name}", "watched")
    text = path.read_text()
    for old, new in changes.items():
        if old not in text:
            raise RuntimeError(f"examples/payments.py has no {old} any more")
        text = text.replace(old, new)
    (watched,) = _MONITORS.findall(text)
    if bucket == "none":
        new = "monitors=[],"
    else:
        new = re.sub(r"(?<!Health)\(\)", f'(bucket="{bucket}")', watched)
        new = new.replace('",))', f'",), bucket="{bucket}")')
    path.write_text(text.replace(watched, new))
    return path
