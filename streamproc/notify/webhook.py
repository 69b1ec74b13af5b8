"""Alerts as a message that Slack takes, and what takes the same (Mattermost, Rocket.Chat, Discord).

Each is signed, so that a receiver can tell who sent it and when, and has a key by which it knows a
message that came twice.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from streamproc.messages import Alert
from streamproc.notify.outbox import OVER, News
from streamproc.notify.sink import Request, figures, members_text, one_line, slice_text

PAUSE_S = 1.0
"""Slack takes one message a second for each webhook."""

COLOURS = {"resolved": "#2eb886", "critical": "#d50200", "warning": "#daa038", "": "#9e9e9e"}
"""By status or severity; grey for what people did."""

_TITLES = {
    "reopened": "Opened again",
    "graver": "Graver",
    "worse": "Worse",
    "wider": "Wider",
    "narrower": "Narrower",
    "flapping": "Comes and goes",
    "unsilenced": "Open, no more silenced",
}
"""By why a step is told of an alert that is known."""

TIMESTAMP, SIGNATURE = "X-Streamproc-Timestamp", "X-Streamproc-Signature"


@dataclass(frozen=True)
class Webhook:
    """The sink of a pipeline's alerts at a webhook; without a ``secret`` they are not signed."""

    pipeline: str
    secret: str | None = field(default=None, repr=False)
    name: str = "webhook"
    path: str = ""
    most: int = 1
    pause_s: float = PAUSE_S
    repeat_s: float | None = None

    def request(self, news: Sequence[News], now_ms: int) -> Request:
        """Return the one message."""
        (one,) = news
        alert = one.alert
        before = one.before
        known = before is not None and before["status"] not in OVER
        body = orjson.dumps(message(alert, self.pipeline, known))
        step = alert.get("step", f"{alert['status']}-{alert['detected_at_ms']}")
        key = f"{alert['alert_id']}-{step}"
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        if self.secret is not None:
            timestamp = str(now_ms // 1000)
            headers[TIMESTAMP] = timestamp
            headers[SIGNATURE] = sign(self.secret, timestamp, body)
        return Request(body, headers)


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """Return ``v1=`` and the HMAC-SHA256, in hex, of ``v1:<timestamp>:<body>``.

    ``timestamp`` is in seconds since the epoch. The form is Slack's own for requests that it sends.

    >>> sign("open sesame", "0", b"{}")[:16]
    'v1=aa98c08828a5b'
    """
    signed = b":".join((b"v1", timestamp.encode(), body))
    return f"v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


def message(alert: Alert, pipeline: str, known: bool) -> dict[str, Any]:
    """Return the message of a step; ``known`` where a step of the alert was told before.

    >>> alert = {"alert_id": "a1", "status": "open", "kind": "covariate_drift", "subject": "amount",
    ...          "slice": None, "severity": "warning", "expected": 53.6, "observed": 80.2,
    ...          "samples": 41200, "first_seen_ms": 0, "summary": "The mean of <amount> rose."}
    >>> told = message(alert, "payments", known=False)
    >>> told["text"]
    'payments, warning: The mean of &lt;amount&gt; rose.'
    >>> told["attachments"][0]["title"], told["attachments"][0]["color"]
    ('Opened: covariate_drift of amount', '#daa038')
    """
    status, part = alert["status"], slice_text(alert)
    about = f"{alert['kind']} of {one_line(alert['subject'])}" + (f" in {part}" if part else "")
    summary = one_line(alert["summary"])
    said: str = {"open": alert["severity"], "update": alert["severity"]}.get(status, status)
    if known and status == "update" and alert.get("reason") == "acknowledged":
        said = f"acknowledged by {one_line(alert.get('acknowledged_by'))}"
    fields = {"severity": alert["severity"], "slice": part or "all", **figures(alert)}
    for name in ("acknowledged_by", "comment"):
        if alert.get(name):
            fields[name.replace("_", " ")] = one_line(alert.get(name))
    text = _escaped(f"{pipeline}, {said}: {summary}")
    return {
        "text": text,
        "attachments": [
            {
                "color": COLOURS.get(said, COLOURS[""]),
                "fallback": text,
                "title": _escaped(f"{_title(alert, known)}: {about}"),
                "text": _escaped("\n".join(f"• {line}" for line in members_text(alert))),
                "fields": [
                    {"title": name, "value": _escaped(value), "short": True}
                    for name, value in fields.items()
                ],
                "footer": _escaped(f"{pipeline}, alert {alert['alert_id']}, since"),
                "ts": alert["first_seen_ms"] // 1000,
            }
        ],
    }


def _title(alert: Alert, known: bool) -> str:
    status, reason = alert["status"], alert.get("reason")
    if status == "resolved":
        return "Resolved" if known else "Opened and resolved"
    if status not in ("open", "update"):
        return status.capitalize()
    if reason == "acknowledged" and known:
        return "Acknowledged"
    if known or reason == "reopened":
        return _TITLES.get(reason or "", "Changed")
    return "Opened"


def _escaped(text: str) -> str:
    """Return a text in which nothing is a mention or a link: a slice may hold what anybody sent."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
