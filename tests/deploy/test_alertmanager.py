"""What we post to Alertmanager, told to a real one, and what it then tells its receivers.

No broker is in between: tests/kafka has the whole way.
"""

from __future__ import annotations

import time
from typing import Any

from agents.posting import Endpoint
from streamproc.messages import Alert
from streamproc.notify.alertmanager import Alertmanager
from streamproc.notify.outbox import News
from tests.alert_steps import step
from tests.alertmanager_server import AlertmanagerServer
from tests.kafka.processes import eventually
from tests.receiver import Receiver


def tell(server: AlertmanagerServer, *steps: Alert, before: Alert | None = None) -> None:
    """Tell it of steps, as a worker does."""
    sink = Alertmanager("payments")
    news = [News(each, before, 0, 0, 0) for each in steps]
    answer = Endpoint(server.url, sink.path).post(*sink.request(news, now_ms()))
    assert answer.taken, answer


def now_ms() -> int:
    """Return what time it is, as Alertmanager's clock has it."""
    return time.time_ns() // 1_000_000


def at_ms(first_seen_ms: int) -> dict[str, Any]:
    """Return the times of a step that is decided now."""
    return {"first_seen_ms": first_seen_ms, "detected_at_ms": now_ms()}


def notified(receiver: Receiver) -> list[tuple[str, str]]:
    """Return the subject and the status of what Alertmanager told its receiver, in order."""
    found = []
    for posted in receiver.posted:
        message: Any = posted.json
        found += [(each["labels"]["subject"], each["status"]) for each in message["alerts"]]
    return found


def test_an_alert_opens_and_resolves(alertmanager: AlertmanagerServer, receiver: Receiver) -> None:
    """From the first post to the notice that all is well, with labels and annotations as sent."""
    began_ms = now_ms() - 3_600_000
    about = {"slice": {"country": "NL", "card type": "débit"}, **at_ms(began_ms)}
    tell(alertmanager, step(**about), step("prior_drift/score", **at_ms(began_ms)))
    eventually(lambda: len(notified(receiver)) == 2, "notices of both")
    (found,) = [each for each in alertmanager.alerts() if each["labels"]["subject"] == "amount"]
    assert found["labels"]["slice_country"] == "NL"
    assert found["labels"]["slice_card_type"] == "débit"
    assert found["labels"]["alertname"] == "StreamprocCovariateDrift"
    assert found["annotations"]["observed"] == "80.2"
    assert found["status"]["state"] == "active"

    tell(alertmanager, step(status="update", **about), before=step(**about))
    tell(alertmanager, step(status="resolved", **{**about, **at_ms(began_ms)}))

    eventually(lambda: alertmanager.subjects() == {"score": "warning"}, "one to be resolved")
    eventually(lambda: ("amount", "resolved") in notified(receiver), "notice of that")
    assert sorted(notified(receiver)) == [
        ("amount", "firing"), ("amount", "resolved"), ("score", "firing"),
    ]  # fmt: skip


def test_a_graver_alert_is_one_alert(alertmanager: AlertmanagerServer) -> None:
    """With the other severity it takes the place of what was told before."""
    began_ms = now_ms() - 60_000
    opened = step(**at_ms(began_ms))
    tell(alertmanager, opened)
    assert alertmanager.subjects() == {"amount": "warning"}

    tell(alertmanager, step(status="update", severity="critical", **at_ms(began_ms)), before=opened)

    eventually(lambda: len(alertmanager.alerts()) == 1, "the first to end")
    assert alertmanager.subjects() == {"amount": "critical"}


def test_the_next_alert_of_a_key_opens_again(alertmanager: AlertmanagerServer) -> None:
    """Though it has the same labels, and began before the one before it was over."""
    began_ms = now_ms() - 60_000
    tell(alertmanager, step(**at_ms(began_ms)))
    tell(alertmanager, step(status="resolved", **at_ms(began_ms)))
    eventually(lambda: alertmanager.alerts() == [], "the first to end")

    tell(alertmanager, step(alert_id="next", **at_ms(began_ms + 30_000)))

    (found,) = alertmanager.alerts()
    assert found["annotations"]["alert_id"] == "next"


def test_a_resolve_by_a_clock_that_is_ahead_comes_true(alertmanager: AlertmanagerServer) -> None:
    """The worker's clock may be a little before Alertmanager's."""
    began_ms = now_ms() - 60_000
    tell(alertmanager, step(**at_ms(began_ms)))

    ahead = step(status="resolved", first_seen_ms=began_ms, detected_at_ms=now_ms() + 1_500)
    tell(alertmanager, ahead)

    eventually(lambda: alertmanager.alerts() == [], "it to end", timeout_s=20)


def test_odd_ones_are_taken(alertmanager: AlertmanagerServer) -> None:
    """Event time ahead of the clock, years ago, odd fields, endless texts, nothing to compare."""
    fields = {"1st": "x", "país": "y", "a-b": "1", "a b": "2", "empty": ""}
    tell(
        alertmanager,
        step("k/ahead", **at_ms(now_ms() + 3_000_000)),
        step("k/old", **at_ms(1_500_000_000_000)),
        step("k/odd", slice=fields, expected=None, observed=None, **at_ms(now_ms())),
        step("k/long", summary="é\n" * 100_000, **at_ms(now_ms())),
        step("k/over", status="resolved", **at_ms(now_ms() + 3_000_000)),
    )

    found = {each["labels"]["subject"]: each for each in alertmanager.alerts()}
    assert set(found) == {"ahead", "old", "odd", "long"}
    named = [name for name in found["odd"]["labels"] if name.startswith("slice_")]
    assert len(named) == 4  # an empty label is none
