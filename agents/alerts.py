"""The judge's stage: sums of all partitions, and what people ask for, in; alerts, out."""

from __future__ import annotations

import time
from dataclasses import replace

import structlog
from faust.types import TP

from agents.deployment import Deployment
from agents.idle import Lag
from agents.keeping import Keeper, unusable_told_to
from agents.metrics import Metrics
from agents.stage import Stage, covered
from streamproc.alerts import new_judge
from streamproc.errors import StreamprocError
from streamproc.monitors.judge import Judge
from streamproc.state.snapshots import Offsets, Snapshots
from streamproc.tasks.judge import JudgeTask
from streamproc.tasks.judging import JudgeFreezer, check_kept, judge_fingerprint, thawed
from streamproc.tasks.waits import Believed

log = structlog.get_logger("judge")

SNAPSHOT_EVERY_S = 600.0
"""How long at least from one snapshot to the next: some minutes of sums are soon read again."""


class AlertStage(Stage):
    """Makes the one task that judges."""

    name = "alerts"
    patient = True

    def __init__(self, deployment: Deployment, metrics: Metrics) -> None:
        self.deployment = deployment
        self.metrics = metrics
        topics = deployment.pipeline.topics
        self.topics: tuple[str, ...] = (topics.buckets, topics.operations)
        self.task: JudgeTask | None = None
        self._keeper: Keeper | None = None

    def start(self, partition: int, offsets: dict[str, int]) -> JudgeTask:
        """Return the task, its judge as it was at the offsets."""
        at = self.deployment
        committed = {TP(topic, partition): offset for topic, offset in offsets.items()}
        stands = covered(self.topics, partition, committed)
        if partition != 0:  # the embedded broker has more, which stay empty
            return self._task(new_judge(at.pipeline, at.partitions), stands)
        snapshots = self._snapshots()
        began_s = time.monotonic()
        judge, since = _newest(snapshots, stands) if snapshots else (None, 0)
        task = self._task(judge or new_judge(at.pipeline, at.partitions), stands)
        first = at.start_of(self.topics[0], 0)
        if since < first and stands[0]:
            log.warning("sums_deleted", since=since, first=first, instead="what remains is judged")
        task.replay(at.read(self.topics[0], 0, since, stands[0]))
        log.info(
            "judge_restored",
            snapshot=judge is not None,
            replayed_records=stands[0] - since,
            took_ms=round((time.monotonic() - began_s) * 1000),
        )
        self.task, self._keeper = task, None
        if snapshots is not None:
            freezer = JudgeFreezer(task)
            self._keeper = Keeper(freezer, snapshots, dict, self.metrics, SNAPSHOT_EVERY_S)
        return task

    def _task(self, judge: Judge, stands: Offsets) -> JudgeTask:
        at = self.deployment
        idle = Believed() if at.embedded else Lag(at)
        return JudgeTask(judge, self.topics[0], at.codec, stands[0], self.topics[1], idle)

    def _snapshots(self) -> Snapshots | None:
        """Return the judge's snapshots; None where there are none, or it could not be read back."""
        at = self.deployment
        if at.embedded:
            return None
        try:
            check_kept(at.pipeline)
        except StreamprocError as error:
            log.warning("judge_not_kept", error=str(error), instead="all sums are read at a start")
            return None
        found = at.snapshots("judge", self.topics[:1], unusable_told_to(self.metrics))
        watched = judge_fingerprint(at.pipeline, at.partitions)
        return replace(found, of={**found.of, "monitors": watched})

    def keeper(self, partition: int) -> Keeper | None:
        """Return what takes the judge's snapshots."""
        return self._keeper if partition == 0 else None

    def start_offsets(self, committed: dict[TP, int]) -> dict[TP, int]:
        """Go on where committed."""
        return {}


def _newest(snapshots: Snapshots, committed: Offsets) -> tuple[Judge | None, int]:
    """Return the judge of the newest snapshot that can be read, and from where to go on."""
    while (snapshot := snapshots.newest(committed)) is not None:
        try:
            return thawed(snapshot), snapshot.offsets[0]
        except StreamprocError as error:
            snapshots.told(snapshots.files.full(f"{snapshots.folder}/{snapshot.name}"), str(error))
            committed = (snapshot.offsets[0] - 1, committed[1])
    return None, 0
