"""Findings for tests of alerts: told in hours, each an hour's bucket."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from streamproc.alerts import AlertBook
from streamproc.messages import Alert
from streamproc.monitors.finding import Finding

HOUR_MS = 3_600_000


def found(hour: int, kind: Any, subject: str, since: int | None = None, **what: Any) -> Finding:
    """Return a finding of the bucket that ends at ``hour``, of what began at ``since``."""
    made = Finding(
        kind=kind,
        subject=subject,
        slice=what.pop("slice", None),
        ongoing=True,
        severity="warning",
        effect=1.0,
        statistic=1.0,
        threshold=0.5,
        expected=50.0,
        observed=60.0,
        samples=400,
        first_seen_ms=(hour - 1 if since is None else since) * HOUR_MS,
        summary=f"{subject} is off.",
        at_ms=hour * HOUR_MS,
    )
    return replace(made, **what)


def drift(hour: int, subject: str, since: int | None = None, **what: Any) -> Finding:
    """Return a covariate drift."""
    return found(hour, "covariate_drift", subject, since, **what)


def over(finding: Finding, hour: int) -> Finding:
    """Return that it is over."""
    return replace(finding, ongoing=False, at_ms=hour * HOUR_MS, summary="It is over.")


class Watching:
    """A book that is told hour by hour; keeps all alerts."""

    def __init__(self, book: AlertBook | None = None) -> None:
        self.book = book or AlertBook()
        self.alerts: list[Alert] = []

    def hour(self, hour: int, *findings: Finding) -> list[tuple[str, str, str]]:
        """Hand in an hour's findings; return status, key and reason of what is told."""
        told = self.book.apply(findings, hour * HOUR_MS, {"": hour * HOUR_MS})
        self.alerts += told
        return steps(told)


def steps(alerts: list[Alert]) -> list[tuple[str, str, str]]:
    """Return status, key and reason."""
    return [(it["status"], it["key"], it["reason"] or "") for it in alerts]
