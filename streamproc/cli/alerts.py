"""`streamproc alerts`: what is wrong now, how it came, and what people say of it."""

from __future__ import annotations

import getpass
import re
import time
from pathlib import Path
from typing import Annotated, Any, cast

import orjson
import typer

from agents.evidence import explanation_of
from streamproc.alerts.commands import Command, Match, Verb, read_command
from streamproc.cli.alert_file import AlertFile, find, newest_of
from streamproc.cli.alert_lines import life_lines, summary_lines
from streamproc.cli.alert_log import AlertLog
from streamproc.cli.common import (
    AsJson,
    PipelineFile,
    load_pipeline,
    load_settings,
    print_json,
)
from streamproc.cli.evidence import drawn
from streamproc.cli.evidence_svg import svg as picture
from streamproc.errors import BadRecord, DefinitionError, StreamprocError
from streamproc.eventtime import parse_duration_ms, parse_time_ms
from streamproc.explaining import explained
from streamproc.messages import Alert, ModelVersion
from streamproc.monitors.finding import when
from streamproc.pipeline import Pipeline

alerts = typer.Typer(rich_markup_mode=None)

AlertId = Annotated[str, typer.Argument(metavar="ID", help="The alert's id.", show_default=False)]
MaybeId = Annotated[
    str | None, typer.Argument(metavar="ID", help="The alert's id.", show_default=False)
]
Kind = Annotated[str | None, typer.Option(help="Which kind; * stands for anything.")]
Subject = Annotated[str | None, typer.Option(help="Which feature, score or metric.")]
Slices = Annotated[
    list[str] | None, typer.Option("--slice", metavar="FIELD=VALUE", help="Which slice.")
]
OfFile = Annotated[
    Path | None,
    typer.Option("--of", help="Of a backtest, which wrote --alerts there.", show_default=False),
]
Comment = Annotated[str, typer.Option(help="What others should know.", show_default=False)]
By = Annotated[str | None, typer.Option(help="Who you are; else your user's name.")]

_ID = re.compile(r"[0-9a-f]{16}")


@alerts.callback(invoke_without_command=True)
def _alone(context: typer.Context, of: OfFile = None) -> None:
    """List the open alerts where nothing else is asked."""
    if context.invoked_subcommand is None:
        list_(of=of)
    elif of is not None:
        name = context.invoked_subcommand
        raise DefinitionError(f"give --of behind the command: `streamproc alerts {name} --of {of}`")


@alerts.command("list")
def list_(
    pipeline: PipelineFile = None,
    all_: Annotated[bool, typer.Option("--all", help="Also what is resolved.")] = False,
    of: OfFile = None,
    as_json: AsJson = False,
) -> None:
    """List the open alerts."""
    newest = newest_of((AlertFile(of) if of else _log(pipeline)).steps())
    found = [it for it in newest if all_ or it["status"] != "resolved"]
    if as_json:
        print_json(found)
        return
    for alert in found:
        print("\n".join(summary_lines(alert)))
    if not found:
        print("no alert" if all_ else "no alert is open")


@alerts.command()
def show(
    alert_id: AlertId,
    pipeline: PipelineFile = None,
    svg: Annotated[
        Path | None, typer.Option("--svg", help="Write a picture there.", show_default=False)
    ] = None,
    of: OfFile = None,
    as_json: AsJson = False,
) -> None:
    """Show an alert: its life, and what it is made of.

    With --of the pipeline's file is needed for the latter, and for a picture.
    """
    settings = load_settings()
    named = pipeline is not None or settings.pipeline is not None
    chosen = load_pipeline(pipeline, settings) if named or of is None else None
    log = AlertLog(cast(Pipeline, chosen), settings) if of is None else AlertFile(of)
    told = log.steps()
    of_each = newest_of(told)
    newest = find(of_each, alert_id, log.name, log.listed)
    if chosen is not None and newest.get("pipeline") not in (None, chosen.name):
        whose = f"these alerts are of pipeline {newest['pipeline']}, not {chosen.name}"
        raise DefinitionError(f"{whose}; name the file of {newest['pipeline']}")
    if chosen is None and svg is not None:
        raise DefinitionError("a picture needs the pipeline's file; name it behind the ID")
    steps = [step for step in told if step["alert_id"] == alert_id]
    asked = [command for command in log.commands() if _concerns(command, newest)]
    if as_json:
        print_json(
            {
                "alert": newest,
                "steps": steps,
                "commands": [orjson.loads(it.value()) for it in asked],
            }
        )
    else:
        print("\n".join(life_lines(steps, asked)))
    if as_json and svg is None:
        return
    if chosen is None:
        print("\nfor what it is made of, name the pipeline's file behind the ID")
        return
    alert, others = cast(Alert, newest), cast(list[Alert], of_each)
    if isinstance(log, AlertFile):
        versions = cast(list[ModelVersion], log.versions())
        found = explained(chosen, log.sums(), alert, others, versions)
    else:
        found = explanation_of(chosen, settings, alert, others)
    if not as_json:
        print("\n".join(("", *drawn(found))))
    if svg is not None:
        svg.write_text(picture(found), encoding="utf-8")


@alerts.command()
def acknowledge(
    alert_id: AlertId,
    pipeline: PipelineFile = None,
    comment: Comment = "",
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Say that you are at it: it is repeated no more.

    Others see who, when and why.
    """
    log = _log(pipeline)
    _send(log, "acknowledge", by, as_json, alert_id=_open(log, alert_id), comment=comment)


@alerts.command("accept-as-normal")
def accept_as_normal(
    alert_id: AlertId,
    pipeline: PipelineFile = None,
    comment: Comment = "",
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Resolve an alert: as it is now is usual from now on.

    What it was about is learnt anew.
    """
    log = _log(pipeline)
    _send(log, "accept_as_normal", by, as_json, alert_id=_open(log, alert_id), comment=comment)


@alerts.command()
def silence(
    alert_id: MaybeId = None,
    pipeline: PipelineFile = None,
    kind: Kind = None,
    subject: Subject = None,
    slices: Slices = None,
    for_: Annotated[str, typer.Option("--for", help="How long, such as 2h.")] = "2h",
    comment: Comment = "",
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Have alerts not delivered for a while.

    One by its ID, or all that are about a kind, a subject or a slice. They stay listed; what is
    open when it ends is told once more.
    """
    until_ms = _now_ms() + parse_duration_ms(for_, "--for")
    log, target = _target(alert_id, pipeline, _match(kind, subject, slices))
    _send(log, "silence", by, as_json, **target, until_ms=until_ms, comment=comment)


@alerts.command()
def unsilence(
    alert_id: MaybeId = None,
    pipeline: PipelineFile = None,
    kind: Kind = None,
    subject: Subject = None,
    slices: Slices = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """End a silence, or maintenance, about the same.

    What is open is told once more.
    """
    log, target = _target(alert_id, pipeline, _match(kind, subject, slices))
    _send(log, "unsilence", by, as_json, **target)


@alerts.command()
def relearn(
    alert_id: MaybeId = None,
    pipeline: PipelineFile = None,
    kind: Kind = None,
    subject: Subject = None,
    slices: Slices = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Learn anew what is usual, once an alert is resolved.

    Without this, what was usual before it stays so.
    """
    log, target = _target(alert_id, pipeline, _match(kind, subject, slices), resolved=True)
    _send(log, "relearn", by, as_json, **target)


@alerts.command()
def maintenance(
    pipeline: PipelineFile = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="When it begins; else now.")
    ] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="TIME", help="When it ends.")] = None,
    kind: Kind = None,
    subject: Subject = None,
    slices: Slices = None,
    comment: Comment = "",
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Declare ahead when nothing is to be delivered.

    The times are of events. With a kind, subject or slice it is about that alone.
    """
    if to is None:
        raise DefinitionError("when does it end? give --to, such as 2026-03-01T04:00:00Z")
    from_ms = _now_ms() if from_ is None else _time_ms("--from", from_)
    match = _match(kind, subject, slices)
    until_ms = _time_ms("--to", to)
    what: dict[str, Any] = {"from_ms": from_ms, "until_ms": until_ms, "comment": comment}
    _send(_log(pipeline), "maintenance", by, as_json, match=match, **what)


def _log(pipeline: Path | None) -> AlertLog:
    settings = load_settings()
    return AlertLog(load_pipeline(pipeline, settings), settings)


def _target(
    alert_id: str | None, pipeline: Path | None, match: Match | None, resolved: bool = False
) -> tuple[AlertLog, dict[str, Any]]:
    """Return the log, and the id or the match that a command is about.

    Without an id the first argument is the pipeline's file.
    """
    if alert_id is not None and pipeline is None and not _ID.fullmatch(alert_id):
        pipeline, alert_id = Path(alert_id), None
        if match is None and pipeline.suffix != ".py":
            raise DefinitionError(
                f"{str(pipeline)!r:.60} is no alert's ID, which has 16 of 0-9 and a-f; `streamproc "
                "alerts list` tells them. Or give some of --kind, --subject and --slice"
            )
    if (alert_id is None) == (match is None):
        raise DefinitionError(
            "what about? give an alert's ID, or some of --kind, --subject and --slice"
        )
    log = _log(pipeline)
    if alert_id is not None:
        log.find(alert_id) if resolved else _open(log, alert_id)
    return log, {"alert_id": alert_id, "match": match}


def _open(log: AlertLog, alert_id: str) -> str:
    """Return the id of an open alert; raises :class:`StreamprocError` where it is none."""
    found = log.find(alert_id)
    if found["status"] == "resolved":
        raise StreamprocError(
            f"alert {alert_id} is resolved already, since {when(found['detected_at_ms'])}; "
            "`streamproc alerts list` has those that are open"
        )
    return alert_id


def _match(kind: str | None, subject: str | None, slices: list[str] | None) -> Match | None:
    if kind is None and subject is None and not slices:
        return None
    parts: dict[str, str] = {}
    for each in slices or ():
        name, equals, value = each.partition("=")
        if not (name and equals):
            raise DefinitionError(f"--slice {each!r}: write FIELD=VALUE, such as country=FR")
        parts[name] = value
    return Match(kind, subject, slice=dict(sorted(parts.items())) or None)


def _time_ms(option: str, text: str) -> int:
    try:
        return parse_time_ms(text)
    except BadRecord:
        raise DefinitionError(
            f"{option} {text!r} is no time; write such as 2026-03-01T04:00:00Z"
        ) from None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _send(log: AlertLog, verb: Verb, by: str | None, as_json: bool, **what: Any) -> None:
    """Check a command as a worker will, and write it."""
    made = Command(verb, by or _user(), _now_ms(), **what)
    try:
        read_command(made.value())
    except BadRecord as bad:
        raise DefinitionError(bad.detail) from None
    log.send(made)
    if as_json:
        print_json(orjson.loads(made.value()))
    else:
        until = f" until {when(made.until_ms)}" if made.until_ms is not None else ""
        about = made.alert_id or "what matches"
        print(f"asked: {verb} of {about}{until}; the worker that judges does it in a moment")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise DefinitionError("who are you? give --by NAME") from None


def _concerns(command: Command, alert: dict[str, Any]) -> bool:
    """Whether a command is about an alert, by its id or by what it matches."""
    if command.alert_id is not None:
        return bool(command.alert_id == alert["alert_id"])
    match = command.match or Match()
    members = alert.get("members") or [alert]
    return any(match.fits_these(it["kind"], it["subject"], it["slice"]) for it in members)
