"""`streamproc worker`: run a pipeline until a signal ends it."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import structlog
import typer

from agents.worker import run_worker
from streamproc.cli import logs
from streamproc.cli.common import PipelineFile, load_pipeline, load_settings
from streamproc.errors import BadRecord, StreamprocError
from streamproc.eventtime import parse_time_ms
from streamproc.kafka.topics import probe


def worker(
    pipeline: PipelineFile = None,
    fresh_model: Annotated[
        bool, typer.Option("--fresh-model", help="Learn anew, where the model has changed.")
    ] = False,
    rebuild_from: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Windows from the log: since a time, or earliest."),
    ] = None,
    fresh_state: Annotated[
        bool, typer.Option("--fresh-state", help="Begin with empty windows, waiting for no label.")
    ] = False,
) -> None:
    """Run a pipeline; SIGINT and SIGTERM end it once what was processed is committed."""
    settings = load_settings()
    chosen = load_pipeline(pipeline, settings)
    logs.configure()
    state_from = _state_from(rebuild_from, fresh_state)
    probe(settings.kafka_config())  # while ctrl-C is still ours: a broker that is away is told here
    try:
        run_worker(chosen, settings, fresh_model, state_from)
    except StreamprocError:
        raise
    except Exception as error:  # the log keeps where; the last line says what
        structlog.get_logger("worker").error("failed", exc_info=error)
        raise
    # All is committed. Freeing windows and labels object by object would take seconds more.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _state_from(rebuild_from: str | None, fresh_state: bool) -> str | None:
    """Return where state comes from instead of snapshots; None where they are taken."""
    if rebuild_from is not None and fresh_state:
        raise StreamprocError("--rebuild-from and --fresh-state exclude each other; give one")
    if fresh_state:
        return "nothing"
    if rebuild_from in (None, "earliest"):
        return rebuild_from
    try:
        parse_time_ms(rebuild_from)
    except BadRecord as bad:
        raise StreamprocError(f"--rebuild-from: {bad.detail}; or write earliest") from None
    return rebuild_from
