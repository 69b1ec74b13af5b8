"""What a pipeline asks to be told of its performance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from streamproc.errors import DefinitionError
from streamproc.eventtime import parse_duration_ms
from streamproc.monitors.declared import check_bucket, check_weight, checked_slices, fields_of


@dataclass(frozen=True)
class Ranking:
    """The groups whose items a score puts in order: nDCG of the first ``k`` of each.

    ``group`` names a field of the event, such as a session's id; what an item gains is its label
    (1 for the positive class). All labels of a group should become known in one bucket.
    """

    group: str
    k: int = 10

    def __post_init__(self) -> None:
        if not isinstance(self.group, str) or not self.group:
            raise DefinitionError("Ranking: group names a field, such as 'session_id'")
        if type(self.k) is not int or not 1 <= self.k <= 100:
            raise DefinitionError("Ranking: k must be a whole number from 1 to 100, such as 10")


@dataclass(frozen=True)
class Performance:
    """Tells how good predictions were: metrics of a sliding window, overall and by slice.

    ``window`` is how much time the metrics are about; it moves on by ``bucket`` or by 1/32 of
    itself, whichever is more. Both are spans of the time at which labels became known. ``slices``
    are as a bias monitor's. Metrics stand beside those of zero-rule, of chance, and of your own
    ``baseline``: the name of a feature, or a function of the features, that gives what a model of
    the kind would (a probability or yes and no, a class, a number), or None where it can't. Where
    the model is no better, that is an alert.

    ``beta`` is how many times as much recall counts as precision in F-beta; ``tolerance`` which
    part of the true value a regression may be off by, to count as almost correct; ``weight`` is the
    monitor's part of the pipeline's false alarms.

    Raises `DefinitionError`, which names the field and the remedy.

    >>> Performance(window="7d", slices=("country",)).window_ms
    604800000
    """

    window: str = "7d"
    slices: Sequence[str | tuple[str, ...]] = ()
    baseline: Any = field(default=None, repr=False)
    beta: float = 1.0
    tolerance: float = 0.1
    ranking: Ranking | None = None
    bucket: str = "1h"
    weight: float = 1.0
    baseline_name: str | None = field(init=False, compare=False)
    """What the baseline is called; it stands for it where the pipeline's fingerprint is made."""

    def __post_init__(self) -> None:
        check_bucket("Performance", self.bucket)
        check_weight("Performance", self.weight)
        object.__setattr__(self, "slices", checked_slices("Performance", self.slices))
        if self.window_ms < self.bucket_ms:
            raise DefinitionError(
                f"Performance: a window of {self.window} is shorter than a bucket, {self.bucket}"
            )
        base = self.baseline
        if base is not None and not callable(base) and not (isinstance(base, str) and base):
            raise DefinitionError(
                f"Performance: baseline {base!r:.60} is neither a feature's name nor a function "
                "of the features, such as lambda features: features['amount'] > 220"
            )
        name = getattr(base, "__qualname__", type(base).__qualname__) if callable(base) else base
        object.__setattr__(self, "baseline_name", name)
        for what, value in (("beta", self.beta), ("tolerance", self.tolerance)):
            if type(value) not in (int, float) or not (isfinite(value) and value > 0):
                raise DefinitionError(f"Performance: {what} must be a number above 0, such as 1.0")
        if self.ranking is not None and not isinstance(self.ranking, Ranking):
            raise DefinitionError("Performance: ranking must be made by Ranking(group=...)")

    def __getstate__(self) -> dict[str, Any]:
        """Return what a judge's snapshot keeps: of a function its name, as only folds call it."""
        return {**self.__dict__, "baseline": self.baseline_name}

    @property
    def window_ms(self) -> int:
        """How much time the metrics are about."""
        return parse_duration_ms(self.window, "Performance, window")

    @property
    def bucket_ms(self) -> int:
        """How much time a bucket spans."""
        return parse_duration_ms(self.bucket, "Performance, bucket")

    @property
    def k(self) -> int:
        """How many of a ranking's items count; 0 without one."""
        return self.ranking.k if self.ranking else 0

    @property
    def fields(self) -> tuple[tuple[str, ...], ...]:
        """The fields of each kind of slice, the first being none at all: overall."""
        return fields_of(self.slices)
