"""The drift stage: predictions of one partition, in; sums per bucket, out."""

from __future__ import annotations

from faust.types import TP

from agents.deployment import Deployment, Upstream
from agents.stage import Stage
from streamproc.monitors import prediction_fold
from streamproc.tasks.watch import FoldTask


class DriftStage(Stage):
    """Makes the tasks that fold features and scores."""

    name = "drift"
    patient = True

    def __init__(self, deployment: Deployment, upstream: Upstream) -> None:
        self.deployment = deployment
        self.upstream = upstream
        self.topics: tuple[str, ...] = (deployment.pipeline.topics.predictions,)

    def start(self, partition: int, offsets: dict[str, int]) -> FoldTask:
        """Return an empty fold: what was folded before the committed offset was sent."""
        fold = prediction_fold(self.deployment.pipeline)
        assert fold is not None, "this stage is made where something is folded"
        return FoldTask(
            "drift",
            partition,
            fold,
            self.topics[0],
            "prediction",
            self.deployment.codec,
            upstream_caught_up=lambda: self.upstream.caught_up(partition),
        )

    def start_offsets(self, committed: dict[TP, int]) -> dict[TP, int]:
        """Go on where committed."""
        return {}
