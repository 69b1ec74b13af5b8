"""The load of the latency benchmark: events and labels at a steady rate, in a process of its own.

``python -m benchmarks.load BROKERS EVENTS_TOPIC LABELS_TOPIC RATE SECONDS [CUSTOMERS]``. An
event's id is the time of its ``produce()`` in nanoseconds, by the clock that all processes of a
machine share (CLOCK_MONOTONIC): so whoever holds the prediction knows how long it took.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import deque

import orjson
from confluent_kafka import Producer

LABEL_DELAY_S = 2.0
_CUSTOMERS = 5_000
_TERMINALS = 10_000
_TICK_S = 0.001


class Load:
    """Customers who pay by card, at random; a payment's label comes ``LABEL_DELAY_S`` later."""

    def __init__(self, brokers: str, events: str, labels: str, customers: int = _CUSTOMERS) -> None:
        self._customers = customers
        self._events, self._labels = events, labels
        self._producer = Producer(
            {
                "bootstrap.servers": brokers,
                "linger.ms": 0,
                "partitioner": "murmur2_random",
                "delivery.report.only.error": True,
            }
        )
        self._chance = random.Random(7)
        self._due: deque[tuple[float, bytes, bytes]] = deque()

    def event(self, now_s: float) -> None:
        """Produce one event, whose label is then due."""
        chance = self._chance
        customer, amount = (
            chance.randrange(self._customers),
            round(chance.lognormvariate(3.5, 0.8), 2),
        )
        key = b"%d" % customer
        event_id = time.monotonic_ns()
        event = {
            "transaction_id": event_id,
            "event_time": time.time_ns() // 1_000_000,
            "customer_id": customer,
            "terminal_id": chance.randrange(_TERMINALS),
            "amount": amount,
        }
        self._producer.produce(self._events, orjson.dumps(event), key)
        fraud = amount > 150 or chance.random() < 0.005
        label = b'{"transaction_id":%d,"fraud":%d}' % (event_id, fraud)
        self._due.append((now_s + LABEL_DELAY_S, key, label))

    def due_labels(self, now_s: float) -> None:
        """Produce the labels that are due."""
        while self._due and self._due[0][0] <= now_s:
            _, key, label = self._due.popleft()
            self._producer.produce(self._labels, label, key)
        self._producer.poll(0)

    def finish(self) -> int:
        """Wait for the broker; return how many records did not arrive."""
        return self._producer.flush(10)


def run(load: Load, rate: float, seconds: float) -> dict[str, float]:
    """Run for so many seconds; return how it went."""
    began_s, began_cpu_s = time.monotonic(), time.process_time()
    sent, late_s = 0, 0.0
    while (now_s := time.monotonic() - began_s) < seconds:
        while sent < now_s * rate:
            late_s = max(late_s, now_s - sent / rate)
            load.event(now_s)
            sent += 1
        load.due_labels(now_s)
        time.sleep(_TICK_S)
    cpu_share = (time.process_time() - began_cpu_s) / seconds
    left = load.finish()
    return {"sent": sent, "left": left, "most_late_ms": late_s * 1e3, "cpu_share": cpu_share}


if __name__ == "__main__":
    brokers, events, labels, rate, seconds, *customers = sys.argv[1:]
    made = Load(brokers, events, labels, *map(int, customers))
    print(json.dumps(run(made, float(rate), float(seconds))))
