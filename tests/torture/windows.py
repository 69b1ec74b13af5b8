"""The windows of payments as they came: what came later is in no window told before.

As ``tests.kafka.payments_oracle`` has them, but for payments of one customer and one second that
come in another order than that of their ids: an earlier one knows nothing of a later one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tests.kafka.payments_oracle import NAMES, Payments

_DAY_S = 86_400


def features_of(payments: Payments) -> NDArray[np.float64]:
    """Return a row a payment, a column a feature; payments in the order in which they came."""
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
        known = np.tri(len(own), dtype=bool) & (own[None, :] <= own[:, None])
        for i, days_long in enumerate((1, 7, 30)):
            held = known & (age_s < days_long * _DAY_S)
            counts = held.sum(axis=1)
            found[own, 3 + 2 * i] = counts
            found[own, 4 + 2 * i] = held @ amounts / counts
    return found
