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
from streamproc.errors import StreamprocError
from streamproc.kafka.topics import probe


def worker(
    pipeline: PipelineFile = None,
    fresh_model: Annotated[
        bool, typer.Option("--fresh-model", help="Learn anew, where the model has changed.")
    ] = False,
) -> None:
    """Run a pipeline; SIGINT and SIGTERM end it once what was processed is committed."""
    settings = load_settings()
    chosen = load_pipeline(pipeline, settings)
    logs.configure()
    probe(settings.kafka_config())  # while ctrl-C is still ours: a broker that is away is told here
    try:
        run_worker(chosen, settings, fresh_model)
    except StreamprocError:
        raise
    except Exception as error:  # the log keeps where; the last line says what
        structlog.get_logger("worker").error("failed", exc_info=error)
        raise
    # All is committed. Freeing windows and labels object by object would take seconds more.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
