"""The drift stage: predictions of one partition, and what was refused or late; sums, out."""

from __future__ import annotations

from faust.types import TP

from agents.deployment import Deployment, Upstream
from agents.stage import Stage
from streamproc.tasks.fold import FoldTask, folded_topics, predictions_task


class DriftStage(Stage):
    """Makes the tasks that fold features, scores and what is wrong with events."""

    name = "drift"
    patient = True

    def __init__(self, deployment: Deployment, upstream: Upstream) -> None:
        self.deployment = deployment
        self.upstream = upstream
        self.topics = folded_topics(deployment.pipeline)

    def start(self, partition: int, offsets: dict[str, int]) -> FoldTask:
        """Return an empty fold: what was folded before the committed offset was sent."""
        at = self.deployment
        return predictions_task(
            at.pipeline, partition, at.codec, lambda: self.upstream.caught_up(partition)
        )

    def start_offsets(self, committed: dict[TP, int]) -> dict[TP, int]:
        """Go on where committed."""
        return {}
