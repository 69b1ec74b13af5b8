"""The bare loop: what one would write by hand to score and learn, without Kafka and without JSON.

Run as a process of its own: ``python -m benchmarks.bare FILE``; prints one JSON object.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from river import linear_model, preprocessing

from benchmarks.payments import LABEL_DELAY_MS
from streamproc.eventtime import parse_time_ms
from streamproc.files import rows

_DAY_MS, _HOUR_MS = 86_400_000, 3_600_000
_SPANS_MS = (_DAY_MS, 7 * _DAY_MS, 30 * _DAY_MS)
_COUNTS = tuple(f"amount_count_{span}_by_customer_id" for span in ("1d", "7d", "30d"))
_MEANS = tuple(f"amount_mean_{span}_by_customer_id" for span in ("1d", "7d", "30d"))


class Row(NamedTuple):
    """One payment, read and converted before the clock starts."""

    time_ms: int
    customer_id: str
    amount: float
    fraud: bool


class Window:
    """One customer's amounts within a span, with a running sum."""

    __slots__ = ("entries", "span_ms", "total")

    def __init__(self, span_ms: int) -> None:
        self.span_ms = span_ms
        self.entries: deque[tuple[int, float]] = deque()
        self.total = 0.0

    def add(self, time_ms: int, amount: float) -> tuple[int, float]:
        """Return count and mean of the window that ends with this amount."""
        entries, floor = self.entries, time_ms - self.span_ms
        entries.append((time_ms, amount))
        total = self.total + amount
        while entries[0][0] <= floor:
            total -= entries.popleft()[1]
        self.total = total
        count = len(entries)
        return count, total / count


def load(path: Path) -> list[Row]:
    """Read a file of payments."""
    return [
        Row(
            parse_time_ms(row["event_time"]),
            str(row["customer_id"]),
            float(row["amount"]),
            row["fraud"] in (1, "1"),
        )
        for row in rows(path)
    ]


def run(payments: Iterable[Row]) -> tuple[int, float]:
    """Score every payment and learn each label when it is due; return labels and a checksum."""
    model = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    score, learn = model.predict_proba_one, model.learn_one
    windows: dict[str, tuple[Window, ...]] = {}
    waiting: deque[tuple[int, dict[str, float], bool]] = deque()
    labels, total_score = 0, 0.0
    for time_ms, customer_id, amount, fraud in payments:
        while waiting and waiting[0][0] <= time_ms:
            _, learnt, label = waiting.popleft()
            learn(learnt, label)
            labels += 1
        own = windows.get(customer_id)
        if own is None:
            own = windows[customer_id] = tuple(Window(span_ms) for span_ms in _SPANS_MS)
        features = {
            "amount": amount,
            "is_weekend": int((time_ms // _DAY_MS + 3) % 7 >= 5),
            "is_night": int(time_ms // _HOUR_MS % 24 <= 6),
        }
        for window, count, mean in zip(own, _COUNTS, _MEANS, strict=True):
            features[count], features[mean] = window.add(time_ms, amount)
        total_score += score(features)[True]
        waiting.append((time_ms + LABEL_DELAY_MS, features, fraud))
    return labels, total_score


def main(path: Path) -> None:
    """Measure one run over a file."""
    payments = load(path)
    gc.collect()
    gc.freeze()  # what was read beforehand is none of the loop's business
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    labels, checksum = run(payments)
    cpu_s, took_s = time.process_time() - began_cpu_s, time.perf_counter() - began_s
    events = len(payments)
    found = {
        "events": events,
        "labels": labels,
        "mean_score": checksum / events,
        "cpu_us_per_event": cpu_s / events * 1e6,
        "events_per_s": events / took_s,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
