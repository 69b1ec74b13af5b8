"""`streamproc check`: is the pipeline file right, and what does it say?"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from streamproc.cli.against import differences
from streamproc.cli.common import (
    AsJson,
    PipelineFile,
    load_pipeline,
    load_settings,
    print_json,
    printable,
    usage,
)
from streamproc.cli.drawing import described, drawn
from streamproc.cli.false_alarms import described_alarms, drawn_alarms, traffic_of
from streamproc.cli.meeting import check_meeting, records_per_day
from streamproc.cli.rows import (
    Every,
    LabelDelay,
    LeaveOut,
    LookupFiles,
    NumberRows,
    Start,
    entries,
    lookup_tables,
)
from streamproc.files import RowFile
from streamproc.kafka.topics import describe, probe
from streamproc.leakage import Sample
from streamproc.pipeline import Pipeline
from streamproc.replay import Replay, without_model
from streamproc.settings import Settings

_PLAIN = str.maketrans("─│┌┐└┘├┤┴┬┼►◄▲▼…", "-|+++++++++><^v.")


def check(
    pipeline: PipelineFile = None,
    online: Annotated[
        bool,
        typer.Option("--online", help="Ask the brokers too: do labels meet their events?"),
    ] = False,
    sample: Annotated[
        Path | None,
        typer.Option(help="A file: do features know the label?", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows of the sample.")] = 50_000,
    against: Annotated[
        Path | None,
        typer.Option(help="A manifest of `export`: are these its features?", show_default=False),
    ] = None,
    events_per_day: Annotated[
        float | None,
        typer.Option(min=1, help="Traffic, to tell how soon changes are seen.", show_default=False),
    ] = None,
    positives: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="The part of the labels that is positive.", show_default=False
        ),
    ] = None,
    label_delay: LabelDelay = "0s",
    start: Start = None,
    every: Every = None,
    number_rows: NumberRows = False,
    leave_out: LeaveOut = None,
    lookup: LookupFiles = None,
    as_json: AsJson = False,
) -> None:
    """Check a pipeline file and draw it; connects to nothing unless --online.

    Exit code 1 where, with --sample, a feature knows the label, or, with --against, features are
    not those of training data.
    """
    settings = load_settings()
    chosen = load_pipeline(pipeline, settings)
    description = described(chosen)
    other = [] if against is None else differences(chosen, against)
    if against is not None:
        description["against"] = other
    rows: dict[str, Any] = {
        "label_delay": label_delay, "start": start, "every": every, "number_rows": number_rows,
        "leave_out": leave_out, "limit": limit,
    }  # fmt: skip
    if not as_json:
        for line in drawn(chosen):
            _print(printable(line))
    measured = _online(settings, chosen, description, as_json) if online else None
    if against is not None and not as_json:
        for line in other or [f"features: those of {against}"]:
            _print(printable(line))
    leaks, found = 0, None
    if sample is not None:
        found = _sampled(chosen, sample, rows, lookup)
        leaks = sum(each["kind"] == "leak" for each in found["findings"])
        description["sample"] = found
        if not as_json:
            _tell(found, leaks)
    traffic, source = traffic_of(chosen, events_per_day, measured, found, positives)
    alarms = described_alarms(chosen, traffic, source, positives)
    description["false_alarms"] = alarms
    if as_json:
        print_json(description)
    else:
        lines = list(drawn_alarms(alarms))
        if lines and (online or sample or against):
            print()
        for line in lines:
            print(line)
    if leaks or other:
        raise typer.Exit(1)


def _online(
    settings: Settings, pipeline: Pipeline, description: dict[str, Any], as_json: bool
) -> tuple[float, float | None]:
    """Ask the brokers; return how many events and labels come in a day."""
    config = settings.kafka_config()
    cluster = probe(config)
    description["topics_present"] = {
        topic.name: topic.present for topic in describe(pipeline, cluster)
    }
    shared = check_meeting(config, pipeline)
    description["keys_compared"] = shared
    if not as_json:
        _print(_said(shared))
    return records_per_day(config, pipeline, time.time_ns() // 1_000_000, cluster.embedded)


def _sampled(
    pipeline: Pipeline, file: Path, rows: dict[str, Any], lookup: list[str] | None
) -> dict[str, Any]:
    """Run a sample through the pipeline, as a backtest does, and look at its features."""
    bare = without_model(pipeline)
    with usage():
        to_come = entries(RowFile(file), bare, **rows)
        tables, _ = lookup_tables(bare, lookup)
    gathered = Sample(pipeline)
    replay = Replay(bare, time.time_ns() // 1_000_000, gathered.add, tables.find)
    replay.run(to_come)
    hashing = replay.score.features.hashing
    return {
        "file": str(file),
        "events": gathered.events,
        "labelled": gathered.labelled,
        "span_ms": gathered.span_ms,
        "positives": gathered.positives,
        "dead_letters": dict(gathered.dead_letters),
        "findings": [asdict(each) for each in gathered.findings()],
        "hashing": {name: told._asdict() for name, told in hashing.items()},
    }


def _tell(found: dict[str, Any], leaks: int) -> None:
    dead = sum(found["dead_letters"].values())
    print(
        f"sample: {found['events']:,} events, {found['labelled']:,} with a label, "
        f"dead letters: {dead:,}"
    )
    for each in found["findings"]:
        _print(printable(f"  {each['kind']}: {each['feature']} {each['summary']}"))
    for name, told in found["hashing"].items():
        _print(
            f"  {name}: about {told['values']:,} categories in {told['buckets']:,} columns, "
            f"{told['sharing']:,} of them share one"
        )
    if not found["labelled"]:
        print("  no event has a label: whether a feature knows it can't be said")
    elif not leaks:
        print("  no feature alone tells the label")


def _said(shared: int | None) -> str:
    if shared is None:
        return "labels: none are declared, so there is nothing to meet"
    if not shared:
        return "labels: no key is in both topics yet, so whether they meet events is not known"
    return f"labels: {shared:,} keys are in both topics, each in the same partition"


def _print(line: str) -> None:
    """Print a line, in ASCII where the output's encoding has no better."""
    try:
        line.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        line = line.translate(_PLAIN).encode("ascii", "replace").decode()
    print(line)
