"""Whether a new version of a model may be published: its numbers against those of versions before.

Three things hold a version back:

- a weight that is NaN or infinite; a NaN where versions before had none; a number beyond 1e100
  where theirs were below it;
- weights that exploded: the largest is over :data:`EXPLODED` times the largest that any version
  before had there, or 1 where that was less;
- a probe: of the last :data:`PROBES` outcomes learnt, each of which an earlier version gave a
  finite score, one gets none that is finite, or the model fails on half of them.

All of it follows from what was learnt, so that a learner that goes over it again holds back the
same versions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamproc.errors import BadRecord
from streamproc.messages import Features
from streamproc.models.kinds import Kind
from streamproc.models.numbers import BEYOND, Numbers, numbers_of
from streamproc.models.scoring import Scorer

EXPLODED = 1e6
"""How many times larger than any before a weight may be; a version learns from some thousand."""

PROBES = 50
"""How many outcomes a version is tried on."""

_WEIGHTS = frozenset({"weights", "weight", "latents", "intercept", "intercepts", "coef", "bias"})


@dataclass(frozen=True)
class Trouble:
    """Why a version is held back, and the features in which it shows, where it is known."""

    why: str
    features: tuple[str, ...] = ()


class Guard:
    """Knows how large the numbers of the versions were that were let through.

    ``known`` is what an earlier one had as :attr:`known`.

    >>> from river import linear_model
    >>> model = linear_model.LinearRegression()
    >>> guard = Guard.of(model)
    >>> model.learn_one({"amount": 1e120, "age": 40.0}, 1.0)
    >>> guard.trouble(model, "regression", None, []).features
    ('amount',)
    """

    def __init__(self, known: Mapping[str, Sequence[float]]) -> None:
        self.known = {name: [float(each[0]), float(each[1])] for name, each in known.items()}
        """By attribute: the largest number, and 1 where it held NaN."""

    @classmethod
    def of(cls, model: Any) -> Guard:
        """Return a guard that knows one model alone, such as a new one."""
        guard = cls({})
        guard._learn(numbers_of(model))
        return guard

    def trouble(
        self,
        model: Any,
        kind: Kind,
        classes: Sequence[Any] | None,
        probes: Collection[Features],
    ) -> Trouble | None:
        """Return why a model is to be held back; None where it isn't, and it is known from then on.

        The model should not be learnt on: trying it may leave traces.
        """
        numbers = numbers_of(model)
        found = [self._of(name, each) for name, each in sorted(numbers.items())]
        trouble = next((each for each in found if each), None)
        trouble = trouble or _probed(model, kind, classes, probes)
        if trouble is None:
            self._learn(numbers)
        return trouble

    def _learn(self, numbers: Mapping[str, Numbers]) -> None:
        for name, each in numbers.items():
            largest, nan = self.known.get(name, (0.0, 0.0))
            self.known[name] = [max(largest, each.largest), max(nan, float(each.nan > 0))]

    def _of(self, name: str, now: Numbers) -> Trouble | None:
        before = self.known.get(name)
        is_weight = name.strip("_") in _WEIGHTS
        shown = name.strip("_") or "the state"
        if is_weight and (now.nan or now.infinite):
            return Trouble(f"{now.nan + now.infinite} of {shown} are not finite", now.wild_keys)
        if now.nan and before is not None and not before[1]:
            return Trouble(f"{now.nan} of {shown} are NaN", now.wild_keys)
        if now.largest > BEYOND and (before is None or before[0] <= BEYOND):
            return Trouble(f"{shown} has {now.largest:.2g}", now.wild_keys)
        if is_weight and before is not None:
            usual = max(before[0], 1.0)
            # Of the first version nothing is known: that of a new model is no measure.
            if before[0] > 0 and now.largest > EXPLODED * usual:
                return Trouble(
                    f"{shown} went from {usual:.2g} at most to {now.largest:.2g}",
                    (now.largest_key,) if now.largest_key else (),
                )
        return None


def _probed(
    model: Any, kind: Kind, classes: Sequence[Any] | None, probes: Collection[Features]
) -> Trouble | None:
    scorer = Scorer(model, kind, classes, 0.5, "probe", learnt=True)
    failed = 0
    said = ""
    for features in probes:
        try:
            scorer.score(features)
        except BadRecord as bad:
            if bad.reason == "model_not_finite":
                return Trouble(f"of an outcome learnt before, {bad.detail}")
            failed += 1
            said = bad.detail
    if failed and 2 * failed >= len(probes):
        return Trouble(f"it fails on {failed} of {len(probes)} outcomes learnt before ({said})")
    return None
