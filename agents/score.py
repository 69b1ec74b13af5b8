"""The score stage: events and labels of one partition, in; predictions and outcomes, out."""

from __future__ import annotations

from faust.types import TP

from agents.careful import note_starts
from agents.deployment import Deployment
from agents.keeping import Keeper, unusable_told_to
from agents.metrics import Metrics
from agents.restore import restore_score
from agents.stage import Stage, covered
from streamproc.features.lookup_tables import LatestTables
from streamproc.models.scoring import Scorer
from streamproc.tasks.bounds import Bounds
from streamproc.tasks.frozen import Freezer
from streamproc.tasks.score import ScoreTask

AHEAD_OF_VERSION = 1.0
"""How far score tasks may be ahead of the learner in a backlog, as a share of a version."""


class ScoreStage(Stage):
    """Makes score tasks, and hands each new model version to all of them."""

    name = "score"
    patient = False

    def __init__(self, deployment: Deployment, metrics: Metrics) -> None:
        self.deployment = deployment
        self.metrics = metrics
        topics = deployment.pipeline.topics
        self._inputs: tuple[str, ...] = (topics.events, *([topics.labels] if topics.labels else []))
        rekeyed = deployment.pipeline.rekeyed(deployment.partitions)
        self.topics: tuple[str, ...] = (*self._inputs, *([topics.windows] if rekeyed else []))
        self.tables = LatestTables(deployment.pipeline.lookups)
        self.tasks: dict[int, ScoreTask] = {}
        self.scorer: Scorer | None = None
        self._keepers: dict[int, Keeper] = {}
        self._careful: set[int] = set()
        self._begun: set[int] = set()
        self._started: dict[int, object] = {}

    @property
    def inputs(self) -> tuple[str, ...]:
        """The events and the labels; answers of windows elsewhere are asked for again."""
        return self._inputs

    def start(self, partition: int, offsets: dict[str, int]) -> ScoreTask:
        """Return the task of a partition with its windows and pending labels as they were.

        A task whose partition comes back in a rebalance goes on, if nobody else moved its offsets.
        """
        self._started[partition] = ours = object()
        task, keeper = self.tasks.get(partition), self._keepers.get(partition)
        kept = task is not None and task.positions() == offsets
        if task is None or not kept or (keeper is not None and not keeper.at_rest):
            task, keeper = self._restored(partition, offsets)
        else:
            task.forget_waiting()
        if self._started[partition] is ours:  # or a rebalance has started it anew since
            self.tasks[partition] = task
            if keeper is not None:
                self._keepers[partition] = keeper
        if self.scorer is not None:
            task.take_up(self.scorer)
        return task

    def _restored(self, partition: int, offsets: dict[str, int]) -> tuple[ScoreTask, Keeper | None]:
        """Return a task as it was at these offsets, and what takes its snapshots."""
        at = self.deployment
        share = max(1, int(at.pipeline.publish_every * AHEAD_OF_VERSION / at.partitions))
        keeps = not at.embedded
        task = ScoreTask(at.pipeline, partition, at.codec, at.epoch, share, keeps, at.partitions)
        task.look_up(self.tables.find)
        if at.exactly_once and task.features.over_labels:
            task.bounds = Bounds()
        told = unusable_told_to(self.metrics)
        snapshots = at.snapshots(f"score-{partition}", self.inputs, told) if keeps else None
        committed = {TP(topic, partition): offset for topic, offset in offsets.items()}
        stands = covered(self.inputs, partition, committed)
        first = partition not in self._begun  # what the flags say is for once
        restore_score(task, at, stands, snapshots, at.state_from if first else None)
        self._begun.add(partition)
        if snapshots is None:
            return task, None
        return task, Keeper(Freezer(task), snapshots, lambda: at.tails(partition), self.metrics)

    def careful(self, partition: int) -> bool:
        """Say whether a partition's task was started from the same offsets too often."""
        return partition in self._careful

    def keeper(self, partition: int) -> Keeper | None:
        """Return what takes snapshots of the task that was started last for a partition."""
        return self._keepers.get(partition)

    def start_offsets(self, committed: dict[TP, int]) -> dict[TP, int]:
        """Go on where committed; let go of the tasks of partitions that went elsewhere."""
        ours = {tp.partition for tp in committed}
        at = self.deployment
        if not at.embedded:
            starts = {p: covered(self.inputs, p, committed) for p in ours}
            self._careful = note_starts(at, starts)
        self.tasks = {p: task for p, task in self.tasks.items() if p in ours}
        self._keepers = {p: keeper for p, keeper in self._keepers.items() if p in ours}
        return {}

    def caught_up(self, partition: int) -> bool:
        """Say whether a partition's task, where it is here, has processed all there is."""
        task = self.tasks.get(partition)
        return task is None or task.caught_up

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
