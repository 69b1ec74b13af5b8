"""Columns and packed arrays: what is sent is what is read, and the same whatever the parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.monitors.columns import aligned, column_of, halves, listed, pack, unpack
from streamproc.monitors.fold import LONGEST, Messages, texts
from streamproc.monitors.outcome_sample import Outcomes, merged, unpacked
from streamproc.monitors.packing import pack_counts, pack_ints, unpack_counts, unpack_ints
from streamproc.monitors.sample import Row, Sample
from streamproc.monitors.sample import merged as merged_sample
from streamproc.monitors.sample import unpacked as unpacked_sample

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=120), st.just([1])
)


def expected(value: Any) -> Any:
    """Return a value as a column has it, one by one."""
    if isinstance(value, str):
        return value[:LONGEST]
    if not isinstance(value, int | float) or abs(value) > 1.7976931348623157e308:
        return None
    return None if value != value else float(value)


@given(st.lists(VALUES, max_size=20), st.integers(0, 20))
def test_a_column_has_numbers_texts_and_nothing_else(values: list[Any], cut: int) -> None:
    """However it was cut, sent and put together."""
    parts = [column_of(part) for part in (values[:cut], values[cut:])]
    sent = [unpack(orjson.loads(orjson.dumps(pack(part)))) for part in parts]
    told = [(("x",), [part], len(part)) for part in sent]
    assert listed(aligned(("x",), told)[0]) == [expected(value) for value in values]


def test_a_number_too_large_for_a_float_is_missing() -> None:
    """A whole number of JSON may have any length."""
    assert listed(column_of([10**400, 2])) == [None, 2.0]


@given(st.lists(st.integers(1, 1 << 40), max_size=30), st.lists(st.integers(-(1 << 63), 2**63 - 1)))
def test_whole_numbers_are_packed_exactly(counts: list[int], keys: list[int]) -> None:
    """Counts take few bytes, keys eight."""
    text = pack_counts(np.array(counts, np.int64))
    assert unpack_counts(text, len(counts)).tolist() == counts
    assert unpack_ints(pack_ints(np.array(keys, np.int64))).tolist() == keys


@given(st.integers(2, 30))
def test_halves_of_a_sample_add_up_to_it(n: int) -> None:
    """Of outcomes and of predictions, numbers and texts."""
    made = [
        {
            "id": str(i),
            "model": f"m@{i}",
            "event_time_ms": i,
            "features": {"amount": i / 3, "country": f"c{i}"},
        }
        for i in range(n)
    ]
    outcomes = Outcomes.of(made, np.arange(n), np.zeros(n), np.arange(n) / n).packed()
    both = halves(outcomes)
    assert both is not None
    assert merged([unpacked(half) for half in both]).packed() == outcomes
    rows = [Row(str(i), (i / 3, f"c{i}"), 0.5, True, "m@1") for i in range(n)]
    sample = Sample.of(("amount", "country"), rows)
    both = halves(sample.packed())
    assert both is not None
    assert merged_sample([unpacked_sample(half) for half in both][::-1]).rows == sample.rows


def test_outcomes_with_one_hash_are_in_an_order_of_their_own() -> None:
    """Ids whose checksums are equal, which 2 in 100,000 are."""
    features: list[dict[str, Any]] = [{"a": 1.0}, {"a": "x"}, {"b": 2.0}, {}]
    made = [{"event_time_ms": 0, "features": each} for each in features]
    parts = [Outcomes.of([each], np.zeros(1, np.int64), np.ones(1), np.ones(1)) for each in made]
    assert merged(parts).names == ("a", "b")
    assert merged(parts).packed() == merged(parts[::-1]).packed()


@pytest.mark.parametrize("values", [[True, 1], [1, True], [1.0, 1], [None, True], [[1], {"a": 2}]])
def test_equal_values_that_are_unlike_as_text_stay_so(values: list[Any]) -> None:
    """1 is True, to Python."""
    assert texts(values) == [None if value is None else str(value) for value in values]


def test_what_folds_share_is_what_each_would_work_out() -> None:
    """Columns asked for by one fold are there for the next, in whatever order it asks."""
    some = Messages({"features": {"a": i, "b": None, "c": "x"}} for i in range(3))
    assert some.numbers(("a",)).tolist() == [[0.0, 1.0, 2.0]]
    both = some.numbers(("b", "a"))
    assert np.isnan(both[0]).all()
    assert both[1].tolist() == [0.0, 1.0, 2.0]
    assert some.numbers(()).shape == (0, 3)
