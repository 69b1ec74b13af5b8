"""The life of an alert."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

from streamproc.alerts import AlertBook
from streamproc.alerts.cases import MOST_UPDATES
from streamproc.messages import Alert
from streamproc.monitors.finding import Finding

HOUR_MS = 3_600_000
FOUND = Finding(
    kind="covariate_drift",
    subject="amount",
    slice=None,
    ongoing=True,
    severity="warning",
    effect=0.3,
    statistic=0.3,
    threshold=0.15,
    expected=50.0,
    observed=60.0,
    samples=400,
    first_seen_ms=7,
    summary="The mean of amount is higher than usual.",
)


def told(book: AlertBook, now_ms: int = 0, **what: Any) -> list[str]:
    """Return the statuses a finding gives rise to."""
    return [alert["status"] for alert in book.apply([replace(FOUND, **what)], now_ms)]


def test_an_alert_has_the_fields_of_the_message() -> None:
    """Every field others consume is there, under its name, and no other."""
    (alert,) = AlertBook().apply([FOUND], now_ms=9)

    assert set(alert) == set(Alert.__annotations__)
    assert alert["key"] == "covariate_drift/amount"
    assert alert["first_seen_ms"] == 7
    assert alert["detected_at_ms"] == 9


def test_the_same_finding_is_told_once() -> None:
    """What lasts as it is says nothing new."""
    book = AlertBook()

    assert told(book) == ["open"]
    assert [told(book) for _ in range(5)] == [[]] * 5
    assert len(book.open_alerts()) == 1


def test_worse_is_told_and_a_little_worse_is_not() -> None:
    """An update comes for half as much again, or when it becomes critical."""
    book = AlertBook()
    told(book)

    assert told(book, effect=0.44) == []
    assert told(book, effect=0.46) == ["update"]
    assert told(book, effect=0.46, severity="critical") == ["update"]
    assert told(book, effect=0.46, severity="warning") == []
    assert told(book, effect=0.3) == []


def test_updates_are_bounded() -> None:
    """Something that grows without end is told a bounded number of times."""
    book = AlertBook()
    told(book)
    updates = [told(book, effect=2.0**i) for i in range(100)]

    assert sum(map(len, updates)) == MOST_UPDATES


def test_a_resolve_comes_once_and_under_the_same_id() -> None:
    """Open, update and resolve share id and begin; a second resolve is none."""
    book = AlertBook()
    steps = [FOUND, replace(FOUND, effect=9.0, first_seen_ms=8), replace(FOUND, ongoing=False)]
    alerts = book.apply([*steps, replace(FOUND, ongoing=False)], now_ms=1)

    assert [alert["status"] for alert in alerts] == ["open", "update", "resolved"]
    assert len({alert["alert_id"] for alert in alerts}) == 1
    assert {alert["first_seen_ms"] for alert in alerts} == {7}
    assert book.open_alerts() == []


def test_what_comes_again_much_later_is_another_alert() -> None:
    """Long after a resolve the same thing opens under another id, the same on every run."""
    book, again = AlertBook(), AlertBook()
    ids = []
    for first_seen_ms in (7, 100 * HOUR_MS):
        finding = replace(FOUND, first_seen_ms=first_seen_ms, at_ms=first_seen_ms)
        ids += [
            alert["alert_id"]
            for ongoing in (True, False)
            for alert in book.apply([replace(finding, ongoing=ongoing)], 1, {"": first_seen_ms})
        ]

    assert ids[0] == ids[1] != ids[2] == ids[3]
    assert ids[0] == again.apply([FOUND], now_ms=55)[0]["alert_id"]


def test_different_things_are_open_beside_each_other() -> None:
    """Kind, subject and slice tell alerts apart."""
    book = AlertBook()
    about: list[dict[str, Any]] = [
        {},
        {"kind": "health", "subject": "lag"},
        {"kind": "prediction_bias", "subject": "predictions", "slice": {"country": "FR"}},
        {"kind": "prediction_bias", "subject": "predictions", "slice": {"country": "DE"}},
    ]
    assert [told(book, **what) for what in about] == [["open"]] * 4

    assert [alert["key"] for alert in book.open_alerts()] == [
        "covariate_drift/amount",
        "health/lag",
        "prediction_bias/country=FR",
        "prediction_bias/country=DE",
    ]


def test_open_alerts_survive_a_pickle() -> None:
    """What is open stays open through a pickle, and is not told again."""
    book = AlertBook()
    told(book)

    assert told(pickle.loads(pickle.dumps(book))) == []
