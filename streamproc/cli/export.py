"""`streamproc export`: files as training data, features computed by the code of production."""

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
from streamproc.training import SourceFiles, Span


def export(
    pipeline: Annotated[Path, typer.Argument(help="Pipeline file.", show_default=False)],
    files: Annotated[
        list[Path],
        typer.Option(help="CSV, .jsonl or .parquet, in time order.", show_default=False),
    ],
    to: Annotated[str, typer.Option(help="Event time before which to end.", show_default=False)],
    out: Annotated[Path, typer.Option(help="A new folder.", show_default=False)],
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
    label_delay: LabelDelay = "0s",
    start: Start = None,
    every: Every = None,
    number_rows: NumberRows = False,
    leave_out: LeaveOut = None,
    lookup: LookupFiles = None,
    as_json: AsJson = False,
) -> None:
    """Write features, as of each event, and labels to Parquet, with a manifest to repeat it."""
    chosen = load_pipeline(pipeline, load_settings())
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
        source = SourceFiles([*files, *(more or ())])
        to_come = entries(source, chosen, limit=None, **how)
        tables, read = lookup_tables(chosen, lookup)
    if read:
        how["lookups"] = {each.topic: each.described for each in read}
    manifest = training.export(chosen, source, to_come, span, out, how, tables.find)
    if as_json:
        print_json(manifest)
    else:
        _tell(manifest, out)


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
