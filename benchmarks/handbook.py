"""``make handbook``: the Fraud Detection Handbook's table, online, through the code of production.

Each payment is scored when it comes, by what was learnt from labels known by then, 7 days late.
Writes `benchmarks/handbook.json` and `benchmarks/handbook.svg`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
from river import linear_model, preprocessing

from benchmarks import drawing, payments
from benchmarks.processes import ROOT
from benchmarks.protocol import (
    DAY_MS,
    WEEK,
    Figures,
    Floats,
    Payments,
    date_of,
    day_of,
    first_needed,
    measured,
    under_test,
)
from streamproc import Calendar, Field, LabelWindow, Window
from streamproc.errors import StreamprocError
from streamproc.eventtime import parse_time_ms
from streamproc.files import Row, rows
from streamproc.pipeline import Pipeline
from streamproc.replay import Replay
from streamproc.tasks.records import Output
from streamproc.timeline import Entry

EXAMPLE = ROOT / "examples" / "handbook.py"
PUBLISHED_WEEK = date(2018, 8, 8)
PUBLISHED = {
    "logistic regression, batch": Figures(0.871, 0.606, 0.291),
    "decision tree of depth 2, batch": Figures(0.763, 0.496, 0.241),
    "decision tree, batch": Figures(0.788, 0.309, 0.243),
    "random forest of 100, batch": Figures(0.867, 0.658, 0.287),
    "XGBoost, batch": Figures(0.862, 0.639, 0.273),
}
"""What chapter 3 of the handbook says, for its test week."""

GOAL = Figures(0.875, 0.70, 0.30)
EVENTS_PER_S = 5_000
_AT_ONCE = 5_000


class Run(NamedTuple):
    """What came of one pipeline: the payments tested, their scores, and how fast it was."""

    tested: Payments
    scores: Floats
    events: int
    events_per_s: float


def main() -> None:
    """Run both pipelines, print the table, and write it and the plot; a mistake is one line."""
    asked = _arguments()
    try:
        _run(asked)
    except StreamprocError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


def _run(asked: argparse.Namespace) -> None:
    if not asked.out.parent.is_dir():
        raise StreamprocError(f"{asked.out}: no such folder; make it, or choose another --out")
    files = _files(asked.folder, asked.months, asked.test_week)
    best = Pipeline.load(EXAMPLE)
    lines = {
        "logistic regression, online": handbooks_own(best),
        "with derived features, online": best,
    }
    week = day_of(asked.test_week)
    runs, found = dict[str, Run](), dict[str, Figures]()
    for name, pipeline in lines.items():
        run = runs[name] = replayed(pipeline, files, week)
        try:
            found[name] = measured(run.tested, run.scores)
        except ValueError as error:
            raise StreamprocError(f"{asked.test_week}: {error}") from error
    published = PUBLISHED if asked.test_week == PUBLISHED_WEEK else {}
    _print(asked.test_week, runs, found, published)
    record = as_json(asked.test_week, runs, found, published)
    asked.out.write_text(json.dumps(record, indent=2) + "\n")
    plot = asked.out.with_suffix(".svg")
    curves = {name: (run.tested.fraud, run.scores) for name, run in runs.items()}
    plot.write_text(drawing.plotted(asked.test_week, curves, found))
    print(f"\nwritten to {_shown(asked.out)} and {_shown(plot)}")


def handbooks_own(pipeline: Pipeline) -> Pipeline:
    """Return the handbook's 15 features and River's logistic regression as it comes."""
    spans = ("1d", "7d", "30d")
    return replace(
        pipeline,
        features=[
            Field("amount"),
            Calendar("event_time", ("is_weekend", "is_night")),
            Window("amount", by="customer_id", over=spans, aggregates=("count", "mean")),
            LabelWindow(by="terminal_id", over=spans, prior_count=1e-9),  # of no label: 0
        ],
        model=preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    )


def replayed(pipeline: Pipeline, files: Iterable[Path], week: int) -> Run:
    """Run a pipeline on the files up to the end of a test week; return what was tested.

    Its monitors are left out: they say nothing of scores. Reading the files isn't timed.
    """
    scored = dict[Any, float]()
    kept = list[tuple[int, int, int]]()
    ids = list[Any]()
    from_ms, now_ms, read_ns, events = week * DAY_MS, 0, 0, 0

    def take(output: Output) -> None:
        if now_ms < from_ms - DAY_MS:  # nothing of the test week yet
            return
        for out in output.records.get("predictions", ()):
            said = orjson.loads(out["value"] or b"{}")
            if said["event_time_ms"] >= from_ms:
                scored[said["id"]] = said["score"]

    def timed() -> Iterator[Entry]:
        nonlocal now_ms, read_ns, events
        entries = payments.due(_kept(files, week, pipeline, kept, ids), pipeline)
        while True:
            began_ns = time.process_time_ns()
            some = list(islice(entries, _AT_ONCE))
            read_ns += time.process_time_ns() - began_ns
            if not some:
                return
            now_ms = some[-1].time_ms
            events += sum(entry.kind == "event" for entry in some)
            yield from some

    replay = Replay(replace(pipeline, monitors=()), time.time_ns() // 1_000_000, take)
    began_ns = time.process_time_ns()
    replay.run(timed())
    spent_s = (time.process_time_ns() - began_ns - read_ns) / 1e9
    columns = Payments(*np.array(kept, np.int64).reshape(-1, 3).T)
    last = columns.days.max(initial=0)
    if last < week + WEEK - 1:
        raise StreamprocError(
            f"the payments end on {date_of(last)}, within the test week; choose an earlier one"
        )
    chosen = under_test(columns, week)
    scores = np.array([scored[ids[row]] for row in np.flatnonzero(chosen)], np.float64)
    return Run(columns.where(chosen), scores, events, events / max(spent_s, 1e-9))


def _kept(
    files: Iterable[Path],
    week: int,
    pipeline: Pipeline,
    kept: list[tuple[int, int, int]],
    ids: list[Any],
) -> Iterator[Row]:
    """Pass on the rows up to the end of the test week, and keep those that it is judged by."""
    assert pipeline.labels is not None
    names, label, codes = pipeline.events, pipeline.labels.value, dict[Any, int]()
    first, last = first_needed(week), week + WEEK
    for row in chain.from_iterable(map(rows, files)):
        if missing := {names.id, names.key, names.time, label} - row.keys():
            raise StreamprocError(f"the payments have no column {min(missing)!r}; add it")
        day = parse_time_ms(row[names.time]) // DAY_MS
        if day >= last:
            return
        if day >= first:
            code = codes.setdefault(row[names.key], len(codes))
            kept.append((day, code, row[label]))
            ids.append(str(row[names.id]))
        yield row


def as_json(
    week: date, runs: dict[str, Run], found: dict[str, Figures], published: dict[str, Figures]
) -> dict[str, Any]:
    """Return the table for programs; the last of the runs is the best, and comes first."""
    best = list(runs)[-1]
    return {
        **_three(found[best]),
        "events_per_s": round(runs[best].events_per_s, 1),
        "test_week": str(week),
        "events": runs[best].events,
        "tested": int(runs[best].tested.days.size),
        "frauds": int(runs[best].tested.fraud.sum()),
        "rows": [
            *(
                {
                    "model": name,
                    **_three(figures),
                    "card_precision_100_by_day": list(figures.cards),
                    "events_per_s": round(runs[name].events_per_s, 1),
                    "published": False,
                }
                for name, figures in found.items()
            ),
            *(
                {"model": name, **_three(figures), "events_per_s": None, "published": True}
                for name, figures in published.items()
            ),
        ],
    }


def _three(figures: Figures) -> dict[str, float]:
    return {
        "auc": round(figures.auc, 4),
        "average_precision": round(figures.average_precision, 4),
        "card_precision_100": round(figures.card_precision_100, 4),
    }


def _print(
    week: date, runs: dict[str, Run], found: dict[str, Figures], published: dict[str, Figures]
) -> None:
    best = list(runs)[-1]
    run = runs[best]
    print(
        f"The handbook's table, test week from {week}: {run.tested.days.size:,} payments tested,\n"
        f"{run.tested.fraud.sum():,} of them frauds; {run.events:,} were scored and learnt from\n"
    )
    print(f"{'':<33}{'AUC':>8}{'average':>11}{'card':>12}{'events/s':>13}")
    print(f"{'':<33}{'':>8}{'precision':>11}{'prec.@100':>12}{'on one core':>13}")
    for name, figures in {**published, **found}.items():
        rate = f"{runs[name].events_per_s:,.0f}" if name in runs else "-"
        print(
            f"{name:<33}{figures.auc:>8.3f}{figures.average_precision:>11.3f}"
            f"{figures.card_precision_100:>12.3f}{rate:>13}"
        )
    if not published:
        print("\nWhat was published is of another week: it isn't beside these.")
        return
    print()
    figures = found[best]
    for said, figure, goal in (
        ("AUC", figures.auc, GOAL.auc),
        ("average precision", figures.average_precision, GOAL.average_precision),
        ("card precision@100", figures.card_precision_100, GOAL.card_precision_100),
    ):
        _verdict(f"{said} {figure:.3f}", round(figure, 9) >= goal, f"at least {goal:.3f}")
    _verdict(
        f"{run.events_per_s:,.0f} events/s",
        run.events_per_s >= EVENTS_PER_S,
        f"at least {EVENTS_PER_S:,}",
    )


def _verdict(figure: str, holds: bool, claim: str) -> None:
    print(f"  {figure}: {'HOLDS' if holds else 'DOES NOT HOLD'} (aim: {claim})")


def _files(folder: Path, months: list[str], week: date) -> list[Path]:
    found = {
        path.name.removeprefix("transactions-")[:7]: path
        for path in sorted(folder.glob("transactions-*.csv*"))
    }
    if months:
        found = {month: path for month, path in found.items() if month in months}
    if not found:
        raise StreamprocError(
            f"{folder}: no files such as transactions-2018-04.csv.gz; name their --folder"
        )
    for day in range(first_needed(day_of(week)), day_of(week) + WEEK):
        if f"{date_of(day):%Y-%m}" not in found:
            raise StreamprocError(
                f"{folder}: the test week from {week} needs the payments of {date_of(day)}, and "
                f"there is no transactions-{date_of(day):%Y-%m}.csv.gz; choose another --test-week"
            )
    return list(found.values())


def _shown(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no date; write e.g. 2018-08-08") from error


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.handbook", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=payments.FOLDER, help="where transactions-YYYY-MM.csv.gz are"
    )
    parser.add_argument(
        "--months", nargs="+", default=[], metavar="YYYY-MM", help="the files to read; else all"
    )
    parser.add_argument(
        "--test-week",
        type=_date,
        default=PUBLISHED_WEEK,
        metavar="YYYY-MM-DD",
        help=f"its first day; else {PUBLISHED_WEEK}",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).with_suffix(".json"),
        help="where the table goes, the plot beside it as .svg",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
