"""A sample of events: the same whoever saw which part, in whatever order, and how often."""

from __future__ import annotations

from hashlib import sha256
from random import Random
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.monitors.columns import Column, column_of
from streamproc.monitors.fold import LONGEST
from streamproc.monitors.sample import K, Row, Sample, Sampler, merged, unpacked

NAMES = ("amount", "country")


def prediction(number: int, **features: Any) -> dict[str, Any]:
    """Return what the model said of an event."""
    return {
        "id": f"tx-{number}",
        "features": {"amount": number / 4, "country": "NL", **features},
        "score": 0.5,
        "decision": True,
        "model": "m@1",
    }


def columns_of(told: list[dict[str, Any]]) -> list[Column]:
    """Return the features of predictions as a fold has them."""
    return [column_of([each["features"].get(name) for each in told]) for name in NAMES]


def sampled(numbers: list[int], batch: int, k: int) -> list[Sample]:
    """Return what a partition sends of one bucket, asked after each batch."""
    sampler = Sampler(NAMES, k)
    sent: list[Sample] = []
    for at in range(0, len(numbers), batch):
        told = [prediction(number) for number in numbers[at : at + batch]]
        sampler.update(np.zeros(len(told), np.int64), told, columns_of(told))
        sent += sampler.take().values()
    return sent


@given(
    st.integers(1, 4),
    st.integers(1, 50),
    st.integers(1, 20),
    st.randoms(use_true_random=False),
)
def test_partitions_batches_and_order_do_not_matter(
    partitions: int, batch: int, k: int, rng: Random
) -> None:
    """However the events came, the parts make the same sample."""
    numbers = list(range(120))
    whole = merged(sampled(numbers, 120, k), k)
    rng.shuffle(numbers)
    parts = [p for i in range(partitions) for p in sampled(numbers[i::partitions], batch, k)]
    parts += parts[:2]  # sent again after a crash
    rng.shuffle(parts)
    told = [unpacked(orjson.loads(orjson.dumps(part.packed()))) for part in parts]
    assert merged(told, k).rows == whole.rows
    assert len(whole.rows) == k
    halves = merged(told[: len(told) // 2] or told, k), merged(told[len(told) // 2 :], k)
    assert merged(halves, k).rows == whole.rows


def test_only_what_may_belong_is_sent() -> None:
    """Once the sample is full, few rows are new in it."""
    sent = sampled(list(range(20_000)), 100, 64)
    assert 64 <= sum(len(part.rows) for part in sent) < 64 * 12


def test_every_event_has_the_same_chance() -> None:
    """The sample's mean is that of all, whatever the ids look like."""
    for form in ("{}", "tx-{:08d}", "{:x}"):
        rows = [Row(form.format(i), (float(i % 10),), None, None, "m") for i in range(20_000)]
        kept = Sample.of(("x",), rows, 2_000).rows
        shares = np.bincount([int(row.values[0]) for row in kept], minlength=10) / len(kept)
        assert np.abs(shares - 0.1).max() < 0.03
        early = sum(rows.index(row) < 10_000 for row in kept[:400]) / 400
        assert early == pytest.approx(0.5, abs=0.12)


def test_the_rows_are_those_of_the_events() -> None:
    """Values as they were: null, text (not too long), whether or not a feature is there."""
    told = [
        prediction(1, amount=None),
        prediction(2, country="x" * (LONGEST + 1)),
        {**prediction(3), "features": {"amount": 7}},
    ]
    sampler = Sampler(NAMES)
    sampler.update(np.array([0, 60_000, 0]), told, columns_of(told))
    found = sampler.take()
    by_id = {row.id: row for row in found[0].rows}
    assert by_id["tx-1"] == Row("tx-1", (None, "NL"), 0.5, True, "m@1")
    assert by_id["tx-3"].values == (7, None)
    assert found[60_000].rows[0].values == (0.5, "x" * LONGEST)
    assert sampler.take() == {}


def test_other_names_are_set_side_by_side() -> None:
    """A definition that changed sends other features; they are kept by name."""
    one = Sample.of(("a", "b"), [Row("1", (1, 2), None, None, "m")])
    other = Sample.of(("b", "c"), [Row("2", (3, 4), None, None, "m")])
    both = merged([other, one])
    assert both.names == ("a", "b", "c")
    assert {row.id: row.values for row in both.rows} == {"1": (1, 2, None), "2": (None, 3, 4)}


def test_it_is_the_same_in_every_process() -> None:
    """The choice is written down here: a change of the hash would split samples in two."""
    rows = [Row(str(i), (), None, None, "m") for i in range(3 * K)]
    kept = ",".join(row.id for row in Sample.of((), rows).rows)
    assert sha256(kept.encode()).hexdigest()[:16] == "6f33e470ee3a68d0"
