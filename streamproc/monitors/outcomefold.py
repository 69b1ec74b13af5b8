"""Folds one partition's outcomes into the sums that the monitors of outcomes test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from streamproc.monitors.fold import NEVER, Messages, column
from streamproc.monitors.outcome_sample import Sampled
from streamproc.monitors.outcomes import (
    ERRORS,
    LOSSES,
    OVERALL,
    Batch,
    Binned,
    Counted,
    Row,
    Valued,
    log_losses,
)
from streamproc.monitors.outcomespec import (
    Calibration,
    ConceptDrift,
    LabelShift,
    OutcomeMonitor,
    outcome_plan,
)
from streamproc.monitors.sketch import Floats
from streamproc.monitors.spec import PredictionBias, Watched
from streamproc.monitors.sums import LARGEST


class BiasFold:
    """Folds outcomes, some thousand at once; see `streamproc.monitors.outcomes` for the rows.

    A bucket is of the time at which labels became known: by that time it is complete, however long
    labels take. (Where yes comes sooner than no, a burst of traffic shows for a while.)
    ``bucket_ms`` is the shortest bucket, ``watermark_ms`` the newest time folded.

    >>> from types import SimpleNamespace
    >>> fold = BiasFold(SimpleNamespace(
    ...     monitors=[Calibration()], kind="binary", classes=None, learns=False))
    >>> fold.update([{"id": "a", "event_time_ms": 5, "label_time_ms": 9, "score": 0.5, "label": 1,
    ...               "decision": True, "model": "m@1"}])
    >>> fold.take()[0]["series"]
    {'': {'bins': {'97': [1, 1, 536870912]}, 'n': 1, 'delay_ms': 4}}
    """

    def __init__(self, pipeline: Watched) -> None:
        plan = outcome_plan(pipeline)
        self.bucket_ms = min((monitor.bucket_ms for _, monitor in plan), default=3_600_000)
        self.watermark_ms = NEVER
        self._kind = pipeline.kind
        self._classes = pipeline.classes
        self._learns = pipeline.learns
        self._parts = [_Part(number, monitor, pipeline.kind) for number, monitor in plan]

    @property
    def overflowed(self) -> int:
        """How many slices were left out because there were too many."""
        return sum(part.binned.overflowed for part in self._parts)

    def update(self, outcomes: Sequence[dict[str, Any]]) -> None:
        """Fold outcomes in; the declared slice fields are in their ``slices``."""
        if outcomes:
            self._fold(Messages.of(outcomes))

    def take(self) -> list[dict[str, Any]]:
        """Return the sums of what was folded since they were last taken."""
        return [
            {"stage": "bias", "monitor": part.number, "bucket_ms": start_ms, "series": rows}
            for part in self._parts
            for start_ms, rows in sorted(part.take().items())
        ]

    def _fold(self, held: Messages) -> None:
        known_ms = held.known_ms
        self.watermark_ms = max(self.watermark_ms, int(known_ms.max()))
        yes, score = self._pairs(held)
        batch = Batch(held, yes, score, known_ms, known_ms - held.times_ms)
        usable = ~np.isnan(yes) & ~np.isnan(score)
        if self._learns and held.learnt is not None:
            usable &= held.learnt
        if self._kind != "regression":
            usable &= (score >= 0) & (score <= 1)
        predicted = batch.of(usable)
        for part in self._parts:
            if isinstance(part.monitor, LabelShift):
                part.labels(batch)
            elif len(predicted.outcomes):
                part.add(predicted, self._kind, self._yes)

    @property
    def _yes(self) -> Any:
        return self._classes[-1] if self._classes else True

    def _pairs(self, held: Messages) -> tuple[Floats, Floats]:
        """Return what was observed and what predicted; of several classes, of that decided for."""
        labels = held.labels
        if self._kind == "multiclass":
            decided = list(map(str, held.decisions))
            scores = [
                score.get(one) if isinstance(score, dict) else None
                for score, one in zip(held.scores, decided, strict=True)
            ]
            labels = [
                None if label is None else str(label) == one
                for label, one in zip(labels, decided, strict=True)
            ]
            return column(labels), column(scores)
        if self._kind == "binary":
            yes = self._yes
            labels = [None if label is None else label == yes for label in labels]
        return column(labels), held.score


class _Part:
    """What one monitor needs of outcomes."""

    def __init__(self, number: int, monitor: OutcomeMonitor, kind: str) -> None:
        bucket_ms = monitor.bucket_ms
        self.number = number
        self.monitor = monitor
        self.binned = Binned(bucket_ms)
        self._kind = kind
        self._valued, self._counted = Valued(bucket_ms), Counted(bucket_ms)
        self._sampled = Sampled(bucket_ms)

    def take(self) -> dict[int, dict[str, Row]]:
        """Return the rows by bucket and name."""
        rows: dict[int, dict[str, Row]] = {}
        for each in (self.binned, self._valued, self._counted, self._sampled):
            for start_ms, found in each.take().items():
                rows.setdefault(start_ms, {}).update(found)
        return rows

    def labels(self, batch: Batch) -> None:
        """Take in the labels of all outcomes, predicted or not."""
        if self._kind == "multiclass":
            told = [None if o["label"] is None else str(o["label"]) for o in batch.outcomes]
            self._valued.add(OVERALL, batch.known_ms, batch.delay_ms, told)
            return
        there = batch.of(~np.isnan(batch.yes))
        if not len(there.outcomes):
            return
        if self._kind == "regression":
            self._valued.add(OVERALL, there.known_ms, there.delay_ms, there.yes)
        else:
            self._counted.add(OVERALL, there.known_ms, there.delay_ms, there.yes)

    def add(self, batch: Batch, kind: str, yes: Any) -> None:
        """Take in outcomes with a prediction."""
        if isinstance(self.monitor, ConceptDrift):
            self._concept(batch, kind, yes)
        elif kind == "regression":
            self._residuals(batch)
        elif isinstance(self.monitor, Calibration):
            self.binned.add(batch, ())
        elif isinstance(self.monitor, PredictionBias):
            for fields in self.monitor.fields:
                self.binned.add(batch, fields)
            self._sampled.add(batch.outcomes, batch.known_ms, batch.yes, batch.score)

    def _residuals(self, batch: Batch) -> None:
        assert isinstance(self.monitor, PredictionBias)
        left = batch.yes - batch.score
        for fields in self.monitor.fields:
            names = self.binned.names(batch, fields)
            for name in sorted({name for name in names if name is not None}):
                at = np.array([each == name for each in names])
                self._valued.add(name, batch.known_ms[at], batch.delay_ms[at], left[at])

    def _concept(self, batch: Batch, kind: str, yes: Any) -> None:
        if kind == "regression":
            losses = np.minimum(np.abs(batch.yes - batch.score), LARGEST)
            self._valued.add(LOSSES, batch.known_ms, batch.delay_ms, losses)
            return
        if kind == "multiclass":
            wrong, true = 1.0 - batch.yes, _of_label(batch)
            losses = log_losses(np.ones(len(true)), true)
        else:
            said = _said([outcome.get("decision") for outcome in batch.outcomes], yes)
            wrong = np.where(np.isnan(said), np.nan, (said != batch.yes).astype(np.float64))
            losses = log_losses(batch.yes, batch.score)
        self._valued.add(LOSSES, batch.known_ms, batch.delay_ms, losses)
        at = ~np.isnan(wrong)
        if at.any():
            self._counted.add(ERRORS, batch.known_ms[at], batch.delay_ms[at], wrong[at])


def bias_fold(pipeline: Watched) -> BiasFold:
    """Return an empty fold for one partition of a pipeline's outcomes."""
    return BiasFold(pipeline)


def _said(decisions: list[Any], yes: Any) -> Floats:
    """Return 1 where the decision is yes, 0 where it is not, NaN where there was none."""
    if set(map(type, decisions)) == {bool}:
        return np.array(decisions, np.float64)
    said = (each if isinstance(each, bool | None) else each == yes for each in decisions)
    return np.array([float("nan") if each is None else each for each in said], np.float64)


def _of_label(batch: Batch) -> Floats:
    """Return the probability that was given to the label."""
    given = column([outcome["score"].get(str(outcome["label"])) for outcome in batch.outcomes])
    return np.clip(np.nan_to_num(given), 0.0, 1.0)
