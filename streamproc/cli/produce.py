"""`streamproc produce`: a file's rows as events, and its labels when they are due."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, NoReturn

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from streamproc.errors import BadRecord, DefinitionError, StreamprocError
from streamproc.eventtime import parse_duration_ms, parse_time_ms
from streamproc.files import RowFile
from streamproc.kafka import topics
from streamproc.kafka.producing import Pace, Produced
from streamproc.kafka.producing import produce as send
from streamproc.pipeline import Pipeline
from streamproc.settings import Settings
from streamproc.timeline import Entry, Kind, LabelColumns, timeline

_FAILED, _USAGE, _INTERRUPTED = 1, 2, 130


def produce(
    file: Annotated[
        Path,
        typer.Argument(help="CSV, .jsonl or .parquet; plain, .gz or .zst.", show_default=False),
    ],
    pipeline: Annotated[
        Path | None,
        typer.Option(
            "--pipeline", "-p", help="Pipeline file; else STREAMPROC_PIPELINE.", show_default=False
        ),
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Events a second; else full speed.", show_default=False)
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option(help="Seconds of event time a second: 1 is real time.", show_default=False),
    ] = None,
    label_delay: Annotated[
        str, typer.Option(help="Event time from an event to its label: 90s, 7d.")
    ] = "0s",
    start: Annotated[
        str | None,
        typer.Option(help="Time of the first row, with --every.", show_default=False),
    ] = None,
    every: Annotated[
        str | None, typer.Option(help="Time from row to row: 30m.", show_default=False)
    ] = None,
    number_rows: Annotated[
        bool, typer.Option("--number-rows", help="Take the row's number as the id.")
    ] = False,
    leave_out: Annotated[
        list[str] | None,
        typer.Option(help="A column not to send; may be repeated.", show_default=False),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Rows to read; else all.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Send a file's rows to the pipeline's topics, and its labels when they are due."""
    try:
        settings = Settings.load()
        chosen = Pipeline.load(_pipeline_path(pipeline, settings))
        pace = Pace(events_per_s=rate, speed=speed)
        rows = RowFile(file)
        entries = timeline(
            islice(rows, limit),
            id=chosen.events.id,
            key=chosen.events.key,
            time=chosen.events.time,
            labels=_label_columns(chosen),
            label_delay_ms=parse_duration_ms(label_delay, "--label-delay"),
            start_ms=_start_ms(start),
            every_ms=None if every is None else parse_duration_ms(every, "--every"),
            number_rows=number_rows,
            leave_out=leave_out or (),
        )
    except StreamprocError as error:
        _fail(error, _USAGE)
    try:
        produced = _send(entries, rows, settings.kafka_config(), chosen, pace, limit)
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None
    except StreamprocError as error:
        _fail(error, _USAGE if isinstance(error, DefinitionError) else _FAILED)
    _tell(produced, chosen, as_json)
    if produced.interrupted:
        raise typer.Exit(_INTERRUPTED)


def _send(
    entries: Iterator[Entry],
    rows: RowFile,
    config: dict[str, Any],
    pipeline: Pipeline,
    pace: Pace,
    limit: int | None,
) -> Produced:
    topics.create(config, pipeline)
    names: dict[Kind, str] = {"event": pipeline.topics.events}
    if pipeline.topics.labels is not None:
        names["label"] = pipeline.topics.labels
    console = Console(stderr=True)
    bar = Progress(
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TextColumn("{task.fields[events]:,} events, {task.fields[labels]:,} labels"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task("", total=1.0, events=0, labels=0)

        def show(so_far: Produced) -> None:
            events, labels = so_far.sent["event"], so_far.sent["label"]
            share = max(rows.done(), events / limit if limit else 0.0)
            bar.update(task, completed=share, events=events, labels=labels)

        on_progress = show if console.is_terminal else None
        return send(entries, config, names, pace=pace, on_progress=on_progress)


def _tell(produced: Produced, pipeline: Pipeline, as_json: bool) -> None:
    events, labels = produced.sent["event"], produced.sent["label"]
    if as_json:
        summary = {
            "events": events,
            "labels": labels,
            "unsent": produced.unsent,
            "interrupted": produced.interrupted,
            "seconds": round(produced.seconds, 3),
        }
        sys.stdout.write(orjson.dumps(summary).decode() + "\n")
        return
    typer.echo(
        f"{events:,} events and {labels:,} labels in {produced.seconds:.1f} s "
        f"({events / max(produced.seconds, 1e-9):,.0f} events/s)"
    )
    if produced.interrupted:
        lost = f"{produced.unsent:,} records" if produced.unsent else "none"
        typer.echo(f"stopped before the end of the file; did not arrive: {lost}", err=True)
    elif pipeline.labels is not None and events and not labels:
        typer.echo(f"no label was sent: no row has {pipeline.labels.value!r}", err=True)


def _pipeline_path(given: Path | None, settings: Settings) -> Path:
    path = given or settings.pipeline
    if path is None:
        raise DefinitionError("which pipeline? name its file by --pipeline, or STREAMPROC_PIPELINE")
    return path


def _label_columns(pipeline: Pipeline) -> LabelColumns | None:
    labels = pipeline.labels
    return None if labels is None else LabelColumns(labels.id, labels.value, labels.time)


def _start_ms(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_time_ms(f"{text}T00:00:00Z" if len(text) == len("1996-05-07") else text)
    except BadRecord:
        raise DefinitionError(
            f"--start: {text!r} is no time; write e.g. 1996-05-07 or 1996-05-07T06:30:00Z"
        ) from None


def _fail(error: Exception, code: int) -> NoReturn:
    typer.echo(f"streamproc: {error}", err=True)
    raise typer.Exit(code)
