"""`streamproc replay`: all past predictions of a time, made again from the log."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from agents.past import Past
from streamproc import audit
from streamproc.cli.common import (
    AsJson,
    PipelineFile,
    load_pipeline,
    load_settings,
    print_json,
    usage,
)
from streamproc.cli.lines import prediction_line
from streamproc.errors import BadRecord, DefinitionError
from streamproc.eventtime import parse_time_ms

_SHOWN = 20
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def replay(
    pipeline: PipelineFile = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", help="Event time, such as 2018-07-03.", show_default=False),
    ] = None,
    to: Annotated[
        str | None, typer.Option(help="Event time before which to end.", show_default=False)
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare with what was published.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make the predictions of a time again and report every difference; exit 1 if there is one."""
    settings = load_settings()
    chosen = load_pipeline(pipeline, settings)
    with usage():
        if not verify:
            raise DefinitionError("say --verify: to compare is what replay is for")
        first_ms, end_ms = _time_ms("--from", from_, 0), _time_ms("--to", to, audit.ANY_TIME_MS)
    past = Past(chosen, settings)
    compared = gone = 0
    differing: list[audit.Explained] = []
    for partition in range(past.at.partitions):
        wanted = {
            prediction["id"]: prediction
            for prediction in past.predictions(partition)
            if first_ms <= prediction["event_time_ms"] < end_ms
        }
        if wanted:
            for each in audit.verify(wanted, past.rebuilt(partition, wanted), past.scorer_of):
                compared += 1
                gone += each.rebuilt is not None and bool(each.rebuilt.gone)
                if each.differences:
                    differing.append(each)
    if as_json:
        differences = [_as_json(each) for each in differing]
        print_json({"compared": compared, "rows_gone": gone, "differences": differences})
    else:
        _tell(compared, gone, differing)
    if differing:
        raise typer.Exit(1)


def _time_ms(option: str, text: str | None, otherwise: int) -> int:
    if text is None:
        return otherwise
    try:
        return parse_time_ms(f"{text}T00:00:00Z" if _DAY.fullmatch(text) else text)
    except BadRecord as bad:
        raise DefinitionError(f"{option}: {bad.detail}") from None


def _as_json(found: audit.Explained) -> dict[str, Any]:
    return {
        "id": found.prediction["id"],
        "differences": found.differences,
        "published": found.prediction,
        "features": found.rebuilt.features if found.rebuilt else None,
        "score": found.score,
    }


def _tell(compared: int, gone: int, differing: list[audit.Explained]) -> None:
    for each in differing[:_SHOWN]:
        print(prediction_line(dict(each.prediction)))
        print(f"    differs in {', '.join(each.differences)}")
    if len(differing) > _SHOWN:
        print(f"... and {len(differing) - _SHOWN:,} more; --json has them all")
    if gone:
        print(f"{gone:,} with rows that are not there any more: looked up as published")
    print(f"{compared:,} predictions made again, {len(differing):,} differ")
