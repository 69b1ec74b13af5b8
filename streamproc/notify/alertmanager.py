"""Alerts as Alertmanager's API takes them, version 2: ``POST /api/v2/alerts``.

Alertmanager keeps nothing on disk and takes an alert of which it hears nothing for its
``resolve_timeout`` (5 minutes, if not set) as resolved. So what is open is told every minute, who
has taken it up being an annotation. What is silenced ends, or it would be told again and again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from streamproc.messages import Alert
from streamproc.notify.outbox import OVER, News
from streamproc.notify.sink import Request, figures, members_text, one_line

REPEAT_S = 60.0
"""Prometheus' own period."""


@dataclass(frozen=True)
class Alertmanager:
    """The sink of a pipeline's alerts at an Alertmanager."""

    pipeline: str
    name: str = "alertmanager"
    path: str = "/api/v2/alerts"
    most: int = 64
    pause_s: float = 0.0
    repeat_s: float | None = REPEAT_S

    def request(self, news: Sequence[News], now_ms: int) -> Request:
        """Return alerts as JSON; one whose labels have changed ends under those it had before."""
        posted: list[dict[str, Any]] = []
        for each in news:
            told = posted_alert(each.alert, self.pipeline)
            if each.before is not None:
                before = posted_alert(each.before, self.pipeline)
                if before["labels"] != told["labels"]:
                    posted.append({**before, "endsAt": _ends(each.alert)})
            posted.append(told)
        return Request(orjson.dumps(posted), {"Content-Type": "application/json"})


def posted_alert(alert: Alert, pipeline: str) -> dict[str, Any]:
    """Return one alert as the API takes it.

    What is the same from the opening of an alert to its end is in the labels, which are how
    Alertmanager knows it. Its beginning is in event time, and never after the step was decided.

    >>> alert = {"alert_id": "a1", "key": "k", "status": "resolved", "kind": "covariate_drift",
    ...          "subject": "amount", "slice": {"country": "NL"}, "severity": "warning",
    ...          "statistic": 9.6, "threshold": 5.0, "expected": None, "observed": None,
    ...          "samples": 40, "first_seen_ms": 0, "detected_at_ms": 60_000, "summary": "Higher."}
    >>> posted = posted_alert(alert, "payments")
    >>> posted["labels"]["alertname"], posted["labels"]["slice_country"]
    ('StreamprocCovariateDrift', 'NL')
    >>> posted["startsAt"], posted["endsAt"]
    ('1970-01-01T00:00:00.000Z', '1970-01-01T00:01:00.000Z')
    """
    posted: dict[str, Any] = {
        "labels": labels(alert, pipeline),
        "annotations": {
            "summary": one_line(alert["summary"]),
            **figures(alert),
            "statistic": f"{alert['statistic']:.6g}",
            "threshold": f"{alert['threshold']:.6g}",
            "alert_id": alert["alert_id"],
            "status": "silenced" if alert.get("silenced") else alert["status"],
            **_more(alert),
        },
        "startsAt": _time(min(alert["first_seen_ms"], alert["detected_at_ms"])),
    }
    if alert["status"] in OVER or alert.get("silenced"):
        posted["endsAt"] = _ends(alert)
    return posted


def labels(alert: Alert, pipeline: str) -> dict[str, str]:
    """Return the labels of an alert; fields of its slice come behind ``slice_``.

    >>> labels({"kind": "data_quality", "subject": "mcc", "severity": "critical",
    ...         "slice": {"card-type": "debit"}}, "payments")["slice_card_type"]
    'debit'
    """
    named = {
        "alertname": alert_name(alert["kind"]),
        "pipeline": pipeline,
        "kind": alert["kind"],
        "subject": one_line(alert["subject"]),
        "severity": alert["severity"],
    }
    for field, value in sorted((alert["slice"] or {}).items()):
        name = f"slice_{re.sub(r'[^a-zA-Z0-9_]', '_', field)}"
        while name in named:  # of two fields that differ in what a label can't hold
            name += "_"
        named[name] = one_line(value)
    return named


def alert_name(kind: str) -> str:
    """Return a kind in the form of the names of alerts.

    >>> alert_name("prediction_bias")
    'StreamprocPredictionBias'
    """
    return "Streamproc" + "".join(word.capitalize() for word in kind.split("_"))


def _more(alert: Alert) -> dict[str, str]:
    """Return what else there is to say: why it is told, what belongs to it, who has it in hand."""
    told = {
        "reason": alert.get("reason"),
        "members": "; ".join(members_text(alert)),
        "acknowledged_by": alert.get("acknowledged_by"),
        "comment": alert.get("comment"),
    }
    return {name: one_line(text) for name, text in told.items() if text}


def _ends(alert: Alert) -> str:
    return _time(alert["detected_at_ms"])


def _time(time_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
