"""What several commands share: their options, and how they come to a pipeline."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
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


def print_json(value: Any) -> None:
    """Print a value as JSON, in one line, at once."""
    sys.stdout.write(orjson.dumps(value).decode() + "\n")
    sys.stdout.flush()


def printable(text: str) -> str:
    """Return a text with what could steer a terminal made harmless, in one line.

    >>> printable("a\\x1b[31mb\\n")
    'a�[31mb�'
    """
    return "".join(each if each.isprintable() else "\ufffd" for each in text)


def shortened(text: str, most: int) -> str:
    """Return a text of at most so many columns; what is cut off is told by an ellipsis.

    >>> shortened("amount, missing", 15), shortened("amount, missing", 8)
    ('amount, missing', 'amount,…')
    """
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def width() -> int:
    """Return how many columns to print: the terminal's, between 40 and 100; piped, 80."""
    return min(max(shutil.get_terminal_size((80, 24)).columns, 40), 100)


def counted(n: int, noun: str) -> str:
    """Return how many there are.

    >>> counted(1, "feature"), counted(2_000, "feature")
    ('1 feature', '2,000 features')
    """
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
