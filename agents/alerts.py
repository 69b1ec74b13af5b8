"""The judge's stage: sums of all partitions, in; alerts, out."""

from __future__ import annotations

from faust.types import TP

from agents.deployment import Deployment
from agents.stage import Stage
from streamproc.alerts import new_judge
from streamproc.tasks.watch import JudgeTask, step_of


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
        steps = (at.codec.decode("alert", each.value()) for each in alerts if each.value())
        emitted = {step_of(each) for each in steps}  # without keys that somebody took away
        silent_until = offsets[self.topics[0]]
        task = JudgeTask(judge, self.topics[0], at.codec, silent_until, emitted)
        if partition == 0:  # the embedded broker has more, which stay empty
            self.task = task
        return task

    def start_offsets(self, committed: dict[TP, int]) -> dict[TP, int]:
        """Read all sums."""
        return dict.fromkeys(committed, 0)
