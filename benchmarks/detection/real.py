"""Part 3: what monitors find in real streams, and in payments that faults were put into.

`measured` runs all of it, on the path of a backtest; `tables` says it in the page.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import payments
from benchmarks.detection import faults, nab, real_tables, sea
from benchmarks.detection.watching import Life, lives, told
from benchmarks.processes import ROOT
from benchmarks.protocol import DAY_MS
from streamproc import Pipeline
from streamproc.eventtime import parse_time_ms
from streamproc.files import Row, rows
from streamproc.timeline import LabelColumns, timeline

DATA = ROOT.parent / "shared" / "data"
EXAMPLES = ROOT / "examples"
MINUTE_MS = 60_000
AT_ONCE = 2_500
"""Payments and labels that are fed at once: three hours of them."""


MONTHS = ("04", "05", "06", "07", "08")


def payments_as_they_are() -> dict[str, Any]:
    """Four and a half months of payments, with the example's monitors; each alert is told."""
    pipeline = Pipeline.load(EXAMPLES / "payments.py")
    found = lives(told(pipeline, payments.due(_payments(MONTHS), pipeline), AT_ONCE))
    days = 136
    return _alerts(found, pipeline.budget.count * days * DAY_MS / pipeline.budget.period_ms)


def payments_with_faults() -> dict[str, Any]:
    """Two months with five faults; what became of each, and what was told beside."""
    pipeline = faults.pipeline(Pipeline.load(EXAMPLES / "payments.py"))
    rows_ = faults.rows(_payments(("06", "07")))
    found = lives(told(pipeline, payments.due(rows_, pipeline), AT_ONCE))
    verdicts, beside = faults.verdicts(found)
    return {
        "faults": [verdict._asdict() for verdict in verdicts],
        "beside": [life.line() for life in beside],
    }


def electricity() -> dict[str, Any]:
    """Two and a half years of half hours, with the example's monitors and a version a week."""
    pipeline = replace(Pipeline.load(EXAMPLES / "electricity.py"), publish_every=7 * 48)
    entries = timeline(
        rows(DATA / "electricity" / "electricity.csv.gz"),
        **_columns(pipeline),
        label_delay_ms=30 * MINUTE_MS,
        start_ms=parse_time_ms("1996-05-07T00:00:00Z"),
        every_ms=30 * MINUTE_MS,
        number_rows=True,
    )
    found = lives(told(pipeline, entries))
    days = 45_312 / 48
    return _alerts(found, pipeline.budget.count * days * DAY_MS / pipeline.budget.period_ms)


def numenta() -> dict[str, Any]:
    """Six series of NAB: scores of ours and River's beside published ones."""
    return {"lines": [line._asdict() for line in (*nab.measured(), *nab.published())]}


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "payments_with_faults": payments_with_faults,
    "payments_as_they_are": payments_as_they_are,
    "electricity": electricity,
    "sea": sea.measured,
    "nab": numenta,
}


def measured(parts: Iterable[str] = PARTS) -> dict[str, Any]:
    """Run the parts, all of them by default; return the figures, with how long each part took."""
    found = dict[str, Any]()
    for name in parts:
        began_s = time.process_time()
        found[name] = {**PARTS[name](), "cpu_s": 0.0}
        found[name]["cpu_s"] = round(time.process_time() - began_s, 1)
    return found


def _alerts(found: Sequence[Life], expected: float) -> dict[str, Any]:
    return {
        "alerts": len(found),
        "false_alarms_allowed": round(expected, 1),
        "open_at_the_end": sum(life.resolved is None for life in found),
        "told": [life.line() for life in found],
    }


def _payments(names: Iterable[str]) -> Iterator[Row]:
    for path in payments.months(*names):
        yield from rows(path)


def _columns(pipeline: Pipeline) -> dict[str, Any]:
    events, labels = pipeline.events, pipeline.labels
    assert labels is not None
    return {
        "id": events.id,
        "key": events.key,
        "time": events.time,
        "labels": LabelColumns(labels.id, labels.value, labels.time),
    }


def main() -> None:
    """Run some parts or all; print the tables, and put them into the page if asked to."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.detection.real", description=__doc__
    )
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all, if none is named")
    parser.add_argument("--page", type=Path, help="a page with marks, where the tables go")
    parser.add_argument("--out", type=Path, help="where the figures go, as JSON")
    asked = parser.parse_args()
    found = measured(asked.parts or PARTS)
    text = real_tables.text(found)
    print(text)
    if asked.page:
        real_tables.into_page(asked.page, text)
    if asked.out:
        asked.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
