"""SEA concepts: how many rows after each change of concept it is told, by us and by River's.

River's detectors get what our monitors get, in the same run: whether each decision was wrong, and
the label, from the first version of the model on. They come with their own defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from river import drift, linear_model, preprocessing

from benchmarks.detection.watching import Life, lives, told
from benchmarks.processes import ROOT
from streamproc import ConceptDrift, Drift, Events, Field, Labels, LabelShift, Pipeline
from streamproc.eventtime import parse_time_ms
from streamproc.files import rows
from streamproc.timeline import LabelColumns, timeline

FILE = ROOT.parent / "shared" / "data" / "sea" / "sea.csv.gz"
MINUTE_MS = 60_000
START_MS = parse_time_ms("2026-01-01T00:00:00Z")
ROWS = 50_000
CONCEPTS = (12_500, 25_000, 37_500)
"""Rows from which on the concept is another."""

AT_ONCE = 20
"""Records that are fed at once, so that a delay is known to ten rows."""

_binary: Any = drift.binary  # not typed
_adwin: Any = drift.ADWIN
PEERS: dict[str, Callable[[], Any]] = {
    "River ADWIN": _adwin,
    "River DDM": _binary.DDM,
    "River EDDM": _binary.EDDM,
    "River HDDM_A": _binary.HDDMA,
    "River HDDM_W": _binary.HDDMW,
    "River PageHinkley": drift.PageHinkley,
}


def pipeline() -> Pipeline:
    """Return a logistic regression that learns on, a version every 1,000 rows, and its monitors."""
    return Pipeline(
        name="sea",
        events=Events("sea.rows", id="row", key="row", time="at"),
        labels=Labels("sea.labels", id="row", value="y", horizon="1d"),
        features=[Field("x1"), Field("x2"), Field("x3")],
        model=preprocessing.StandardScaler() | linear_model.LogisticRegression(),
        monitors=[
            Drift(reference="2d"),
            LabelShift(bucket="30m"),
            ConceptDrift(bucket="30m"),
        ],
        lateness="0s",
        publish_every=1_000,
    )


def measured() -> dict[str, Any]:
    """Run SEA, a row a minute; return what was told, and by whom."""
    entries = timeline(
        rows(FILE),
        id="row",
        key="row",
        time="at",
        labels=LabelColumns("row", "y"),
        start_ms=START_MS,
        every_ms=MINUTE_MS,
        number_rows=True,
    )
    outcomes = list[dict[str, Any]]()
    found = lives(told(pipeline(), entries, at_once=AT_ONCE, outcomes=outcomes.append))
    learnt = [one for one in outcomes if not one["model"].endswith("@0")]
    at = [int(one["id"]) for one in learnt]
    wrong = [int(one["decision"] != bool(one["label"])) for one in learnt]
    labels = [int(one["label"]) for one in learnt]
    return {
        "lines": [
            *ours(found),
            *(
                line(name, of, told_of(make(), at, values))
                for of, values in (("wrong decisions", wrong), ("labels", labels))
                for name, make in PEERS.items()
            ),
        ],
        "told": [life.line() for life in found],
    }


def ours(found: Sequence[Life]) -> list[dict[str, Any]]:
    """Return the lines of our monitors, from the alerts of each kind."""
    kinds = {"concept_drift": "wrong decisions, loss", "label_shift": "labels"}
    opened = [(life, (life.opened.at_ms - START_MS) // MINUTE_MS) for life in found]
    lines = [
        line("ours", of, [row for life, row in opened if life.opened.alert["kind"] == kind])
        for kind, of in kinds.items()
    ]
    return [*lines, line("ours", "all of it", [row for _, row in opened])]


def told_of(detector: Any, at: Sequence[int], values: Sequence[int]) -> list[int]:
    """Return the rows at which one of River's detectors tells of a change."""
    found = []
    for row, value in zip(at, values, strict=True):
        detector.update(value)
        if detector.drift_detected:
            found.append(row)
    return found


def line(detector: str, of: str, told_rows: Sequence[int]) -> dict[str, Any]:
    """Return the delay after each change, None where it isn't told; the others are beside.

    >>> line("always late", "labels", [100, 12_600, 12_700, 37_600])["delays"]
    [100, None, 100]
    """
    ends = (*CONCEPTS[1:], ROWS)
    firsts = [
        min((row for row in told_rows if change <= row < end), default=None)
        for change, end in zip(CONCEPTS, ends, strict=True)
    ]
    delays = [
        None if first is None else first - change
        for change, first in zip(CONCEPTS, firsts, strict=True)
    ]
    beside = len(told_rows) - sum(first is not None for first in firsts)
    return {"detector": detector, "of": of, "delays": delays, "beside": beside}
