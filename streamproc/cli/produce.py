"""`streamproc produce`: a file's rows as events, and its labels when they are due."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from streamproc.cli.common import AsJson, load_pipeline, load_settings, print_json, usage
from streamproc.cli.rows import (
    Bar,
    Every,
    File,
    LabelDelay,
    LeaveOut,
    Limit,
    NumberRows,
    Start,
    entries,
    progress_bar,
)
from streamproc.files import RowFile
from streamproc.kafka import topics
from streamproc.kafka.producing import Pace, Produced
from streamproc.kafka.producing import produce as send
from streamproc.pipeline import Pipeline
from streamproc.timeline import Entry, Kind

_INTERRUPTED = 130


def produce(
    file: File,
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
    label_delay: LabelDelay = "0s",
    start: Start = None,
    every: Every = None,
    number_rows: NumberRows = False,
    leave_out: LeaveOut = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """Send a file's rows to the pipeline's topics, and its labels when they are due."""
    settings = load_settings()
    chosen = load_pipeline(pipeline, settings)
    with usage():
        pace = Pace(events_per_s=rate, speed=speed)
        rows = RowFile(file)
        to_come = entries(
            rows,
            chosen,
            label_delay=label_delay,
            start=start,
            every=every,
            number_rows=number_rows,
            leave_out=leave_out,
            limit=limit,
        )
    bar = progress_bar(rows, limit)
    produced = _send(to_come, bar, settings.kafka_config(), chosen, pace)
    _tell(produced, chosen, as_json)
    if produced.interrupted:
        raise typer.Exit(_INTERRUPTED)


def _send(
    to_come: Iterator[Entry],
    bar: Bar,
    config: dict[str, Any],
    pipeline: Pipeline,
    pace: Pace,
) -> Produced:
    topics.create(config, pipeline)
    names: dict[Kind, str] = {"event": pipeline.topics.events}
    if pipeline.topics.labels is not None:
        names["label"] = pipeline.topics.labels

    def show(so_far: Produced) -> None:
        events, labels = so_far.sent["event"], so_far.sent["label"]
        bar.update(events, f"{events:,} events, {labels:,} labels")

    with bar.running():
        return send(to_come, config, names, pace=pace, on_progress=show if bar.shows else None)


def _tell(produced: Produced, pipeline: Pipeline, as_json: bool) -> None:
    events, labels = produced.sent["event"], produced.sent["label"]
    if as_json:
        print_json(
            {
                "events": events,
                "labels": labels,
                "unsent": produced.unsent,
                "interrupted": produced.interrupted,
                "seconds": round(produced.seconds, 3),
            }
        )
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
