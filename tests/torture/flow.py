"""Payments and their labels at a steady rate, whatever becomes of the broker, until SIGINT.

``python -m tests.torture.flow BROKERS NAME RATE EVERY``, a process of its own. ``EVERY`` takes
every so manieth customer, so that event time goes faster. Each record has the header ``FLOW``.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator

from confluent_kafka import Producer

from streamproc.timeline import Entry, LabelColumns, timeline
from tests.torture.payments import payments

FLOW = "torture-flow"
_LABEL_DELAY_MS = 6 * 3_600_000


def main(brokers: str, name: str, rate: int, every: int) -> None:
    """Send until asked to stop, then wait until all that was sent has arrived."""
    stopping: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: stopping.append(number))
    producer = Producer(
        {
            "bootstrap.servers": brokers,
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
            "message.timeout.ms": 0,
            "linger.ms": 2,
            "log_level": 0,
        }
    )
    topics = {"event": f"{name}.transactions", "label": f"{name}.labels"}
    headers: list[tuple[str, str | bytes | None]] = [(FLOW, b"1")]
    began_s, events = time.monotonic(), 0
    for entry in _entries(every):
        events += entry.kind == "event"
        while not stopping and (ahead_s := events / rate - (time.monotonic() - began_s)) > 0:
            producer.poll(min(ahead_s, 0.05))
        if stopping:
            break
        while True:
            try:
                producer.produce(
                    topics[entry.kind],
                    entry.value,
                    entry.key,
                    timestamp=entry.time_ms,
                    headers=headers,
                )
                break
            except BufferError:
                producer.poll(0.1)
    while producer.flush(1.0):
        pass


def _entries(every: int) -> Iterator[Entry]:
    return timeline(
        payments(every),
        id="transaction_id",
        key="customer_id",
        time="event_time",
        labels=LabelColumns("transaction_id", "fraud"),
        label_delay_ms=_LABEL_DELAY_MS,
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
