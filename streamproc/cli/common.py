"""What several commands share: their options, and how they come to a pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamproc.errors import DefinitionError, StreamprocError

if TYPE_CHECKING:
    from streamproc.pipeline import Pipeline
    from streamproc.settings import Settings

PipelineFile = Annotated[
    Path | None,
    typer.Argument(
        metavar="PIPELINE", help="Pipeline file; else STREAMPROC_PIPELINE.", show_default=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@contextmanager
def usage() -> Iterator[None]:
    """Make what goes wrong inside a mistake in what the command was given: exit code 2."""
    try:
        yield
    except DefinitionError:
        raise
    except StreamprocError as error:
        raise DefinitionError(str(error)) from error


def load_settings() -> Settings:
    """Read the environment."""
    from streamproc.settings import Settings

    with usage():
        return Settings.load()


def load_pipeline(given: Path | None, settings: Settings) -> Pipeline:
    """Run the pipeline file that was named, on the command line or in the environment."""
    from streamproc.pipeline import Pipeline

    path = given or settings.pipeline
    if path is None:
        raise DefinitionError("which pipeline? name its file, or set STREAMPROC_PIPELINE")
    return Pipeline.load(path)
