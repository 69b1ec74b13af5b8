"""The life of an alert: opened once for one thing, told again when it worsens, resolved once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from streamproc.messages import Alert, AlertStatus, Operation
from streamproc.monitors.finding import Finding
from streamproc.monitors.judge import Judge
from streamproc.monitors.spec import Watched

WORSE = 1.5
"""An open alert is told again when its effect is this many times what was told last."""

MOST_UPDATES = 10
"""And at most this often."""


class AlertBook:
    """Turns findings into alerts; remembers the open ones and nothing else.

    >>> book = AlertBook()
    >>> def found(effect, ongoing=True):
    ...     return Finding("covariate_drift", "amount", None, ongoing, "warning", effect, effect,
    ...                    0.1, 50.0, 60.0, 100, 0, "The mean of amount is higher.")
    >>> steps = [found(1.0), found(1.1), found(2.0), found(2.0, ongoing=False)]
    >>> [alert["status"] for alert in book.apply(steps, now_ms=5)]
    ['open', 'update', 'resolved']
    """

    def __init__(self) -> None:
        self._open: dict[str, tuple[Alert, float, int]] = {}

    def apply(self, findings: Iterable[Finding], now_ms: int) -> list[Alert]:
        """Return the alerts that findings, in order of time, give rise to."""
        alerts = (self._step(finding, now_ms) for finding in findings)
        return [alert for alert in alerts if alert is not None]

    def command(self, operation: Operation, time_ms: int) -> list[Alert]:
        """Return the alerts that what a person asks for gives rise to: none, so far."""
        return []

    def open_alerts(self) -> list[Alert]:
        """Return the open alerts as they were last told."""
        return [alert for alert, _, _ in list(self._open.values())]

    def _step(self, finding: Finding, now_ms: int) -> Alert | None:
        known = self._open.get(finding.key)
        if known is None:
            if not finding.ongoing:
                return None
            return self._tell(finding, "open", now_ms, finding.first_seen_ms, 0)
        alert, told, updates = known
        if not finding.ongoing:
            del self._open[finding.key]
            return _alert(finding, "resolved", now_ms, alert["first_seen_ms"])
        graver = finding.severity == "critical" and alert["severity"] == "warning"
        worse = graver or finding.effect >= WORSE * told
        if not worse or updates >= MOST_UPDATES:
            return None
        return self._tell(finding, "update", now_ms, alert["first_seen_ms"], updates + 1)

    def _tell(
        self, finding: Finding, status: AlertStatus, now_ms: int, first_seen_ms: int, updates: int
    ) -> Alert:
        alert = _alert(finding, status, now_ms, first_seen_ms)
        self._open[finding.key] = (alert, finding.effect, updates)
        return alert


def alert_id(key: str, first_seen_ms: int) -> str:
    """Return the id of an alert: the same whenever the same thing is found again.

    >>> alert_id("covariate_drift/amount", 0)
    'd4cc887545ea07cf'
    """
    return hashlib.sha256(f"{key}@{first_seen_ms}".encode()).hexdigest()[:16]


def new_judge(pipeline: Watched, partitions: int) -> Judge:
    """Return the judge of a pipeline whose topics have so many partitions."""
    return Judge(pipeline, partitions, AlertBook())


def _alert(finding: Finding, status: AlertStatus, now_ms: int, first_seen_ms: int) -> Alert:
    return Alert(
        alert_id=alert_id(finding.key, first_seen_ms),
        key=finding.key,
        status=status,
        kind=finding.kind,
        subject=finding.subject,
        slice=finding.slice,
        severity=finding.severity,
        statistic=finding.statistic,
        threshold=finding.threshold,
        expected=finding.expected,
        observed=finding.observed,
        samples=finding.samples,
        first_seen_ms=first_seen_ms,
        detected_at_ms=now_ms,
        summary=finding.summary,
    )
