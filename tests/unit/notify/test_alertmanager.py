"""Alerts as Alertmanager takes them; tests/notify asks a real one."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest

from streamproc.messages import Alert
from streamproc.notify.alertmanager import Alertmanager, posted_alert
from streamproc.notify.outbox import News
from tests.alert_steps import step


def posted(alert: Alert, before: Alert | None = None) -> list[dict[str, Any]]:
    """Return what is posted of one step."""
    request = Alertmanager("payments").request([News(alert, before, 0, 0, 0)], now_ms=0)
    assert request.headers == {"Content-Type": "application/json"}
    found: list[dict[str, Any]] = orjson.loads(request.body)
    return found


def test_an_open_alert_says_what_where_and_how_much() -> None:
    """The labels name it, the annotations are what changes; it has no end."""
    (told,) = posted(step(slice={"country": "NL", "channel": "web"}))

    assert told == {
        "labels": {
            "alertname": "StreamprocCovariateDrift",
            "pipeline": "payments",
            "kind": "covariate_drift",
            "subject": "amount",
            "severity": "warning",
            "slice_channel": "web",
            "slice_country": "NL",
        },
        "annotations": {
            "summary": "The mean rose from 53.6 to 80.2; look at what sends it.",
            "expected": "53.6",
            "observed": "80.2",
            "samples": "41200",
            "statistic": "9.6",
            "threshold": "5",
            "alert_id": "id-covariate_drift/amount",
            "status": "open",
        },
        "startsAt": "2023-11-14T22:13:20.000Z",
    }


def test_the_labels_stay_from_the_opening_to_the_end() -> None:
    """Alertmanager knows an alert by its labels: what gets larger must not be among them."""
    opened, (worse,) = step(), posted(step(status="update", observed=99.0, samples=1, statistic=1))
    (ended,) = posted(step(status="resolved"))

    assert worse["labels"] == ended["labels"] == posted_alert(opened, "payments")["labels"]
    assert "endsAt" not in worse
    assert ended["endsAt"] == "2023-11-14T22:14:20.000Z"


@pytest.mark.parametrize("more", [{"status": "resolved"}, {"silenced": True}])
def test_what_is_over_has_an_end(more: dict[str, Any]) -> None:
    """So has what people have silenced, and says that it is that."""
    (told,) = posted(step(**more))

    assert "endsAt" in told
    assert told["annotations"]["status"] == more.get("status", "silenced")


def test_who_has_taken_it_up_and_what_belongs_to_it_are_annotations() -> None:
    """Not labels, by which Alertmanager knows an alert: it stays the same, and stays open."""
    member = {
        "kind": "covariate_drift",
        "subject": "f",
        "slice": {"a": "b"},
        "ongoing": True,
        "expected": None,
        "observed": None,
    }
    more: dict[str, Any] = {"members": [member] * 3, "members_in_all": 3, "comment": "on it"}

    (told,) = posted(step(status="update", reason="acknowledged", acknowledged_by="ada", **more))

    about = told["annotations"]
    assert told["labels"] == posted(step())[0]["labels"]
    assert "endsAt" not in told
    assert about["members"] == "covariate drift of f in a=b; covariate drift of f in a=b"
    assert (about["acknowledged_by"], about["comment"]) == ("ada", "on it")
    assert about["reason"] == "acknowledged"


def test_other_statuses_leave_it_open() -> None:
    """A step that a later version adds ends nothing."""
    assert "endsAt" not in posted(step(status="acknowledged"))[0]


def test_a_graver_alert_takes_the_place_of_the_one_before() -> None:
    """The severity is a label: what was told with the other one ends."""
    ended, told = posted(step(status="update", severity="critical"), before=step())

    assert (ended["labels"]["severity"], ended["endsAt"]) == ("warning", "2023-11-14T22:14:20.000Z")
    assert (told["labels"]["severity"], "endsAt" in told) == ("critical", False)


def test_event_time_ahead_of_the_clock_is_no_beginning_after_the_end() -> None:
    """Alertmanager refuses an alert that ends before it began."""
    (told,) = posted(step(status="resolved", first_seen_ms=1_800_000_000_000))

    assert told["startsAt"] == told["endsAt"]


def test_names_of_labels_are_ones_that_there_may_be() -> None:
    """Whatever a field is called, no two fall together."""
    (told,) = posted(step(slice={"card-type": "a", "card type": "b", "país": "c", "1st": "d"}))

    names = [name for name in told["labels"] if name.startswith("slice_")]
    assert all(re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name) for name in names)
    assert sorted(told["labels"][name] for name in names) == ["a", "b", "c", "d"]


def test_a_figure_that_there_is_not_is_left_out() -> None:
    """And what is endless is cut."""
    (told,) = posted(step(expected=None, observed=None, summary="x" * 100_000))

    assert not {"expected", "observed"} & set(told["annotations"])
    assert len(told["annotations"]["summary"]) == 1_000
