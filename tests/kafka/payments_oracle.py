"""The features of the payments example, worked out without any code of the project.

Every window is found by comparing each of a customer's payments with each other.
"""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

NAMES = [
    "amount",
    "is_weekend",
    "is_night",
    *(
        f"amount_{kind}_{span}_by_customer_id"
        for span in ("1d", "7d", "30d")
        for kind in ("count", "mean")
    ),
]
COUNTED = [1, 2, 3, 5, 7]
"""The columns that hold whole numbers."""

_DAY_S = 86_400


@dataclass(frozen=True)
class Payments:
    """Columns of a file of payments, in its order; times in seconds since the epoch."""

    ids: list[str]
    texts: list[str]
    times_s: NDArray[np.int64]
    customers: NDArray[np.int64]
    amounts: NDArray[np.float64]
    frauds: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    def only(self, ids: set[str]) -> Payments:
        """Return those payments whose ids are among ``ids``."""
        kept = [i for i, event_id in enumerate(self.ids) if event_id in ids]
        return Payments(
            ids=[self.ids[i] for i in kept],
            texts=[self.texts[i] for i in kept],
            times_s=self.times_s[kept],
            customers=self.customers[kept],
            amounts=self.amounts[kept],
            frauds=self.frauds[kept],
        )


def read(file: Path, limit: int | None = None) -> Payments:
    """Read a file of payments, or its first ``limit`` rows."""
    with gzip.open(file, "rt", newline="") as lines:
        rows = list(islice(csv.DictReader(lines), limit))
    texts = [row["event_time"] for row in rows]
    times = np.array([text.removesuffix("Z") for text in texts], dtype="datetime64[s]")
    return Payments(
        ids=[row["transaction_id"] for row in rows],
        texts=texts,
        times_s=times.astype(np.int64),
        customers=np.array([int(row["customer_id"]) for row in rows]),
        amounts=np.array([float(row["amount"]) for row in rows]),
        frauds=np.array([int(row["fraud"]) for row in rows]),
    )


def features_of(payments: Payments, as_they_came: bool = False) -> NDArray[np.float64]:
    """Return a row a payment, a column a feature, in the order of :data:`NAMES`.

    Payments of one customer and one second go by their ids. ``as_they_came`` is for those that come
    in another order: an earlier one, of those given, knows nothing of a later one.
    """
    found = np.empty((len(payments), len(NAMES)))
    found[:, 0] = payments.amounts
    days = payments.times_s.astype("datetime64[s]").astype("datetime64[D]")
    found[:, 1] = ~np.is_busday(days)
    found[:, 2] = [int(text[11:13]) <= 6 for text in payments.texts]
    numbers = np.array([int(each) for each in payments.ids])
    order = np.lexsort((numbers, payments.times_s, payments.customers))
    starts = np.flatnonzero(np.diff(payments.customers[order], prepend=-1))
    for own in np.split(order, starts[1:]):
        times_s, amounts = payments.times_s[own], payments.amounts[own]
        age_s = times_s[:, None] - times_s[None, :]
        not_after = np.tri(len(own), dtype=bool)
        if as_they_came:
            not_after &= own[None, :] <= own[:, None]
        for i, days_long in enumerate((1, 7, 30)):
            held = not_after & (age_s < days_long * _DAY_S)
            counts = held.sum(axis=1)
            found[own, 3 + 2 * i] = counts
            found[own, 4 + 2 * i] = held @ amounts / counts
    return found


def as_row(features: dict[str, Any]) -> list[float]:
    """Return published features in the order of :data:`NAMES`; null is NaN."""
    return [np.nan if features[name] is None else float(features[name]) for name in NAMES]


def regression_scores(
    known: NDArray[np.float64], frauds: NDArray[np.int64], asked: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the log odds of fraud by a logistic regression fitted to ``known`` in one batch.

    By Newton's method on standardised features; a hint of a ridge keeps the steps finite.
    """
    mean, deviation = known.mean(axis=0), known.std(axis=0)

    def with_intercept(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack(((rows - mean) / deviation, np.ones(len(rows))))

    rows = with_intercept(known)
    weights = np.zeros(rows.shape[1])
    for _ in range(15):
        chances = 1 / (1 + np.exp(-rows @ weights))
        slope = rows.T @ (chances - frauds) + 1e-3 * weights
        bend = (rows.T * (chances * (1 - chances))) @ rows + 1e-3 * np.eye(len(weights))
        weights -= np.linalg.solve(bend, slope)
    found: NDArray[np.float64] = with_intercept(asked) @ weights
    return found


def area_under_curve(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> float:
    """Return the chance that a fraud scores above a payment that is none; ties count half."""
    frauds, others = scores[labels == 1], np.sort(scores[labels == 0])
    below = np.searchsorted(others, frauds, "left").astype(np.float64)
    up_to = np.searchsorted(others, frauds, "right")
    return float(((below + up_to) / 2).mean() / len(others))
