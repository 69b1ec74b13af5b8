"""Windows that hop and tumble, against a brute force that tries every window there can be.

`o` is a record, `[` an edge that is in, `)` one that is out, and `]` the event itself.
"""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
from hypothesis import given, settings

from streamproc.errors import DefinitionError
from streamproc.features import LabelWindow, Window
from streamproc.features.windows import KeyedWindow
from tests.unit.features.test_windows import AGGREGATES, Seen, expected_of, streams

LATENESS_MS = 15
DECLARED = (
    Window("x", "k", ("12ms", "24ms"), AGGREGATES, every="4ms"),
    Window("x", "k", ("20ms",), AGGREGATES),
    Window("x", "k", ("10ms",), AGGREGATES, every="10ms"),
    Window("x", "k", ("22ms",), AGGREGATES, every="11ms"),
)
"""One log for all of them: hopping, sliding and tumbling."""

SPANS = ((12, 4), (24, 4), (20, None), (10, 10), (22, 11))


def hopping(*aggregates: str, over: str, every: str, lateness_ms: int = 0) -> KeyedWindow:
    """Return windows over ``x`` by ``k``."""
    return KeyedWindow(Window("x", "k", (over,), aggregates, every), lateness_ms)


def begin_of(now_ms: int, span_ms: int, every_ms: int | None) -> int:
    """Return where an event's window begins: that of the oldest that it is in, by trying each."""
    starts = [
        start
        for start in range(now_ms - span_ms + 1, now_ms + 1)
        if every_ms is None or start % every_ms == 0
    ]
    return starts[0]


def held(known: list[Seen], now: Seen, begin: int) -> list[Fraction]:
    """Return the values of a window that begins there, up to and with a record."""
    return [
        Fraction(seen.value)
        for seen in known
        if seen.key == now.key
        and begin <= seen.time_ms
        and (seen.time_ms, seen.number) <= (now.time_ms, now.number)
        and seen.value is not None
    ]


def check_all(records: list[Seen], sweep: bool = True) -> KeyedWindow:
    """Run records through windows and the brute force; every number must be the same."""
    window = KeyedWindow(DECLARED, LATENESS_MS)
    history: list[Seen] = []
    newest_ms = -(1 << 62)
    for seen in records:
        late = seen.time_ms < newest_ms - LATENESS_MS
        newest_ms = max(newest_ms, seen.time_ms)
        found = window.observe(seen.key, seen.time_ms, str(seen.number), seen.value, late)
        known = [*history, seen]
        if late:  # what no record in time can see is forgotten
            known = [s for s in history if s.time_ms > newest_ms - 24 - LATENESS_MS] + [seen]
        else:
            history.append(seen)
        wanted = []
        for span_ms, every_ms in SPANS:
            window_of = held(known, seen, begin_of(seen.time_ms, span_ms, every_ms))
            wanted += [expected_of(window_of)[name] for name in AGGREGATES]
        for name, expected, got in zip(window.names, wanted, found, strict=True):
            if "_std_" in name and expected is not None:
                assert got == pytest.approx(expected, rel=3e-16, abs=0), (seen, name)
            else:
                assert (expected, type(expected)) == (got, type(got)), (seen, name)
        if sweep:
            window.sweep(1)
    return window


@settings(max_examples=120, deadline=None)
@given(streams())
def test_every_number_is_that_of_a_brute_force(records: list[Seen]) -> None:
    """Negative times, ties, out of order, late, null, tiny, huge: exact, beside sliding ones."""
    check_all(records)


@pytest.mark.parametrize("values", [(None, 1.0, 57.16, -3.0, 1e12), (None, 1.0, 1e-200)])
@pytest.mark.parametrize("seed", range(2))
def test_a_long_run_is_trimmed_and_stays_exact(seed: int, values: tuple[float | None, ...]) -> None:
    """What no window can see any more is let go, and only that: in words, and in integers."""
    chance = random.Random(seed)
    now_ms, records = -300, []
    for number in chance.sample(range(1_000), 450):
        now_ms += chance.choice((0, 0, 0, 1, 1, 2))
        behind = chance.choice([0] * 6 + [3, 15, 16, 60])
        key = "a" if chance.random() < 0.9 else "b"
        records.append(Seen(key, now_ms - behind, number, chance.choice(values)))
    window = check_all(records)
    newest_ms = max(seen.time_ms for seen in records)
    visible = [seen for seen in records if seen.time_ms > newest_ms - 24 - LATENESS_MS]
    assert len(window) <= len(visible) + 2 * 2 * 64
    assert bool(window._logs) == (1e-200 in values)


def test_a_tumbling_window_begins_anew_at_each_boundary() -> None:
    """What came before the boundary is out at once; a boundary's own record is the next one's.

    time       0         9    10        19   20
               o         o    o         o    o
    window     [             )[             )[           of 10 ms, every 10
    """
    window = hopping("count", "sum", over="10ms", every="10ms")
    found = [window.observe("k", t, str(t), 2.0**i) for i, t in enumerate((0, 9, 10, 19, 20))]
    assert found == [[1, 1.0], [2, 3.0], [1, 4.0], [2, 12.0], [1, 16.0]]


def test_a_tumbling_window_before_the_epoch() -> None:
    """Boundaries are at multiples, below zero too.

    time      -11  -10   -1    0
               o    o     o    o
    window    ,    [          )[                         of 10 ms, every 10
    """
    window = hopping("sum", over="10ms", every="10ms")
    found = [window.observe("k", t, str(i), 2.0**i)[0] for i, t in enumerate((-11, -10, -1, 0))]
    assert found == [1.0, 2.0, 6.0, 8.0]


def test_a_hopping_window_is_the_oldest_that_the_event_is_in() -> None:
    """Of windows of 10 ms that begin every 5, an event is told of the one that ends next.

    time       0    4    5    9    10   14   15
               o    o    o    o    o    o    o
    at 9       [                   ]                     began at 0, ends at 10
    at 10                [         ]                     began at 5
    at 14                [              ]
    at 15                          [         ]           began at 10
    """
    window = hopping("sum", over="10ms", every="5ms")
    times = (0, 4, 5, 9, 10, 14, 15)
    found = [window.observe("k", t, str(t), 2.0**i)[0] for i, t in enumerate(times)]
    assert found == [1, 1 + 2, 7, 15, 4 + 8 + 16, 4 + 8 + 16 + 32, 16 + 32 + 64]


def test_an_out_of_order_record_is_in_the_window_of_its_own_time() -> None:
    """Behind a boundary, it sees what was before it there, and nothing past the boundary does.

    came       1st       3rd       2nd  4th
    time       1         8         12   13
               o         o         o    o
    window     [              )    [    ]                of 10 ms, every 10
    """
    window = hopping("sum", over="10ms", every="10ms", lateness_ms=5)
    came = ((1, 1.0), (12, 10.0), (8, 100.0), (13, 1000.0))
    assert [window.observe("k", t, str(t), v)[0] for t, v in came] == [1.0, 10.0, 101.0, 1010.0]


def test_growth_is_against_the_full_window_before() -> None:
    """What has come of this window so far, against all of the one before it; null without one.

    time       0    9    10        15   20   30
               1    3    o1        o4   o10  o2
    window     [        )[              )[  )[           of 10 ms, every 10
    """
    window = hopping("growth", over="10ms", every="10ms")
    came = ((0, 1.0), (9, 3.0), (10, 1.0), (15, 4.0), (20, 10.0), (30, 2.0), (50, 1.0))
    found = [window.observe("k", t, str(t), v)[0] for t, v in came]
    assert found == [None, None, -0.75, 0.25, 1.0, -0.8, None]


def test_idle_entities_are_forgotten() -> None:
    """A window that hops keeps an entity no longer than one that slides."""
    window = hopping("mean", over="10ms", every="5ms", lateness_ms=10)
    most = 0
    for time_ms in range(5_000):
        window.observe(f"seen once {time_ms}", time_ms, "1", 1.0)
        window.sweep(4)
        most = max(most, window.entities)
    assert most <= 3 * (10 + 10)


def test_their_names_differ_from_those_of_sliding_ones() -> None:
    """So both can be features of one pipeline, and of one model."""
    tumbling = Window("amount", "card", ("1d", "7d"), ("mean",), every="1d")
    assert tumbling.names == (
        "amount_mean_1d_every_1d_by_card",
        "amount_mean_7d_every_1d_by_card",
    )
    of_labels = LabelWindow("card", ("1d",), ("count",), every="1h")
    assert of_labels.names == ("label_count_1d_every_1h_by_card",)
    assert repr(tumbling).endswith("every='1d')")
    assert "every" not in repr(Window("amount", "card", ("1d",), ("mean",)))


@pytest.mark.parametrize("every", ["7h", "2d", "0d", "0ms"])
@pytest.mark.parametrize("of", [lambda e: Window("x", "k", ("1d",), ("sum",), e),
                                lambda e: LabelWindow("k", ("2d", "1d"), every=e)])  # fmt: skip
def test_a_span_is_a_multiple_of_the_hop(of: object, every: str) -> None:
    """Else records would leave at no boundary; the remedy is named."""
    assert callable(of)
    message = f"every='{every}' does not divide the span '[12]d'; write every='[12]d' for windows"
    with pytest.raises(DefinitionError, match=message):
        of(every)


@pytest.mark.parametrize("every", ["", "daily", 5, ("1d",)])
def test_a_hop_is_one_duration(every: object) -> None:
    """Anything else is told as for a span."""
    with pytest.raises(DefinitionError, match=r"Window\('x', by='k'\), every: .* not a duration"):
        Window("x", "k", ("1d",), ("sum",), every)  # type: ignore[arg-type]
