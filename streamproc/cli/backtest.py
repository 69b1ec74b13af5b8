"""`streamproc backtest`: a file through the path that production runs, and how good it was."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from streamproc.cli.alert_file import AlertFileWriter
from streamproc.cli.common import AsJson, load_pipeline, load_settings, print_json, usage
from streamproc.cli.course import Course
from streamproc.cli.report import Report, tell
from streamproc.cli.rows import (
    Bar,
    Every,
    File,
    LabelDelay,
    LeaveOut,
    Limit,
    LookupFiles,
    NumberRows,
    ReactionFiles,
    Start,
    entries,
    lookup_tables,
    progress_bar,
    reaction_entries,
)
from streamproc.errors import DefinitionError
from streamproc.files import RowFile
from streamproc.replay import Replay
from streamproc.results import PredictionsFile
from streamproc.tasks.records import Output
from streamproc.timeline import Entry, with_reactions

_SHOW_EVERY = 1_000


def backtest(
    pipeline: Annotated[Path, typer.Argument(help="Pipeline file.", show_default=False)],
    file: File,
    label_delay: LabelDelay = "0s",
    start: Start = None,
    every: Every = None,
    number_rows: NumberRows = False,
    leave_out: LeaveOut = None,
    limit: Limit = None,
    lookup: LookupFiles = None,
    reactions: ReactionFiles = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the predictions there, as Parquet.", show_default=False),
    ] = None,
    alerts: Annotated[
        Path | None,
        typer.Option(
            help="Write the alerts there, and what `alerts show --of` explains them by.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a file through a pipeline with no broker, as a worker would, and say how good it was."""
    chosen = load_pipeline(pipeline, load_settings())
    with usage():
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
        tables, _ = lookup_tables(chosen, lookup)
        if reactions:
            to_come = with_reactions(to_come, reaction_entries(chosen, reactions))
        if out is not None and out.suffix != ".parquet":
            raise DefinitionError(f"--out: {out} must end in .parquet, since that is what it holds")
    began_s = time.monotonic()
    with ExitStack() as stack:
        report = Report(chosen)
        written = None if out is None else stack.enter_context(PredictionsFile(out, chosen))
        told = None if alerts is None else stack.enter_context(AlertFileWriter(alerts))

        def take(output: Output) -> None:
            report.add(output, replay.models)
            if written is not None:
                written.add(output)
            if told is not None:
                told.add(output)

        replay = Replay(chosen, time.time_ns() // 1_000_000, take, tables.find)
        bar = progress_bar(rows, limit)
        stack.enter_context(bar.running())
        replay.run(_shown(to_come, bar, report.course))
    report.finish(replay.score.late, len(replay.models), time.monotonic() - began_s)
    if as_json:
        print_json(report.as_json(file, out))
    else:
        tell(report, pipeline, out, alerts)


def _shown(to_come: Iterator[Entry], bar: Bar, course: Course) -> Iterator[Entry]:
    """Pass entries on, note their course, and show how many there were."""
    events = labels = 0
    while some := list(islice(to_come, _SHOW_EVERY)):
        course.take(some)
        yield from some
        new = sum(entry.kind == "event" for entry in some)
        events += new
        labels += sum(entry.kind == "label" for entry in some)
        bar.update(events, f"{events:,} events, {labels:,} labels")
