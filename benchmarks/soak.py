"""Months in an hour: a million entities known, one in a hundred active, the others let go in time.

Without brokers: a score task takes records in and is swept as in production, and what changed goes
into snapshots. Events are random but for a seed, and the same wherever they are drawn.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson
from river import dummy

from agents.worker import tune_collector
from streamproc.codec import JsonCodec
from streamproc.events import Events, Labels
from streamproc.features import Field, LabelWindow, Window
from streamproc.pipeline import Pipeline
from streamproc.state.files import Files
from streamproc.state.snapshots import Snapshots
from streamproc.tasks.frozen import Freezer
from streamproc.tasks.records import PlainRecord
from streamproc.tasks.score import ScoreTask

ENTITIES = 1_000_000
ACTIVE_SHARE = 0.01
PAYMENTS = 1.5
"""How many events an entity has, on average, before another takes its place."""

BACK_SHARE, LATER_SHARE, TOO_LATE_SHARE, ODD_SHARE = 0.2, 0.02, 0.001, 0.0001
"""Of the entities that come, those seen before; of the events, those out of order, those beyond
the lateness, and those whose amount has no place in compiled sums."""

BATCH = 500
SNAPSHOT_EVENTS = 100_000
START_MS, DAY_MS, HOUR_MS = 1_530_403_200_000, 86_400_000, 3_600_000
LABEL_DELAY_MS = DAY_MS
LABELLED_OF_TEN = 9
SAMPLE_S = 10.0
WARM_UP = 3.0
"""For how many times an entity's TTL the stream runs before memory is judged."""

FLAT_SHARE = 0.02
"""How much of its median resident memory may grow by in an hour, and be called flat."""


class Sample(NamedTuple):
    """What a moment of the run was like."""

    elapsed_s: float
    day: float
    rss_mb: float
    entities: int
    expired: int
    window_mb: float
    events: int


@dataclass(frozen=True)
class Soaked:
    """A run: its samples, and from what event time on memory is judged, in days."""

    samples: list[Sample]
    warm_day: float
    dead_letters: int = 0

    @property
    def judged(self) -> list[Sample]:
        """The samples after the warm-up."""
        return [each for each in self.samples if each.day >= self.warm_day]

    @property
    def slope_mb_per_h(self) -> float | None:
        """The slope of the resident memory after the warm-up, by least squares; None of too few.

        >>> ended = [Sample(60.0 * i, float(i), 100.0 + i, 0, 0, 0.0, 0) for i in range(4)]
        >>> round(Soaked(ended, warm_day=1.0).slope_mb_per_h, 6), Soaked(ended, 2.0).slope_mb_per_h
        (60.0, None)
        """
        hours = [each.elapsed_s / 3600 for each in self.judged]
        if len(hours) < 3:
            return None
        return float(np.polyfit(hours, [each.rss_mb for each in self.judged], 1)[0])

    @property
    def flat(self) -> bool | None:
        """Whether memory grows by at most :data:`FLAT_SHARE` an hour; None where it was too short.

        >>> Soaked([Sample(60.0 * i, 1.0, 100.0 + i, 0, 0, 0.0, 0) for i in range(4)], 0.0).flat
        False
        """
        if self.slope_mb_per_h is None:
            return None
        median_mb = float(np.median([each.rss_mb for each in self.judged]))
        return self.slope_mb_per_h <= FLAT_SHARE * median_mb


def pipeline() -> Pipeline:
    """Return a pipeline with windows over amounts and labels, and a model that costs nothing."""
    return Pipeline(
        name="soak",
        events=Events("soak.payments", id="number", key="customer", time="time"),
        labels=Labels("soak.labels", id="number", value="fraud", time="known", horizon="2d"),
        features=[
            Field("amount"),
            Window("amount", by="customer", over=("1d", "7d", "30d"), aggregates=("count", "mean")),
            Window("amount", by="customer", over=("7d",), aggregates=("std", "max")),
            LabelWindow(by="customer", over=("7d", "30d"), aggregates=("count", "mean")),
        ],
        model=dummy.PriorClassifier(),
    )


class Crowd:
    """The customers: so many active at a time, each pays a few times, then another comes."""

    def __init__(self, entities: int, chance: np.random.Generator) -> None:
        self.known = max(1, int(entities * ACTIVE_SHARE))
        self._active = list(range(self.known))
        self._span = 2 * entities
        self._chance = chance

    def draw(self, payments: int) -> Iterator[str]:
        """Yield who pays."""
        chance, active = self._chance, self._active
        slots = chance.integers(0, len(active), payments).tolist()
        leaves = (chance.random(payments) < 1 / PAYMENTS).tolist()
        back = (chance.random(payments) < BACK_SHARE).tolist()
        which = chance.random(payments).tolist()
        for slot, leaving, returning, at in zip(slots, leaves, back, which, strict=True):
            number = active[slot]
            # Half of the texts are longer than what has a place in a row.
            yield f"customer-{number:012d}" if number % 2 else str(number)
            if leaving and returning:
                active[slot] = self.known - 1 - int(at * min(self.known, self._span))
            elif leaving:
                active[slot] = self.known
                self.known += 1


class Stream:
    """Payments evenly over time, and the labels of most of them a day later."""

    def __init__(self, entities: int, keep_ms: int, seed: int = 7) -> None:
        self._chance = np.random.default_rng(seed)
        self.crowd = Crowd(entities, self._chance)
        # An entity is active for a hundredth of the time that it is kept.
        self.step_ms = keep_ms * ACTIVE_SHARE / (self.crowd.known * PAYMENTS)
        self.sent = self._labelled = 0

    @property
    def now_ms(self) -> int:
        """The time of the next payment."""
        return self.time_ms(self.sent)

    def time_ms(self, number: int) -> int:
        """Return when a payment is made."""
        return START_MS + int(number * self.step_ms)

    def payments(self) -> list[PlainRecord]:
        """Return the next payments, some of them with an earlier time."""
        chance, first = self._chance, self.sent
        amounts = chance.integers(100, 20_000, BATCH).tolist()
        odds = chance.random((BATCH, 2)).tolist()
        self.sent += BATCH
        records = []
        for i, customer in enumerate(self.crowd.draw(BATCH)):
            time_ms, (how_late, odd) = self.time_ms(first + i), odds[i]
            if how_late < TOO_LATE_SHARE:
                time_ms -= 2 * HOUR_MS
            elif how_late < LATER_SHARE:
                time_ms -= int(HOUR_MS * how_late / LATER_SHARE)
            amount = 1e-300 if odd < ODD_SHARE else amounts[i] / 100
            fields = {"number": _name(first + i), "customer": customer, "time": time_ms}
            value = orjson.dumps({**fields, "amount": amount})
            records.append(PlainRecord("soak.payments", first + i, time_ms, None, value))
        return records

    def labels(self) -> list[PlainRecord]:
        """Return the labels that are due by now."""
        records = []
        while (known_ms := self.time_ms(self._labelled) + LABEL_DELAY_MS) < self.now_ms:
            number, self._labelled = self._labelled, self._labelled + 1
            if number % 10 < LABELLED_OF_TEN:
                said = {"number": _name(number), "fraud": int(number % 97 == 0), "known": known_ms}
                value = orjson.dumps(said)
                records.append(PlainRecord("soak.labels", number, known_ms, None, value))
        return records


def _name(number: int) -> str:
    return f"payment-{number:012d}" if number % 2 else str(number)


class Soak:
    """A score task on such a stream, its snapshots in a folder, one ``every`` so many events."""

    def __init__(self, entities: int, folder: Path, every: int = SNAPSHOT_EVENTS) -> None:
        made = pipeline()
        self.task = ScoreTask(made, 0, JsonCodec(), track=True)
        windows = self.task.features.windows
        self.keep_ms = max(max(spec.spans_ms) + each.lateness_ms
                           for each in windows for spec in each.specs)  # fmt: skip
        self.stream = Stream(entities, self.keep_ms)
        self.dead_letters = 0
        self._every = every
        self._freezer = Freezer(self.task)
        self._snapshots = Snapshots(Files(str(folder)), "soak", {"task": "soak"})
        self.began_s = time.monotonic()

    def step(self) -> list[PlainRecord]:
        """Process some payments, and the labels due by then; return the payments.

        Now and then what changed goes into a snapshot.
        """
        stream, task = self.stream, self.task
        records, labels = stream.payments(), stream.labels()
        now_ms = stream.now_ms
        task.take("soak.payments", records, True, now_ms)
        task.take("soak.labels", labels, True, now_ms)
        while sum(task.waiting().values()):
            output = task.process(now_ms)
            self.dead_letters += len(output.records.get("dead_letters", ()))
        if stream.sent % self._every == 0:
            self._snapshot()
        return records

    def _snapshot(self) -> None:
        freezer = self._freezer
        freezer.begin(everything=not self._snapshots.chain)
        while not freezer.pack():
            pass
        frozen, at = freezer.take(), self.stream.sent
        self._snapshots.write((at, at), frozen.tables, frozen.meta, frozen.floors, tails={})

    def sample(self) -> Sample:
        """Return what it is like now."""
        features = self.task.features
        return Sample(
            time.monotonic() - self.began_s,
            (self.stream.now_ms - START_MS) / DAY_MS,
            rss_mb(),
            features.windows[0].entities,
            features.expired_entities,
            sum(each.bytes_held for each in features.windows) / 2**20,
            self.stream.sent,
        )


def rss_mb() -> float:
    """Return this process's resident memory, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure(folder: Path, minutes: float, tell: Callable[[Sample], None]) -> Soaked:
    """Run for so long, with garbage collected as in a worker; ``tell`` hears of some samples."""
    tune_collector()
    soak = Soak(ENTITIES, folder)
    samples: list[Sample] = []
    told_s, due_s = -1e9, 0.0
    while True:
        soak.step()
        elapsed_s = time.monotonic() - soak.began_s
        if elapsed_s < due_s:
            continue
        due_s = elapsed_s + SAMPLE_S
        samples.append(soak.sample())
        ends = elapsed_s >= 60 * minutes
        if ends or elapsed_s - told_s >= 60 * minutes / 30:
            told_s = elapsed_s
            tell(samples[-1])
        if ends:
            return Soaked(samples, WARM_UP * soak.keep_ms / DAY_MS, soak.dead_letters)
