"""The one knob, for people: what each monitor gets of it, and how soon it sees a change."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from math import isfinite
from typing import Any

from streamproc.cli.common import counted
from streamproc.monitors.allotment import Part, allotment
from streamproc.monitors.expected import Hope
from streamproc.monitors.expected_scores import SUPPOSED
from streamproc.monitors.foundslices import MOST
from streamproc.monitors.health_spec import Health
from streamproc.monitors.hopes import Traffic
from streamproc.monitors.season import DAY_MS
from streamproc.monitors.spec import drift_plan
from streamproc.pipeline import Pipeline

SUPPOSED_PER_DAY = 10_000.0
"""Events a day where traffic is not known; delays in events depend on it by its logarithm."""

HOPELESS_DAYS = 60.0
"""What takes longer than this to be seen is not to be hoped for."""

_OF_LABELS = ("LabelShift", "PredictionBias", "Calibration", "Performance")


def described_alarms(
    pipeline: Pipeline, traffic: Traffic | None, source: str | None, positives: float | None
) -> dict[str, Any]:
    """Return what false alarms are shared out and what is to be hoped for, for programs.

    ``days`` are null where traffic is not known, and ``seen``, too, if it would be seen at all;
    ``events`` where it never would. ``notes`` say what is outside the budget, ``supposed`` what
    is supposed of the model, and what has to be given.
    """
    supposed = Traffic(SUPPOSED_PER_DAY, SUPPOSED_PER_DAY, positives)
    parts = allotment(pipeline, traffic or supposed)
    return {
        "budget": pipeline.false_alarms,
        "traffic": None
        if traffic is None
        else {
            "events_per_day": traffic.events_per_day,
            "outcomes_per_day": traffic.outcomes_per_day,
            "positives": traffic.positives,
            "from": source,
        },
        "monitors": [_part(part, known=traffic is not None) for part in parts],
        "notes": list(_notes(pipeline)),
        "supposed": list(_supposed(pipeline, parts, (traffic or supposed).positives)),
    }


def _notes(pipeline: Pipeline) -> Iterator[str]:
    """Yield what is watched and keeps to no budget."""
    for _, monitor, series in drift_plan(pipeline):
        if monitor.detector is None:
            continue
        numbers, features = len(series.numbers), len(series.numbers) + len(series.texts)
        what = [counted(numbers, "numeric feature")] if numbers else []
        what += ["the score"] if series.score else []
        if what:
            apart = "; how features go together is not tested" if features > 1 else ""
            name = type(monitor.detector).__name__
            yield f"Drift: {name} keeps to no budget over {' and '.join(what)}{apart}."
    if any(isinstance(monitor, Health) for monitor in pipeline.monitors):
        yield "Health is outside the budget: its limits are rules, not tests."


def _supposed(pipeline: Pipeline, parts: list[Part], positives: float | None) -> Iterator[str]:
    """Yield what is supposed where it matters to what is hoped for, and what is not known."""
    hoped = [part.kind for part in parts if part.hopes]
    kinds = ("PredictionBias",) * (pipeline.kind == "multiclass") + ("Calibration", "Performance")
    of_scores = [kind for kind in kinds if kind in hoped]
    if of_scores:
        yield f"Supposed for {_listed(of_scores)}: {SUPPOSED[pipeline.kind]} before."
    if "PredictionBias" in hoped and pipeline.kind != "regression":
        yield f"Supposed for slices that are found: as many as there can be, {MOST}."
    silent = [part.kind for part in parts if not part.hopes and part.kind in _OF_LABELS]
    if silent and pipeline.kind == "binary" and positives is None:
        yield f"For {_listed(silent)} give --positives, the part of the labels that is positive."


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _part(part: Part, known: bool) -> dict[str, Any]:
    return {
        "kind": part.kind,
        "share": part.share,
        "days_per_false_alarm": part.alarm_ms / DAY_MS,
        "series": part.series,
        "days_per_false_alarm_of_each": part.series and part.alarm_ms * part.series / DAY_MS,
        "hopes": [
            {
                "change": hope.change,
                "events": hope.events if isfinite(hope.events) else None,
                "days": hope.days if known and isfinite(hope.days) else None,
                "seen": _seen(hope, known),
            }
            for hope in part.hopes
        ],
    }


def _seen(hope: Hope, known: bool) -> bool | None:
    if not isfinite(hope.events):
        return False
    return hope.days <= HOPELESS_DAYS if known else None


def drawn_alarms(found: dict[str, Any]) -> Iterator[str]:
    """Yield the section of `streamproc check`; it fits into 80 columns."""
    if not found["monitors"]:
        return
    yield "false alarms"
    yield f"  {found['budget']} expected over all that is watched (Pipeline, false_alarms)."
    yield from _traffic(found["traffic"])
    yield ""
    yield "  monitor          part  one in       series  each of them, one in"
    for part in found["monitors"]:
        series = "by slice" if part["series"] is None else f"{part['series']:,}"
        each = part["days_per_false_alarm_of_each"]
        yield (
            f"  {part['kind']:<15}{part['share']:>6.1%}  "
            f"{in_words(part['days_per_false_alarm']):<10} {series:>8}"
            f"{'' if not each else '  ' + in_words(each)}"
        )
    for note in found["notes"]:
        yield from textwrap.wrap(note, 78, initial_indent="  ", subsequent_indent="    ")
    if any(part["hopes"] for part in found["monitors"]):
        yield ""
        yield "  how soon a change is seen, on average; of features, in one series"
        for part in found["monitors"]:
            for row, hope in enumerate(part["hopes"]):
                yield f"  {'' if row else part['kind']:<14}  {hope['change']:<39} {_told(hope)}"
        for note in found["supposed"]:
            yield from textwrap.wrap(note, 78, initial_indent="  ", subsequent_indent="    ")


def _traffic(traffic: dict[str, Any] | None) -> Iterator[str]:
    if traffic is None:
        yield f"  Delays are in events, for {SUPPOSED_PER_DAY:,.0f} a day: give --events-per-day,"
        yield "  --online or --sample to have them in days."
        return
    yield (
        f"  Traffic: {traffic['events_per_day']:,.0f} events and "
        f"{traffic['outcomes_per_day']:,.0f} labels a day ({traffic['from']})"
        + ("." if traffic["positives"] is None else ",")
    )
    if traffic["positives"] is not None:
        yes = traffic["positives"] * traffic["outcomes_per_day"]
        told = f"{yes:,.0f}" if yes >= 10 else f"{yes:.2g}"
        yield f"  {traffic['positives']:.3%} of the labels positive, {told} a day."


def _told(hope: dict[str, Any]) -> str:
    if hope["events"] is None:
        return "not told: too small"
    if hope["seen"] is False:
        return "not to be hoped for"
    return f"{hope['events']:,.0f} events" if hope["days"] is None else in_words(hope["days"])


def in_words(days: float) -> str:
    """Return a span in words of two figures.

    >>> in_words(0.01), in_words(0.3), in_words(30), in_words(4000)
    ('14 minutes', '7.2 hours', '30 days', '11 years')
    """
    for unit, size, least in (("years", 365.25, 2.0), ("days", 1.0, 2.0), ("hours", 1 / 24, 2.0)):
        if days >= size * least:
            count = days / size
            return f"{count:,.0f} {unit}" if count >= 10 else f"{count:.2g} {unit}"
    return f"{max(days * 1440, 1):.0f} minutes"


def traffic_of(
    pipeline: Pipeline,
    given_per_day: float | None,
    measured: tuple[float, float | None] | None,
    sample: dict[str, Any] | None,
    positives: float | None,
) -> tuple[Traffic | None, str | None]:
    """Return today's traffic and where it is known from: what is given, the topics, the sample."""
    share = 0.0 if pipeline.labels is None else 1.0
    known = None if sample is None else sample["positives"]
    base = positives if positives is not None else known
    if given_per_day is not None:
        return Traffic(given_per_day, given_per_day * share, base), "given"
    if measured is not None and measured[0] > 0:
        events, labels = measured
        return Traffic(events, min(labels or 0.0, events), base), "measured"
    if sample is not None and sample["span_ms"]:
        per_day = DAY_MS / sample["span_ms"]
        return Traffic(sample["events"] * per_day, sample["labelled"] * per_day, base), "sample"
    return None, None
