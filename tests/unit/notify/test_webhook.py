"""The message that is posted, and its signature."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import orjson
import pytest

from streamproc.messages import Alert
from streamproc.notify.outbox import News
from streamproc.notify.sink import Request
from streamproc.notify.webhook import Webhook
from tests.alert_steps import step


def request(alert: Alert, before: Alert | None = None, secret: str | None = None) -> Request:
    """Return what is posted of one step."""
    return Webhook("payments", secret).request([News(alert, before, 0, 0, 0)], now_ms=1_700_000_999)


def message(alert: Alert, before: Alert | None = None) -> dict[str, Any]:
    """Return the message of one step."""
    found: dict[str, Any] = orjson.loads(request(alert, before).body)
    return found


def test_a_message_says_what_where_and_how_much() -> None:
    """In the form that Slack has: text for the notice, and an attachment to read."""
    told = message(step(slice={"country": "NL"}))

    (attached,) = told["attachments"]
    assert told["text"] == (
        "payments, warning: The mean rose from 53.6 to 80.2; look at what sends it."
    )
    assert attached["fallback"] == told["text"]
    assert attached["title"] == "Opened: covariate_drift of amount in country=NL"
    assert {each["title"]: each["value"] for each in attached["fields"]} == {
        "severity": "warning",
        "slice": "country=NL",
        "expected": "53.6",
        "observed": "80.2",
        "samples": "41200",
    }
    assert (attached["ts"], "id-covariate_drift/amount" in attached["footer"]) == (1700000000, True)


@pytest.mark.parametrize(
    ("status", "severity", "known", "title", "colour"),
    [
        ("open", "warning", False, "Opened", "#daa038"),
        ("update", "critical", True, "Changed", "#d50200"),
        ("update", "critical", False, "Opened", "#d50200"),
        ("resolved", "critical", True, "Resolved", "#2eb886"),
        ("resolved", "critical", False, "Opened and resolved", "#2eb886"),
        ("acknowledged", "critical", True, "Acknowledged", "#9e9e9e"),
    ],
)
def test_the_title_and_the_colour_say_how_it_stands(
    status: str, severity: str, known: bool, title: str, colour: str
) -> None:
    """Also of an alert of which nothing was told until it was over."""
    before = step() if known else None

    (attached,) = message(step(status=status, severity=severity), before)["attachments"]

    assert (attached["title"].partition(":")[0], attached["color"]) == (title, colour)


def test_nothing_that_an_event_sent_mentions_anybody() -> None:
    """A slice holds what anybody may have sent: no mention, no link, no line of its own."""
    evil = "<!channel> & <https://evil|win>\nresolved"
    told = message(step(slice={"country": evil}, subject=evil, summary=evil))

    for text in (told["text"], told["attachments"][0]["title"]):
        assert "<" not in text
        assert "\n" not in text
        assert "&lt;!channel&gt; &amp;" in text


def hmac_sha256(key: bytes, text: bytes) -> str:
    """Return the HMAC in hex, as RFC 2104 defines it."""
    padded = key.ljust(64, b"\0")
    inner = sha256(bytes(each ^ 0x36 for each in padded) + text).digest()
    return sha256(bytes(each ^ 0x5C for each in padded) + inner).hexdigest()


def test_the_signature_is_that_of_the_definition() -> None:
    """HMAC-SHA256 of v1, the timestamp in seconds and the body, in hex."""
    made = request(step(), secret="open sesame")

    timestamp = made.headers["X-Streamproc-Timestamp"]
    signed = f"v1:{timestamp}:".encode() + made.body
    assert timestamp == "1700000"
    assert made.headers["X-Streamproc-Signature"] == f"v1={hmac_sha256(b'open sesame', signed)}"


def test_without_a_secret_nothing_is_signed() -> None:
    """Slack asks for no signature."""
    assert not any(name.startswith("X-Streamproc") for name in request(step()).headers)


def test_a_message_that_comes_twice_can_be_told() -> None:
    """The key is the same for the same step, and another for the next; a first version had none."""
    keys = [
        request(each).headers["Idempotency-Key"]
        for each in (step(step=0), step(step=0, status="update"), step(step=12), step())
    ]
    assert [key.removeprefix("id-covariate_drift/amount-") for key in keys] == [
        *("0", "0", "12"),
        "open-1700000060000",
    ]


def test_what_goes_with_it_is_listed() -> None:
    """The first five, with figures; the cause is in the title."""
    member = {"kind": "covariate_drift", "slice": None, "ongoing": True}
    numbers = {"expected": 1.0, "observed": 2.5}
    members = [{**member, **numbers, "subject": f"<f{number}>"} for number in range(8)]
    members[2] |= {"ongoing": False, "observed": None}

    (attached,) = message(step(members=members, members_in_all=60))["attachments"]

    assert attached["text"].splitlines() == [
        "• covariate drift of &lt;f1&gt;, 1 to 2.5",
        "• covariate drift of &lt;f2&gt;, over",
        *(f"• covariate drift of &lt;f{number}&gt;, 1 to 2.5" for number in (3, 4, 5)),
        "• and 54 more",
    ]


@pytest.mark.parametrize(
    ("status", "reason", "before", "title"),
    [
        ("open", "reopened", "resolved", "Opened again"),
        ("open", "reopened", None, "Opened again"),
        ("update", "graver", "open", "Graver"),
        ("update", "unsilenced", "open", "Open, no more silenced"),
        ("update", "unsilenced", None, "Opened"),
        ("update", "a later one", "open", "Changed"),
        ("resolved", "recovered", "resolved", "Opened and resolved"),
    ],
)
def test_the_title_says_why_it_is_told(
    status: str, reason: str, before: str | None, title: str
) -> None:
    """By what was told last: of what is over nothing is known any more."""
    last = step(status=before) if before else None

    (attached,) = message(step(status=status, reason=reason), last)["attachments"]

    assert attached["title"].partition(":")[0] == title


def test_who_has_taken_it_up_is_said() -> None:
    """With what they say, in grey."""
    alert = step(status="update", reason="acknowledged", acknowledged_by="ada", comment="on it")

    told = message(alert, step())

    (attached,) = told["attachments"]
    fields = {each["title"]: each["value"] for each in attached["fields"]}
    assert told["text"].startswith("payments, acknowledged by ada: ")
    assert (attached["title"].partition(":")[0], attached["color"]) == ("Acknowledged", "#9e9e9e")
    assert (fields["acknowledged by"], fields["comment"]) == ("ada", "on it")


def test_a_secret_is_not_shown() -> None:
    """Nor by printing the sink."""
    assert "sesame" not in repr(Webhook("payments", "open sesame"))
