"""Six series of the Numenta Anomaly Benchmark: our monitors and River's detectors by its score.

As the benchmark does it, each detector has one setting for all series, the best of a few, which is
printed beside the one it comes with.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from river import anomaly, drift

from benchmarks.detection.nab_score import Window, learnt, normalised, score
from benchmarks.processes import ROOT
from streamproc import Drift, Events, Field, Pipeline
from streamproc.alerts import new_judge
from streamproc.eventtime import parse_time_ms
from streamproc.monitors import drift_fold
from streamproc.monitors.drift_fold import DriftFold

FOLDER = ROOT.parent / "shared" / "data" / "nab"
NAMES = (
    "art_daily_small_noise",
    "ambient_temperature_system_failure",
    "ec2_cpu_utilization_5f5533",
    "speed_7578",
    "machine_temperature_system_failure",
    "nyc_taxi",
)

PUBLISHED = {
    "ARTime": ((0.0, 1.658, 1.698, 3.108, 2.556, 3.775), 57.661),
    "Numenta HTM": ((0.0, 1.323, 1.716, 1.236, 2.893, 2.342), 35.432),
    "KNN CAD": ((-0.44, -0.768, 1.623, 1.251, -2.856, 0.265), 18.547),
    "relative entropy": ((-0.55, -1.400, -0.118, 3.349, -0.916, 3.833), 10.771),
    "random cut forest": ((0.0, 1.762, 1.723, 1.471, -2.119, -3.185), 3.984),
    "Etsy Skyline": ((0.0, -2.0, -2.0, -0.278, -4.0, -5.0), -40.576),
    "Bayesian change point": ((-1.32, -2.0, -0.351, -0.287, -2.880, -5.0), -76.445),
}
"""What the benchmark's repository says (numenta/NAB, results/*/*_standard_scores.csv): the scores
of these six of its files, in the order of `NAMES`, and the sum over all 58."""

WINDOWS_OF_ALL = 116
HOUR_MS = 3_600_000


class Series(NamedTuple):
    """One series: times and values by row, and the windows as rows."""

    name: str
    times_ms: list[int]
    values: list[float]
    windows: list[Window]


class Line(NamedTuple):
    """One detector's scores, by series and normalised."""

    detector: str
    setting: str
    scores: tuple[float, ...]
    normalised: float


def read(name: str) -> Series:
    """Read a series; its windows end where rows are."""
    with (FOLDER / f"{name}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    times_ms = [parse_time_ms(row["timestamp"]) for row in rows]
    ends: list[list[str]] = json.loads((FOLDER / "windows.json").read_text())[f"{name}.csv"]
    row_of = {time_ms: row for row, time_ms in reversed(list(enumerate(times_ms)))}
    windows = [(row_of[parse_time_ms(a)], row_of[parse_time_ms(b)]) for a, b in ends]
    return Series(name, times_ms, [float(row["value"]) for row in rows], windows)


def published() -> list[Line]:
    """Return the published scores of these six series, normalised by the windows they have."""
    windows = sum(len(read(name).windows) for name in NAMES)
    return [
        Line(name, "published", scores, normalised(scores, windows))
        for name, (scores, _) in PUBLISHED.items()
    ]


def measured() -> list[Line]:
    """Return the lines of our monitors and of River's detectors, as they come and at best."""
    series = [read(name) for name in NAMES]
    lines = []
    for name, (settings, detect) in DETECTORS.items():
        tried = [_line(name, setting, detect, series) for setting in settings]
        best = max(tried, key=lambda line: line.normalised)
        lines += [tried[0], best] if best is not tried[0] else [best]
    return lines


Detect = Callable[[Series, Any], Sequence[int]]


def _line(name: str, setting: Any, detect: Detect, series: Sequence[Series]) -> Line:
    scores = tuple(score(len(one.values), detect(one, setting), one.windows) for one in series)
    windows = sum(len(one.windows) for one in series)
    return Line(name, str(setting), scores, normalised(scores, windows))


def ours(series: Series, false_alarms: str) -> list[int]:
    """Return the rows at which alerts were opened, or told again since they are worse.

    Buckets are of an hour, folded and judged as soon as a row of the next is there; what the
    benchmark gives to learn from is the reference.
    """
    span_ms = series.times_ms[learnt(len(series.values))] - series.times_ms[0]
    pipeline = Pipeline(
        name="nab",
        events=Events("nab.readings", id="row", key="row", time="timestamp"),
        features=[Field("value")],
        model=anomaly.HalfSpaceTrees(seed=7),
        monitors=[Drift(features=("value",), reference=f"{max(span_ms // HOUR_MS, 12)}h")],
        false_alarms=false_alarms,
        lateness="0s",
    )
    judge, found = new_judge(pipeline, 1), []
    for row, sums in _folded(series, drift_fold(pipeline)):
        alerts = judge.update([sums], series.times_ms[row])
        told = [alert["status"] != "resolved" for alert in alerts]
        found += [row] if any(told) else []
    return found


_sums: dict[str, list[tuple[int, dict[str, Any]]]] = {}


def _folded(series: Series, fold: DriftFold) -> list[tuple[int, dict[str, Any]]]:
    """Return what the fold sends, and the row at which it does: the first of another hour.

    There is no model, so that there are no scores to watch.
    """
    if series.name not in _sums:
        sent = _sums[series.name] = []
        hour = series.times_ms[0] // HOUR_MS
        for row, (time_ms, value) in enumerate(zip(series.times_ms, series.values, strict=True)):
            if time_ms // HOUR_MS > hour:
                hour = time_ms // HOUR_MS
                buckets = fold.take()
                for bucket in buckets:
                    bucket["series"] = {"value": bucket["series"]["value"]}
                sums = {"stage": "drift", "partition": 0, "watermark_ms": time_ms}
                sent.append((row, {**sums, "caught_up": False, "buckets": buckets}))
            event = {"id": str(row), "event_time_ms": time_ms, "features": {"value": value}}
            fold.update([{**event, "score": 0.0, "model": "main@1", "decision": False}])
    return _sums[series.name]


def _river(make: Callable[[Any], Any]) -> Detect:
    """Return a River detector of drift, on values in standard deviations of what it may learn."""

    def detect(series: Series, setting: Any) -> list[int]:
        detector, found = make(setting), []
        first = series.values[: learnt(len(series.values))]
        mean = sum(first) / len(first)
        sd = (sum((value - mean) ** 2 for value in first) / len(first)) ** 0.5 or 1.0
        for row, value in enumerate(series.values):
            detector.update((value - mean) / sd)
            if detector.drift_detected:
                found.append(row)
        return found

    return detect


_scored: dict[str, list[float]] = {}


def _half_space_trees(series: Series, threshold: float) -> list[int]:
    """Return the rows that River's half-space trees score so high."""
    if series.name not in _scored:
        first = series.values[: learnt(len(series.values))]
        low, high = min(first), max(first)
        trees: Any = anomaly.HalfSpaceTrees(seed=7)  # not typed
        scores = _scored[series.name] = []
        for value in series.values:
            x = {"value": (value - low) / ((high - low) or 1.0)}
            scores.append(trees.score_one(x))
            trees.learn_one(x)
    return [row for row, one in enumerate(_scored[series.name]) if one >= threshold]


def _adwin(delta: float) -> Any:
    adwin: Any = drift.ADWIN  # not typed
    return adwin(delta=delta)


def _page_hinkley(threshold: float) -> Any:
    return drift.PageHinkley(threshold=threshold)


DETECTORS: dict[str, tuple[tuple[Any, ...], Detect]] = {
    "ours, drift of the value": (("1 per 30d", "1 per 7d", "1 per 1d"), ours),
    "River ADWIN": ((0.002, 1e-6, 1e-4, 0.05, 0.3), _river(_adwin)),
    "River PageHinkley": ((50.0, 10.0, 100.0, 250.0, 1000.0), _river(_page_hinkley)),
    "River HalfSpaceTrees": (
        (0.99, 0.9, 0.95, 0.97, 0.98, 0.995, 0.999, 0.9999),
        _half_space_trees,
    ),
    "no detection": ((None,), lambda series, setting: ()),
}
"""The settings that are tried, the first of them being the detector's own; half-space trees have
none, and the first is that of `examples/machine.py`."""
