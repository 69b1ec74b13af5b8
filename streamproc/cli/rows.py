"""A file of rows as events and late labels: the options that `produce` and `backtest` share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from streamproc.errors import BadRecord, DefinitionError
from streamproc.eventtime import parse_duration_ms, parse_time_ms
from streamproc.features.lookup_files import LookupFile, read_tables
from streamproc.features.lookup_tables import PastTables
from streamproc.files import RowFile
from streamproc.monitors import Reactions
from streamproc.pipeline import Pipeline
from streamproc.timeline import Entry, LabelColumns, reactions, timeline

File = Annotated[
    Path, typer.Argument(help="CSV, .jsonl or .parquet; plain, .gz or .zst.", show_default=False)
]
LabelDelay = Annotated[str, typer.Option(help="Event time from an event to its label: 90s, 7d.")]
Start = Annotated[
    str | None, typer.Option(help="Time of the first row, with --every.", show_default=False)
]
Every = Annotated[str | None, typer.Option(help="Time from row to row: 30m.", show_default=False)]
NumberRows = Annotated[bool, typer.Option("--number-rows", help="Take the row's number as the id.")]
LeaveOut = Annotated[
    list[str] | None,
    typer.Option(help="A column not to use; may be repeated.", show_default=False),
]
LookupFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--lookup", metavar="TOPIC=FILE", help="Rows to look up; may be repeated.",
        show_default=False,
    ),
]  # fmt: skip
ReactionFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--reactions", metavar="TOPIC=FILE", help="Reactions to predictions; may be repeated.",
        show_default=False,
    ),
]  # fmt: skip
Limit = Annotated[
    int | None, typer.Option(min=1, help="Rows to read; else all.", show_default=False)
]


def entries(
    rows: Iterable[Mapping[str, Any]],
    pipeline: Pipeline,
    *,
    label_delay: str,
    start: str | None,
    every: str | None,
    number_rows: bool,
    leave_out: list[str] | None,
    limit: int | None,
) -> Iterator[Entry]:
    """Return the events and labels of rows, as the options say; see `streamproc.timeline`."""
    labels = pipeline.labels
    return timeline(
        islice(rows, limit),
        id=pipeline.events.id,
        key=pipeline.events.key,
        time=pipeline.events.time,
        labels=None if labels is None else LabelColumns(labels.id, labels.value, labels.time),
        label_delay_ms=parse_duration_ms(label_delay, "--label-delay"),
        start_ms=None if start is None else time_option("--start", start),
        every_ms=None if every is None else parse_duration_ms(every, "--every"),
        number_rows=number_rows,
        leave_out=leave_out or (),
    )


def lookup_tables(
    pipeline: Pipeline, given: list[str] | None
) -> tuple[PastTables, list[LookupFile]]:
    """Return the tables that the option names, and say on standard error what to know of them."""
    tables, read = read_tables(pipeline.lookups, dict(_files("--lookup", given)))
    for file_read in read:
        for note in file_read.notes:
            typer.echo(f"streamproc: {note}", err=True)
    return tables, read


def reaction_entries(pipeline: Pipeline, given: list[str] | None) -> Iterator[Entry]:
    """Return the reactions in the files that the option names.

    Their time is in the column that `Reactions` names, or else in that of the events' time.
    """
    times = {
        monitor.topic: monitor.time or pipeline.events.time
        for monitor in pipeline.monitors
        if isinstance(monitor, Reactions)
    }
    files = list(_files("--reactions", given))
    for topic, _ in files:
        if topic not in times:
            known = ", ".join(times) or "none; add Reactions(...) to the monitors"
            raise DefinitionError(f"--reactions: {topic!r:.60} has no reactions; there are {known}")
    return chain.from_iterable(
        reactions(topic, RowFile(file), times[topic]) for topic, file in files
    )


def _files(option: str, given: list[str] | None) -> Iterator[tuple[str, Path]]:
    """Yield topic and file of each TOPIC=FILE."""
    for each in given or ():
        topic, equals, file = each.partition("=")
        if not equals or not file:
            raise DefinitionError(f"{option}: {each!r:.60} names no file; write TOPIC=FILE")
        yield topic, Path(file)


class Bar:
    """A progress bar on standard error; on no terminal it is not there."""

    def __init__(self, rows: RowFile, limit: int | None, shows: bool) -> None:
        self.shows = shows
        self._rows = rows
        self._limit = limit
        self._bar = Progress(
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TextColumn("{task.fields[told]}"),
            console=Console(stderr=True),
            transient=True,
            disable=not shows,
        )
        self._task = self._bar.add_task("", total=1.0, told="")

    def update(self, events: int, told: str) -> None:
        """Show how much of the file is done, and say so in words."""
        share = max(self._rows.done(), events / self._limit if self._limit else 0.0)
        self._bar.update(self._task, completed=share, told=told)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Show the bar for as long as the block runs."""
        with self._bar:
            yield


def progress_bar(rows: RowFile, limit: int | None) -> Bar:
    """Return the bar for reading a file, of at most so many rows."""
    return Bar(rows, limit, Console(stderr=True).is_terminal)


def time_option(option: str, text: str) -> int:
    """Return the time that an option gives, a day or a moment, in milliseconds since the epoch."""
    try:
        return parse_time_ms(f"{text}T00:00:00Z" if len(text) == len("1996-05-07") else text)
    except BadRecord:
        raise DefinitionError(
            f"{option}: {text!r} is no time; write e.g. 1996-05-07 or 1996-05-07T06:30:00Z"
        ) from None
