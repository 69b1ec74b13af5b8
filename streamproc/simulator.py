"""Payments of our own making: seeded, endless in length, bounded in memory.

The ideas are those of the Fraud Detection Handbook (Machine Learning Group, ULB, 2021): customers
and terminals on a map of 100 by 100, each customer with habits of their own, paying at terminals
nearby, and three kinds of fraud. Countries and injected faults are ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamproc.errors import StreamprocError

DAY_MS = 86_400_000
COUNTRIES = {"NL": 0.30, "DE": 0.24, "FR": 0.18, "BE": 0.13, "ES": 0.09, "IT": 0.06}

MAP_SIZE = 100.0
RADIUS = 5.0
LARGE_AMOUNT = 220.0
# Shorter than the handbook's 28 and 14 days: many short frauds keep each country's rate steady.
TERMINAL_DAYS, TERMINALS_PER_DAY = 3, 0.0013
CARD_DAYS, CARDS_PER_DAY, CARD_SHARE, CARD_FACTOR = 3, 0.012, 1 / 3, 5.0

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Payment(NamedTuple):
    """One payment: the event as it goes on the topic, and apart from it what became of it.

    ``scenario`` says why it is fraud: 0 it is not, 1 a large amount, 2 a compromised terminal,
    3 a leaked card, 4 a `PredictionBias` fault.
    """

    event_time_ms: int
    event: dict[str, Any]
    fraud: Literal[0, 1]
    scenario: int

    @property
    def row(self) -> dict[str, Any]:
        """The event with its label in the column ``fraud``, as `timeline` takes rows."""
        return {**self.event, "fraud": self.fraud}


@dataclass(frozen=True, kw_only=True)
class CovariateDrift:
    """From ``start_ms`` up to ``end_ms`` amounts become ``amount * factor + shift``.

    Fraud goes on by the amounts as they were before: the input changes, the world does not.

    >>> CovariateDrift(start_ms=0, end_ms=DAY_MS, factor=1.5).field
    'amount'
    """

    field: Literal["amount"] = "amount"
    start_ms: int
    end_ms: int
    factor: float = 1.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        if self.field != "amount":
            raise StreamprocError(f"CovariateDrift(field={self.field!r}): only 'amount' can drift")
        _check_span(self)
        if not self.factor > 0:
            raise StreamprocError(f"CovariateDrift(factor={self.factor}): give one above 0")


@dataclass(frozen=True, kw_only=True)
class PredictionBias:
    """From ``start_ms`` up to ``end_ms`` good payments of one country turn out to be fraud.

    ``extra_rate`` is the share of them, drawn blindly, so that no feature shows which. The rate
    of fraud is some 0.015 without a fault; the default more than triples it.

    >>> PredictionBias(country="BE", start_ms=0, end_ms=DAY_MS).extra_rate
    0.04
    """

    country: str
    start_ms: int
    end_ms: int
    extra_rate: float = 0.04

    def __post_init__(self) -> None:
        if self.country not in COUNTRIES:
            raise StreamprocError(
                f"PredictionBias(country={self.country!r}): choose one of {', '.join(COUNTRIES)}"
            )
        _check_span(self)
        if not 0 < self.extra_rate <= 1:
            raise StreamprocError(
                f"PredictionBias(extra_rate={self.extra_rate}): give a share above 0, at most 1"
            )


Fault = CovariateDrift | PredictionBias


def simulate(
    seed: int,
    start_ms: int,
    days: int,
    customers: int = 600,
    terminals: int = 3_000,
    faults: Sequence[Fault] = (),
) -> Iterator[Payment]:
    """Yield ``days`` days of payments in time order, some two a customer and day.

    ``start_ms`` is a midnight (UTC). The same arguments give the same payments, and a fault
    changes only payments inside its span.

    Raises `StreamprocError` for sizes below 1 and for a start that is no midnight.

    >>> first = next(simulate(seed=1, start_ms=1_522_540_800_000, days=1))
    >>> sorted(first.event)
    ['amount', 'country', 'customer_id', 'event_time', 'terminal_id', 'transaction_id']
    >>> first.event["event_time"][:10], first.fraud, first.scenario
    ('2018-04-01', 0, 0)
    """
    sizes = {"days": days, "customers": customers, "terminals": terminals}
    for name, value in sizes.items():
        if value < 1:
            raise StreamprocError(f"simulate({name}={value}): give at least 1")
    if start_ms % DAY_MS:
        raise StreamprocError(f"simulate(start_ms={start_ms}): give a midnight, UTC")
    return _payments(seed, start_ms, days, customers, terminals, faults)


def _payments(
    seed: int, start_ms: int, days: int, customers: int, terminals: int, faults: Sequence[Fault]
) -> Iterator[Payment]:
    world = _World(seed, customers, terminals)
    frauds = _Frauds(seed, customers, terminals)
    first_id = 0
    for day in range(days):
        table = _day(np.random.default_rng((seed, 1, day)), world, start_ms + day * DAY_MS)
        frauds.mark(table, day)
        for number, fault in enumerate(faults):
            _inject(fault, table, world, np.random.default_rng((seed, 3, number, day)))
        yield from _emit(table, world, first_id)
        first_id += len(table.time_ms)


class _World:
    """Who pays where: drawn once, and the same whatever happens later."""

    def __init__(self, seed: int, customers: int, terminals: int) -> None:
        rng = np.random.default_rng((seed, 0))
        place = rng.uniform(0, MAP_SIZE, (customers, 2))
        shops = rng.uniform(0, MAP_SIZE, (terminals, 2))
        self.mean_amount = rng.uniform(5, 100, customers)
        self.std_amount = self.mean_amount / 2
        self.payments_per_day = rng.uniform(0, 4, customers)
        # Countries are strips of the map, from west to east, as wide as their share.
        borders = np.cumsum(list(COUNTRIES.values()))[:-1] * MAP_SIZE
        self.country = np.searchsorted(borders, place[:, 0])
        near = [_nearby(shops, home) for home in place]
        self.near_count: Ints = np.array([len(ids) for ids in near])
        self.near_start: Ints = np.cumsum(self.near_count) - self.near_count
        self.near: Ints = np.concatenate(near)


def _nearby(shops: Floats, home: Floats) -> Ints:
    distance = np.hypot(*(shops - home).T)
    inside = np.flatnonzero(distance < RADIUS)
    return inside if len(inside) else np.array([np.argmin(distance)])


@dataclass
class _Day:
    """One day's payments as columns, in time order."""

    time_ms: Ints
    customer: Ints
    terminal: Ints
    amount: Floats
    scenario: Ints


def _day(rng: np.random.Generator, world: _World, midnight_ms: int) -> _Day:
    customer = np.repeat(np.arange(len(world.mean_amount)), rng.poisson(world.payments_per_day))
    # Most payments are around noon; those the bell puts outside the day are dropped.
    offset_ms = np.floor(rng.normal(DAY_MS / 2, 20_000_000, len(customer))).astype(np.int64)
    inside = (offset_ms >= 0) & (offset_ms < DAY_MS)
    customer, offset_ms = customer[inside], offset_ms[inside]
    order = np.argsort(offset_ms, kind="stable")
    customer, offset_ms = customer[order], offset_ms[order]
    mean = world.mean_amount[customer]
    amount = rng.normal(mean, world.std_amount[customer])
    amount = np.where(amount > 0, amount, rng.uniform(0, 2 * mean))
    pick = (rng.random(len(customer)) * world.near_count[customer]).astype(np.int64)
    terminal = world.near[world.near_start[customer] + pick]
    return _Day(
        midnight_ms + offset_ms, customer, terminal, amount, np.zeros(len(customer), np.int64)
    )


class _Frauds:
    """The three kinds of fraud; remembers until which day a terminal or card is in bad hands."""

    def __init__(self, seed: int, customers: int, terminals: int) -> None:
        self._seed = seed
        self._terminal_until: Ints = np.zeros(terminals, np.int64)
        self._card_until: Ints = np.zeros(customers, np.int64)
        # Days before the first, so that the first has as much fraud as any other.
        for day in range(-max(TERMINAL_DAYS, CARD_DAYS) + 1, 0):
            self._start(day)

    def mark(self, table: _Day, day: int) -> None:
        """Set the scenario of a day's payments and raise the amounts paid with leaked cards."""
        rng = self._start(day)
        table.scenario[table.amount > LARGE_AMOUNT] = 1
        table.scenario[self._terminal_until[table.terminal] > day] = 2
        stolen = self._card_until[table.customer] > day
        stolen &= rng.random(len(stolen)) < CARD_SHARE
        table.amount[stolen] *= CARD_FACTOR
        table.scenario[stolen] = 3

    def _start(self, day: int) -> np.random.Generator:
        rng = np.random.default_rng((self._seed, 2, day + 1_000))
        for until, rate, span in (
            (self._terminal_until, TERMINALS_PER_DAY, TERMINAL_DAYS),
            (self._card_until, CARDS_PER_DAY, CARD_DAYS),
        ):
            until[rng.random(len(until)) < rate] = day + span
        return rng


def _inject(fault: Fault, table: _Day, world: _World, rng: np.random.Generator) -> None:
    hit: Bools = (table.time_ms >= fault.start_ms) & (table.time_ms < fault.end_ms)
    if isinstance(fault, CovariateDrift):
        table.amount[hit] = table.amount[hit] * fault.factor + fault.shift
        return
    country = list(COUNTRIES).index(fault.country)
    hit &= (world.country[table.customer] == country) & (table.scenario == 0)
    hit &= rng.random(len(hit)) < fault.extra_rate
    table.scenario[hit] = 4


def _emit(table: _Day, world: _World, first_id: int) -> Iterator[Payment]:
    names = list(COUNTRIES)
    text = np.datetime_as_string(table.time_ms.astype("datetime64[ms]")).tolist()
    amount = np.maximum(np.round(table.amount, 2), 0.01).tolist()
    columns = zip(
        table.time_ms.tolist(),
        text,
        table.customer.tolist(),
        table.terminal.tolist(),
        amount,
        world.country[table.customer].tolist(),
        table.scenario.tolist(),
        strict=True,
    )
    for number, (time_ms, when, customer, terminal, paid, country, scenario) in enumerate(
        columns, first_id
    ):
        event = {
            "transaction_id": number,
            "event_time": when + "Z",
            "customer_id": customer,
            "terminal_id": terminal,
            "amount": paid,
            "country": names[country],
        }
        yield Payment(time_ms, event, 1 if scenario else 0, scenario)


def _check_span(fault: CovariateDrift | PredictionBias) -> None:
    if not fault.start_ms < fault.end_ms:
        raise StreamprocError(
            f"{type(fault).__name__}(start_ms={fault.start_ms}, end_ms={fault.end_ms}): "
            "the end must come after the start"
        )
