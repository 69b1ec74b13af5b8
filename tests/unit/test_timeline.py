"""The timeline: events in file order, each label when it is due, never inside an event."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.errors import StreamprocError
from streamproc.files import rows
from streamproc.timeline import Entry, LabelColumns, timeline

FRAUD = LabelColumns("id", "fraud")


def merged(rows: Iterable[Mapping[str, Any]], delay_ms: int = 0, **more: Any) -> list[Entry]:
    """Return the timeline of rows with columns id, card, at and maybe fraud."""
    given = {"id": "id", "key": "card", "time": "at", "labels": FRAUD, **more}
    return list(timeline(rows, label_delay_ms=delay_ms, **given))


def row(number: int, time: Any, fraud: Any = 0) -> dict[str, Any]:
    """Return a row of card ``number * 10``."""
    return {"id": number, "card": number * 10, "at": time, "fraud": fraud}


def order(entries: Iterable[Entry]) -> list[tuple[str, int]]:
    """Return what kind of record came of which row."""
    return [(entry.kind[0], json.loads(entry.value)["id"]) for entry in entries]


def test_a_label_comes_between_the_events_around_its_time() -> None:
    """Labels 20 ms late, at equal times before the event, the rest in due order at the end.

    at     0    10   20   30   40   50
    event  e1   e2   e3        e4
    label            l1   l2   l3        (l4 at 60)
    """
    entries = merged([row(1, 0), row(2, 10), row(3, 20), row(4, 40)], delay_ms=20)
    assert order(entries) == [
        ("e", 1),
        ("e", 2),
        ("l", 1),
        ("e", 3),
        ("l", 2),
        ("l", 3),
        ("e", 4),
        ("l", 4),
    ]
    assert [entry.time_ms for entry in entries] == [0, 10, 20, 20, 30, 40, 40, 60]


def test_a_label_without_delay_follows_its_own_event() -> None:
    """With no delay each label stands between its event and the next, at one time too."""
    assert order(merged([row(1, 5), row(2, 5), row(3, 6)])) == [
        ("e", 1),
        ("l", 1),
        ("e", 2),
        ("l", 2),
        ("e", 3),
        ("l", 3),
    ]


def test_a_late_event_keeps_its_place_and_does_not_turn_the_clock_back() -> None:
    """Row 3 is late: its label, due already, comes before the next event though that is late too.

    The newest time seen is 100 from row 2 on, so the labels due by then go first.
    """
    entries = merged([row(1, 0), row(2, 100), row(3, 40), row(4, 45), row(5, 99)], delay_ms=50)
    assert order(entries) == [
        ("e", 1),
        ("l", 1),
        ("e", 2),
        ("e", 3),
        ("l", 3),
        ("e", 4),
        ("l", 4),
        ("e", 5),
        ("l", 5),
        ("l", 2),
    ]


@given(
    st.lists(st.tuples(st.integers(0, 60), st.sampled_from([0, 1, None])), max_size=25).map(
        lambda rows: sorted(rows, key=lambda pair: pair[0])
    ),
    st.integers(1, 30),
)
def test_files_in_order_come_out_as_one_sort_by_time(
    table: list[tuple[int, int | None]], delay_ms: int
) -> None:
    """For rows in order the timeline is all records sorted by time, labels first."""
    events = [(time, 1, number) for number, (time, _) in enumerate(table)]
    labels = [
        (time + delay_ms, 0, number)
        for number, (time, fraud) in enumerate(table)
        if fraud is not None
    ]
    expected = [("le"[rank], number) for _, rank, number in sorted(events + labels)]
    assert order(merged((row(n, *pair) for n, pair in enumerate(table)), delay_ms)) == expected


@given(st.lists(st.integers(0, 40), max_size=25), st.integers(0, 30))
def test_files_in_any_order_keep_events_and_never_release_a_label_early(
    times: list[int], delay_ms: int
) -> None:
    """Events stay in file order, each after exactly the labels due by the newest time seen."""
    came = order(merged((row(n, time) for n, time in enumerate(times)), delay_ms))
    assert [number for kind, number in came if kind == "e"] == list(range(len(times)))
    assert sorted(number for kind, number in came if kind == "l") == list(range(len(times)))
    for place, (kind, number) in enumerate(came):
        if kind == "e":
            newest = max(times[: number + 1])
            due = {n for n in range(number) if times[n] + delay_ms <= newest}
            assert {n for k, n in came[:place] if k == "l"} == due


def test_the_label_is_a_message_of_its_own_with_the_key_of_its_event() -> None:
    """The event lacks the label's column; the label has id and value, and its event's key."""
    entries = merged([{"id": "a-1", "card": "é", "at": 1, "fraud": True, "x": None}])
    assert entries == [
        Entry("event", 1, "é".encode(), '{"id":"a-1","card":"é","at":1,"x":null}'.encode()),
        Entry("label", 1, "é".encode(), b'{"id":"a-1","fraud":true}'),
    ]


def test_a_label_can_say_when_it_became_known() -> None:
    """`Labels(id, value, time)` names the message's fields; the known time is the due time."""
    columns = LabelColumns("payment", "fraud", "known_at")
    entries = merged([row(1, "2018-04-01T00:00:00Z", 1)], delay_ms=1_500, labels=columns)
    assert json.loads(entries[1].value) == {
        "payment": 1,
        "fraud": 1,
        "known_at": "2018-04-01T00:00:01.500Z",
    }
    assert entries[1].time_ms == entries[0].time_ms + 1_500


def test_without_a_label_there_is_none() -> None:
    """A null label or no such column gives an event alone; no `labels` leaves the row as it is."""
    assert order(merged([row(1, 1, None), {"id": 2, "card": 3, "at": 2}])) == [("e", 1), ("e", 2)]
    whole = merged([row(1, 1, 1)], labels=None)
    assert [json.loads(entry.value) for entry in whole] == [row(1, 1, 1)]


def test_columns_can_be_left_out() -> None:
    """A second column that tells the label is not sent, and one that is not there is no error."""
    entries = merged([{**row(1, 1), "scenario": 3}], leave_out=("scenario", "other"))
    assert b"scenario" not in entries[0].value


def test_a_file_without_time_or_id_is_given_both() -> None:
    """Rows are numbered from 0, and stand half an hour apart from the start."""
    table = [{"card": "x", "fraud": 0}, {"card": "x", "fraud": 1}]
    entries = merged(
        table, number_rows=True, start_ms=831_427_200_000, every_ms=1_800_000, delay_ms=1
    )
    events = [json.loads(entry.value) for entry in entries if entry.kind == "event"]
    assert events == [
        {"card": "x", "id": 0, "at": "1996-05-07T00:00:00.000Z"},
        {"card": "x", "id": 1, "at": "1996-05-07T00:30:00.000Z"},
    ]
    assert order(entries) == [("e", 0), ("l", 0), ("e", 1), ("l", 1)]


def test_rows_are_not_changed() -> None:
    """The caller's rows are as they were, though labels and columns were taken out."""
    table = [row(1, 1)]
    merged(table, leave_out=("card_type",), number_rows=True)
    assert table == [row(1, 1)]


def test_rows_are_taken_as_they_are_asked_for() -> None:
    """The first entry needs the first row only, so a file larger than memory will do."""
    taken = []

    def endless() -> Iterable[dict[str, Any]]:
        number = 0
        while True:
            taken.append(number)
            yield row(number, number)
            number += 1

    next(timeline(endless(), id="id", key="card", time="at", labels=FRAUD))
    assert taken == [0]


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ({"card": 1, "at": 1}, "row 2 has no 'id', .* columns are card, at"),
        ({"id": None, "card": 1, "at": 1}, "row 2 has no 'id'"),
        ({"id": 1, "at": 1}, "row 2 has no 'card'"),
        ({"id": 1, "card": None, "at": 1}, "row 2: column 'card': None cannot be a key"),
        ({"id": 1, "card": 1.5, "at": 1}, "row 2: column 'card': 1.5 cannot be a key"),
        ({"id": 1, "card": True, "at": 1}, "row 2: column 'card': True cannot be a key"),
        ({"id": 1, "card": 1}, "row 2 has no 'at'"),
        ({"id": 1, "card": 1, "at": "noon"}, "row 2: .*noon"),
        ({"id": 1, "card": 1, "at": 1.5}, "row 2: .*1.5"),
    ],
)
def test_a_row_that_cannot_be_sent_is_named(bad: dict[str, Any], told: str) -> None:
    """The message names the row, counted from 1, and the column."""
    with pytest.raises(StreamprocError, match=told):
        merged([row(1, 1), bad])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"start_ms": 0}, "give both"),
        ({"every_ms": 1}, "give both"),
        ({"start_ms": 0, "every_ms": 0}, "above 0 ms"),
        ({"delay_ms": -1}, "0 or more"),
    ],
)
def test_options_that_contradict_are_refused_at_the_call(
    options: dict[str, int], told: str
) -> None:
    """They fail before the first row is read."""
    delay_ms = options.pop("delay_ms", 0)
    with pytest.raises(StreamprocError, match=told):
        timeline([], id="id", key="card", time="at", label_delay_ms=delay_ms, **options)  # type: ignore[arg-type]


@pytest.mark.data
def test_real_payments_come_out_in_time_with_every_label(data: Path) -> None:
    """June's payments: times never go back, and each event has its label 7 days later, once."""
    day_ms = 86_400_000
    events: dict[int, int] = {}
    labels: dict[int, int] = {}
    last_ms = 0
    for entry in timeline(
        rows(data / "payments" / "transactions-2018-06.csv.gz"),
        id="transaction_id",
        key="customer_id",
        time="event_time",
        labels=LabelColumns("transaction_id", "fraud"),
        label_delay_ms=7 * day_ms,
    ):
        assert entry.time_ms >= last_ms
        last_ms = entry.time_ms
        to = events if entry.kind == "event" else labels
        to[json.loads(entry.value)["transaction_id"]] = entry.time_ms
    assert len(events) > 250_000
    assert labels == {number: time_ms + 7 * day_ms for number, time_ms in events.items()}


@pytest.mark.data
def test_real_half_hours_are_numbered_and_stamped(data: Path) -> None:
    """The electricity file has no time or id of its own; its last row is 45,311 half hours on."""
    entries = timeline(
        ({**row, "market": "NSW"} for row in rows(data / "electricity" / "electricity.csv.gz")),
        id="id",
        key="market",
        time="at",
        start_ms=831_427_200_000,
        every_ms=1_800_000,
        number_rows=True,
    )
    last = json.loads(list(entries)[-1].value)
    assert (last["id"], last["at"]) == (45_311, "1998-12-06T23:30:00.000Z")
