"""The bias stage: outcomes of one partition, in; sums per bucket, out."""

from __future__ import annotations

from faust.types import TP

from agents.deployment import Deployment, Upstream
from agents.stage import Stage
from streamproc.monitors import outcome_fold
from streamproc.tasks.fold import FoldTask


class BiasStage(Stage):
    """Makes the tasks that fold what was observed minus what was predicted."""

    name = "bias"
    patient = True

    def __init__(self, deployment: Deployment, upstream: Upstream) -> None:
        self.deployment = deployment
        self.upstream = upstream
        self.topics: tuple[str, ...] = (deployment.pipeline.topics.outcomes,)

    def start(self, partition: int, offsets: dict[str, int]) -> FoldTask:
        """Return an empty fold: what was folded before the committed offset was sent."""
        fold = outcome_fold(self.deployment.pipeline)
        assert fold is not None, "this stage is made where something is folded"
        return FoldTask(
            "bias",
            partition,
            fold,
            self.topics[0],
            "outcome",
            self.deployment.codec,
            upstream_caught_up=lambda: self.upstream.caught_up(partition),
        )

    def start_offsets(self, committed: dict[TP, int]) -> dict[TP, int]:
        """Go on where committed."""
        return {}
