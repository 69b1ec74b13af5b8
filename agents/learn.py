"""The learn stage: outcomes of all partitions, in; model versions, out."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import structlog
from faust.types import TP

from agents.deployment import Deployment
from agents.models import published_versions
from agents.stage import Stage
from streamproc.errors import StreamprocError
from streamproc.features.shared import changed
from streamproc.messages import ModelVersion
from streamproc.models.versions import dumps
from streamproc.tasks.learn import LearnTask

log = structlog.get_logger("learn")


class LearnStage(Stage):
    """Makes the one learn task, which goes on from the newest published version."""

    name = "learn"
    patient = False

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.topics: tuple[str, ...] = (deployment.pipeline.topics.learn,)
        self._chosen: tuple[ModelVersion | None, Any, bytes, int] = (None, None, b"", 0)

    def start(self, partition: int, offsets: dict[str, int]) -> LearnTask:
        """Return the learn task, as it was when it last published.

        Where the newest version cannot be read, the one before is taken, or none, and what was
        learnt since is learnt again, silently.
        """
        at = self.deployment
        task = LearnTask(at.pipeline, at.partitions, at.codec)
        if partition != 0:  # the embedded broker has more than the one that is written to
            return task
        version, model, blob, newest = self._chosen
        if version is not None:
            task.restore(version, model, blob)
        task.silent_until = newest
        if newest > task.version:
            log.warning("model_rebuilt", since=version["model"] if version else "main@0")
        return task

    def _choose(self) -> tuple[ModelVersion | None, Any, bytes, int]:
        """Return the newest version that can be read, its model and bytes, and the newest's number.

        The model, and its bytes, are new ones where the definition has changed.
        """
        versions = sorted(published_versions(self.deployment), key=itemgetter("version"))
        for version in reversed(versions):
            self._check_fits(version)
            try:
                return version, *self._model_of(version), versions[-1]["version"]
            except StreamprocError as error:
                log.error("model_not_loaded", model=version["model"], error=str(error))
        return None, None, b"", versions[-1]["version"] if versions else 0

    def _check_fits(self, version: ModelVersion) -> None:
        """Refuse a version of another model than the pipeline defines, unless told to go on."""
        if not self._is_other(version) or self.deployment.fresh_model:
            return
        before = version["sources"].get("shared", {})
        which = changed(self.deployment.pipeline.shared, before, version["model"])
        raise StreamprocError(
            f"{version['model']} was learnt by another model, or from other features, than the "
            "pipeline file defines now; take that back, or start with --fresh-model to learn "
            "anew, or give the pipeline another name" + "".join(f" ({each})" for each in which)
        )

    def _is_other(self, version: ModelVersion) -> bool:
        ours = self.deployment.pipeline.learns_what
        return bool(version["sources"].get("learns_what", ours) != ours)

    def _model_of(self, version: ModelVersion) -> tuple[Any, bytes]:
        """Return the model to go on with, and its bytes."""
        if not self._is_other(version):
            blob = self.deployment.store.get(version)
            return self.deployment.store.unpack(blob), blob
        log.warning("fresh_model", instead_of=version["model"])
        model = self.deployment.pipeline.new_model()
        return model, dumps(model)

    def start_offsets(self, committed: dict[TP, int]) -> dict[TP, int]:
        """Read what was sent since the version that is gone on from, committed or not."""
        self._chosen = self._choose()
        version = self._chosen[0]
        at = version["sources"]["resume_offset"] if version else 0
        return {tp: at for tp in committed if tp.partition == 0}
