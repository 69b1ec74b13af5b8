"""An alert's message, from what is known of it."""

from __future__ import annotations

import hashlib
from math import isfinite
from sys import float_info

from streamproc.alerts.cases import Case, Trouble
from streamproc.messages import Alert, AlertMember, AlertReason, AlertStatus
from streamproc.monitors.finding import Finding

MOST_MEMBERS = 50
"""How many of the things that an alert is about are listed in a message; the likeliest first."""

_NAMED = 5
_STATUS: dict[AlertReason, AlertStatus] = {
    "found": "open",
    "reopened": "open",
    "outlived": "open",
    "recovered": "resolved",
    "accepted": "resolved",
    "explained": "resolved",
}


def alert_id(key: str, first_seen_ms: int) -> str:
    """Return the id of an alert: the same whenever the same thing is found again.

    >>> alert_id("covariate_drift/amount", 0)
    'd4cc887545ea07cf'
    """
    return hashlib.sha256(f"{key}@{first_seen_ms}".encode()).hexdigest()[:16]


def alert_of(
    case: Case,
    reason: AlertReason,
    now_ms: int,
    silenced_until_ms: int | None,
    pipeline: str | None,
    fingerprint: str | None,
) -> Alert:
    """Return the next step of an alert; ``silenced_until_ms`` is None where it is not silenced."""
    status = _STATUS.get(reason, "update")
    lead = case.lead
    told = lead.over if status == "resolved" and lead.over else lead.finding
    members = [lead, *sorted(case.others.values(), key=_by_evidence)]
    return Alert(
        alert_id=case.alert_id,
        key=case.key,
        status=status,
        kind=told.kind,
        subject=told.subject,
        slice=told.slice,
        severity=case.severity,
        statistic=_double(told.statistic),
        threshold=_double(told.threshold),
        expected=_finite(told.expected),
        observed=_finite(told.observed),
        samples=told.samples,
        first_seen_ms=case.first_seen_ms,
        detected_at_ms=now_ms,
        summary=_summary(case, reason, told, members),
        step=case.step,
        reason=reason,
        members=[_member(each) for each in members[:MOST_MEMBERS]],
        members_in_all=len(members),
        evidence=_finite(told.evidence),
        low=_finite(told.low),
        high=_finite(told.high),
        flaps=case.flaps,
        silenced=silenced_until_ms is not None,
        silenced_until_ms=silenced_until_ms,
        acknowledged_by=case.acknowledged_by,
        acknowledged_at_ms=case.acknowledged_at_ms,
        comment=case.comment,
        explained_by=case.explained_by,
        model=told.models[0] if len(told.models) == 1 else None,
        pipeline=pipeline,
        fingerprint=fingerprint,
        models=list(told.models),
        ended_ms=_ended_ms(case) if status == "resolved" else None,
    )


def _ended_ms(case: Case) -> int | None:
    """Return when the likely cause was over, or up to when it was tested where it was not."""
    if case.lead.finding.kind == "health":  # its times are of clocks
        return None
    return (case.lead.over.at_ms if case.lead.over else case.closed_ms) or None


def _by_evidence(trouble: Trouble) -> tuple[bool, float, str]:
    return not trouble.ongoing, -(trouble.finding.evidence or 0.0), trouble.key


def _member(trouble: Trouble) -> AlertMember:
    found = trouble.finding
    return AlertMember(
        kind=found.kind,
        subject=found.subject,
        slice=found.slice,
        ongoing=trouble.ongoing,
        statistic=_double(found.statistic),
        expected=_finite(found.expected),
        observed=_finite(found.observed),
        evidence=_finite(found.evidence),
        first_seen_ms=trouble.first_seen_ms,
    )


def _summary(case: Case, reason: AlertReason, told: Finding, members: list[Trouble]) -> str:
    """Return the likely cause's sentence, with what else there is to say."""
    if reason == "explained":
        return f"It is part of alert {case.explained_by}: {told.summary}"
    if reason == "accepted":
        return f"Accepted as normal by {case.acknowledged_by}: {told.summary}"
    said = [told.summary]
    others = [each for each in members[1:] if each.ongoing]
    if others:
        names = ", ".join(_name(each.finding) for each in others[:_NAMED])
        more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
        said.append(f"With it: {names}{more}.")
    if case.flaps:
        said.append(f"It has come again {case.flaps} time{'s' if case.flaps > 1 else ''}.")
    return " ".join(said)


def _name(found: Finding) -> str:
    """Return a finding in a few words.

    >>> _name(Finding("prediction_bias", "predictions", {"country": "FR"}, True, "warning", 2.0,
    ...               2.0, 1.1, 0.01, 0.02, 500, 0, ""))
    'prediction bias of predictions in country=FR'
    """
    parts = ", ".join(f"{name}={value}" for name, value in (found.slice or {}).items())
    where = f" in {parts}" if parts else ""
    return f"{found.kind.replace('_', ' ')} of {found.subject}{where}"


def _finite(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None


def _double(value: float) -> float:
    """Return a number that a message can hold.

    >>> _double(float("inf")), _double(float("nan"))
    (1.7976931348623157e+308, 0.0)
    """
    if isfinite(value):
        return value
    return 0.0 if value != value else float_info.max if value > 0 else -float_info.max
