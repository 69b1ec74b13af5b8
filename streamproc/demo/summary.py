"""What the demo amounts to: the summary for programs, and whether it showed what it promises."""

from __future__ import annotations

from typing import Any

from streamproc.demo.observer import NO_SKILL, Observer
from streamproc.demo.scenario import Fault, said


def summary(observer: Observer, seconds: float) -> dict[str, Any]:
    """Return the summary, ready for JSON; an AUC is null where there were not both classes."""
    auc, never = observer.aucs()
    return {
        "events": observer.events,
        "predictions": observer.predictions,
        "outcomes": observer.outcomes,
        "missing": observer.missing,
        "duplicates": observer.duplicates,
        "alerts": [
            {
                "kind": seen.alert["kind"],
                "subject": seen.alert["subject"],
                "slice": seen.alert["slice"],
                "opened_after_events": seen.opened_after_events,
                "resolved": seen.resolved,
            }
            for seen in observer.alerts
        ],
        "false_alarms": observer.false_alarms,
        "auc": None if auc is None else round(auc, 4),
        "baseline_auc": round(max(never or 0.0, NO_SKILL), 4),
        "seconds": round(seconds, 1),
    }


def shortcomings(observer: Observer) -> list[str]:
    """Return what the demo promises and did not show, a plain sentence each."""
    found = []
    if observer.missing:
        found.append(f"{observer.missing:,} of {observer.events:,} events have no prediction")
    if observer.duplicates:
        found.append(f"{observer.duplicates:,} predictions came twice")
    for fault in observer.scenario.faults:
        found += _untold(observer, fault)
    return found


def _untold(observer: Observer, fault: Fault) -> list[str]:
    alerts = [seen for seen in observer.alerts if seen.fault == fault and seen.names_the_fault]
    if not alerts:
        return [f"no alert named this fault: {said(fault)}"]
    if not all(seen.resolved for seen in alerts):
        return [f"the alert on this fault was not resolved: {said(fault)}"]
    return []
