"""The score stage: events and labels of one partition, in; predictions and outcomes, out."""

from __future__ import annotations

from faust.types import TP

from agents.deployment import Deployment
from agents.restore import restore_score
from streamproc.models.scoring import Scorer
from streamproc.tasks.score import ScoreTask

AHEAD_OF_VERSION = 1.0
"""How far score tasks may be ahead of the learner in a backlog, as a share of a version."""


class ScoreStage:
    """Makes score tasks, and hands each new model version to all of them."""

    name = "score"
    patient = False

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        topics = deployment.pipeline.topics
        self.topics: tuple[str, ...] = (topics.events, *([topics.labels] if topics.labels else []))
        self.tasks: dict[int, ScoreTask] = {}
        self.scorer: Scorer | None = None
        self._started: dict[int, object] = {}

    def start(self, partition: int, offsets: dict[str, int]) -> ScoreTask:
        """Return the task of a partition with its windows and pending labels as they were.

        A task whose partition comes back in a rebalance goes on, if nobody else moved its offsets.
        """
        at = self.deployment
        self._started[partition] = ours = object()
        task = self.tasks.get(partition)
        if task is None or task.positions() != offsets:
            share = at.pipeline.publish_every * AHEAD_OF_VERSION / at.partitions
            task = ScoreTask(at.pipeline, partition, at.codec, at.epoch, ahead=max(1, int(share)))
            restore_score(task, at, offsets)
        else:
            task.forget_waiting()
        if self._started[partition] is ours:  # or a rebalance has started it anew since
            self.tasks[partition] = task
        if self.scorer is not None:
            task.take_up(self.scorer)
        return task

    def start_offsets(self, committed: dict[TP, int]) -> dict[TP, int]:
        """Go on where committed; let go of the tasks of partitions that went elsewhere."""
        ours = {tp.partition for tp in committed}
        self.tasks = {
            partition: task for partition, task in self.tasks.items() if partition in ours
        }
        return {}

    def caught_up(self, partition: int) -> bool:
        """Say whether a partition's task, where it is here, has processed all there is."""
        task = self.tasks.get(partition)
        return task is None or task.merge.caught_up

    def take_up(self, scorer: Scorer) -> None:
        """Score with this version from now on."""
        self.scorer = scorer
        for task in self.tasks.values():
            task.take_up(scorer)

    def heard(self, learnt: dict[str, tuple[int, int]], now_ms: int) -> None:
        """Let the tasks know how far the learner has come, by partition."""
        for partition, (epoch, outcomes) in learnt.items():
            task = self.tasks.get(int(partition))
            if task is not None:
                task.news.heard(epoch, outcomes, now_ms)
