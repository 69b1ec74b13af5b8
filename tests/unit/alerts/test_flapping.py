"""What comes and goes keeps one alert, and is resolved ever later; what lasts gets graver."""

from __future__ import annotations

from streamproc.alerts.cases import MOST_QUIET_BUCKETS, MOST_UPDATES
from tests.unit.alerts.findings import Watching, drift, over

AMOUNT = "covariate_drift/amount"


def test_what_comes_again_soon_keeps_its_id_and_is_counted() -> None:
    """It is opened again, under the id that people know."""
    watching = Watching()
    watching.hour(5, drift(5, "amount"))
    watching.hour(8, over(drift(5, "amount"), 8))

    assert watching.hour(12, drift(12, "amount")) == [("open", AMOUNT, "reopened")]
    first, _, again = watching.alerts
    assert first["alert_id"] == again["alert_id"]
    assert first["first_seen_ms"] == again["first_seen_ms"]
    assert (again["flaps"], again["step"]) == (1, 2)
    assert again["summary"] == "amount is off. It has come again 1 time."


def test_each_flap_doubles_the_quiet_before_the_resolve() -> None:
    """Six hours after the first, then twelve, until four days; it is still damped then."""
    watching, hour, quiets = Watching(), 5, []
    for _ in range(9):
        watching.hour(hour, drift(hour, "amount"))
        ended = hour + 2
        hour = ended
        told = watching.hour(hour, over(drift(hour, "amount"), hour))
        while not told:
            hour += 1
            told = watching.hour(hour)
        assert told == [("resolved", AMOUNT, "recovered")]
        quiets.append(hour - ended)
        hour += 10

    assert quiets == [0, 6, 12, 24, 48, 96, 96, 96, 96]
    assert max(quiets) == MOST_QUIET_BUCKETS
    assert len({alert["alert_id"] for alert in watching.alerts}) == 1


def test_what_comes_again_during_the_quiet_wakes_nobody() -> None:
    """The alert is open still; that it flaps is an update."""
    watching = Watching()
    for hour in (5, 10):
        watching.hour(hour, drift(hour, "amount"))
        watching.hour(hour + 1, over(drift(hour, "amount"), hour + 1))

    assert watching.hour(14, drift(14, "amount")) == [("update", AMOUNT, "flapping")]
    assert watching.hour(15, over(drift(14, "amount"), 15)) == []
    assert watching.hour(26) == []
    assert watching.hour(27) == [("resolved", AMOUNT, "recovered")]


def test_what_flaps_for_ever_is_told_a_bounded_number_of_times() -> None:
    """Every hour on and off for weeks: the updates end."""
    watching = Watching()
    for hour in range(5, 1_000, 2):
        watching.hour(hour, drift(hour, "amount"))
        watching.hour(hour + 1, over(drift(hour, "amount"), hour + 1))

    assert len(watching.alerts) <= MOST_UPDATES + 4


def test_long_after_its_resolve_it_is_another_alert() -> None:
    """A day and what it had to be quiet later nobody remembers."""
    watching = Watching()
    watching.hour(5, drift(5, "amount"))
    watching.hour(8, over(drift(5, "amount"), 8))
    watching.hour(32)

    assert watching.hour(33, drift(33, "amount")) == [("open", AMOUNT, "found")]
    assert len({alert["alert_id"] for alert in watching.alerts}) == 2
    assert watching.alerts[-1]["flaps"] == 0


def test_a_large_warning_that_lasts_becomes_critical() -> None:
    """After a day, at three quarters of what is critical at once; a small one never does."""
    watching = Watching()

    def hours(subject: str, effect: float) -> list[tuple[int, str]]:
        told = []
        for hour in range(5, 60):
            finding = drift(hour, subject, since=4, effect=effect, critical_at=1.0)
            told += [(hour, reason) for _, _, reason in watching.hour(hour, finding)]
        return told

    assert hours("amount", 0.75) == [(5, "found"), (28, "graver")]
    assert watching.alerts[-1]["severity"] == "critical"
    watching = Watching()
    assert hours("age", 0.74) == [(5, "found")]


def test_it_does_not_become_a_warning_again() -> None:
    """Severity falls with the resolve alone: it would wake people twice."""
    watching = Watching()
    watching.hour(5, drift(5, "amount", severity="critical"))

    assert watching.hour(6, drift(6, "amount", since=4)) == []
    (told,) = watching.book.open_alerts()
    assert told["severity"] == "critical"


def test_it_widens_by_half_before_it_is_told_again() -> None:
    """A slow rise of many features is a few updates, and the resolve has all of them."""
    watching = Watching()
    for n in range(20):
        watching.hour(5 + n // 4, drift(5 + n // 4, f"f{n:02}"))

    told = [(it["reason"], it["members_in_all"]) for it in watching.alerts]
    assert told == [("found", 1), ("wider", 2), ("wider", 3), ("wider", 5), ("wider", 8),
                    ("wider", 12), ("wider", 18)]  # fmt: skip
