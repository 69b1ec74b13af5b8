"""Watches the demo's topics from outside, as any consumer could, and keeps the figures."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from streamproc.demo.explained import explaining, names
from streamproc.demo.scenario import Fault, Scenario
from streamproc.messages import ModelVersion
from streamproc.metrics import RunningAUC
from streamproc.models.scoring import Scorer
from streamproc.pipeline import Pipeline
from streamproc.timeline import Entry

NO_SKILL = 0.5
"""The AUC of scores that know nothing."""

_RECENT = 2_000


@dataclass
class SeenAlert:
    """One alert from its opening on.

    ``fault`` explains it, None for a false alarm. ``opened_after_events`` counts the events sent
    from the fault's start until the alert was seen; None for a false alarm.
    """

    alert: dict[str, Any]
    fault: Fault | None
    opened_after_events: int | None
    opened_ms: int
    resolved_ms: int | None = None

    @property
    def resolved(self) -> bool:
        """Whether it has ended."""
        return self.resolved_ms is not None

    @property
    def names_the_fault(self) -> bool:
        """Whether it names the very feature or slice of the fault."""
        return self.fault is not None and names(self.alert, self.fault)


class Observer:
    """Counts what was sent and what came back; the caller tells when, in seconds of any clock.

    ``load`` returns the model of a published version. Never-learning is the first version, frozen:
    both AUCs are of the outcomes that a learnt version had predicted, so that they compare.
    """

    def __init__(
        self, scenario: Scenario, pipeline: Pipeline, load: Callable[[ModelVersion], Any]
    ) -> None:
        self.scenario = scenario
        self.pipeline = pipeline
        self.events = 0
        self.labels = 0
        self.predictions = 0
        self.outcomes = 0
        self.duplicates = 0
        self.learnt = 0
        self.versions = 0
        self.dead_letters = 0
        self.now_ms = 0
        self.alerts: list[SeenAlert] = []
        self.latencies_s = array("d")
        self._load = load
        self._id = pipeline.events.id
        self._sent_at_s: dict[str, float] = {}
        self._recent_s: deque[float] = deque(maxlen=_RECENT)
        self._events_before: dict[int, int] = {}
        self._frozen: Scorer | None = None
        self._unscored: list[dict[str, Any]] = []
        self._learning = RunningAUC()
        self._never = RunningAUC()

    # ---------------------------------------------------------------- what goes out

    def sent(self, entry: Entry, at_s: float) -> None:
        """Take note of a record that is handed to the producer now."""
        self.now_ms = max(self.now_ms, entry.time_ms)
        if entry.kind == "label":
            self.labels += 1
            return
        for number, fault in enumerate(self.scenario.faults):
            if entry.time_ms >= fault.start_ms:
                self._events_before.setdefault(number, self.events)
        self._sent_at_s[str(orjson.loads(entry.value)[self._id])] = at_s
        self.events += 1

    # ---------------------------------------------------------------- what comes back

    def prediction(self, value: bytes, at_s: float) -> None:
        """Take in a prediction; a second one for an event is a duplicate."""
        sent_at_s = self._sent_at_s.pop(orjson.loads(value)["id"], None)
        self.predictions += 1
        if sent_at_s is None:
            self.duplicates += 1
            return
        self.latencies_s.append(at_s - sent_at_s)
        self._recent_s.append(at_s - sent_at_s)

    def outcome(self, value: bytes) -> None:
        """Take in a prediction joined with its label."""
        self.outcomes += 1
        outcome = orjson.loads(value)
        if not outcome["model"].endswith("@0"):
            self._unscored.append(outcome)

    def model(self, value: bytes) -> None:
        """Take in what the learner says: a version, which one is promoted, or how far it is."""
        said = orjson.loads(value)
        if "progress" in said:
            self.learnt = sum(learnt for _, learnt in said["learnt"].values())
        if "sha256" not in said:
            return
        self.versions = max(self.versions, said["version"])
        if said["version"] == 1 and self._frozen is None:
            at = self.pipeline
            self._frozen = Scorer(
                self._load(said), at.kind, at.classes, at.threshold, said["model"], learnt=True
            )

    def alert(self, value: bytes) -> SeenAlert | None:
        """Take in a step of an alert's life; return the alert if it opened or resolved."""
        told = orjson.loads(value)
        known = next(
            (
                seen
                for seen in reversed(self.alerts)
                if seen.alert["alert_id"] == told["alert_id"] and not seen.resolved
            ),
            None,
        )
        if known is not None:
            if told["status"] != "resolved":
                known.alert = told
                return None
            known.resolved_ms = self.now_ms
            return known
        if told["status"] == "resolved":
            return None
        fault = explaining(told, self.now_ms, self.scenario.faults, self.pipeline)
        seen = SeenAlert(told, fault, self._events_since(fault), self.now_ms)
        self.alerts.append(seen)
        return seen

    def _events_since(self, fault: Fault | None) -> int | None:
        if fault is None:
            return None
        return self.events - self._events_before[list(self.scenario.faults).index(fault)]

    # ---------------------------------------------------------------- what it amounts to

    @property
    def missing(self) -> int:
        """How many events have no prediction yet."""
        return len(self._sent_at_s)

    @property
    def behind(self) -> int:
        """How many records the worker is behind with, at the stage that is furthest behind."""
        unlearnt = self.outcomes - self.learnt
        return max(self.missing, self.labels - self.outcomes, unlearnt)

    @property
    def false_alarms(self) -> int:
        """How many alerts no fault explains."""
        return sum(seen.fault is None for seen in self.alerts)

    def latency_s(self, percent: float, recent: bool = False) -> float | None:
        """Return a percentile of the seconds from sending an event to seeing its prediction."""
        values: Iterable[float] = self._recent_s if recent else self.latencies_s
        numbers = np.fromiter(values, dtype=float)
        return float(np.percentile(numbers, percent)) if numbers.size else None

    def aucs(self) -> tuple[float | None, float | None]:
        """Return the running AUC of the learning model and of never-learning."""
        if self._frozen is not None and self._unscored:
            outcomes, self._unscored = self._unscored, []
            labels = [outcome["label"] for outcome in outcomes]
            scores: list[Any] = [outcome["score"] for outcome in outcomes]
            self._learning.update(labels, scores)
            score = self._frozen.score
            scores = [score(outcome["features"])[0] for outcome in outcomes]
            self._never.update(labels, scores)
        return self._learning.value, self._never.value

    def settled(self) -> bool:
        """Whether everything sent has come back, and no alert of a fault is still open."""
        return not self.behind and not any(seen.fault and not seen.resolved for seen in self.alerts)
