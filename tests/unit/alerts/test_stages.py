"""Predictions and outcomes are judged each by themselves: which is ahead changes no alert."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from streamproc.alerts import AlertBook
from tests.unit.alerts.findings import HOUR_MS, drift, found, over

BIAS = replace(found(4, "prediction_bias", "predictions", 3), stage="bias")
AMOUNT = replace(drift(6, "amount", 5), stage="drift")
FINDINGS = [
    BIAS, over(BIAS, 9), replace(BIAS, at_ms=12 * HOUR_MS), over(BIAS, 14),
    replace(BIAS, at_ms=60 * HOUR_MS, first_seen_ms=59 * HOUR_MS),
    AMOUNT, over(AMOUNT, 20),
]  # fmt: skip


def told(ahead_h: int) -> list[dict[str, Any]]:
    """Return the alerts where predictions are judged so many hours before outcomes."""
    book, alerts = AlertBook(), []
    for hour in range(-100, 200):
        passed_ms = {"drift": hour * HOUR_MS, "bias": (hour - ahead_h) * HOUR_MS}
        for stage, until_ms in passed_ms.items():
            new = [it for it in FINDINGS if it.stage == stage and it.at_ms == until_ms]
            alerts += book.apply(new, 0, {stage: until_ms})
    return sorted(
        (dict(it) for it in alerts), key=lambda it: (it["key"], it["first_seen_ms"], it["step"])
    )


@pytest.mark.parametrize("ahead_h", [-50, -1, 1, 30])
def test_which_stage_is_ahead_changes_no_alert(ahead_h: int) -> None:
    """The same ids, reasons, flaps and steps as where both are level."""
    assert told(ahead_h) == told(0)
    assert [it["reason"] for it in told(0)] == [
        *("found", "recovered"),
        *("found", "recovered", "reopened", "recovered"),
        "found",
    ]
