"""The payments that flow: the months of 2018 in a row, again and again, with drifts of our own.

Nothing ends them. What a round more or a faster flow needs is there, with ids that go on rising.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count

from streamproc.files import Row, rows
from tests.servers import ROOT

FOLDER = ROOT.parent / "shared/data/payments"
FILES = [FOLDER / f"transactions-2018-0{month}.csv.gz" for month in range(4, 9)]
"""April to the 14th of August; read only."""

_DAYS = 136
_IDS = 10_000_000
_TIME = "%Y-%m-%dT%H:%M:%SZ"


def payments(every: int = 1) -> Iterator[Row]:
    """Yield the payments of every so manieth customer.

    In two days of eight amounts are half as high again, so that alerts open and resolve. After the
    last day the first follows: times go on, and so do ids.
    """
    for turn in count():
        later = timedelta(days=turn * _DAYS)
        for file in FILES:
            for row in rows(file):
                if row["customer_id"] % every:
                    continue
                if turn:
                    row["transaction_id"] += turn * _IDS
                    row["event_time"] = _moved(row["event_time"], later)
                if int(row["event_time"][8:10]) % 8 in (5, 6):
                    row["amount"] = round(row["amount"] * 1.5, 2)
                yield row


def _moved(text: str, later: timedelta) -> str:
    return (datetime.strptime(text, _TIME) + later).strftime(_TIME)  # noqa: DTZ007 - both are UTC
