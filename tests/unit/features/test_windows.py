"""Windows against a brute force in fractions: every record kept for ever, nothing rounded.

`o` is a record, `(` an edge that is left out and `]` one that is in.
"""

from __future__ import annotations

import math
import random
from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamproc.features import Window
from streamproc.features.windows import KeyedWindow

AGGREGATES = ("count", "sum", "mean", "std", "var", "min", "max")
SPANS = (5, 20, 7)
LATENESS_MS = 15


class Seen(NamedTuple):
    """A record that the windows were given."""

    key: str
    time_ms: int
    number: int
    value: float | int | None


def windows(*aggregates: str, spans: tuple[int, ...] = SPANS, lateness_ms: int = 0) -> KeyedWindow:
    """Return windows over ``x`` by ``k``."""
    over = tuple(f"{span}ms" for span in spans)
    return KeyedWindow(Window("x", "k", over, aggregates), lateness_ms)


def root(value: Fraction) -> float:
    """Return a square root to 100 bits or more before it is rounded."""
    shift = 100 + max(0, value.denominator.bit_length() - value.numerator.bit_length())
    return float(Fraction(math.isqrt(int(value * 4**shift)), 2**shift))


def expected_of(held: list[Fraction]) -> dict[str, float | int | None]:
    """Return every aggregate of some values, rounded once."""
    if not held:
        return {**dict.fromkeys(AGGREGATES), "count": 0, "sum": 0.0}
    total, count = sum(held, Fraction()), len(held)
    variance = sum((v - total / count) ** 2 for v in held) / max(1, count - 1)
    return {
        "count": count,
        "sum": float(total),
        "mean": float(total / count),
        "std": root(Fraction(variance)),
        "var": float(variance),
        "min": float(min(held)),
        "max": float(max(held)),
    }


def brute_force(history: list[Seen], now: Seen, span_ms: int) -> dict[str, float | int | None]:
    """Return the aggregates of the window that ends with ``now``, which is in ``history``."""
    return expected_of(
        [
            Fraction(seen.value)
            for seen in history
            if seen.key == now.key
            and now.time_ms - span_ms < seen.time_ms
            and (seen.time_ms, seen.number) <= (now.time_ms, now.number)
            and seen.value is not None
        ]
    )


def check_all(records: list[Seen], aggregates: tuple[str, ...], sweep: bool = True) -> None:
    """Run records through windows and a brute force side by side; every number must be the same."""
    window = windows(*aggregates, lateness_ms=LATENESS_MS)
    history: list[Seen] = []
    newest_ms = -(1 << 62)
    for seen in records:
        late = seen.time_ms < newest_ms - LATENESS_MS
        newest_ms = max(newest_ms, seen.time_ms)
        found = window.observe(seen.key, seen.time_ms, str(seen.number), seen.value, late)
        # What no record in time can see is forgotten, for late ones too.
        known = [*history, seen]
        if late:
            floor = newest_ms - max(SPANS) - LATENESS_MS
            known = [s for s in history if s.time_ms > floor] + [seen]
        else:
            history.append(seen)
        expected = [brute_force(known, seen, span) for span in SPANS]
        for i, (name, got) in enumerate(zip(list(aggregates) * len(SPANS), found, strict=True)):
            wanted = expected[i // len(aggregates)][name]
            if name == "std" and wanted is not None and got is not None:
                assert got == pytest.approx(wanted, rel=3e-16, abs=0), (seen, name)
            else:
                assert (wanted, type(wanted)) == (got, type(got)), (seen, name)
        if sweep:
            window.sweep(1)


FITTING = st.one_of(
    st.none(),
    st.sampled_from([0, 1, 0.1, -0.0, 1e-9, -57.16, 2.0**43 - 2.0**-9, -(2**43) + 1, 2.0**-118]),
    st.floats(-1e12, 1e12).filter(lambda value: value == 0 or abs(value) > 2.0**-65),
    st.integers(-(10**12), 10**12),
)
"""Values that compiled code can add."""

VALUES = st.one_of(
    FITTING,
    st.sampled_from([0, 1, 0.1, 1e16, -1e16, 1e150, -1e150, 5e-324, -0.0, 2**63, 1e-9, 2.0**43]),
    st.floats(-1e150, 1e150),
    st.integers(-(10**18), 10**18),
)
"""Any values: an entity with one of these may be moved, at any time, to Python's integers."""


@st.composite
def streams(draw: st.DrawFn) -> list[Seen]:
    """Draw records of some entities, out of order, with ties in time, each id once."""
    values = draw(st.sampled_from([FITTING, FITTING, VALUES]))
    steps = draw(
        st.lists(st.tuples(st.sampled_from("ab"), st.integers(-18, 9), values), max_size=50)
    )
    numbers = draw(st.permutations(range(len(steps))))
    now_ms, records = draw(st.integers(-100, 100)), []
    for number, (key, step, value) in zip(numbers, steps, strict=True):
        records.append(Seen(key, now_ms + step, number, value))
        now_ms = max(now_ms, now_ms + step)
    return records


@settings(max_examples=120, deadline=None)
@given(streams(), st.sampled_from([AGGREGATES, ("count", "mean"), ("max",), ("std", "sum")]))
@example([Seen("a", 0, 0, 1e16), Seen("a", 1, 1, 1.0), Seen("a", 2, 2, -1e16)], AGGREGATES)
@example([Seen("a", 0, 0, 2**53 + 1), Seen("a", 1, 1, -(2**53))], ("count", "mean"))
@example([Seen("a", i, i, v) for i, v in enumerate((2**55, 1, 0.0))], ("count", "mean"))
def test_every_number_is_that_of_a_brute_force(
    records: list[Seen], aggregates: tuple[str, ...]
) -> None:
    """Out of order, late, tied, null, tiny or huge: each is the exact aggregate, rounded once."""
    check_all(records, aggregates)


@pytest.mark.parametrize("seed", range(6))
def test_a_long_run_is_trimmed_and_stays_exact(seed: int) -> None:
    """After many times what a window holds, with what is old let go, nothing has crept in."""
    rng = random.Random(seed)
    now_ms, records = 0, []
    for number in rng.sample(range(3_000), 1_500):
        now_ms += rng.choice([0, 0, 0, 1, 1, 2, 40 if rng.random() < 0.02 else 0])
        behind = rng.choice([0] * 6 + [3, 15, 16, 60])
        value = rng.choice([None, rng.gauss(0, 1e3), 1e12, 1e-12, 7])
        records.append(Seen(rng.choice("aaab"), now_ms - behind, number, value))
    check_all(records, AGGREGATES)


def test_what_is_late_sees_the_same_however_often_is_swept() -> None:
    """The windows of a late record don't depend on what happened to be let go before it came."""
    found = []
    for sweeps in (0, 1, 50):
        window = windows("count", "sum", spans=(10,), lateness_ms=0)
        window.observe("a", 0, "1", 5.0)
        window.observe("b", 100, "2", 7.0)
        window.sweep(sweeps)
        found.append(window.observe("a", 1, "3", 1.0, late=True))
    assert found == [[1, 1.0]] * 3


def test_the_edges_of_a_window() -> None:
    """The record a span before is out, the one a millisecond later is in, and so is the last.

    time       0    1                        10
               o    o                        o
    window     (                             ]       of 10 ms
    """
    for second, means in (("sum", (1.0, 3.0, 6.0)), ("mean", (1.0, 1.5, 3.0))):
        window = windows("count", second, spans=(10,))
        assert window.observe("k", 0, "0", 1.0) == [1, means[0]]
        assert window.observe("k", 1, "1", 2.0) == [2, means[1]]
        assert window.observe("k", 10, "2", 4.0) == [2, means[2]]


def test_the_edges_before_the_epoch() -> None:
    """Negative times are times like any other.

    time      -11  -10   -1             0
               o    o     o             o
    window          (                   ]            of 10 ms, at 0
    """
    window = windows("sum", spans=(10,))
    found = [window.observe("k", t, str(i), 2.0**i)[0] for i, t in enumerate((-11, -10, -1, 0))]
    assert found == [1.0, 3.0, 4.0 + 2.0, 8.0 + 4.0]


def test_ties_in_time_are_ordered_by_id() -> None:
    """Of two records at one time the smaller id, as an integer, never sees the greater.

    time        5
    id "9"      o    sees itself, even where "10" came first
    id "10"     o    sees both, where "9" came first
    id "11"     o    sees all
    """
    found = {}
    for order in (("9", "10", "11"), ("10", "9", "11")):
        window = windows("count", spans=(10,))
        found[order] = {each: window.observe("k", 5, each, 1.0)[0] for each in order}
    assert found == {
        ("9", "10", "11"): {"9": 1, "10": 2, "11": 3},
        ("10", "9", "11"): {"9": 1, "10": 1, "11": 3},
    }


def test_an_out_of_order_record_is_seen_by_those_after_it() -> None:
    """A record within the lateness counts where it belongs, and for all that come later.

    came       1st       3rd       2nd    4th
    time       0         4         8      9
               o         o         o      o
    window          (         ]                      of 5 ms, at 4
    window                    (           ]          of 5 ms, at 9
    """
    window = windows("sum", spans=(5,), lateness_ms=5)
    came = ((0, 1.0), (8, 10.0), (4, 100.0), (9, 1000.0))
    found = [window.observe("k", t, str(t), v)[0] for t, v in came]
    assert found == [1.0, 10.0, 101.0, 1010.0]


def test_a_late_record_sees_itself_and_is_seen_by_none() -> None:
    """Later than allowed, a record gets its own aggregates and changes nobody else's."""
    window = windows("sum", spans=(50,), lateness_ms=5)
    window.observe("k", 100, "1", 1.0)
    assert window.observe("k", 90, "2", 2.0, late=True) == [2.0]
    assert window.observe("k", 101, "3", 4.0) == [5.0]


def test_nulls_leave_an_empty_window_empty() -> None:
    """A null counts for nothing: count and sum are 0, all else is null."""
    window = windows(*AGGREGATES, spans=(10,))
    assert window.observe("k", 1, "1", None) == [0, 0.0, None, None, None, None, None]


def test_a_hot_key_holds_what_its_window_holds() -> None:
    """An entity that never rests keeps its longest window and the lateness, not its history."""
    window = windows("count", "mean", spans=(10, 100), lateness_ms=50)
    most = 0
    for time_ms in range(20_000):
        window.observe("hot", time_ms, str(time_ms), 1.5)
        most = max(most, len(window))
    assert most <= 100 + 50 + 2 * 64


@pytest.mark.parametrize("aggregates", [("mean",), AGGREGATES])
def test_idle_entities_are_forgotten(aggregates: tuple[str, ...]) -> None:
    """With a sweep of four an event the entities held are the newest, and the work is bounded."""
    window = windows(*aggregates, spans=(10,), lateness_ms=10)
    most = 0
    for time_ms in range(5_000):
        window.observe(f"seen once {time_ms}", time_ms, "1", 1.0)
        window.sweep(4)
        most = max(most, window.entities)
    assert most <= 3 * (10 + 10)


def test_what_became_idle_since_all_were_looked_at_is_forgotten() -> None:
    """With nothing to forget none is looked at, and no entity is missed when its time comes.

    time     85   90   ..   100  101  105  ..   116
    old      o              x                         idle: a window and the lateness later
    seen          o                   x
    behind                       o              x     it came after the "new" of 105
    """
    window = windows("count", "mean", spans=(10,), lateness_ms=5)
    held = []
    for key, time_ms in (
        ("old", 85), ("seen", 90), ("new", 99), ("new", 100), ("new", 104), ("new", 105),
        ("behind", 101), ("new", 115), ("new", 116),
    ):  # fmt: skip
        window.observe(key, time_ms, str(time_ms), 1.0)
        window.sweep(10)
        held.append(window.entities)
    assert held == [1, 2, 3, 2, 2, 1, 2, 2, 1]


def test_one_tiny_value_changes_no_other_entity_and_no_number() -> None:
    """A value of the finest kind makes its own entity's sums finer, and every sum stays exact."""
    window = windows("sum", "min", "max", "std", spans=(10,))
    window.observe("k", 0, "0", 3)
    window.observe("other", 0, "0", 3)
    tiny = 5e-324
    expected = expected_of([Fraction(3), Fraction(tiny)])
    found = window.observe("k", 1, "1", tiny)
    assert [expected[name] for name in ("sum", "min", "max", "std")] == found
    assert window.observe("other", 0, "1", None) == [3.0, 3.0, 3.0, 0.0]
