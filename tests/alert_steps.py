"""Steps in the life of alerts, as tests write them."""

from __future__ import annotations

from typing import Any

from streamproc.messages import Alert


def step(key: str = "covariate_drift/amount", status: str = "open", **more: Any) -> Alert:
    """Return a step of an alert; its id is made of its key, if not given."""
    made: dict[str, Any] = {
        "alert_id": f"id-{key}",
        "key": key,
        "status": status,
        "kind": "covariate_drift",
        "subject": key.rpartition("/")[2],
        "slice": None,
        "severity": "warning",
        "statistic": 9.6,
        "threshold": 5.0,
        "expected": 53.6,
        "observed": 80.2,
        "samples": 41200,
        "first_seen_ms": 1_700_000_000_000,
        "detected_at_ms": 1_700_000_060_000,
        "summary": "The mean rose from 53.6 to 80.2; look at what sends it.",
    }
    return Alert(**{**made, **more})  # type: ignore[typeddict-item]
