"""Alerts as lines for people: what is open, and the life of one."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from streamproc.alerts.commands import Command
from streamproc.cli.common import printable, shortened, width
from streamproc.monitors.finding import when


def summary_lines(alert: dict[str, Any]) -> Iterator[str]:
    """Yield an alert as it stands: id, state, what about, its sentence.

    >>> alert = {"alert_id": "9a1db1f0b2c7de54", "key": "covariate_drift/amount", "status": "open",
    ...          "severity": "warning", "first_seen_ms": 0, "members_in_all": 3,
    ...          "silenced_until_ms": 7_200_000, "acknowledged_by": "ada", "comment": "on it",
    ...          "summary": "The mean of amount is higher."}
    >>> print(*summary_lines(alert), sep=chr(10))
    9a1db1f0b2c7de54  open      warning   since 1970-01-01 00:00 UTC
        covariate_drift/amount and 2 more
        silenced until 1970-01-01 02:00 UTC; with ada: on it
        The mean of amount is higher.
    """
    state = "resolved" if alert["status"] == "resolved" else "open"
    since = when(alert["first_seen_ms"])
    yield _cut(f"{alert['alert_id']}  {state:<8}  {alert['severity']:<8}  since {since}")
    more = (alert.get("members_in_all") or 1) - 1
    yield _cut(f"    {alert['key']}{f' and {more} more' if more else ''}")
    asked = []
    if alert.get("silenced_until_ms") is not None:
        asked.append(f"silenced until {when(alert['silenced_until_ms'])}")
    if alert.get("acknowledged_by"):
        comment = alert.get("comment")
        asked.append(f"with {alert['acknowledged_by']}{f': {comment}' if comment else ''}")
    if asked:
        yield _cut(f"    {'; '.join(asked)}")
    yield from _wrapped(alert["summary"], 4)


def life_lines(steps: list[dict[str, Any]], commands: list[Command]) -> Iterator[str]:
    """Yield the life of one alert, from the steps of it that are known and what was asked."""
    newest = steps[-1]
    yield from summary_lines(newest)
    yield ""
    yield from fact_lines(newest)
    members = newest.get("members") or []
    if len(members) > 1:
        yield ""
        yield f"about {newest['members_in_all']}, the likely cause first:"
        for member in members:
            yield from _hung(_member(member))
    yield ""
    yield "steps, by when they were told:"
    for step in steps:
        yield from _hung(_step(step))
    if commands:
        yield ""
        yield "asked of it:"
        for command in commands:
            yield from _hung(_asked(command))


def fact_lines(alert: dict[str, Any]) -> Iterator[str]:
    """Yield an alert's figures, one a line."""
    low, high = alert.get("low"), alert.get("high")
    interval = None if low is None or high is None else f"{low:+.6g} to {high:+.6g}"
    facts = {
        "expected": _number(alert["expected"]),
        "observed": _number(alert["observed"]),
        "difference": interval,
        "statistic": f"{_number(alert['statistic'])}, held against {_number(alert['threshold'])}",
        "evidence": _number(alert.get("evidence")),
        "samples": f"{alert['samples']:,}",
        "flaps": alert.get("flaps") or None,
        "models": versions_told(alert.get("models") or []) or alert.get("model"),
        "explained by": alert.get("explained_by"),
        "pipeline": _joined(alert.get("pipeline"), alert.get("fingerprint")),
    }
    for name, value in facts.items():
        if value is not None:
            yield _cut(f"  {name:<12}  {value}")


def versions_told(models: Sequence[str]) -> str:
    """Return versions in a few words; empty without any.

    >>> versions_told(["main@1"]), versions_told(["main@1", "main@2", "main@9"])
    ('main@1', 'main@1 to main@9')
    """
    if len(models) <= 2:
        return ", ".join(models)
    return f"{models[0]} to {models[-1]}"


def _member(member: dict[str, Any]) -> str:
    parts = ", ".join(f"{name}={value}" for name, value in (member["slice"] or {}).items())
    where = f" in {parts}" if parts else ""
    figures = ""
    if member["expected"] is not None and member["observed"] is not None:
        figures = f"  {_number(member['expected'])} -> {_number(member['observed'])}"
    over = "" if member["ongoing"] else "  (over)"
    return f"{member['kind']} {member['subject']}{where}{figures}{over}"


def _step(step: dict[str, Any]) -> str:
    reason = step.get("reason")
    why = f", {reason}" if reason and reason != "found" else ""
    what = f"{step['status']}{why}"
    figures = f"{_number(step['statistic'])} over {step['samples']:,}"
    silent = "  silenced" if step.get("silenced") else ""
    return f"{when(step['detected_at_ms'])}  {what:<22}  {step['severity']:<8}  {figures}{silent}"


def _asked(command: Command) -> str:
    until = f" until {when(command.until_ms)}" if command.until_ms is not None else ""
    comment = f": {command.comment}" if command.comment else ""
    what = f"{command.command}{' of maintenance' if command.maintenance else ''}"
    return f"{when(command.at_ms)}  {what}{until} by {command.by}{comment}"


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.6g}"


def _joined(*parts: str | None) -> str | None:
    return " ".join(part for part in parts if part) or None


def _wrapped(text: str, indent: int) -> Iterator[str]:
    for line in textwrap.wrap(printable(text), width() - indent - 1):
        yield " " * indent + line


def _hung(text: str) -> Iterator[str]:
    """Yield a line of a list; what is too long for it goes on in the next."""
    yield from textwrap.wrap(
        printable(text), width(), initial_indent="  ", subsequent_indent="      ",
        break_on_hyphens=False,
    )  # fmt: skip


def _cut(text: str) -> str:
    return shortened(printable(text), width())
