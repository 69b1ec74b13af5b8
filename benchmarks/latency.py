"""End-to-end latency at a steady rate: from ``produce()`` to the consumer with the prediction."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.payments import PARTITIONS
from benchmarks.processes import Process
from benchmarks.throughput import Counter, start_worker
from streamproc.kafka.topics import create
from streamproc.pipeline import Pipeline

RATE = 1_000
WARM_UP_S = 40.0
"""A broker that has just been started takes so long until its code is compiled."""

WINDOW_S = 20.0
WINDOWS = 3
_START_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Latency:
    """What the consumer saw, over all and by window, and how the load and the worker did."""

    overall: dict[str, Any]
    windows: list[dict[str, Any]]
    load: dict[str, float]
    worker_cpu_us_per_event: float
    outcomes: int


def measure(path: Path, brokers: str, guarantee: str) -> Latency:
    """Run a worker, the load and a consumer, each a process of its own."""
    pipeline = Pipeline.load(path)
    create({"bootstrap.servers": brokers}, pipeline, partitions=PARTITIONS)
    topics, folder = pipeline.topics, path.parent
    seconds = WARM_UP_S + WINDOW_S * WINDOWS
    received = ["-m", "benchmarks.receive", brokers, topics.predictions]
    received += [str(WARM_UP_S), str(WINDOW_S), str(WINDOWS)]
    sent = ["-m", "benchmarks.load", brokers, topics.events, str(topics.labels)]
    sent += [str(RATE), str(seconds + 2)]
    with (
        start_worker(path, brokers, guarantee) as worker,
        Process(received, folder / "receive.log", {}) as receiver,
    ):
        wait_for(worker, '"stage":"score"', PARTITIONS)
        wait_for(receiver, "ready", 1)
        with Process(sent, folder / "load.log", {}) as load:
            began_cpu_s = worker.cpu_s()
            overall, *windows = json.loads(receiver.wait(seconds + 90).splitlines()[-1])
            cpu_s = worker.cpu_s() - began_cpu_s
            told = json.loads(load.wait(30).splitlines()[-1])
        counter = Counter(brokers, topics.outcomes)
        outcomes = counter.count()
        counter.close()
    cpu_us = cpu_s / told["sent"] * 1e6
    return Latency(overall, windows, told, cpu_us, outcomes)


def wait_for(process: Process, text: str, times: int) -> None:
    """Wait until a text is in a process' log so many times."""
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while process.log.read_text(errors="replace").count(text) < times:
        process.check()
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"{text!r} is not in {process.log} after {_START_TIMEOUT_S:.0f} s")
        time.sleep(0.1)
