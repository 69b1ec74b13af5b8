"""What a worker does of its own accord: events/s, CPU and memory on a backlog of payments."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, TopicPartition

from benchmarks.payments import PARTITIONS
from benchmarks.processes import Process
from streamproc.kafka.topics import create
from streamproc.pipeline import Pipeline

_LOOK_EVERY_S = 0.05
_PATIENCE_S = 20.0
_MARKERS = 2 * PARTITIONS
"""How many offsets there may be after the last record: a transaction ends with a marker."""


@dataclass(frozen=True)
class Run:
    """One run of a worker, from its first to its last prediction."""

    events: int
    seconds: float
    cpu_s: float
    rss_mb: float
    outcomes: int

    @property
    def events_per_s(self) -> float:
        """Events a second of time."""
        return self.events / self.seconds

    @property
    def cpu_us_per_event(self) -> float:
        """CPU, user and system, of all threads of the process."""
        return self.cpu_s / self.events * 1e6


class Counter:
    """Counts the records of a topic by its offsets."""

    def __init__(self, brokers: str, topic: str) -> None:
        self._consumer = Consumer({"bootstrap.servers": brokers, "group.id": "benchmarks"})
        self._partitions = [TopicPartition(topic, n) for n in range(PARTITIONS)]

    def count(self) -> int:
        """Return how many records there are."""
        return sum(self._end(each) for each in self._partitions)

    def _end(self, partition: TopicPartition) -> int:
        deadline_s = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return int(self._consumer.get_watermark_offsets(partition, timeout=10.0)[1])
            except KafkaException:  # a topic just made may not have its leader yet
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(_LOOK_EVERY_S)

    def close(self) -> None:
        """Close the connections."""
        self._consumer.close()


class Committed(Counter):
    """Counts a topic's records that a group has dealt with: markers of transactions are none."""

    def __init__(self, brokers: str, topic: str, group: str) -> None:
        super().__init__(brokers, topic)
        self._consumer = Consumer({"bootstrap.servers": brokers, "group.id": group})

    def count(self) -> int:
        """Return how many records are dealt with."""
        return sum(max(0, each.offset) for each in self._consumer.committed(self._partitions, 10.0))


def start_worker(path: Path, brokers: str, guarantee: str) -> Process:
    """Start ``streamproc worker`` on a pipeline file."""
    env = {
        "STREAMPROC_BROKERS": brokers,
        "STREAMPROC_STORE": str(path.parent / "store"),
        "STREAMPROC_GUARANTEE": guarantee,
    }
    command = ["-m", "streamproc.cli", "worker", str(path)]
    return Process(command, path.with_suffix(".log"), env)


def run_worker(
    path: Path,
    brokers: str,
    events: int,
    timeout_s: float,
    guarantee: str,
    folds: Sequence[str] = (),
) -> Run:
    """Let a worker score ``events`` that were produced before; it is ended when it has.

    ``folds`` are topics of its own that it is to have read to their end, too.
    """
    pipeline = Pipeline.load(path)
    create({"bootstrap.servers": brokers}, pipeline, partitions=PARTITIONS)
    topics = pipeline.topics
    outcomes = Counter(brokers, topics.outcomes)
    predictions = (
        Committed(brokers, topics.events, pipeline.name)
        if guarantee == "exactly_once"
        else Counter(brokers, topics.predictions)
    )
    folded = [(Counter(brokers, it), Committed(brokers, it, pipeline.name)) for it in folds]
    with start_worker(path, brokers, guarantee) as worker:
        deadline_s = time.monotonic() + timeout_s
        first: tuple[int, float, float] | None = None
        while True:
            worker.check()
            done, cpu_s, now_s = predictions.count(), worker.cpu_s(), time.monotonic()
            if done and first is None:
                first = (done, cpu_s, now_s)
            behind = (end.count() - own.count() for end, own in folded)
            if first is not None and done >= events and all(n <= _MARKERS for n in behind):
                break
            if now_s > deadline_s:
                raise RuntimeError(f"{done} of {events} predictions came within {timeout_s} s")
            time.sleep(_LOOK_EVERY_S)
        run = Run(
            events=done - first[0],
            seconds=now_s - first[2],
            cpu_s=cpu_s - first[1],
            rss_mb=worker.rss_mb(),
            outcomes=outcomes.count(),
        )
    for counter in (outcomes, predictions, *(each for both in folded for each in both)):
        counter.close()
    return run
