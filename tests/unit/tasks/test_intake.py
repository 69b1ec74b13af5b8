"""Events read many at once are those that are read one by one."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.codec import JsonCodec
from streamproc.errors import BadRecord
from streamproc.tasks.intake import FUTURE_MS, LARGEST_BYTES, Event, Intake
from streamproc.tasks.records import Record
from tests.unit.tasks.kit import EVENTS, NOW_MS, pipeline, record

INTAKE = Intake(pipeline(), JsonCodec())
PLAIN = st.fixed_dictionaries(
    {
        "order": st.sampled_from(["1", "é", "x" * 1000]),
        "card": st.sampled_from(["7", "8"]),
        "at": st.sampled_from(["1970-01-01T00:00:01Z", "1970-01-01T00:00:01.5+01:00"]),
    }
)
_IDS: tuple[Any, ...] = (None, "", "x" * 1001, 7, True, 1.5, [])
_KEYS: tuple[Any, ...] = (None, "", "x" * 1001, 7, False, -1)
_TIMES: tuple[Any, ...] = (None, 5, "now", 1.5, True)
GOOD: dict[str, Any] = {"order": "1", "card": "7", "at": "1970-01-01T00:00:01Z"}
ODD: list[Any] = [
    *({**GOOD, "order": value} for value in _IDS),
    *({**GOOD, "card": value} for value in _KEYS),
    *({**GOOD, "at": value} for value in _TIMES),
    *({**GOOD, "at": NOW_MS + FUTURE_MS + more} for more in (0, 1)),
    *({name: GOOD[name] for name in GOOD if name != left} for left in GOOD),
    *(None, b"", b"\0", b"{", b"[]", b"7", b"null", b'"order card at"', b'{"order":1}{"order":2}'),
]


def each_alone(records: list[Record]) -> list[Event] | None:
    """Return events read one by one, or None where one can't be."""
    try:
        return [INTAKE.event(each, NOW_MS) for each in records]
    except BadRecord:
        return None


@given(st.lists(PLAIN, min_size=1, max_size=30))
def test_many_plain_events_are_read_in_one_go(values: list[Any]) -> None:
    """Each is what it is by itself."""
    records: list[Record] = [record(EVENTS, at, value) for at, value in enumerate(values)]
    found = INTAKE.events(records, NOW_MS)
    assert found == each_alone(records)
    assert found is not None
    assert {Event} == set(map(type, found))


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("beside", [0, 3, 30])
def test_one_that_is_odd_is_read_as_it_is_or_by_itself(odd: Any, beside: int) -> None:
    """Never as something else, and never at all where it can't be read."""
    values = [odd, *[GOOD] * beside]
    records: list[Record] = [record(EVENTS, at, value) for at, value in enumerate(values)]
    for either in (records, records[::-1]):
        found, alone = INTAKE.events(either, NOW_MS), each_alone(either)
        assert found in (alone, None)
        assert [type(each.id) for each in found or ()] == [str] * len(found or ())


def test_integers_are_read_in_one_go_too() -> None:
    """Ids and keys that are integers become text, as one by one."""
    values = [{"order": at, "card": 7 - at, "at": at} for at in range(3)]
    records: list[Record] = [record(EVENTS, at, value) for at, value in enumerate(values)]
    found = INTAKE.events(records, NOW_MS)
    assert found == each_alone(records)
    assert found is not None
    assert [each.id for each in found] == ["0", "1", "2"]


def test_one_that_is_too_large_is_left_to_be_told_of() -> None:
    """Its reason is that of reading it alone."""
    large = orjson.dumps({"order": "1", "card": "7", "at": 5, "note": "x" * LARGEST_BYTES})
    assert INTAKE.events([record(EVENTS, 0, large)], NOW_MS) is None
    assert INTAKE.events([], NOW_MS) is None
