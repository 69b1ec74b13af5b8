"""The consumer of the latency benchmark, in a process of its own.

``python -m benchmarks.receive BROKERS TOPIC WARM_UP_S WINDOW_S WINDOWS``. Prints ``ready`` when it
listens, and at the end one JSON object with the latencies of each window.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
import orjson
from confluent_kafka import Consumer, TopicPartition

from benchmarks.payments import PARTITIONS

_PERCENTILES = (50, 90, 99, 99.9)
_PATIENCE_S = 60.0


def listen(brokers: str, topic: str) -> Consumer:
    """Return a consumer at the end of every partition."""
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "benchmarks",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 5,
        }
    )
    found = []
    for n in range(PARTITIONS):
        partition = TopicPartition(topic, n)
        _, partition.offset = consumer.get_watermark_offsets(partition, timeout=10.0)
        found.append(partition)
    consumer.assign(found)
    return consumer


def receive(consumer: Consumer, seconds: float) -> tuple[list[int], list[int]]:
    """Consume what is sent within so long; return when each was sent and held, in ns.

    Ends a second after the first that was sent later, so that what is slow is not left out.
    """
    sent, held = list[int](), list[int]()
    until_ns = time.monotonic_ns() + int((seconds + _PATIENCE_S) * 1e9)
    over = False
    while time.monotonic_ns() < until_ns:
        message = consumer.poll(0.1)
        if message is None:
            continue
        error = message.error()
        if error is not None:
            raise RuntimeError(error.str())
        now_ns = time.monotonic_ns()
        sent.append(int(orjson.loads(message.value() or b"")["id"]))
        held.append(now_ns)
        if not over and sent[-1] - sent[0] > seconds * 1e9:
            over, until_ns = True, now_ns + 1_000_000_000
    return sent, held


def windows(
    sent: list[int], held: list[int], warm_up_s: float, window_s: float, count: int
) -> list[dict[str, Any]]:
    """Return the latencies in ms of the events sent in each window after the warm-up."""
    sent_ns, held_ns = np.array(sent), np.array(held)
    latency_ms = (held_ns - sent_ns) / 1e6
    number = ((sent_ns - sent_ns.min()) / 1e9 - warm_up_s) // window_s
    found = [("all", (number >= 0) & (number < count))]
    found += [(str(n + 1), number == n) for n in range(count)]
    if not all(chosen.any() for _, chosen in found):
        raise RuntimeError("a window is empty: the worker did not keep up with the load")
    return [
        {"window": name, "events": int(chosen.sum()), "most_ms": float(latency_ms[chosen].max())}
        | {f"p{p:g}_ms": float(np.percentile(latency_ms[chosen], p)) for p in _PERCENTILES}
        for name, chosen in found
    ]


if __name__ == "__main__":
    warm_up_s, window_s, count = float(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])
    consumer = listen(*sys.argv[1:3])
    print("ready", flush=True)
    times = receive(consumer, warm_up_s + window_s * count)
    print(json.dumps(windows(*times, warm_up_s, window_s, count)))
    consumer.close()
