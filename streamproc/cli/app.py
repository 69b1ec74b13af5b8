"""The typer app: puts the commands together and turns what goes wrong into one line."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Annotated, Any

import typer

from streamproc.cli import COMMANDS, chosen
from streamproc.cli.quick import quick_imports
from streamproc.errors import DefinitionError, StreamprocError

FAILED, USAGE, INTERRUPTED = 1, 2, 130


def call(arguments: Sequence[str]) -> int:
    """Run a command, say in one line what went wrong, and return the exit code."""
    try:
        app = _app(chosen(arguments))
        code = app(args=list(arguments), prog_name="streamproc", standalone_mode=False)
        return int(code or 0)
    except KeyboardInterrupt:
        return INTERRUPTED
    except typer.TyperException as error:  # no such command, option or value
        return _told(f"{_in_one_line(error.format_message())} (see --help)", USAGE)
    except StreamprocError as error:
        return _told(str(error), USAGE if isinstance(error, DefinitionError) else FAILED)
    except Exception as error:  # a fault of our own
        return _told(_unexpected(error), FAILED)


def _app(name: str | None) -> typer.Typer:
    """Return the app with all commands, of which only the one called for is really there."""
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    )
    app.callback()(_options)
    for command, about in COMMANDS.items():
        found = _load(command) if command == name else _elsewhere
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=command, help=about)
        else:
            app.command(command, help=about)(found)
    return app


def _load(command: str) -> Callable[..., Any] | typer.Typer:
    """Return the function of a command, or the app of one that is a group of several."""
    module = f"streamproc.cli.{command}"
    with quick_imports():
        found: Callable[..., Any] | typer.Typer = getattr(importlib.import_module(module), command)
    if not isinstance(found, typer.Typer):
        return _until_unread(found)
    for each in found.registered_commands:
        each.callback = _until_unread(each.callback) if each.callback else None
    return found


def _until_unread(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command that ends well when nobody reads on: `streamproc watch ... | head`.

    Typer would make a failure of it.
    """

    @functools.wraps(function)
    def guarded(*args: Any, **options: Any) -> Any:
        try:
            result = function(*args, **options)
            sys.stdout.flush()
            return result
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0

    return guarded


def _elsewhere() -> None:
    """Stand for a command that is not the one called for."""


def _version(wanted: bool) -> None:
    if not wanted:
        return
    try:
        typer.echo(f"streamproc {metadata.version('streamproc')}")
    except metadata.PackageNotFoundError:
        typer.echo("streamproc, not installed: run from its source")
    raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Predictions from a model that keeps learning, and alerts when things go wrong."""


def _told(message: str, code: int) -> int:
    with contextlib.suppress(BrokenPipeError):
        typer.echo(f"streamproc: {message}", err=True)
    return code


def _in_one_line(text: str) -> str:
    return " ".join(text.split())


def _unexpected(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    said = _in_one_line(f"{type(error).__name__}: {error}")[:300]
    return f"unexpected {said} ({where.filename}:{where.lineno}); please report it"
