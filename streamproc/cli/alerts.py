"""`streamproc alerts`: what is wrong now, how it came, and what people say of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import orjson
import typer

from agents.evidence import explanation_of
from streamproc.alerts.commands import Command, Match
from streamproc.cli.alert_asking import log_of, match_of, meant, moment_ms, now_ms, open_alert, send
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
from streamproc.errors import DefinitionError
from streamproc.eventtime import parse_duration_ms
from streamproc.explaining import explained
from streamproc.messages import Alert, ModelVersion
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
    newest = newest_of((AlertFile(of) if of else log_of(pipeline)).steps())
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
    log = log_of(pipeline)
    send(log, "acknowledge", by, as_json, alert_id=open_alert(log, alert_id), comment=comment)


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
    log = log_of(pipeline)
    send(log, "accept_as_normal", by, as_json, alert_id=open_alert(log, alert_id), comment=comment)


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
    for_ms = parse_duration_ms(for_, "--for")
    log, target = meant(alert_id, pipeline, match_of(kind, subject, slices))
    send(log, "silence", by, as_json, **target, until_ms=now_ms() + for_ms, comment=comment)


@alerts.command()
def unsilence(
    alert_id: MaybeId = None,
    pipeline: PipelineFile = None,
    kind: Kind = None,
    subject: Subject = None,
    slices: Slices = None,
    planned: Annotated[
        bool, typer.Option("--maintenance", help="Maintenance alone; all where none is named.")
    ] = False,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """End a silence, or maintenance, about the same.

    What is open is told once more.
    """
    log, target = meant(alert_id, pipeline, match_of(kind, subject, slices), all_=planned)
    send(log, "unsilence", by, as_json, **target, maintenance=planned)


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
    log, target = meant(alert_id, pipeline, match_of(kind, subject, slices), resolved=True)
    send(log, "relearn", by, as_json, **target)


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
    from_ms = now_ms() if from_ is None else moment_ms("--from", from_)
    match = match_of(kind, subject, slices)
    until_ms = moment_ms("--to", to)
    what: dict[str, Any] = {"from_ms": from_ms, "until_ms": until_ms, "comment": comment}
    send(log_of(pipeline), "maintenance", by, as_json, match=match, **what)


def _concerns(command: Command, alert: dict[str, Any]) -> bool:
    """Whether a command is about an alert, by its id or by what it matches."""
    if command.alert_id is not None:
        return bool(command.alert_id == alert["alert_id"])
    match = command.match or Match()
    members = alert.get("members") or [alert]
    return any(match.fits_these(it["kind"], it["subject"], it["slice"]) for it in members)
