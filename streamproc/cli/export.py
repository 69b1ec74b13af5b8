"""`streamproc export`: training data of topics or files, by the code of production."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from streamproc import training
from streamproc.cli.common import AsJson, load_pipeline, load_settings, print_json, usage
from streamproc.cli.rows import (
    Every,
    LabelDelay,
    LeaveOut,
    LookupFiles,
    NumberRows,
    Start,
    entries,
    lookup_tables,
    time_option,
)
from streamproc.dataset import Span
from streamproc.errors import DefinitionError
from streamproc.training import SourceFiles

_NO_DELAY = "0s"


def export(
    pipeline: Annotated[Path, typer.Argument(help="Pipeline file.", show_default=False)],
    to: Annotated[str, typer.Option(help="Event time before which to end.", show_default=False)],
    out: Annotated[Path, typer.Option(help="A new folder.", show_default=False)],
    files: Annotated[
        list[Path] | None,
        typer.Option(help="CSV, .jsonl or .parquet, in time order.", show_default=False),
    ] = None,
    more: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", help="More files, read after.", show_default=False),
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", help="Event time; earlier fills windows.", show_default=False),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Time that parts train/ from test/.", show_default=False),
    ] = None,
    offsets: Annotated[
        Path | None,
        typer.Option(help="A manifest: read what it was made of again.", show_default=False),
    ] = None,
    label_delay: LabelDelay = _NO_DELAY,
    start: Start = None,
    every: Every = None,
    number_rows: NumberRows = False,
    leave_out: LeaveOut = None,
    lookup: LookupFiles = None,
    as_json: AsJson = False,
) -> None:
    """Write features and labels as known to Parquet: of the topics, or of --files.

    A manifest says what they were made of, so that they can be made again.
    """
    settings = load_settings()
    chosen = load_pipeline(pipeline, settings)
    how: dict[str, Any] = {
        "label_delay": label_delay,
        "start": start,
        "every": every,
        "number_rows": number_rows,
        "leave_out": leave_out or [],
    }
    with usage():
        span = Span(
            _BEGINNING_MS if from_ is None else time_option("--from", from_),
            time_option("--to", to),
            None if split is None else time_option("--split", split),
        )
        _check(files, more, offsets, how)
        tables, read = lookup_tables(chosen, lookup)
    if files:
        with usage():
            source = SourceFiles([*files, *(more or ())])
            to_come = entries(source, chosen, limit=None, **how)
        if read:
            how["lookups"] = {each.topic: each.described for each in read}
        manifest = training.export(chosen, source, to_come, span, out, how, tables.find)
    else:
        from agents.logs import open_logs

        logs = open_logs(chosen, settings, span.from_ms, offsets)
        manifest = training.export_logs(chosen, logs, span, out, tables.find)
    if as_json:
        print_json(manifest)
    else:
        _tell(manifest, out)


def _check(
    files: list[Path] | None, more: list[Path] | None, offsets: Path | None, how: dict[str, Any]
) -> None:
    if files and offsets:
        raise DefinitionError(
            "--offsets: is of topics, and --files are none; leave one of them out"
        )
    if files:
        return
    if more:
        raise DefinitionError(f"{more[0]}: give files by --files")
    for name, value in how.items():
        if value not in (None, False, [], _NO_DELAY):
            option = name.replace("_", "-")
            raise DefinitionError(
                f"--{option}: goes with --files; without, the topics are read, as they are"
            )


_BEGINNING_MS = -62_135_596_800_000
"""The year 1: all that there is."""


def _tell(manifest: dict[str, Any], out: Path) -> None:
    counts = dict(manifest["rows"])
    gap = counts.pop("gap", 0)
    for part, rows in counts.items():
        print(f"{rows:>10,} rows in {out / part}")
    if gap:
        print(f"{gap:>10,} rows left out: their label was not known by the split")
    if manifest["without_label"]:
        print(f"{manifest['without_label']:>10,} rows have no label by {manifest['to']}")
    dead = sum(manifest["dead_letters"].values())
    if dead:
        print(f"{dead:>10,} dead letters: {', '.join(manifest['dead_letters'])}")
