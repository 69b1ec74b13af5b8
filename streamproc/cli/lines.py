"""Messages as lines for people, as wide as the terminal; what is data cannot steer it."""

from __future__ import annotations

import base64
import textwrap
from datetime import UTC, datetime
from typing import Any

from streamproc.cli.common import printable, width
from streamproc.tasks.records import Record

_UNITS_MS = {"d": 86_400_000, "h": 3_600_000, "min": 60_000, "s": 1_000}
_LETTER_HEADERS = (
    "reason",
    "error",
    "source_topic",
    "source_partition",
    "source_offset",
    "stage",
)


def prediction_line(prediction: dict[str, Any]) -> str:
    """Return a prediction as one line: when, whom, what was said, and the first features.

    >>> prediction_line({"id": "7", "key": "c1", "event_time_ms": 0, "score": 0.25,
    ...                  "decision": False, "model": "main@3", "features": {"amount": 12.5}})
    '1970-01-01 00:00:00  7  c1  0.2500 no  main@3  amount=12.5'
    """
    features = " ".join(f"{name}={_short(it)}" for name, it in prediction["features"].items())
    return _cut(f"{_said(prediction)}  {prediction['model']}  {features}")


def outcome_line(outcome: dict[str, Any]) -> str:
    """Return an outcome as one line: what was said, and what came true.

    >>> outcome_line({"id": "7", "key": "c1", "event_time_ms": 0, "score": 0.25,
    ...               "decision": False, "model": "main@3", "label": 1, "label_time_ms": 1000})
    '1970-01-01 00:00:00  7  c1  0.2500 no  label 1 after 1.0 s  main@3'
    """
    after = _span(outcome["label_time_ms"] - outcome["event_time_ms"])
    label = f"label {_short(outcome['label'])} after {after}"
    return _cut(f"{_said(outcome)}  {label}  {outcome['model']}")


def alert_line(alert: dict[str, Any]) -> str:
    """Return an alert as its sentence, after when it began and what has become of it.

    >>> print(alert_line({"status": "open", "severity": "warning", "first_seen_ms": 0,
    ...                   "kind": "covariate_drift", "summary": "The mean of amount is higher."}))
    1970-01-01 00:00  open  warning  covariate_drift
        The mean of amount is higher.
    """
    moment = _moment(alert["first_seen_ms"])[:16]
    first = f"{moment}  {alert['status']}  {alert['severity']}  {alert['kind']}"
    sentence = textwrap.wrap(printable(alert["summary"]), width() - 5)
    return "\n".join([_cut(first), *(f"    {line}" for line in sentence)])


def late_line(late: dict[str, Any]) -> str:
    """Return a late event as one line: when it was, whom, by how much too late, and where it is.

    >>> late_line({"id": "7", "key": "c1", "event_time_ms": 0, "late_by_ms": 90_000,
    ...            "source_topic": "t", "source_partition": 0, "source_offset": 12, "scored": True})
    '1970-01-01 00:00:00  7  c1  1.5 min too late, scored  t/0 at 12'
    """
    what = "scored" if late["scored"] else "not scored"
    place = f"{late['source_topic']}/{late['source_partition']} at {late['source_offset']}"
    who = f"{_moment(late['event_time_ms'])}  {late['id']}  {late['key']}"
    return _cut(f"{who}  {_span(late['late_by_ms'])} too late, {what}  {place}")


def letter_fields(record: Record) -> dict[str, Any]:
    """Return a dead letter as a map: why, where from, and its value.

    The value is text; bytes that are no UTF-8 are in ``value_base64`` instead.
    """
    headers = {name: value.decode("utf-8", "replace") for name, value in record.headers() or ()}
    letter: dict[str, Any] = {name: headers.get(name) for name in _LETTER_HEADERS}
    for name in ("source_partition", "source_offset"):
        letter[name] = int(letter[name] or -1)
    key, value = record.key(), record.value()
    letter["key"] = None if key is None else key.decode("utf-8", "replace")
    letter["size_bytes"] = len(value or b"")
    try:
        letter["value"] = None if value is None else value.decode()
    except UnicodeDecodeError:
        letter["value_base64"] = base64.b64encode(value or b"").decode()
    return letter


def letter_line(letter: dict[str, Any]) -> str:
    """Return a dead letter as one line: why, where it came from, and how its value begins.

    >>> letter_line({"reason": "not_json", "source_topic": "t", "source_partition": 0,
    ...              "source_offset": 12, "value": "{oops"})
    'not_json  t/0 at 12  {oops'
    """
    place = f"{letter['source_topic']}/{letter['source_partition']} at {letter['source_offset']}"
    value = letter.get("value")
    if "value_base64" in letter:
        value = repr(base64.b64decode(letter["value_base64"][:160]))
    return _cut(f"{letter['reason']}  {place}  {'no value' if value is None else value[:200]}")


def _said(message: dict[str, Any]) -> str:
    """Return when, whom, the score and the decision."""
    score, decision = message["score"], message["decision"]
    if isinstance(score, dict):  # of the class that was decided for
        score = score.get(str(decision), 0.0)
    told = {True: " yes", False: " no", None: ""}.get(decision, f" {decision}")
    moment = _moment(message["event_time_ms"])
    return f"{moment}  {message['id']}  {message['key']}  {score:.4f}{told}"


def _moment(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def _span(span_ms: int) -> str:
    fitting = (unit for unit, unit_ms in _UNITS_MS.items() if abs(span_ms) >= unit_ms)
    unit = next(fitting, "s")
    return f"{span_ms / _UNITS_MS[unit]:.1f} {unit}"


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "null" if value is None else str(value)


def _cut(text: str) -> str:
    """Return a text as one line that fits."""
    line, most = printable(text), width()
    return line if len(line) <= most else line[: most - 1] + "…"
