"""Which readers an alert's kind takes, and what else there was at the time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from math import isfinite
from typing import Any

from streamproc.explaining.drift import DriftReader
from streamproc.explaining.examples import (
    AROUND_BUCKETS,
    OutcomeExamples,
    PredictionExamples,
)
from streamproc.explaining.explanation import Example, Explanation
from streamproc.explaining.health import HealthReader
from streamproc.explaining.log import BucketReader, Reader
from streamproc.explaining.outcomes import OutcomeReader, SliceReader
from streamproc.explaining.performance import PerformanceReader, ReactionReader
from streamproc.explaining.quality import QualityReader
from streamproc.messages import Alert, ModelVersion
from streamproc.monitors.comparing import Bar
from streamproc.monitors.foundslices import holds
from streamproc.monitors.oneclass import SUBJECT as ONE_CLASS
from streamproc.monitors.performance import of_reactions
from streamproc.monitors.spec import Watched

MOST_OTHERS = 8
_AT_LEAST_MS = 60_000


def explained(
    pipeline: Watched,
    records: Iterable[Mapping[str, Any]],
    alert: Alert,
    others: Iterable[Alert] = (),
    versions: Iterable[ModelVersion] = (),
) -> Explanation:
    """Return what is known of an alert from the log of sums: ``records`` as the judge reads them.

    ``others`` are the newest message of each alert, ``versions`` the published ones.
    """
    found = Explanation(alert)
    readers = _readers(pipeline, alert)
    for reader in readers:
        if isinstance(reader, BucketReader):
            reader.until_ms = found.until_ms
    for record in records:
        for reader in readers:
            reader.feed(record)
    for reader in readers:
        reader.tell(found)
    around_ms = AROUND_BUCKETS * max(found.bucket_ms, _AT_LEAST_MS)
    near = [
        other
        for other in others
        if other["alert_id"] != alert["alert_id"]
        and abs(other["first_seen_ms"] - found.first_ms) <= around_ms
    ]
    found.others = sorted(near, key=lambda each: (each["first_seen_ms"], each["key"]))[:MOST_OTHERS]
    found.versions = [
        each for each in versions if abs(each["label_time_ms"] - found.first_ms) <= around_ms
    ][-MOST_OTHERS:]
    return found


def _readers(pipeline: Watched, alert: Alert) -> list[Reader]:
    kind = alert["kind"]
    if kind == "health":
        return [HealthReader(pipeline, alert)]
    if kind == "data_quality" and alert["subject"] != ONE_CLASS:
        quality = QualityReader(pipeline, alert)
        return [quality, PredictionExamples(pipeline, alert, quality.example)]
    if kind in ("covariate_drift", "prior_drift"):
        drift = DriftReader(pipeline, alert)
        return [drift, PredictionExamples(pipeline, alert, _OfGrown(drift))]
    if of_reactions(kind, alert["subject"]):
        return [ReactionReader(pipeline, alert)]
    rank = partial(_of_outcome, pipeline, alert)
    examples: list[Reader] = [
        OutcomeExamples(pipeline, alert, rank),
        PredictionExamples(pipeline, alert, lambda example: 0.0),
    ]
    slices = SliceReader(pipeline, alert)
    if kind in ("performance", "data_quality"):
        return [PerformanceReader(pipeline, alert), slices, *examples]
    return [OutcomeReader(pipeline, alert), slices, *examples]


class _OfGrown:
    """Ranks examples of the bar that grew most before others."""

    def __init__(self, drift: DriftReader) -> None:
        self._drift = drift
        self._bar: Bar | None = None
        self._known = False

    def __call__(self, example: Example) -> float | None:
        """Return 1 for one of that bar; 0 for others."""
        if not self._known:
            bars = self._drift.bars
            self._bar = max(bars, key=lambda bar: bar.now_share - bar.then_share, default=None)
            self._known = True
        name = self._drift.name
        value = example.values.get(name, example.score if name.startswith("=score") else None)
        there = name in example.values or name.startswith("=score")
        return float(bool(there and self._bar is not None and self._bar.holds(value)))


def _of_outcome(pipeline: Watched, alert: Alert, example: Example) -> float | None:
    """Rank outcomes by how far the model was off, in the alert's slice as far as features tell."""
    for name, words in (alert["slice"] or {}).items():
        if name in example.values and not holds(words, example.values[name]):
            return None
    if example.observed is None or not isinstance(example.score, int | float):
        return 0.0
    off = abs(example.observed - example.score)
    return off if isfinite(off) else None
