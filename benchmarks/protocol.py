"""The protocol of the Fraud Detection Handbook's table: what is tested, and its three metrics.

As in its chapter 3 (Machine Learning Group, ULB, 2021): a model is trained on the week that ends
7 days before the test week, since labels are known 7 days late. Customers whose fraud is known by
then are not tested any more: their cards are blocked.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streamproc.metrics import average_precision, roc_auc

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

DAY_MS = 86_400_000
WEEK = 7
DELAY = 7
"""The days that pass until a label is known."""

TOP = 100
"""How many customers are looked into a day."""


class Payments(NamedTuple):
    """Payments as columns: the day as that of the epoch, fraud as 0 or 1."""

    days: Integers
    customers: Integers
    fraud: Integers

    def where(self, chosen: Bools) -> Payments:
        """Return the payments that are chosen."""
        return Payments(*(column[chosen] for column in self))


class Figures(NamedTuple):
    """What the table says of a model; ``cards`` is the card precision of each day."""

    auc: float
    average_precision: float
    card_precision_100: float
    cards: tuple[float, ...] = ()


def day_of(day: date) -> int:
    """Return a date as the day of the epoch.

    >>> day_of(date(1970, 1, 3))
    2
    """
    return (day - date(1970, 1, 1)).days


def date_of(day: int) -> date:
    """Return a day of the epoch as a date.

    >>> date_of(2)
    datetime.date(1970, 1, 3)
    """
    return date(1970, 1, 1) + timedelta(days=int(day))


def first_needed(week: int) -> int:
    """Return the first day whose frauds matter to a test week: that of the training week."""
    return week - DELAY - WEEK


def under_test(payments: Payments, week: int) -> Bools:
    """Say which payments are tested in the week that begins with a day.

    Left out are customers with a fraud in the training week, and from each test day on those with
    a fraud 8 days before it.

    >>> days, customers = np.array([0, 6, 14, 14, 15, 15]), np.array([1, 2, 1, 2, 2, 3])
    >>> fraud = np.array([1, 0, 0, 0, 0, 1])
    >>> under_test(Payments(days, customers, fraud), 14).tolist()
    [False, False, False, True, True, True]
    """
    days, customers, fraud = payments
    start = first_needed(week)
    out = np.zeros(days.size, np.bool_)
    for day in range(week, week + WEEK):
        # The training week ends 8 days before the first test day, so this takes both in.
        known = np.unique(customers[(fraud == 1) & (days >= start) & (days < day - DELAY)])
        out |= (days == day) & ~np.isin(customers, known)
    return out


def card_precision(payments: Payments, scores: Floats, top: int = TOP) -> tuple[float, ...]:
    """Return, for each day there is, the share of frauds among the customers looked into.

    These are the ``top`` with the highest score that day, each by the highest of their payments;
    of equals the one with the smaller number. Who is found so is not looked at on later days.

    >>> payments = Payments(np.array([0, 0, 0, 1, 1]), np.array([1, 1, 2, 1, 2]),
    ...                     np.array([0, 1, 0, 1, 1]))
    >>> card_precision(payments, np.array([0.9, 0.1, 0.5, 0.9, 0.8]), top=1)
    (1.0, 1.0)
    """
    days, customers, fraud = payments
    found = np.zeros(0, np.int64)
    shares = list[float]()
    for day in np.unique(days):
        chosen = (days == day) & ~np.isin(customers, found)
        each, place = np.unique(customers[chosen], return_inverse=True)
        highest = np.full(each.size, -np.inf)
        np.maximum.at(highest, place, scores[chosen])
        defrauded = np.bincount(place, weights=fraud[chosen], minlength=each.size) > 0
        looked_into = np.argsort(-highest, kind="stable")[:top]
        caught = each[looked_into[defrauded[looked_into]]]
        shares.append(caught.size / top)
        found = np.concatenate([found, caught])
    return tuple(shares)


def measured(payments: Payments, scores: Floats) -> Figures:
    """Return the table's figures for the payments that are tested.

    Raises :class:`ValueError` where there is no fraud among them, or nothing else.
    """
    auc = roc_auc(payments.fraud, scores)
    precision = average_precision(payments.fraud, scores)
    if auc is None or precision is None:
        raise ValueError("the test week has no fraud, or nothing else; choose another week")
    cards = card_precision(payments, scores)
    return Figures(auc, precision, float(np.mean(cards)), cards)
