"""What people ask of alerts: what it is about, checked as a worker will, and written."""

from __future__ import annotations

import getpass
import re
import time
from pathlib import Path
from typing import Any

import orjson

from streamproc.alerts.commands import Command, Match, Verb, read_command
from streamproc.cli.alert_log import AlertLog
from streamproc.cli.common import load_pipeline, load_settings, print_json
from streamproc.errors import BadRecord, DefinitionError, StreamprocError
from streamproc.eventtime import parse_time_ms
from streamproc.monitors.finding import when

_ID = re.compile(r"[0-9a-f]{16}")


def log_of(pipeline: Path | None) -> AlertLog:
    """Return the topics of the pipeline whose file was named, here or in the environment."""
    settings = load_settings()
    return AlertLog(load_pipeline(pipeline, settings), settings)


def meant(
    alert_id: str | None,
    pipeline: Path | None,
    match: Match | None,
    *,
    resolved: bool = False,
    all_: bool = False,
) -> tuple[AlertLog, dict[str, Any]]:
    """Return the log, and the id or the match that a command is about.

    Without an id the first argument is the pipeline's file. ``resolved`` alerts may be meant, or
    ``all_`` where nothing is named.
    """
    if alert_id is not None and pipeline is None and not _ID.fullmatch(alert_id):
        pipeline, alert_id = Path(alert_id), None
        if match is None and pipeline.suffix != ".py":
            raise DefinitionError(
                f"{str(pipeline)!r:.60} is no alert's ID, which has 16 of 0-9 and a-f; `streamproc "
                "alerts list` tells them. Or give some of --kind, --subject and --slice"
            )
    if (alert_id is None) == (match is None) and not (all_ and match is None):
        raise DefinitionError(
            "what about? give an alert's ID, or some of --kind, --subject and --slice"
        )
    log = log_of(pipeline)
    if alert_id is not None:
        log.find(alert_id) if resolved else open_alert(log, alert_id)
    return log, {"alert_id": alert_id, "match": match}


def open_alert(log: AlertLog, alert_id: str) -> str:
    """Return the id of an open alert; raises :class:`StreamprocError` where it is none."""
    found = log.find(alert_id)
    if found["status"] == "resolved":
        raise StreamprocError(
            f"alert {alert_id} is resolved already, since {when(found['detected_at_ms'])}; "
            "`streamproc alerts list` has those that are open"
        )
    return alert_id


def match_of(kind: str | None, subject: str | None, slices: list[str] | None) -> Match | None:
    """Return what the options name; None where they name nothing."""
    if kind is None and subject is None and not slices:
        return None
    parts: dict[str, str] = {}
    for each in slices or ():
        name, equals, value = each.partition("=")
        if not (name and equals):
            raise DefinitionError(f"--slice {each!r}: write FIELD=VALUE, such as country=FR")
        parts[name] = value
    return Match(kind, subject, slice=dict(sorted(parts.items())) or None)


def moment_ms(option: str, text: str) -> int:
    """Return the time that an option gives, in milliseconds since the epoch."""
    try:
        return parse_time_ms(text)
    except BadRecord:
        raise DefinitionError(
            f"{option} {text!r} is no time; write such as 2026-03-01T04:00:00Z"
        ) from None


def now_ms() -> int:
    """Return what time it is here."""
    return time.time_ns() // 1_000_000


def send(log: AlertLog, verb: Verb, by: str | None, as_json: bool, **what: Any) -> None:
    """Check a command as a worker will, and write it."""
    made = Command(verb, by or _user(), now_ms(), **what)
    try:
        read_command(made.value())
    except BadRecord as bad:
        raise DefinitionError(bad.detail) from None
    log.send(made)
    if as_json:
        print_json(orjson.loads(made.value()))
    else:
        until = f" until {when(made.until_ms)}" if made.until_ms is not None else ""
        about = made.alert_id or ("all" if made.match is None else "what matches")
        if made.maintenance:
            about = f"maintenance of {about}"
        print(f"asked: {verb} of {about}{until}; the worker that judges does it in a moment")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise DefinitionError("who are you? give --by NAME") from None
