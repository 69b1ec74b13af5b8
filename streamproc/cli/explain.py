"""`streamproc explain`: a past prediction, made again from the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from agents.past import Past
from streamproc import audit
from streamproc.cli.common import (
    AsJson,
    PipelineFile,
    counted,
    load_pipeline,
    load_settings,
    print_json,
    printable,
    width,
)
from streamproc.cli.lines import prediction_line
from streamproc.pipeline import Pipeline

_OFFSETS_SHOWN = 6


def explain(
    prediction_id: Annotated[
        str, typer.Argument(help="The prediction's id.", metavar="PREDICTION_ID")
    ],
    pipeline: PipelineFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a past prediction again: its event, features, model and score; exit 1 if they differ."""
    settings = load_settings()
    chosen = load_pipeline(pipeline, settings)
    past = Past(chosen, settings)
    partition, prediction = past.find(prediction_id)
    rebuilt = past.rebuilt(partition, {prediction_id: prediction})
    partitions = past.at.partitions
    found = audit.explain(chosen, prediction, rebuilt, past.scorer_of, partitions)
    version = past.versions.get(prediction["model"])
    if as_json:
        print_json(_as_json(found, chosen.topics.events, partition, version))
    else:
        _tell(found, chosen, partition, version)
        if elsewhere := audit.rekeyed_names(chosen, partitions):
            print(_cut(f"as published, of all partitions: {', '.join(elsewhere)}"))
    if found.differences:
        raise typer.Exit(1)


def _as_json(found: audit.Explained, topic: str, partition: int, version: Any) -> dict[str, Any]:
    event = found.rebuilt
    return {
        "prediction": found.prediction,
        "event": None
        if event is None
        else {
            "topic": topic,
            "partition": partition,
            "offset": event.offset,
            "fields": event.fields,
            "late": event.late,
        },
        "features": event.features if event else None,
        "windows": found.windows,
        "rows_gone": list(event.gone) if event else [],
        "model": version,
        "score": found.score,
        "decision": found.decision,
        "differences": found.differences,
        "equal": not found.differences,
    }


def _tell(found: audit.Explained, pipeline: Pipeline, partition: int, version: Any) -> None:
    said, event, topic = found.prediction, found.rebuilt, pipeline.topics.events
    print(prediction_line(dict(said)))
    if event is None:
        print(f"its event is not on {topic}/{partition} any more; nothing can be made again")
        return
    late = ", late" if event.late else ""
    print(f"made of {topic}/{partition} at offset {event.offset}{late}")
    for row in event.gone:
        print(f"row {row} is not there any more: what was looked up in it is as published")
    print()
    different = set(found.differences)
    rows = _rows(pipeline, said)
    wide = max(map(len, (*event.features, "decision")))
    for name, value in event.features.items():
        _row(name, said["features"].get(name), value, wide, name in different)
        if name in found.windows:
            print(_cut(f"    {'':{wide - 2}}of {_offsets(found.windows[name])}"))
        if name in rows:
            print(_cut(f"    {'':{wide - 2}}of {rows[name]}"))
    _row("score", said["score"], found.score, wide, "score" in different)
    _row("decision", said["decision"], found.decision, wide, "decision" in different)
    print(f"\nby {said['model']}{_lineage(version)}")
    print(
        "equal to what was published, to the bit"
        if not different
        else f"DIFFERS from what was published: {', '.join(found.differences)}"
    )


def _rows(pipeline: Pipeline, said: Mapping[str, Any]) -> dict[str, str]:
    """Return, by feature, which row was looked up."""
    versions = said.get("lookups") or {}
    return {
        name: f"row {versions[each.table]} of {each.topic}"
        if versions.get(each.table)
        else f"no row of {each.topic}"
        for each in pipeline.lookups
        for name in each.names
    }


def _row(name: str, said: Any, found: Any, wide: int, differs: bool) -> None:
    print(_cut(f"  {name:<{wide}}  {said!s:<24} {'!=' if differs else '= '} {found!s}"))


def _offsets(offsets: list[int]) -> str:
    """Say which records a window held, the last few by offset.

    >>> _offsets([3]), _offsets(list(range(10)))
    ('1 record: 3', '10 records: ... 4 5 6 7 8 9')
    """
    shown = " ".join(map(str, offsets[-_OFFSETS_SHOWN:]))
    more = "... " if len(offsets) > _OFFSETS_SHOWN else ""
    return f"{counted(len(offsets), 'record')}: {more}{shown}"


def _lineage(version: Any) -> str:
    if version is None:
        return ", which had learnt nothing"
    return f", which had learnt from {version['outcomes']:,} outcomes ({version['sha256'][:12]})"


def _cut(text: str) -> str:
    return printable(text)[: width()]
