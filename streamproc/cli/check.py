"""`streamproc check`: is the pipeline file right, and what does it say?"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from streamproc.cli.common import (
    AsJson,
    PipelineFile,
    load_pipeline,
    load_settings,
    print_json,
    printable,
)
from streamproc.cli.drawing import described, drawn
from streamproc.cli.meeting import check_meeting
from streamproc.kafka.topics import describe, probe

_PLAIN = str.maketrans("─│┌┐└┘├┤┴┬┼►◄▲▼…", "-|+++++++++><^v.")


def check(
    pipeline: PipelineFile = None,
    online: Annotated[
        bool,
        typer.Option("--online", help="Ask the brokers too: do labels meet their events?"),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check a pipeline file and draw it; connects to nothing unless --online."""
    settings = load_settings()
    chosen = load_pipeline(pipeline, settings)
    description = described(chosen)
    if not as_json:
        for line in drawn(chosen):
            _print(printable(line))
    if online:
        config = settings.kafka_config()
        description["topics_present"] = {
            topic.name: topic.present for topic in describe(chosen, probe(config))
        }
        shared = check_meeting(config, chosen)
        description["keys_compared"] = shared
        if not as_json:
            _print(_said(shared))
    if as_json:
        print_json(description)


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
