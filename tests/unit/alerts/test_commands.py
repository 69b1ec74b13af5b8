"""What people ask: read from bytes, and what the alerts do about it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from streamproc.alerts import AlertBook, Command, Match, read_command
from streamproc.errors import BadRecord
from tests.unit.alerts.findings import HOUR_MS, Watching, drift, found, over, steps

AMOUNT, AGE = "covariate_drift/amount", "covariate_drift/age"
LONG_MS = 10_000 * HOUR_MS
SAID: dict[str, Any] = {"command": "silence", "alert_id": "a1", "by": "ada", "at_ms": 5}


def ask(watching: Watching, verb: Any, hour: int = 6, **what: Any) -> tuple[list[Any], list[str]]:
    """Send a command; return what is told, and what is to be learnt anew."""
    command = read_command(Command(verb, "ada", hour * HOUR_MS, **what).value())
    alerts, keys = watching.book.command(command.fields(), hour * HOUR_MS)
    watching.alerts += alerts
    return steps(alerts), keys


def opened(*subjects: str) -> Watching:
    """Return a book with alerts open on features, each a day after the other."""
    watching = Watching()
    for n, subject in enumerate(subjects):
        watching.hour(5 + 30 * n, drift(5 + 30 * n, subject))
    return watching


@pytest.mark.parametrize(
    "command",
    [
        Command("acknowledge", "ada", 5, alert_id="a1", comment="on it"),
        Command("silence", "ada", 5, match=Match(kind="*drift", slice={"a": "b"}), until_ms=9),
        Command("maintenance", "ada", 5, from_ms=7, until_ms=9),
        Command("unsilence", "ada", 5, match=Match()),
        Command("unsilence", "ada", 5, maintenance=True),
        Command("unsilence", "ada", 5, match=Match(subject="age"), maintenance=True),
        Command("relearn", "ada", 5, match=Match(key="prior*")),
    ],
)
def test_a_command_is_read_as_it_was_written(command: Command) -> None:
    """Bytes and back."""
    assert read_command(command.value()) == command


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"command": "stop"}, "command is 'stop', none of acknowledge, silence"),
        ({}, "until_ms is missing; silence needs it"),
        ({"until_ms": 4}, "until_ms is not later than it begins"),
        ({"until_ms": "9"}, "until_ms is '9', not integer milliseconds"),
        ({"until_ms": True}, "until_ms is True, not integer milliseconds"),
        ({"until_ms": 2**60}, f"until_ms is {2**60}, not integer milliseconds"),
        ({"until_ms": 9, "by": ""}, "by is missing; silence needs it"),
        ({"until_ms": 9, "by": None}, "by is missing; silence needs it"),
        ({"until_ms": 9, "at_ms": None}, "at_ms is missing; silence needs it"),
        ({"until_ms": 9, "by": "x" * 201}, "by is 'xxx"),
        ({"until_ms": 9, "comment": 5}, "comment is 5, not text of at most 2,000 characters"),
        ({"until_ms": 9, "id": "a1"}, "'id' is no field of a command"),
        ({"until_ms": 9, "match": {}}, "alert_id or match, one of them, says what silence"),
        ({"until_ms": 9, "alert_id": None}, "alert_id or match, one of them, says what silence"),
        ({"until_ms": 9, "alert_id": None, "match": []}, "match is [], not an object"),
        ({"until_ms": 9, "alert_id": None, "match": {"name": "x"}}, "match has 'name', none of"),
        ({"until_ms": 9, "alert_id": None, "match": {"slice": {"a": 1}}}, "slice is {'a': 1}, not"),
        ({"command": "acknowledge", "alert_id": None}, "alert_id is missing; acknowledge needs it"),
        ({"until_ms": 9, "maintenance": True}, "maintenance is True, not true or false of an"),
        ({"command": "unsilence", "maintenance": 1}, "maintenance is 1, not true or false of an"),
        ({"command": "unsilence", "maintenance": True}, "alert_id is given; maintenance is about"),
        ({"command": "maintenance", "until_ms": 9}, "from_ms is missing; maintenance needs it"),
        ({"command": "maintenance", "from_ms": 9, "until_ms": 9}, "until_ms is not later than"),
    ],
)
def test_a_command_that_is_none_is_refused_by_name(change: dict[str, Any], told: str) -> None:
    """The field is named, and what it should be."""
    with pytest.raises(BadRecord) as refused:
        read_command(json.dumps({**SAID, **change}).encode())

    assert refused.value.reason == "operation_not_valid"
    assert refused.value.detail.startswith(told)


@pytest.mark.parametrize(
    ("value", "reason"),
    [(None, "tombstone"), (b"", "empty_value"), (b"{", "not_json"), (b"[]", "not_an_object")],
)
def test_what_is_no_json_is_no_command(value: bytes | None, reason: str) -> None:
    """As of any record."""
    with pytest.raises(BadRecord) as refused:
        read_command(value)

    assert refused.value.reason == reason


def test_an_acknowledgement_is_told_once_and_stays() -> None:
    """Who, when and why are in every later step; the same again is no news."""
    watching = opened("amount")
    id_ = watching.alerts[0]["alert_id"]

    assert ask(watching, "acknowledge", alert_id=id_, comment="on it") == (
        [("update", AMOUNT, "acknowledged")],
        [],
    )
    assert ask(watching, "acknowledge", hour=7, alert_id=id_, comment="on it") == ([], [])
    watching.hour(9, drift(9, "amount", since=4, effect=9.0))
    watching.hour(10, over(drift(9, "amount"), 10))
    worse, resolved = watching.alerts[-2:]
    assert (worse["reason"], resolved["reason"]) == ("worse", "recovered")
    for alert in (worse, resolved):
        assert alert["acknowledged_by"] == "ada"
        assert alert["acknowledged_at_ms"] == 6 * HOUR_MS
        assert alert["comment"] == "on it"


def test_what_is_opened_again_is_not_acknowledged() -> None:
    """Whoever took it up was told that it had ended."""
    watching = opened("amount")
    ask(watching, "acknowledge", alert_id=watching.alerts[0]["alert_id"])
    watching.hour(8, over(drift(5, "amount"), 8))
    watching.hour(10, drift(10, "amount"))

    assert watching.alerts[-1]["acknowledged_by"] is None


def test_a_command_about_no_open_alert_does_nothing() -> None:
    """Such as one that has just been resolved."""
    watching = opened("amount")

    for verb in ("acknowledge", "accept_as_normal"):
        assert ask(watching, verb, alert_id="0" * 16) == ([], [])


def test_accepting_resolves_and_names_what_to_learn_anew() -> None:
    """The alert ends with its reason; the tests of all it was about learn anew; once."""
    watching = opened("amount")
    watching.hour(6, drift(6, "age"))
    id_ = watching.alerts[0]["alert_id"]

    assert ask(watching, "accept_as_normal", alert_id=id_, comment="new prices") == (
        [("resolved", AMOUNT, "accepted")],
        [AMOUNT, AGE],
    )
    assert watching.alerts[-1]["summary"] == "Accepted as normal by ada: amount is off."
    assert watching.book.open_alerts() == []
    assert ask(watching, "accept_as_normal", alert_id=id_) == ([], [])
    assert watching.hour(9, drift(9, "amount")) == [("open", AMOUNT, "found")]
    assert watching.alerts[-1]["alert_id"] != id_


def test_steps_go_on_where_what_was_accepted_is_found_as_before() -> None:
    """The tests took it back to the same beginning: the same id, and no step twice."""
    watching = opened("amount")
    ask(watching, "accept_as_normal", alert_id=watching.alerts[0]["alert_id"])
    watching.hour(7, drift(7, "amount", since=4))

    assert len({it["alert_id"] for it in watching.alerts}) == 1
    assert [it["step"] for it in watching.alerts] == [0, 1, 2]


def test_relearning_waits_for_the_resolve() -> None:
    """An ordinary resolve keeps the reference, unless somebody asked otherwise before or after."""
    for asked in (True, False):
        watching = opened("amount")
        id_ = watching.alerts[0]["alert_id"]
        if asked:
            assert ask(watching, "relearn", alert_id=id_) == ([], [])
        assert watching.book.take_relearn() == []
        watching.hour(8, over(drift(5, "amount"), 8))
        assert watching.book.take_relearn() == ([AMOUNT] if asked else [])
    assert ask(watching, "relearn", alert_id=id_) == ([], [AMOUNT])


def test_what_never_alarmed_is_learnt_anew_by_its_name() -> None:
    """Kind and subject name a test; a pattern names those that alarmed."""
    watching = Watching()

    assert ask(watching, "relearn", match=Match(kind="covariate_drift", subject="age"))[1] == [AGE]
    assert ask(watching, "relearn", match=Match(kind="covariate_drift", subject="a*"))[1] == []


def test_a_silenced_alert_is_told_as_silenced_and_once_more_when_that_ends() -> None:
    """It stays on the topic; what happens meanwhile is there, too."""
    watching = opened("amount")
    id_ = watching.alerts[0]["alert_id"]

    assert ask(watching, "silence", alert_id=id_, until_ms=20 * HOUR_MS)[0] == [
        ("update", AMOUNT, "silenced")
    ]
    assert watching.hour(9, drift(9, "amount", since=4, effect=9.0)) == [
        ("update", AMOUNT, "worse")
    ]
    assert all(it["silenced_until_ms"] == 20 * HOUR_MS for it in watching.alerts[1:])
    assert watching.hour(19) == []
    assert watching.hour(20) == [("update", AMOUNT, "unsilenced")]
    assert (watching.alerts[-1]["silenced"], watching.alerts[-1]["silenced_until_ms"]) == (
        False,
        None,
    )


def test_what_opens_in_silence_is_told_when_it_ends() -> None:
    """A silence declared before by kind, subject or slice; others are told as always."""
    watching = Watching()
    match = Match(kind="covariate_drift", subject="am*")
    ask(watching, "silence", hour=1, match=match, until_ms=50 * HOUR_MS)

    watching.hour(5, drift(5, "amount"))
    watching.hour(40, drift(40, "age"))
    assert [it["silenced"] for it in watching.alerts] == [True, False]
    assert ask(watching, "unsilence", hour=41, match=match)[0] == [("update", AMOUNT, "unsilenced")]


def test_a_silence_does_not_hide_what_it_does_not_name() -> None:
    """One feature is silenced; another that moves with it is told, and so is a later one."""
    watching = Watching()
    ask(watching, "silence", hour=1, match=Match(subject="amount"), until_ms=LONG_MS)

    watching.hour(5, drift(5, "amount", evidence=2.0))
    assert watching.alerts[-1]["silenced"]
    assert watching.hour(6, drift(6, "age", evidence=1.0)) == [("update", AMOUNT, "unsilenced")]


def test_what_a_silenced_cause_explains_is_silenced() -> None:
    """The drift that a known fault of the data causes; without the fault it is not."""
    watching = Watching()
    ask(watching, "silence", hour=1, match=Match(kind="data_quality"), until_ms=LONG_MS)

    watching.hour(5, found(5, "data_quality", "amount"), drift(5, "amount"))
    assert [it["silenced"] for it in watching.alerts] == [True]
    watching.hour(7, over(found(5, "data_quality", "amount"), 7))
    watching.hour(31)
    assert [(it["key"], it["silenced"]) for it in watching.book.open_alerts()] == [(AMOUNT, False)]


def test_maintenance_is_in_event_time_and_ends_by_itself() -> None:
    """What is seen in the window is silent, whenever it is judged; what lasts is told."""
    watching = Watching()
    ask(watching, "maintenance", hour=500, from_ms=10 * HOUR_MS, until_ms=20 * HOUR_MS)

    assert watching.hour(5, drift(5, "amount")) == [("open", AMOUNT, "found")]
    assert watching.hour(10) == []
    assert watching.hour(12) == [("update", AMOUNT, "silenced")]
    watching.hour(15, found(15, "health", "lag"))
    assert watching.alerts[-1]["silenced"]
    assert watching.hour(20) == []
    assert watching.hour(21) == [("update", AMOUNT, "unsilenced")]
    assert watching.hour(40) == [("update", "health/lag", "unsilenced")]


@pytest.mark.parametrize(("first", "last"), [(10, 14), (13, 14), (14, 14)])
def test_what_is_over_with_the_maintenance_is_never_delivered(first: int, last: int) -> None:
    """A test takes some buckets more to see that it is over; nobody is told of that."""
    watching = Watching()
    ask(watching, "maintenance", hour=1, from_ms=9 * HOUR_MS, until_ms=14 * HOUR_MS)
    for hour in range(first, last + 4):
        watching.hour(hour, drift(hour, "amount", first - 1))
    watching.hour(last + 4, over(drift(last, "amount"), last + 4))
    watching.hour(40)
    assert [it["status"] for it in watching.alerts][-1] == "resolved"
    assert all(it["silenced"] for it in watching.alerts)


def test_maintenance_is_of_outcomes_too_which_are_judged_later() -> None:
    """Labels come a day late: what was wrong in the window is found when predictions are far on."""
    book = AlertBook()
    said = {"command": "maintenance", "by": "ada", "at_ms": 0, "from_ms": 9 * HOUR_MS}
    book.command({**said, "until_ms": 14 * HOUR_MS}, 0)
    book.apply([], 40 * HOUR_MS, {"drift": 40 * HOUR_MS, "bias": 11 * HOUR_MS})
    bias = replace(found(12, "prediction_bias", "predictions"), stage="bias")
    (alert,) = book.apply([bias], 41 * HOUR_MS, {"drift": 41 * HOUR_MS, "bias": 12 * HOUR_MS})
    assert (alert["status"], alert["silenced"]) == ("open", True)


def test_maintenance_is_ended_by_what_it_is_about_or_all_of_it() -> None:
    """What is planned is ended too, and a silence about the same is not."""

    def planned() -> Watching:
        watching = opened("amount")
        for match in (None, Match(subject="amount")):
            times = {"from_ms": 10 * HOUR_MS, "until_ms": LONG_MS}
            ask(watching, "maintenance", match=match, **times)
        assert watching.hour(12) == [("update", AMOUNT, "silenced")]
        return watching

    def end(watching: Watching, match: Match | None = None) -> list[Any]:
        return ask(watching, "unsilence", hour=13, match=match, maintenance=True)[0]

    told = [("update", AMOUNT, "unsilenced")]
    assert end(planned()) == told
    watching = planned()
    assert [end(watching, match) for match in (Match(), Match(subject="amount"))] == [[], told]
    assert [end(planned(), match) for match in (Match(subject="age"), Match())] == [[], []]
    watching = planned()
    ask(watching, "silence", hour=13, match=Match(subject="amount"), until_ms=LONG_MS)
    assert end(watching) == []
    assert ask(watching, "unsilence", hour=13, match=Match(subject="amount"))[0] == told
    watching = opened()
    ask(watching, "maintenance", from_ms=10 * HOUR_MS, until_ms=LONG_MS)
    assert end(watching) == []
    watching.hour(20, drift(20, "amount"))
    assert not watching.alerts[-1]["silenced"]


def test_a_shorter_silence_replaces_a_longer_one() -> None:
    """The last word about one thing counts."""
    watching = opened("amount")
    id_ = watching.alerts[0]["alert_id"]
    ask(watching, "silence", alert_id=id_, until_ms=LONG_MS)
    ask(watching, "silence", hour=7, alert_id=id_, until_ms=9 * HOUR_MS)

    assert watching.hour(9) == [("update", AMOUNT, "unsilenced")]


def test_silences_are_bounded() -> None:
    """A program that silences without end does not fill the memory; the first to end go."""
    watching = Watching()
    for n in range(1_100):
        match = Match(subject=f"f{n}")
        ask(watching, "silence", match=match, until_ms=(10_000 + n) * HOUR_MS)
    watching.hour(7, drift(7, "f99"))
    watching.hour(50, drift(50, "f100"))

    assert [it["silenced"] for it in watching.alerts] == [False, True]
