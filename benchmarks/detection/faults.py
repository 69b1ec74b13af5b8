"""Payments with faults put in: is each detected, named and resolved, and nothing beside?

Customers and terminals are put into twenty groups each. Drawn for each payment, with a recorded
seed, are `distance` (of the terminal from the customer), which may be missing, `temperature` (of
the terminal), and `channel`, one of ten. Frauds of a group of customers or terminals come and go in
these data, as cards leak and terminals are compromised; by channel they don't.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import date
from typing import Any, NamedTuple

import numpy as np

from benchmarks.detection.watching import Life, Told
from benchmarks.protocol import DAY_MS
from streamproc import (
    Calendar,
    Calibration,
    ConceptDrift,
    DataQuality,
    Drift,
    Field,
    LabelShift,
    Pipeline,
    PredictionBias,
    Window,
)
from streamproc.eventtime import parse_time_ms
from streamproc.files import Row

SEED = 6
GROUPS, CHANNELS = 20, 10
FROM, DAYS = date(2018, 6, 1), 61
STUCK = 21.5
Change = Callable[[Row, np.random.Generator], None]


class Fault(NamedTuple):
    """What goes wrong, from which day to which (left out); what an alert that names it is about.

    ``slice_`` is where it is, None for everywhere; ``late_days`` is how late it can be known.
    """

    name: str
    from_day: date
    to_day: date
    kinds: tuple[str, ...]
    subject: str
    slice_: dict[str, str] | None
    change: Change
    late_days: int = 0

    def named_by(self, life: Life) -> Told | None:
        """Return the first step of an alert that says what is wrong, and where, in time.

        An alert may be of several things, the likely cause before the others.
        """
        from_ms = _ms(self.from_day)
        until_ms = _ms(self.to_day) + (self.late_days + 7) * DAY_MS
        for step in life.steps:
            things = [step.alert, *step.alert.get("members", ())]
            named = any(
                (one["kind"] in self.kinds, one["subject"].partition(",")[0], one["slice"])
                == (True, self.subject, self.slice_)
                for one in things
            )
            if named and from_ms <= step.at_ms < until_ms:
                return step
        return None


def _times(factor: float) -> Change:
    def change(row: Row, rng: np.random.Generator) -> None:
        row["amount"] = round(row["amount"] * factor, 2)

    return change


def _missing(row: Row, rng: np.random.Generator) -> None:
    if rng.random() < 0.05:
        row["distance"] = None


def _stuck(row: Row, rng: np.random.Generator) -> None:
    row["temperature"] = STUCK


def _doubled(share: float) -> Change:
    """Make so many more of the payments frauds, which the model cannot see."""

    def change(row: Row, rng: np.random.Generator) -> None:
        if rng.random() < share:
            row["fraud"] = 1

    return change


FAULTS = (
    Fault(
        "amounts times 1.1 for a twentieth of the customers", date(2018, 7, 1), date(2018, 7, 22),
        ("covariate_drift",), "amount", {"customer_group": "c07"}, _times(1.1),
    ),
    Fault(
        "a feature missing for 5 % of one terminal group", date(2018, 7, 3), date(2018, 7, 17),
        ("covariate_drift", "data_quality"), "distance", {"terminal_group": "t03"}, _missing,
    ),
    Fault(
        "fraud doubled in one slice", date(2018, 6, 29), date(2018, 7, 13),
        ("prediction_bias",), "predictions", {"channel": "ch4"}, _doubled(0.0085), 7,
    ),
    Fault(
        "amounts times 1.3 for one customer group", date(2018, 7, 5), date(2018, 7, 19),
        ("covariate_drift",), "amount", {"customer_group": "c13"}, _times(1.3),
    ),
    Fault(
        "a stuck sensor field", date(2018, 7, 10), date(2018, 7, 12),
        ("covariate_drift", "data_quality"), "temperature", None, _stuck,
    ),
)  # fmt: skip


def pipeline(like: Pipeline) -> Pipeline:
    """Return the example's pipeline with the readings, watched by group.

    A tenth more in a twentieth of all is a shift of 0.13 standard deviations: the tolerance, 0.1 by
    default, is set lower for that.
    """
    return replace(
        like,
        name="payments-faults",
        features=[
            Field("amount"),
            Field("distance"),
            Field("temperature"),
            Calendar("event_time", ("is_weekend", "is_night")),
            Window("amount", by="customer_id", over=("1d", "7d"), aggregates=("count", "mean")),
        ],
        monitors=[
            Drift(features=("amount",), slices=("customer_group",), tolerance=0.03),
            Drift(features=("distance",), slices=("terminal_group",)),
            Drift(),
            PredictionBias(slices=("channel",)),
            Calibration(),
            LabelShift(),
            ConceptDrift(),
            DataQuality(),
        ],
    )


def rows(payments: Iterable[Row], faults: Iterable[Fault] = FAULTS) -> Iterator[Row]:
    """Yield the payments of the days watched, with groups, readings and faults."""
    day = (FROM - date(1970, 1, 1)).days
    rng = np.random.default_rng(SEED)
    wrong = [(fault, _ms(fault.from_day), _ms(fault.to_day)) for fault in faults]
    for payment in payments:
        row: dict[str, Any] = dict(payment)
        at_ms = parse_time_ms(row["event_time"])
        if at_ms >= (day + DAYS) * DAY_MS:
            return
        if at_ms < day * DAY_MS:
            continue
        row["customer_group"] = f"c{row['customer_id'] % GROUPS:02}"
        row["terminal_group"] = f"t{row['terminal_id'] % GROUPS:02}"
        row["distance"] = round(float(rng.lognormal(1.0, 0.6)), 3)
        row["channel"] = f"ch{rng.integers(CHANNELS)}"
        row["temperature"] = round(float(rng.normal(21.0, 3.0)), 1)
        for fault, from_ms, to_ms in wrong:
            here = fault.slice_ is None or fault.slice_.items() <= row.items()
            if here and from_ms <= at_ms < to_ms:
                fault.change(row, rng)
        yield row


def _ms(of: date) -> int:
    return (of - date(1970, 1, 1)).days * DAY_MS


class Verdict(NamedTuple):
    """How one fault fared; times in days from its beginning, and from its end."""

    fault: str
    detected_days: float | None
    resolved_days: float | None
    alerts: int
    summary: str


def verdicts(found: Iterable[Life]) -> tuple[list[Verdict], list[Life]]:
    """Return what became of each fault, and the alerts beside.

    An alert that names none, and was closed since one that does explains it, isn't beside.
    """
    lives = list(found)
    told, ids = [], set[str]()
    for fault in FAULTS:
        mine = [life for life in lives if fault.named_by(life)]
        ids.update(life.alert["alert_id"] for life in mine)
        told.append(_verdict(fault, mine))
    left = [life for life in lives if life.alert["alert_id"] not in ids]
    return told, [life for life in left if life.explained_by not in ids]


def _verdict(fault: Fault, mine: list[Life]) -> Verdict:
    steps = [step for life in mine if (step := fault.named_by(life))]
    if not steps:
        return Verdict(fault.name, None, None, 0, "")
    ends = [life.resolved for life in mine]
    last = None if None in ends else max(end.at_ms for end in ends if end)
    return Verdict(
        fault.name,
        (steps[0].at_ms - _ms(fault.from_day)) / DAY_MS,
        None if last is None else (last - _ms(fault.to_day)) / DAY_MS,
        len(mine),
        steps[0].alert["summary"],
    )
