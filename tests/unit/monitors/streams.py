"""Streams for the tests of monitors, and the way from partitions through folds to the judge."""

from __future__ import annotations

import random
import struct
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from streamproc.alerts import new_judge
from streamproc.messages import Alert
from streamproc.monitors import bias_fold, drift_fold
from streamproc.monitors.budget import FalseAlarms
from streamproc.monitors.judge import Judge

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
ONE_A_MONTH = FalseAlarms(1, 30 * DAY_MS)


@dataclass
class Facts:
    """What monitors need of a pipeline."""

    monitors: Sequence[Any] = ()
    kind: str = "binary"
    classes: tuple[Any, ...] | None = (0, 1)
    learns: bool = True
    threshold: float = 0.5
    lateness_ms: int = HOUR_MS
    numeric_features: tuple[str, ...] = ("amount",)
    categorical_features: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ("amount",)
    number_fields: tuple[str, ...] = ("amount",)
    ranges: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    categories: Mapping[str, tuple[str, ...] | None] = field(default_factory=dict)
    budget: FalseAlarms = ONE_A_MONTH
    warmup: int = 0
    name: str = "facts"
    fingerprint: str = "0"
    made_of: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def warmup_ms(self, feature: str) -> int:
        """How long a feature's windows take to fill."""
        return self.warmup


def payments(
    seed: int,
    days: int,
    per_day: int = 200,
    amount: Callable[[int, random.Random], float] = lambda day, rng: rng.gauss(50, 25),
    rate: Callable[[int, str], float] = lambda day, country: 0.05,
    score: Callable[[int], float] = lambda day: 0.05,
    delay_ms: int = 2 * DAY_MS,
) -> list[dict[str, Any]]:
    """Return outcomes in order of event time: ``rate`` is true, ``score`` is predicted."""
    rng = random.Random(seed)
    made: list[dict[str, Any]] = []
    for day in range(days):
        for time_ms in sorted(rng.randrange(DAY_MS) for _ in range(per_day)):
            country = rng.choices(("NL", "DE", "FR", "BE"), (4, 3, 2, 1))[0]
            event_ms = day * DAY_MS + time_ms
            made.append(
                {
                    "id": str(len(made)),
                    "event_time_ms": event_ms,
                    "features": {"amount": amount(day, rng)},
                    "score": score(day),
                    "decision": False,
                    "model": "main@1",
                    "label": int(rng.random() < rate(day, country)),
                    "label_time_ms": event_ms + delay_ms,
                    "slices": {"country": country},
                }
            )
    return made


def judged(
    facts: Facts,
    stage: str,
    messages: Iterable[dict[str, Any]],
    partitions: int = 1,
    batch: int = 500,
    shuffle: random.Random | None = None,
) -> list[Alert]:
    """Return the alerts of a stream spread over partitions, each with a fold of its own.

    With ``shuffle``, records arrive within a batch in any order, partitions send when they like,
    and some lag far behind.
    """
    folds = [(drift_fold if stage == "drift" else bias_fold)(facts) for _ in range(partitions)]
    judge = new_judge(facts, partitions)
    alerts: list[Alert] = []
    queues: list[list[dict[str, Any]]] = [[] for _ in range(partitions)]
    told = list(messages)
    for message in told:
        queues[int(message["id"]) % partitions].append(message)
    now_ms = 0
    while any(queues):
        now_ms += 1
        for partition, fold in enumerate(folds):
            most = batch if shuffle is None else shuffle.randrange(batch)
            part, queues[partition] = queues[partition][:most], queues[partition][most:]
            if shuffle is not None:
                shuffle.shuffle(part)
            fold.update(part)
            sums = sent(stage, partition, fold, not queues[partition])
            alerts += judge.update([sums], now_ms)
    return alerts + judge.update(silence(judge), now_ms + 1_000)


def silence(judge: Judge) -> list[dict[str, Any]]:
    """Return the records that seal all that can be, where nobody is waited for any longer."""
    sealer = judge.sealer
    found = []
    for stage, sources in sealer.sources.items():
        passed_ms = [source.watermark_ms for source in sources]
        found.append(sealer.seal_without(stage, range(len(sources)), passed_ms))
    return [record for record in found if record is not None]


def sent(stage: str, partition: int, fold: Any, caught_up: bool = False) -> dict[str, Any]:
    """Return what a fold's task sends to the judge."""
    return {
        "stage": stage,
        "partition": partition,
        "watermark_ms": fold.watermark_ms,
        "caught_up": caught_up,
        "buckets": fold.take(),
    }


def steps(alerts: Sequence[Alert]) -> list[tuple[str, str]]:
    """Return status and key of alerts, updates left out."""
    return [(a["status"], a["key"]) for a in alerts if a["status"] != "update"]


def values_of(row: list[Any]) -> list[float]:
    """Return the values that a packed sketch of few values counts, by the format's description."""
    _, shift, cells = row[:3]
    assert shift == 0
    found: list[float] = []
    told = struct.iter_unpack("<q", b64decode(cells))
    for (cell,), count in zip(told, counts_of(row), strict=True):
        bits = cell if cell >= 0 else cell ^ ((1 << 63) - 1)
        found += struct.unpack("<d", struct.pack("<q", bits)) * count
    return found


def counts_of(row: list[Any]) -> list[int]:
    """Return the counts of a packed sketch, by the format's description."""
    n, data = len(b64decode(row[2])) // 8, b64decode(row[3])
    if not data:
        return [1] * n
    return [
        each for (each,) in struct.iter_unpack({1: "<B", 2: "<H", 4: "<I"}[len(data) // n], data)
    ]
