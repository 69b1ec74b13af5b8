"""Windows of many entities at once: whatever the batches, the texts and the restarts between."""

from __future__ import annotations

import random
import uuid
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pytest

from streamproc.errors import BadRecord, DefinitionError
from streamproc.features import FeatureSet, Window, layout
from streamproc.features.log import Log
from streamproc.features.texts import Ids, joined
from streamproc.features.windows import KeyedWindow
from streamproc.state.tables import Stack

SPANS = (40, 400)
LATENESS_MS = 30
KINDS = ("count", "sum", "mean", "var", "min", "max")
SPEC = Window("x", "k", tuple(f"{span}ms" for span in SPANS), KINDS)


class Seen(NamedTuple):
    """A record that the windows were given."""

    key: str
    time_ms: int
    record_id: str
    value: float | None
    late: bool


def stream(chance: random.Random, keys: list[str], count: int, ids: Any) -> list[Seen]:
    """Return records of some entities, one in ten out of order, some late, some tied in time."""
    now_ms, newest_ms, found = -5_000, -5_000, []
    for number in range(count):
        now_ms += chance.choice([0, 0, 1, 3, 20])
        time_ms = now_ms - (chance.choice([1, 20, 30, 31, 90]) if chance.random() < 0.1 else 0)
        late = time_ms < newest_ms - LATENESS_MS
        newest_ms = max(newest_ms, time_ms)
        value = chance.choice([None, 0.0, 57.16, 1e-9, -3.0, chance.gauss(0, 1e6)])
        found.append(Seen(chance.choice(keys), time_ms, ids(number), value, late))
    return found


def order(seen: Seen) -> tuple[int, int, str]:
    """Return the place of a record among those of its entity."""
    return (seen.time_ms, len(seen.record_id), seen.record_id)


def oracle(records: list[Seen]) -> list[list[float | None]]:
    """Return what each record's windows hold, compared with every other record, in fractions."""
    found, newest_ms = [], -(1 << 62)
    for at, now in enumerate(records):
        newest_ms = max(newest_ms, now.time_ms)
        row: list[float | None] = []
        for span_ms in SPANS:
            held = [
                Fraction(each.value)
                for each in (*records[:at], now)
                if each.key == now.key
                and each.value is not None
                and (not each.late or each is now)
                and now.time_ms - span_ms < each.time_ms
                and order(each) <= order(now)
                and (each is now or each.time_ms > newest_ms - max(SPANS) - LATENESS_MS)
            ]
            row += aggregates_of(held)
        found.append(row)
    return found


def aggregates_of(held: list[Fraction]) -> list[float | None]:
    """Return count, sum, mean, var, min and max, each rounded once."""
    if not held:
        return [0, 0.0, None, None, None, None]
    count, total = len(held), sum(held, Fraction())
    spread = sum(((value - total / count) ** 2 for value in held), Fraction())
    variance = float(spread / max(1, count - 1))
    return [count, float(total), float(total / count), variance, float(min(held)), float(max(held))]


def taken(window: KeyedWindow, batch: list[Seen]) -> list[list[float | None]]:
    """Take a batch in; return its aggregates."""
    times = np.array([each.time_ms for each in batch], np.int64)
    what = np.array([layout.LATE * each.late for each in batch], np.uint8)
    ids = Ids([each.record_id for each in batch])
    values = [each.value for each in batch]
    found = window.observe_many([each.key for each in batch], ids, times, values, what)
    return [[None if each != each else each for each in row] for row in found.tolist()]


class Restarted:
    """Windows that are frozen now and then, and thawed from what was written."""

    def __init__(self) -> None:
        self.window = KeyedWindow(SPEC, LATENESS_MS, track=True)
        self.tables: list[Any] = []

    def freeze(self) -> None:
        """Write what changed."""
        self.window.freeze()
        while self.window.pack(3):
            pass
        self.tables.append(self.window.packed())

    def thaw(self) -> None:
        """Begin anew with what was written."""
        stack, newest_ms = Stack(self.tables, self.window.floor), self.window.newest_ms
        self.window = KeyedWindow(SPEC, LATENESS_MS, track=True)
        self.window.thaw(stack, newest_ms)


NAMES = {
    "short": [str(number) for number in range(40)],
    "long": [f"{'customer of the shop ' * 3}{number:04}" for number in range(40)],
    "odd": ["", "a\nb", "ä" * 20, "\N{GRINNING FACE}" * 9, "0" * 15, "0" * 16, "a\0", "a"],
}
IDS = {
    "numbers": str,
    "uuids": lambda number: str(uuid.UUID(int=hash((number, "x")) % 2**128)),
    "odd": lambda number: f"{'ä' * (number % 30)}{number % 7}\n{number}",
}


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("ids", IDS)
@pytest.mark.parametrize("seed", range(2))
def test_batches_and_restarts_change_nothing(names: str, ids: str, seed: int) -> None:
    """Every aggregate is that of the oracle, to the bit, in batches of any size, thawed or not."""
    chance = random.Random(seed)
    records = stream(chance, NAMES[names], 700, IDS[ids])
    expected, found, at = oracle(records), [], 0
    restarted = Restarted()
    while at < len(records):
        size = chance.choice([1, 1, 2, 7, 60])
        found += taken(restarted.window, records[at : at + size])
        at += size
        restarted.window.sweep(chance.choice([0, 1, 5]))
        if chance.random() < 0.1:
            restarted.freeze()
            if chance.random() < 0.7:
                restarted.thaw()
    assert expected == found


@pytest.mark.parametrize("seed", range(3))
def test_an_entity_is_packed_as_it_was_when_it_was_frozen(seed: int) -> None:
    """What changes between the freeze and the packing is packed as it was at the freeze."""
    chance = random.Random(seed)
    records = stream(chance, NAMES["short"][:6], 300, str)
    window = KeyedWindow(SPEC, LATENESS_MS, track=True)
    taken(window, records[:200])
    window.freeze(everything=True)
    at_once = KeyedWindow(SPEC, LATENESS_MS, track=True)
    taken(at_once, records[:200])
    at_once.freeze(everything=True)
    assert at_once.pack(1_000) == 0
    left = window.pack(2)
    for record in records[200:]:
        taken(window, [record])
    assert left == 4
    assert window.pack(1_000) == 0
    rows = [
        {key: bytes(stack.payload(row)) for key, row in stack.rows.items()}
        for stack in (Stack([each.packed()], window.floor) for each in (window, at_once))
    ]
    assert rows[0] == rows[1]


def test_a_value_that_does_not_fit_moves_its_entity_alone() -> None:
    """Before, at and after the move every sum is exact, also in the batch in which it happens."""
    window = KeyedWindow(Window("x", "k", ("1d",), ("sum", "count")), 0)
    values = [0.1, 1e300**0.5, 0.2, -(1e300**0.5), 2**70 + 1]
    batch = [Seen(key, at, str(at), each, False) for at, each in enumerate(values) for key in "ab"]
    batch = [each for each in batch if each.key == "a" or each.time_ms in (0, 2)]
    found = taken(window, batch)
    sums = [sum(map(Fraction, values[: at + 1]), Fraction()) for at in range(5)]
    of_a = [row for row, each in zip(found, batch, strict=True) if each.key == "a"]
    assert [[float(total), at + 1] for at, total in enumerate(sums)] == of_a
    assert [row for row, each in zip(found, batch, strict=True) if each.key == "b"] == [
        [0.1, 1],
        [float(Fraction(0.1) + Fraction(0.2)), 2],
    ]
    assert list(window._logs) == [1]


def test_state_of_before_is_read() -> None:
    """An entity's records as they were written before windows were compiled are taken over."""
    log = Log([(10, 1)], ((0, layout.COUNT, 0, 0),), keep_ms=10)
    log.fill([1, 5], ["a", "b" * 40], [0.1, 2.5], 7)
    for value, slow in ((3.0, 0), (1e-300, 1)):
        log.observe(8, "c", value, False, 8)
        window = KeyedWindow(Window("x", "k", ("10ms",), ("count", "sum", "min")), 0)
        row = int(window._arena.find(*joined(["k"]))[0][0])
        window._stored_rows, window._stored = {"k": 0}, _OneRow(log.packed())  # type: ignore[assignment]
        window._bring_back("k", row)
        held = len(log.times)
        assert len(window) == held
        assert len(window._logs) == slow
        assert window.observe("k", 9, "d", None)[0] == held


class _OneRow:
    """A stack of one row."""

    def __init__(self, payload: bytes) -> None:
        self.numbers = [0]
        self._payload = payload

    def payload(self, row: int) -> memoryview:
        """Return its bytes."""
        return memoryview(self._payload)


def test_a_million_entities_seen_once_leave_no_trace() -> None:
    """Rows, places in the table and texts are used again: memory follows what is held."""
    window = KeyedWindow(Window("x", "k", ("10ms",), ("count",)), 0)
    held = 0
    for at in range(0, 200_000, 1_000):
        keys = [f"an entity with a long name {number}" for number in range(at, at + 1_000)]
        times = np.arange(at, at + 1_000, dtype=np.int64)
        what = np.zeros(1_000, np.uint8)
        window.observe_many(keys, Ids(keys), times, [1.0] * 1_000, what)
        window.sweep(2_000)
        held = max(held, window.bytes_held)
    assert window.entities < 2_100
    assert held < 2_000_000
    assert window.expired_entities + window.entities == 200_000


def test_windows_over_one_value_and_entity_share_a_log() -> None:
    """Each has its own spans and aggregates, and the records are kept once."""
    spec = [
        Window("x", "card", ("1m",), ("sum", "max")),
        Window("x", "shop", ("1m",), ("count",)),
        Window("x", "card", ("1h", "1m"), ("count",)),
    ]
    features = FeatureSet(spec, "at", 0, key_field="card")
    assert len(features.windows) == 2
    for at in range(3):
        found = features.compute({"x": 1.0 + at, "shop": at % 2}, str(at), "7", at * 40_000)
    assert found == {
        "x_sum_1m_by_card": 5.0,
        "x_max_1m_by_card": 3.0,
        "x_count_1m_by_shop": 1,
        "x_count_1h_by_card": 3,
        "x_count_1m_by_card": 2,
    }
    assert features.window_entries == 6


def test_an_entity_of_several_fields_is_each_combination() -> None:
    """12 and "3" are another entity than 1 and "23"."""
    features = FeatureSet([Window("x", ("a", "b"), "1h", "count")], "at", 0, key_field="a")  # type: ignore[arg-type]
    pairs: list[tuple[Any, Any]] = [(12, "3"), (1, "23"), ("12", 3), ("1:1", "x"), ("1", ":1x")]
    events = [({"x": 1.0, "a": a, "b": b}, str(i), "", i) for i, (a, b) in enumerate(pairs)]
    found = features.compute_many(events)
    assert [each["x_count_1h_by_a_and_b"] for each in found] == [1, 1, 2, 1, 1]


@pytest.mark.parametrize(
    ("entity", "reason"),
    [
        (None, "missing_entity"),
        ([1], "entity_not_valid"),
        ("", "entity_not_valid"),
        ("x" * 1_000_000, "entity_not_valid"),
        (1.5, "entity_not_valid"),
        (True, "entity_not_valid"),
    ],
)
def test_an_entity_that_is_none_is_refused_before_anything_changes(
    entity: object, reason: str
) -> None:
    """It is told of as a key is, and no window holds the event."""
    features = FeatureSet(
        [Window("x", "card", "1h", "count"), Window("x", "shop", "1h", "count")],  # type: ignore[arg-type]
        "at",
        0,
        key_field="card",
    )
    with pytest.raises(BadRecord) as refused:
        features.compute({"x": 1.0, "shop": entity}, "1", "k", 0)
    assert (reason, features.window_entries) == (refused.value.reason, 0)


def test_a_field_twice_in_by_is_refused() -> None:
    """It would be no other entity, under another name."""
    with pytest.raises(DefinitionError, match="names a field twice; name each once"):
        Window("x", ("card", "card"), ("1h",), ("count",))
