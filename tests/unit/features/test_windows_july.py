"""Payments of July 2018 through the replay, against an oracle that knows none of the project."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray
from river import linear_model

from streamproc.events import Events, Labels
from streamproc.features import LabelWindow, Window
from streamproc.pipeline import Pipeline
from streamproc.replay import Replay
from streamproc.tasks.records import Output
from streamproc.timeline import Entry
from tests.conftest import DATA
from tests.kafka import payments_oracle

DELAY_MS = 7 * 86_400_000
SPANS = (1, 7, 30)
FILE = DATA / "payments" / "transactions-2018-07.csv.gz"


def pipeline() -> Pipeline:
    """Return windows by the key, and over labels by the terminal."""
    over = tuple(f"{days}d" for days in SPANS)
    return Pipeline(
        name="july",
        events=Events("payments", id="id", key="customer", time="at"),
        labels=Labels("labels", id="id", value="fraud", time="known_at", horizon="14d"),
        features=[
            Window("amount", by="customer", over=over, aggregates=("count", "mean")),
            LabelWindow(by="terminal", over=over),
        ],
        model=linear_model.LogisticRegression(),
        publish_every=1_000_000,
    )


def entries(
    payments: payments_oracle.Payments, terminals: list[str], order: list[int]
) -> Iterator[Entry]:
    """Yield payments in the order in which they come, each label seven days after its payment."""
    times_ms = (payments.times_s * 1000).tolist()
    for i in order:
        event = {
            "id": payments.ids[i], "customer": int(payments.customers[i]), "at": times_ms[i],
            "terminal": terminals[i], "amount": float(payments.amounts[i]),
        }  # fmt: skip
        yield Entry("event", times_ms[i], b"", orjson.dumps(event))
    for i in range(len(payments)):
        known_ms = times_ms[i] + DELAY_MS
        label = {"id": payments.ids[i], "fraud": int(payments.frauds[i]), "known_at": known_ms}
        yield Entry("label", known_ms, b"", orjson.dumps(label))


def merged(made: Iterator[Entry]) -> list[Entry]:
    """Return events as they come, each label before the first event of its time or later."""
    events: list[Entry] = []
    labels: list[Entry] = []
    for entry in made:
        (events if entry.kind == "event" else labels).append(entry)
    found, at, newest_ms = [], 0, 0
    for event in events:
        newest_ms = max(newest_ms, event.time_ms)
        while at < len(labels) and labels[at].time_ms <= newest_ms:
            found.append(labels[at])
            at += 1
        found.append(event)
    return found


def fraud_rates(payments: payments_oracle.Payments, terminals: list[str]) -> NDArray[np.float64]:
    """Return counts and rates of the labels known at each payment, by its terminal and span."""
    found = np.full((len(payments), 2 * len(SPANS)), np.nan)
    names = np.unique(terminals, return_inverse=True)[1]
    order = np.lexsort((payments.times_s, names))
    starts = np.flatnonzero(np.diff(names[order], prepend=-1))
    for own in np.split(order, starts[1:]):
        known_s = payments.times_s[own] + DELAY_MS // 1000
        summed = np.concatenate([[0], np.cumsum(payments.frauds[own])])
        now_s = payments.times_s[own]
        end = np.searchsorted(known_s, now_s, "right")
        for i, days in enumerate(SPANS):
            start = np.searchsorted(known_s, now_s - days * 86_400, "right")
            found[own, 2 * i] = end - start
            with np.errstate(invalid="ignore"):
                found[own, 2 * i + 1] = (summed[end] - summed[start]) / (end - start)
    return found


@pytest.mark.data
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("disorder", "most"), [(False, None), (True, 110_000)], ids=["in order", "out of order"]
)
def test_july_is_as_the_oracle_has_it(disorder: bool, most: int | None) -> None:
    """Counts are equal and means within 1e-9, also where 5 % come up to an hour late, 1 % twice."""
    if not FILE.is_file():
        pytest.skip("the payments of July are not there")
    payments = payments_oracle.read(FILE, most)
    chance = random.Random(7)
    terminals = terminals_of(most)
    order = list(range(len(payments)))
    repeated: set[int] = set()
    if disorder:
        late = {i for i in order if chance.random() < 0.05}
        comes_s = [t + (chance.uniform(0, 3_500) if i in late else 0)
                   for i, t in enumerate(payments.times_s.tolist())]  # fmt: skip
        order.sort(key=comes_s.__getitem__)
        repeated = {i for i in order if chance.random() < 0.01}
    comes = [i for at in order for i in ([at, at] if at in repeated else [at])]
    predictions: dict[str, dict[str, Any]] = {}
    reasons: list[bytes] = []

    def keep(output: Output) -> None:
        for out in output.records.get("predictions", ()):
            said = orjson.loads(out["value"] or b"")
            predictions[said["id"]] = said["features"]
        reasons.extend(
            dict(out["headers"])["reason"] for out in output.records.get("dead_letters", ())
        )

    made = merged(entries(payments, terminals, comes))
    replayed = Replay(pipeline(), 2_000_000_000_000, keep)
    replayed.run(made)
    assert replayed.score.late == 0
    assert reasons == [b"repeated_id"] * len(repeated)
    names = pipeline().feature_names
    found = np.array(
        [[np.nan if predictions[i][name] is None else predictions[i][name] for name in names]
         for i in payments.ids]
    )  # fmt: skip
    expected = np.column_stack(
        [oracle_of_customers(payments, order), fraud_rates(payments, terminals)]
    )
    assert np.array_equal(found[:, ::2], expected[:, ::2])
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    assert np.nanmax(np.abs(found - expected)) <= 1e-9
    assert np.nansum(expected[:, 6]) > 10_000  # labels were known


def oracle_of_customers(
    payments: payments_oracle.Payments, order: list[int]
) -> NDArray[np.float64]:
    """Return counts and means of amounts by customer, as payments that come so know them."""
    came = np.array(order)
    as_they_came = payments_oracle.Payments(
        ids=[payments.ids[i] for i in order],
        texts=[payments.texts[i] for i in order],
        times_s=payments.times_s[came],
        customers=payments.customers[came],
        amounts=payments.amounts[came],
        frauds=payments.frauds[came],
    )
    found = np.empty((len(payments), 6))
    found[came] = payments_oracle.features_of(as_they_came, as_they_came=True)[:, 3:]
    return found


def terminals_of(most: int | None) -> list[str]:
    """Return the column that the oracle of the worker doesn't read."""
    import csv
    import gzip
    from itertools import islice

    with gzip.open(FILE, "rt", newline="") as lines:
        return [row["terminal_id"] for row in islice(csv.DictReader(lines), most)]
