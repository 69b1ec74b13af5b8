"""The compiled windows beside deques in plain Python, and what the feature stage costs.

All in process time, without brokers. Streams are in a steady state when they are measured: as much
leaves the windows as comes in.
"""

from __future__ import annotations

import gc
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import orjson

from streamproc.codec import JsonCodec
from streamproc.events import Events
from streamproc.eventtime import format_time
from streamproc.features import Window
from streamproc.features.texts import Ids
from streamproc.features.windows import KeyedWindow
from streamproc.pipeline import Pipeline
from streamproc.tasks.intake import Intake
from streamproc.tasks.records import PlainRecord

BATCH = 1_000
SPANS = ("1d", "7d", "30d")
DAY_MS = 86_400_000
LATENESS_MS = 3_600_000
START_MS = 1_530_403_200_000
KINDS = ("count", "sum")


class Payment(NamedTuple):
    """One payment, before the clock starts."""

    number: str
    time_ms: int
    customer: str
    terminal: str
    amount: float


@dataclass(frozen=True)
class Figures:
    """What was measured: microseconds of CPU an event, and bytes."""

    deques_us: float
    windows_us: float
    stage_us: float
    flat: dict[int, float]
    bytes_per_window: float

    @property
    def windows_over_deques(self) -> float:
        """How many times as many events a second the compiled windows take."""
        return self.deques_us / self.windows_us

    @property
    def flat_1m_over_1k(self) -> float:
        """What an event costs with a million entities, over that with a thousand."""
        return self.flat[1_000_000] / self.flat[1_000]


def payments(events: int, customers: int, terminals: int, days: float) -> Iterator[Payment]:
    """Yield payments of random entities, evenly over some days."""
    chance = random.Random(7)
    for number in range(events):
        yield Payment(
            str(number),
            START_MS + int(number * days * DAY_MS / events),
            str(chance.randrange(customers)),
            str(chance.randrange(terminals)),
            chance.randrange(100, 20_000) / 100,
        )


class Deques:
    """Counts and sums of one entity over each span, as one would write them."""

    def __init__(self) -> None:
        self.spans = [(days * DAY_MS, deque[tuple[int, float]]()) for days in (1, 7, 30)]
        self.sums = [0.0, 0.0, 0.0]

    def add(self, time_ms: int, amount: float) -> list[float]:
        """Take an amount in, return counts and sums."""
        found: list[float] = []
        sums = self.sums
        for i, (span_ms, entries) in enumerate(self.spans):
            floor = time_ms - span_ms
            entries.append((time_ms, amount))
            total = sums[i] + amount
            while entries[0][0] <= floor:
                total -= entries.popleft()[1]
            sums[i] = total
            found.append(len(entries))
            found.append(total)
        return found


Columns = tuple[list[str], list[int], list[str], list[str], list[float]]


def columns_of(payments: list[Payment]) -> Columns:
    """Return payments column by column, as both kinds of windows are given them."""
    ids, times, customers, terminals, amounts = map(list, zip(*payments, strict=True))
    return ids, times, customers, terminals, amounts


def _deques(before: list[Payment], measured: list[Payment]) -> float:
    customers: dict[str, Deques] = {}
    terminals: dict[str, Deques] = {}

    def run(columns: Columns) -> None:
        _, *rest = columns
        for time_ms, customer, terminal, amount in zip(*rest, strict=True):
            of_customer = customers.get(customer)
            if of_customer is None:
                of_customer = customers[customer] = Deques()
            of_terminal = terminals.get(terminal)
            if of_terminal is None:
                of_terminal = terminals[terminal] = Deques()
            of_customer.add(time_ms, amount)
            of_terminal.add(time_ms, amount)

    run(columns_of(before))
    taken = columns_of(measured)
    return _us_an_event(lambda: run(taken), len(measured))


def _compiled(before: list[Payment], measured: list[Payment]) -> float:
    by_customer = KeyedWindow(Window("amount", "customer", SPANS, KINDS), LATENESS_MS)
    by_terminal = KeyedWindow(Window("amount", "terminal", SPANS, KINDS), LATENESS_MS)
    on_time = np.zeros(BATCH, np.uint8)

    def run(columns: Columns) -> None:
        for at in range(0, len(columns[0]), BATCH):
            batch: Any = [each[at : at + BATCH] for each in columns]
            ids, times, customers, terminals, amounts = batch
            coded, times_ms = Ids(ids), np.array(times, np.int64)
            values = np.array(amounts, np.float64)
            by_customer.observe_many(customers, coded, times_ms, values, on_time)
            by_terminal.observe_many(terminals, coded, times_ms, values, on_time)

    run(columns_of(before))
    taken = columns_of(measured)
    return _us_an_event(lambda: run(taken), len(measured))


def _stage(before: list[Payment], measured: list[Payment]) -> float:
    """Measure bytes to features, as a score task does it, on the windows above."""
    pipeline = _pipeline()
    features, intake = pipeline.new_features(), Intake(pipeline, JsonCodec())
    records = [_record(each) for each in (*before, *measured)]

    def run(batch: list[PlainRecord]) -> None:
        for at in range(0, len(batch), BATCH):
            entering = features.batch()
            events = intake.events(batch[at : at + BATCH], START_MS + 90 * DAY_MS)
            assert events is not None  # else each would be read by itself
            for event in events:
                entering.add(event.fields, event.id, event.key, event.time_ms, False)
            entering.enter()
            features.sweep(BATCH)

    run(records[: len(before)])
    return _us_an_event(lambda: run(records[len(before) :]), len(measured))


def _pipeline() -> Pipeline:
    from river import linear_model

    windows = [
        Window("amount", by=by, over=SPANS, aggregates=KINDS) for by in ("customer", "terminal")
    ]
    events = Events("payments", id="number", key="customer", time="time")
    return Pipeline("bench", events, windows, linear_model.LogisticRegression())


def _record(payment: Payment) -> PlainRecord:
    fields = {**payment._asdict(), "time": format_time(payment.time_ms)[:19] + "Z"}
    del fields["time_ms"]
    return PlainRecord("payments", 0, payment.time_ms, None, orjson.dumps(fields))


def _flat(entities: int, events: int = 400_000) -> tuple[float, float]:
    """Measure windows of so many entities; return the time an event, and bytes a window.

    Every entity has a few records, whatever their number, so that the windows hold as much each.
    """
    window = KeyedWindow(Window("amount", "customer", SPANS, KINDS), LATENESS_MS)
    chance = np.random.default_rng(7)
    on_time, clock = np.zeros(BATCH, np.uint8), START_MS
    # A few records an entity in the longest span, in the steady state.
    step_ms = 30 * DAY_MS / (4 * entities)

    def batch() -> tuple[list[str], Ids, Any, Any]:
        nonlocal clock
        times = clock + (np.arange(BATCH) * step_ms).astype(np.int64)
        clock = int(clock + BATCH * step_ms)
        keys = [str(each) for each in chance.integers(0, entities, BATCH)]
        ids = Ids([str(each) for each in range(BATCH)])
        return keys, ids, times, np.round(chance.uniform(1, 200, BATCH), 2)

    def run(count: int) -> float:
        spent_s = 0.0
        for _ in range(count // BATCH):
            keys, ids, times, values = batch()
            began_s = time.process_time()
            window.observe_many(keys, ids, times, values, on_time)
            spent_s += time.process_time() - began_s
        return spent_s

    run(max(5 * entities, 100_000))
    bytes_per_window = window.bytes_held / window.entities / len(SPANS)
    return run(events) / events * 1e6, bytes_per_window


def _us_an_event(run: Callable[[], None], events: int) -> float:
    gc.collect()
    began_s = time.process_time()
    run()
    return (time.process_time() - began_s) / events * 1e6


def measure(runs: int = 3) -> Figures:
    """Measure each by turns, and take the best."""
    stream = payments(300_000, 5_000, 10_000, days=90)
    before, measured = list(islice(stream, 150_000)), list(stream)
    gc.freeze()
    deques_us, windows_us, stage_us = (
        min(each) for each in zip(*(
            (_deques(before, measured), _compiled(before, measured), _stage(before, measured))
            for _ in range(runs)
        ), strict=True)
    )  # fmt: skip
    flat, bytes_per_window = {}, 0.0
    for entities in (1_000, 1_000_000):
        found = [_flat(entities) for _ in range(runs)]
        flat[entities], bytes_per_window = min(us for us, _ in found), found[0][1]
    return Figures(deques_us, windows_us, stage_us, flat, bytes_per_window)
