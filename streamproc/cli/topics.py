"""`streamproc topics`: what a pipeline needs of the brokers, and making what is missing."""

from __future__ import annotations

from typing import Annotated

import typer

from streamproc.cli.common import AsJson, PipelineFile, load_pipeline, load_settings, print_json
from streamproc.kafka.topics import Topic, create, describe, probe


def topics(
    pipeline: PipelineFile = None,
    partitions: Annotated[
        int | None,
        typer.Option(
            min=1, max=10_000, help="Of inputs that are missing; else 4.", show_default=False
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be made.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the topics of a pipeline, and make those that are missing, as a worker does."""
    settings = load_settings()
    chosen = load_pipeline(pipeline, settings)
    config = settings.kafka_config()
    if dry_run:
        needed = describe(chosen, probe(config), partitions)
    else:
        needed = create(config, chosen, partitions)
    if as_json:
        print_json([_as_json(topic, dry_run) for topic in needed])
        return
    longest = max(len(topic.name) for topic in needed)
    for topic in needed:
        state = _state(topic, dry_run)
        typer.echo(f"{state:<7}  {topic.name:<{longest}}  {topic.partitions:>4}  {topic.purpose}")
    missing = sum(not topic.present for topic in needed)
    typer.echo(f"{missing} {'would be made' if dry_run else 'made'}, of {len(needed)}")


def _state(topic: Topic, dry_run: bool) -> str:
    return "present" if topic.present else "missing" if dry_run else "made"


def _as_json(topic: Topic, dry_run: bool) -> dict[str, object]:
    return {
        "name": topic.name,
        "state": _state(topic, dry_run),
        "partitions": topic.partitions,
        "purpose": topic.purpose,
        "owned": topic.owned,
        "config": dict(topic.config),
    }
