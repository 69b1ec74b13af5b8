"""The folds of one partition's records, as one: by these a stage folds what it is given."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Protocol

from streamproc.monitors.drift_fold import drift_fold
from streamproc.monitors.fold import NEVER, Messages
from streamproc.monitors.outcomefold import bias_fold
from streamproc.monitors.outcomespec import outcome_plan
from streamproc.monitors.performance_fold import GUESSED, PerformanceFold
from streamproc.monitors.spec import Watched, drift_plan, performance_plan


class Fold(Protocol):
    """Folds messages into rows per series and bucket; see `streamproc.monitors.fold`.

    ``bucket_ms`` is how long a bucket of event time is.
    """

    bucket_ms: int

    @property
    def watermark_ms(self) -> int:
        """The newest time folded."""

    def update(self, messages: Sequence[dict[str, Any]]) -> None:
        """Fold messages in."""

    def take(self) -> list[dict[str, Any]]:
        """Return the rows of what was folded since they were last taken."""


_HELD = 2_048
_TIMES = itemgetter("event_time_ms"), itemgetter("label_time_ms")


class Folds:
    """Several folds of the same messages, some thousand at once.

    With ``labelled`` they are outcomes, whose time is that at which they became known.
    """

    def __init__(self, folds: Sequence[Fold], labelled: bool = False) -> None:
        self._folds = tuple(folds)
        self.bucket_ms = min(fold.bucket_ms for fold in folds)
        self.watermark_ms = NEVER
        self._times = _TIMES if labelled else _TIMES[:1]
        self._held: list[dict[str, Any]] = []

    def update(self, messages: Sequence[dict[str, Any]]) -> None:
        """Fold messages in."""
        for get in self._times if messages else ():
            self.watermark_ms = max(self.watermark_ms, max(map(get, messages)))
        self._held.extend(messages)
        if len(self._held) >= _HELD:
            self._fold()

    def take(self) -> list[dict[str, Any]]:
        """Return the rows of what was folded since they were last taken."""
        self._fold()
        return [bucket for fold in self._folds for bucket in fold.take()]

    def _fold(self) -> None:
        held, self._held = Messages(self._held), []
        for fold in self._folds if held else ():
            fold.update(held)


def prediction_folds(pipeline: Watched) -> list[Fold]:
    """Return empty folds for one partition of a pipeline's predictions."""
    folds: list[Fold] = [drift_fold(pipeline)] if drift_plan(pipeline) else []
    if performance_plan(pipeline) and pipeline.kind in GUESSED:
        folds.append(PerformanceFold(pipeline, "predictions"))
    return folds


def prediction_fold(pipeline: Watched) -> Folds | None:
    """Return an empty fold for one partition of a pipeline's predictions; None if none is asked."""
    folds = prediction_folds(pipeline)
    return Folds(folds) if folds else None


def outcome_fold(pipeline: Watched) -> Folds | None:
    """Return an empty fold for one partition of a pipeline's outcomes; None if none is asked."""
    folds: list[Fold] = [bias_fold(pipeline)] if outcome_plan(pipeline) else []
    if performance_plan(pipeline):
        folds.append(PerformanceFold(pipeline))
    return Folds(folds, labelled=True) if folds else None
