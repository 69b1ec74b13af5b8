"""The learn stage: outcomes of all partitions, in; model versions, out."""

from __future__ import annotations

from typing import Any

import structlog
from faust.types import TP

from agents.deployment import Deployment
from agents.keeping import Keeper
from agents.models import newest_version
from streamproc.errors import StreamprocError
from streamproc.messages import ModelVersion
from streamproc.tasks.learn import LearnTask

log = structlog.get_logger("learn")


class LearnStage:
    """Makes the one learn task, which goes on from the newest published version."""

    name = "learn"
    patient = False

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.topics: tuple[str, ...] = (deployment.pipeline.topics.learn,)

    def start(self, partition: int, offsets: dict[str, int]) -> LearnTask:
        """Return the learn task, as it was when it last published."""
        at = self.deployment
        task = LearnTask(at.pipeline, at.partitions, at.codec)
        # The embedded broker has more partitions than the one that is written to.
        version = newest_version(at) if partition == 0 else None
        if version is not None:
            task.restore(version, self._model_of(version))
        return task

    def _model_of(self, version: ModelVersion) -> Any:
        """Return the model to go on with; refuse one that the pipeline no longer defines."""
        at = self.deployment
        then = version["sources"].get("learns_what", at.pipeline.learns_what)
        if then == at.pipeline.learns_what:
            return at.store.load(version)
        if not at.fresh_model:
            raise StreamprocError(
                f"{version['model']} was learnt by another model, or from other features, than the "
                "pipeline file defines now; take that back, or start with --fresh-model to learn "
                "anew, or give the pipeline another name"
            )
        log.warning("fresh_model", instead_of=version["model"])
        return at.pipeline.new_model()

    def start_offsets(self, committed: dict[TP, int]) -> dict[TP, int]:
        """Read what was sent since the newest version, committed or not."""
        version = newest_version(self.deployment)
        at = version["sources"]["resume_offset"] if version else 0
        return {tp: at for tp in committed if tp.partition == 0}

    def keeper(self, partition: int) -> Keeper | None:
        """Return None: its versions are its snapshots."""
        return None
