"""The features of terminals, worked out without any code of the project, from the log alone.

A payment goes where the newest one of its partition, up to it, belongs by time and id. In that
order each sees those of its terminal before it, and the labels that were known by its time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

DAY_S = 86_400
SPANS = (("1d", DAY_S), ("7d", 7 * DAY_S), ("30d", 30 * DAY_S))
NAMES = [
    *(f"amount_{kind}_{span}_by_terminal_id" for span, _ in SPANS for kind in ("count", "mean")),
    *(f"label_{kind}_{span}_by_terminal_id" for span, _ in SPANS for kind in ("count", "mean")),
]


class Payment(NamedTuple):
    """One record of the events' log; times in seconds since the epoch."""

    partition: int
    offset: int
    id: int
    time_s: int
    terminal: int
    amount: float
    fraud: int
    known_s: float


def in_order(log: Iterable[Payment]) -> list[Payment]:
    """Return payments in the order in which their windows see them, repeated ids left out."""
    newest: dict[int, tuple[int, int]] = defaultdict(lambda: (-1, -1))
    placed, seen = [], set[int]()
    for each in sorted(log, key=lambda payment: (payment.partition, payment.offset)):
        if each.id in seen:
            continue
        seen.add(each.id)
        newest[each.partition] = max(newest[each.partition], (each.time_s, each.id))
        placed.append((*newest[each.partition], each.partition, each.offset, each))
    return [each for *_, each in sorted(placed, key=lambda found: found[:4])]


def features_of(log: Iterable[Payment]) -> dict[int, list[float]]:
    """Return the features of each payment by its id, in the order of :data:`NAMES`."""
    by_terminal: dict[int, list[Payment]] = defaultdict(list)
    for each in in_order(log):
        by_terminal[each.terminal].append(each)
    found: dict[int, list[float]] = {}
    for payments in by_terminal.values():
        times_s = np.array([each.time_s for each in payments])
        known_s = np.array([each.known_s for each in payments])
        amounts = np.array([each.amount for each in payments])
        frauds = np.array([each.fraud for each in payments])
        for i, each in enumerate(payments):
            before = times_s[: i + 1]
            row: list[float] = []
            for _, span_s in SPANS:
                held = (before <= each.time_s) & (before > each.time_s - span_s)
                row += [held.sum(), amounts[: i + 1][held].mean()]
            for _, span_s in SPANS:
                held = (known_s <= each.time_s) & (known_s > each.time_s - span_s)
                row += [held.sum(), frauds[held].mean() if held.any() else np.nan]
            found[each.id] = row
    return found


def as_row(features: dict[str, Any]) -> list[float]:
    """Return published features in the order of :data:`NAMES`; null is NaN."""
    return [np.nan if features[name] is None else float(features[name]) for name in NAMES]
