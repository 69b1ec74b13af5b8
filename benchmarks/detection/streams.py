"""The streams of the benchmark: as they are usually, and with each of the changes to be seen.

A stream begins with `REFERENCE` events that detectors learn what is usual from. A changed stream
goes on as usual for `CLEAN` events, then is changed for `HORIZON`. Everything is drawn from a
generator seeded by what the stream is for, so any of them can be made again by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from benchmarks.detection.compiled import Floats

REFERENCE, CLEAN, HORIZON = 10_000, 5_000, 20_000
STATIONARY = 100_000
"""Events of a stationary stream after its reference."""

SEED = 20_260_801
CATEGORIES = 10
SHARES = 1 / np.arange(1, CATEGORIES + 1) / (1 / np.arange(1, CATEGORIES + 1)).sum()
"""Zipf's: from 34 % down to 3.4 %."""

Rng = np.random.Generator
Draw = Callable[[Rng, int], Floats]


class Purpose(IntEnum):
    """What a stream is drawn for: a threshold is never judged by the streams it was fitted to."""

    FIT = 0
    CHECK = 1
    DELAY = 2


@dataclass(frozen=True)
class Row:
    """A change to be seen: a kind of stream, what changes, and the events after the change."""

    stream: str
    change: str
    draw: Draw


def _normal(mean: float = 0.0, spread: float = 1.0) -> Draw:
    return lambda rng, n: rng.normal(mean, spread, n)


def _bits(rate: float) -> Draw:
    return lambda rng, n: (rng.random(n) < rate).astype(np.float64)


def _pairs(correlation: float) -> Draw:
    def draw(rng: Rng, n: int) -> Floats:
        pairs = rng.normal(size=(n, 2))
        pairs[:, 1] = correlation * pairs[:, 0] + np.sqrt(1 - correlation**2) * pairs[:, 1]
        return pairs

    return draw


def _codes(shares: Floats) -> Draw:
    return lambda rng, n: rng.choice(len(shares), n, p=shares).astype(np.float64)


def _t3(rng: Rng, n: int) -> Floats:
    """Student's t of 3 degrees, of variance 1: so that it is the shape alone that changes."""
    drawn: Floats = rng.standard_t(3, n)
    return drawn / math.sqrt(3)


_MOVED = SHARES + np.array([-0.05, 0.05, *[0] * 8])
_NEW = np.array([*(SHARES * 0.998), 0.002])

USUAL: dict[str, Draw] = {
    "number": _normal(),
    "pair": _pairs(0.0),
    "category": _codes(SHARES),
    "error": _bits(0.10),
    "label": _bits(0.01),
}
"""Each kind of stream as it is usually; only the first is of numbers with many values."""

ROWS: tuple[Row, ...] = (
    Row("number", "mean + 0.1 sd", _normal(0.1)),
    Row("number", "mean + 0.25 sd", _normal(0.25)),
    Row("number", "mean + 0.5 sd", _normal(0.5)),
    Row("number", "mean + 1 sd", _normal(1.0)),
    Row("number", "spread x 1.25", _normal(0.0, 1.25)),
    Row("number", "normal to t3", _t3),
    Row("pair", "correlation 0 to 0.5", _pairs(0.5)),
    Row("category", "5 % moved", _codes(_MOVED)),
    Row("category", "new one of 0.2 %", _codes(_NEW)),
    Row("error", "0.10 to 0.12", _bits(0.12)),
    Row("error", "0.10 to 0.15", _bits(0.15)),
    Row("error", "0.10 to 0.2", _bits(0.20)),
    Row("error", "0.10 to 0.3", _bits(0.30)),
    Row("label", "0.01 to 0.02", _bits(0.02)),
)


def _rng(stream: str, purpose: Purpose, repetition: int) -> Rng:
    return np.random.default_rng([SEED, list(USUAL).index(stream), purpose, repetition])


def stationary(stream: str, purpose: Purpose, repetition: int, events: int = STATIONARY) -> Floats:
    """Return a reference and so many events with nothing wrong: shape (n,), pairs (n, 2)."""
    return USUAL[stream](_rng(stream, purpose, repetition), REFERENCE + events)


def changed(row: Row, repetition: int) -> Floats:
    """Return a reference, clean events and changed ones.

    Repetitions of all changes of a stream are the same up to the change.
    """
    rng = _rng(row.stream, Purpose.DELAY, repetition)
    before = USUAL[row.stream](rng, REFERENCE + CLEAN)
    return np.concatenate([before, row.draw(rng, HORIZON)])
