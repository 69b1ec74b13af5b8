"""A worker with a million entities and a million predictions that wait, killed and started again.

Also what its snapshots cost at that size, under a steady load.
"""

from __future__ import annotations

import json
import re
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.latency import wait_for
from benchmarks.payments import PARTITIONS
from benchmarks.processes import Process
from benchmarks.throughput import Committed, start_worker
from streamproc.kafka.topics import create
from streamproc.pipeline import Pipeline

ENTITIES = 1_000_000
RATE = 5_000
LOAD_S = 40.0
_SPREAD_MS = 5 * 86_400_000
_LOOK_EVERY_S = 0.01
_TIMEOUT_S = 600.0
_AGAIN_S = 12.0
_CPU = re.compile(rb"^streamproc_snapshot_cpu_seconds_total ([0-9.e+-]+)", re.M)
_URL = re.compile(r'"metrics":"([^"]+)"')


@dataclass(frozen=True)
class Restart:
    """How long the first output took after a start, and what snapshots took of the CPU."""

    first_output_s: float
    steps: dict[str, float]
    snapshot_cpu_share: float
    snapshot_core_share: float
    stored_mb: float
    rss_mb: float


def measure(path: Path, brokers: str) -> Restart:
    """Fill the state, load it, kill the worker and start it again."""
    pipeline = Pipeline.load(path)
    create({"bootstrap.servers": brokers}, pipeline, partitions=PARTITIONS)
    _fill(brokers, pipeline)
    topics = pipeline.topics
    load = ["-m", "benchmarks.load", brokers, topics.events, str(topics.labels), str(RATE)]
    with start_worker(path, brokers, "exactly_once") as worker:
        _wait_until_scored(brokers, pipeline, worker)
        command = [*load, str(LOAD_S + _AGAIN_S + 20), str(ENTITIES)]
        with Process(command, path.parent / "restart-load.log", {}):
            time.sleep(_AGAIN_S)  # the first snapshot, of all there is, is written by then
            began = (time.monotonic(), worker.cpu_s(), _snapshot_cpu_s(worker))
            time.sleep(LOAD_S)
            took = (time.monotonic(), worker.cpu_s(), _snapshot_cpu_s(worker))
            wall_s, cpu_s, snapshot_s = (b - a for a, b in zip(began, took, strict=True))
            rss_mb = worker.rss_mb()
            worker.kill()
            time.sleep(1.0)  # so that there is something to predict after the start
    first_s, steps = _started_again(path, brokers, topics.predictions)
    folder = path.parent / "store/snapshots" / pipeline.name
    stored = sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
    return Restart(first_s, steps, snapshot_s / cpu_s, snapshot_s / wall_s, stored / 2**20, rss_mb)


def _fill(brokers: str, pipeline: Pipeline) -> None:
    """Produce one payment of each customer, over some days until now."""
    now_ms = time.time_ns() // 1_000_000
    producer = Producer({"bootstrap.servers": brokers, "partitioner": "murmur2_random"})
    for customer in range(ENTITIES):
        event = {
            "transaction_id": -1 - customer,
            "event_time": now_ms - _SPREAD_MS + customer * _SPREAD_MS // ENTITIES,
            "customer_id": customer,
            "terminal_id": customer % 10_000,
            "amount": customer % 1_000 / 10,
        }
        while True:
            try:
                producer.produce(pipeline.topics.events, orjson.dumps(event), b"%d" % customer)
                break
            except BufferError:
                producer.poll(0.1)
    if producer.flush(60):
        raise RuntimeError("the broker did not take what the benchmark sent")


def _wait_until_scored(brokers: str, pipeline: Pipeline, worker: Process) -> None:
    wait_for(worker, '"stage":"score"', PARTITIONS)
    counter = Committed(brokers, pipeline.topics.events, pipeline.name)
    deadline_s = time.monotonic() + _TIMEOUT_S
    while counter.count() < ENTITIES:
        worker.check()
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"{counter.count()} of {ENTITIES} events were scored in time")
        time.sleep(_LOOK_EVERY_S)
    counter.close()


def _snapshot_cpu_s(worker: Process) -> float:
    url = _URL.search(worker.log.read_text(errors="replace"))
    assert url is not None  # it has started
    with urllib.request.urlopen(url[1], timeout=30) as answer:
        found = _CPU.search(answer.read())
    return float(found[1]) if found else 0.0


def _started_again(path: Path, brokers: str, topic: str) -> tuple[float, dict[str, float]]:
    """Start the worker; return when the first new prediction was read, and what came when."""
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "benchmarks",
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 10,
        }
    )
    ends = [TopicPartition(topic, n) for n in range(PARTITIONS)]
    for each in ends:
        each.offset = consumer.get_watermark_offsets(each, timeout=10)[1]
    consumer.assign(ends)
    wall_s, began_s = time.time(), time.monotonic()
    with start_worker(path, brokers, "exactly_once") as worker:
        while (message := consumer.poll(_LOOK_EVERY_S)) is None or message.error():
            worker.check()
            if time.monotonic() > began_s + _TIMEOUT_S:
                raise RuntimeError("nothing was predicted after the start")
        first_s = time.monotonic() - began_s
        steps = _steps(worker.log, wall_s)
    consumer.close()
    return first_s, steps


def _steps(log: Path, wall_s: float) -> dict[str, float]:
    """Return when things were logged first, in seconds since the start."""
    from datetime import datetime

    found: dict[str, float] = {}
    for line in log.read_bytes().splitlines():
        try:
            said: dict[str, Any] = json.loads(line)
        except ValueError:
            continue
        at_s = datetime.fromisoformat(said["time"].replace("Z", "+00:00")).timestamp() - wall_s
        found.setdefault(said["event"], at_s)
        if said["event"] == "state_restored":
            for name in ("thaw_ms", "replay_ms", "replayed_events"):
                found[name] = max(found.get(name, 0), said[name])
    return found
