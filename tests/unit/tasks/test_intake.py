"""Events read many at once are those that are read one by one."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import example, given, settings
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
ODD: Any = st.one_of(
    st.fixed_dictionaries(
        {},
        optional={
            "order": st.sampled_from([None, "", "x" * 1001, 7, True, 1.5, []]),
            "card": st.sampled_from([None, "", 7, -1]),
            "at": st.sampled_from(
                [None, 5, NOW_MS + FUTURE_MS, NOW_MS + FUTURE_MS + 1, "now", 1.5]
            ),
        },
    ),
    st.sampled_from([None, b"", b"\0", b"{", b"[]", b"7", b"null", b'{"order":1}{"order":2}']),
)


def each_alone(records: list[Record]) -> list[Event] | None:
    """Return events read one by one, or None where one can't be."""
    try:
        return [INTAKE.event(each, NOW_MS) for each in records]
    except BadRecord:
        return None


@settings(max_examples=300, deadline=None)
@given(st.lists(PLAIN, min_size=1, max_size=30), st.lists(ODD, max_size=2), st.randoms())
@example([{"order": "1", "card": "7", "at": 5}], [], None)
def test_many_events_are_each_of_them(plain: list[Any], odd: list[Any], chance: Any) -> None:
    """Where all can be read in one go they are what each is; where one can't, none is returned."""
    values = plain + odd
    if chance is not None:
        chance.shuffle(values)
    records: list[Record] = [record(EVENTS, at, value) for at, value in enumerate(values)]
    found, alone = INTAKE.events(records, NOW_MS), each_alone(records)
    if found is not None or not odd:
        assert found == alone
        assert found is not None
        assert {Event} == set(map(type, found))


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
