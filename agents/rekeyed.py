"""The stage of re-keyed windows: what score tasks send of other entities, in; answers, out."""

from __future__ import annotations

from faust.types import TP

from agents.deployment import Deployment
from agents.keeping import Keeper, unusable_told_to
from agents.metrics import Metrics
from agents.restore import restore_rekeyed
from agents.stage import Stage, covered
from streamproc.tasks.frozen import Freezer
from streamproc.tasks.rekeyed import RekeyedTask


class RekeyedStage(Stage):
    """Makes the tasks that hold windows by other entities than the events' key."""

    name = "rekeyed"
    patient = False

    def __init__(self, deployment: Deployment, metrics: Metrics) -> None:
        self.deployment = deployment
        self.metrics = metrics
        self.topics: tuple[str, ...] = (deployment.pipeline.topics.rekeyed,)
        self.tasks: dict[int, RekeyedTask] = {}
        self._keepers: dict[int, Keeper] = {}
        self._begun: set[int] = set()

    def start(self, partition: int, offsets: dict[str, int]) -> RekeyedTask:
        """Return the task of a partition with its windows, and what waits, as they were.

        It is made anew each time: what went on since the last commit is not in its offsets.
        """
        at = self.deployment
        keeps = not at.embedded
        task = RekeyedTask(at.pipeline, partition, at.partitions, track=keeps)
        told = unusable_told_to(self.metrics)
        snapshots = at.snapshots(f"rekeyed-{partition}", self.topics, told) if keeps else None
        committed = {TP(topic, partition): offset for topic, offset in offsets.items()}
        first = partition not in self._begun  # what the flags say is for once
        stands = covered(self.topics, partition, committed)
        restore_rekeyed(task, at, stands, snapshots, at.state_from if first else None)
        self._begun.add(partition)
        self.tasks[partition] = task
        if snapshots is not None:
            tails = at.journal_tail
            self._keepers[partition] = Keeper(Freezer(task), snapshots, tails, self.metrics)
        return task

    def keeper(self, partition: int) -> Keeper | None:
        """Return what takes snapshots of the task that was started last for a partition."""
        return self._keepers.get(partition)

    def start_offsets(self, committed: dict[TP, int]) -> dict[TP, int]:
        """Go on where committed; let go of the tasks of partitions that went elsewhere."""
        ours = {tp.partition for tp in committed}
        self.tasks = {p: task for p, task in self.tasks.items() if p in ours}
        self._keepers = {p: keeper for p, keeper in self._keepers.items() if p in ours}
        return {}
