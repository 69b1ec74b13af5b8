"""What a place that alerts go to has to say of itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from streamproc.messages import Alert, AlertMember, PerformanceReport
from streamproc.notify.outbox import News

LONGEST = 1_000
"""Texts of an alert are cut to so many characters: a slice may hold what an event sent."""

MOST_MEMBERS = 5
"""So many of the things that an alert is about are listed."""


class Request(NamedTuple):
    """What is posted."""

    body: bytes
    headers: dict[str, str]


class Sink(Protocol):
    """A place that alerts go to."""

    @property
    def name(self) -> str:
        """Its name in metrics and in the log."""

    @property
    def path(self) -> str:
        """What comes behind its url."""

    @property
    def most(self) -> int:
        """How many alerts at most go into one request."""

    @property
    def pause_s(self) -> float:
        """How long it is left alone after a request."""

    @property
    def repeat_s(self) -> float | None:
        """After what time it is told again of what is open; None where it remembers."""

    def request(self, news: Sequence[News], now_ms: int) -> Request:
        """Return what to post."""


def one_line(text: object) -> str:
    r"""Return a text without line breaks and what else is not printed, cut where it is too long.

    >>> one_line("NL\nall is well")
    'NL all is well'
    """
    line = "".join(each if each.isprintable() else " " for each in str(text))
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def slice_text(alert: Alert | AlertMember | PerformanceReport) -> str:
    """Return an alert's or a report's slice as text, by name; empty for the whole stream.

    >>> slice_text({"slice": {"country": "NL", "channel": "web"}})
    'channel=web, country=NL'
    """
    parts = sorted((alert["slice"] or {}).items())
    return one_line(", ".join(f"{name}={value}" for name, value in parts))


def members_text(alert: Alert) -> list[str]:
    """Return what an alert is about beside its likely cause, a few words each, and how many more.

    >>> drift = {"kind": "covariate_drift", "slice": None, "expected": 53.6, "observed": 80.2}
    >>> members_text({"members": [{**drift, "subject": "amount", "ongoing": True},
    ...     {**drift, "subject": "amount_mean_7d", "ongoing": True},
    ...     {**drift, "subject": "score", "expected": None, "ongoing": False}]})
    ['covariate drift of amount_mean_7d, 53.6 to 80.2', 'covariate drift of score, over']
    """
    others = alert.get("members", [])[1:]
    lines = []
    for each in others[:MOST_MEMBERS]:
        part = slice_text(each)
        line = f"{each['kind'].replace('_', ' ')} of {each['subject']}" + (part and f" in {part}")
        if each["expected"] is not None and each["observed"] is not None:
            line += f", {each['expected']:.4g} to {each['observed']:.4g}"
        lines.append(one_line(line if each["ongoing"] else f"{line}, over"))
    more = alert.get("members_in_all", len(others) + 1) - 1 - len(lines)
    return [*lines, f"and {more:,} more"] if more > 0 else lines


def figures(alert: Alert) -> dict[str, str]:
    """Return an alert's numbers as text, without those that it has not.

    >>> figures({"expected": 53.6, "observed": None, "samples": 41200})
    {'expected': '53.6', 'samples': '41200'}
    """
    numbers = {"expected": alert["expected"], "observed": alert["observed"]}
    told = {name: f"{number:.6g}" for name, number in numbers.items() if number is not None}
    return {**told, "samples": str(alert["samples"])}
