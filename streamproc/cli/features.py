"""`streamproc features`: the catalogue of a pipeline's features."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from itertools import groupby
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from streamproc.catalogue import Listed, catalogue
from streamproc.cli.common import (
    AsJson,
    PipelineFile,
    load_pipeline,
    load_settings,
    print_json,
    printable,
    width,
)
from streamproc.cli.online import current_features
from streamproc.errors import DefinitionError

_UNITS_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}


def features(
    pipeline: PipelineFile = None,
    entity: Annotated[
        str | None,
        typer.Argument(help="With `get` before it: whose to read.", show_default=False),
    ] = None,
    at: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="The worker to read from.")
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD", help="What names the entity; else the key."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List a pipeline's features; or `features get ENTITY`: read them from a worker."""
    if pipeline is not None and str(pipeline) == "get":
        _get(entity, at, by or [], as_json)
        return
    if entity is not None or at is not None or by:
        raise DefinitionError("to read features of an entity, write: features get ENTITY")
    found = catalogue(load_pipeline(pipeline, load_settings()))
    if as_json:
        print_json([asdict(each) for each in found])
    else:
        _tell(found)


def _get(entity: str | None, at: str | None, by: list[str], as_json: bool) -> None:
    if entity is None:
        raise DefinitionError("whose features? write: features get ENTITY")
    found = current_features(load_settings(), at, entity, by)
    if as_json:
        print_json(found)
        return
    wide = max(map(len, found["features"]))
    for name, value in found["features"].items():
        print(f"{printable(name):{wide}}  {'-' if value is None else value}")


def _tell(found: list[Listed]) -> None:
    columns = width()
    table = Table(box=None, pad_edge=False)
    table.add_column("feature", overflow="fold", min_width=24)
    for title in ("type", "of", "by", "span", "kept"):
        table.add_column(title, overflow="fold")
    for each in found:
        kept_ms = each.expires_after_ms
        table.add_row(
            printable(each.name),
            each.type,
            printable(", ".join(each.fields)),
            printable(", ".join(each.by)) or "-",
            each.span or "-",
            "-" if kept_ms is None else _duration(kept_ms),
        )
    Console(width=columns, highlight=False, markup=False).print(table)
    for (about, owner, description), group in groupby(
        found, lambda it: (_named(it), it.owner, it.description)
    ):
        if about or owner or description:
            said = ": ".join(each for each in (about, owner, description) if each)
            print()
            print("\n".join(textwrap.wrap(said, columns)))
            for each in group:
                print(f"  {printable(each.name)}")


def _named(feature: Listed) -> str:
    """Return what a feature's shared features are called, with their version and definition."""
    if not feature.shared:
        return ""
    return f"{feature.shared} version {feature.version} ({feature.definition})"


def _duration(duration_ms: int) -> str:
    """Write a duration in its largest units.

    >>> _duration(608_400_000), _duration(90_500)
    ('7d 1h', '1m 30s 500ms')
    """
    parts = []
    for unit, unit_ms in _UNITS_MS.items():
        count, duration_ms = divmod(duration_ms, unit_ms)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts) or "0s"
