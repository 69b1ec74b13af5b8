"""The judge's stage: sums of all partitions, in; alerts, out."""

from __future__ import annotations

from faust.types import TP

from agents.deployment import Deployment
from agents.stage import Stage
from streamproc.alerts import new_judge
from streamproc.monitors.fold import NEVER
from streamproc.tasks.watch import JudgeTask, step_of

TAIL = 8_192
"""How many of the last reports of performance are looked at; those of one time are fewer."""


class AlertStage(Stage):
    """Makes the one task that judges."""

    name = "alerts"
    patient = True

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.topics: tuple[str, ...] = (deployment.pipeline.topics.buckets,)
        self.task: JudgeTask | None = None

    def start(self, partition: int, offsets: dict[str, int]) -> JudgeTask:
        """Return the task; it reads all sums again, and is silent up to where it had come."""
        at = self.deployment
        judge = new_judge(at.pipeline, at.partitions)
        alerts = at.read(at.pipeline.topics.alerts, 0, 0, None)
        emitted = {step_of(at.codec.decode("alert", record.value())) for record in alerts}
        silent_until = offsets[self.topics[0]]
        task = JudgeTask(
            judge, self.topics[0], at.codec, silent_until, emitted, self._reported_ms()
        )
        if partition == 0:  # the embedded broker has more, which stay empty
            self.task = task
        return task

    def _reported_ms(self) -> dict[str, int]:
        """Return up to when performance was reported on, from the last reports."""
        at = self.deployment
        topic = at.pipeline.topics.metrics
        if not at.pipeline.reports:
            return {}
        end = at.end_of(topic, 0)
        found: dict[str, int] = {}
        for record in at.read(topic, 0, max(at.start_of(topic, 0), end - TAIL), end):
            report = at.codec.decode("performance", record.value())
            found[report["about"]] = max(found.get(report["about"], NEVER), report["to_ms"])
        return found

    def start_offsets(self, committed: dict[TP, int]) -> dict[TP, int]:
        """Read all sums."""
        return dict.fromkeys(committed, 0)
