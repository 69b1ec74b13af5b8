"""Examples of events, and which versions scored them, from the samples in the log of sums."""

from __future__ import annotations

from collections.abc import Callable

from streamproc.explaining.drift import sampling
from streamproc.explaining.explanation import EXAMPLES, Example, Explanation
from streamproc.explaining.log import BucketReader, Buckets, Parts, buckets_of_bias
from streamproc.messages import Alert
from streamproc.monitors.drift_fold import SAMPLE, combined
from streamproc.monitors.outcome_sample import SAMPLE as OF_OUTCOMES
from streamproc.monitors.outcome_sample import unpacked as unpacked_outcomes
from streamproc.monitors.outcomes import combined as combined_outcomes
from streamproc.monitors.sample import unpacked
from streamproc.monitors.season import DAY_MS
from streamproc.monitors.spec import Watched
from streamproc.monitors.versions import version_of

AROUND_BUCKETS = 6
"""What changed within so many buckets of the beginning is told of."""

MOST_LEFT = 2_000

Rank = Callable[[Example], float | None]
"""How good an example is of what an alert is about; None for one that is not."""


class _Chosen:
    """The versions before and since, and of the events since the best examples."""

    def __init__(self, first_ms: int) -> None:
        self._first_ms = first_ms
        self._then: set[str] = set()
        self._now: set[str] = set()
        self._left: list[Example] = []

    def add(self, event_ms: int, example: Example) -> None:
        """Take in an event."""
        if event_ms < self._first_ms:
            self._then.add(example.model)
            return
        self._now.add(example.model)
        if len(self._left) < MOST_LEFT:
            self._left.append(example)

    def tell(self, found: Explanation, rank: Rank) -> None:
        """Choose examples, and say which versions there were."""
        if found.models_then or found.models_now or found.examples:
            return
        found.models_then = sorted(self._then, key=version_of)
        found.models_now = sorted(self._now, key=version_of)
        ranked = [(rank(each), at) for at, each in enumerate(self._left)]
        best = sorted((-score, at) for score, at in ranked if score is not None)
        found.examples = [self._left[at] for _, at in best[:EXAMPLES]]
        if not best and self._left and not any("no examples" in note for note in found.notes):
            n = f"{len(self._left):,}"
            found.notes.append(
                f"no examples: none of the first {n} sampled since then is what it is about"
            )


class PredictionExamples(BucketReader):
    """Predictions, from the sample of the drift monitor; none where there is no such monitor.

    ``rank`` is asked once all is read.
    """

    unwatched = None

    def __init__(self, pipeline: Watched, alert: Alert, rank: Rank) -> None:
        first_ms = alert["first_seen_ms"]
        self._rank = rank
        self._chosen = _Chosen(first_ms)
        of = sampling(pipeline)
        if of is not None:
            from_ms = first_ms - AROUND_BUCKETS * of[1].bucket_ms
            self._log = Buckets(
                "drift",
                of[0],
                of[1].bucket_ms,
                lambda name, at: name == SAMPLE and from_ms <= at < first_ms + DAY_MS,
            )

    def _tell(self, found: Explanation, log: Buckets) -> None:
        self._chosen.tell(found, self._rank)

    def _add(self, start_ms: int, parts: Parts) -> None:
        if SAMPLE in parts:
            sample = unpacked(combined(parts[SAMPLE]))
            for row in sample.rows:
                values = dict(zip(sample.names, row.values, strict=True))
                self._chosen.add(start_ms, Example(row.id, row.model, row.score, values))


class OutcomeExamples(BucketReader):
    """Outcomes, from the sample of the bias monitor; none where there is no such monitor."""

    unwatched = None

    def __init__(self, pipeline: Watched, alert: Alert, rank: Rank) -> None:
        self._rank = rank
        self._chosen = _Chosen(alert["first_seen_ms"])
        from_ms = alert["first_seen_ms"] - DAY_MS
        self._log = buckets_of_bias(
            pipeline, lambda name, at: name == OF_OUTCOMES and at >= from_ms
        )

    def _tell(self, found: Explanation, log: Buckets) -> None:
        self._chosen.tell(found, self._rank)

    def _add(self, start_ms: int, parts: Parts) -> None:
        if OF_OUTCOMES not in parts:
            return
        for row in unpacked_outcomes(combined_outcomes(parts[OF_OUTCOMES])).rows:
            example = Example(row.id, row.model, row.score, row.values, float(row.yes))
            self._chosen.add(row.event_ms, example)
