"""Rebuilding a score task's state from the log, without emitting anything.

The windows come from the events before the committed offset; what waits for its label comes from
the predictions that were published, so that it is joined with what was said, not with what the
present model would say.
"""

from __future__ import annotations

import orjson

from agents.deployment import Deployment
from streamproc.tasks.score import ScoreTask


def restore_score(task: ScoreTask, at: Deployment, offsets: dict[str, int]) -> None:
    """Bring ``task`` to the state it had when ``offsets`` (by topic) were committed."""
    topics, partition = at.pipeline.topics, task.partition
    events_end = offsets[topics.events]
    if not events_end:
        return
    labelled: set[str] = set()
    predictions: dict[str, bytes] = {}
    if topics.labels:
        for record in at.read(topics.outcomes, partition, 0, None):
            labelled.add(at.codec.decode("outcome", record.value())["id"])
        for record in at.read(topics.predictions, partition, 0, None):
            prediction = at.codec.decode("prediction", record.value())
            if prediction["id"] not in labelled:
                predictions[prediction["id"]] = orjson.dumps(prediction)
    for record in at.read(topics.events, partition, 0, events_end):
        task.replay_event(record, predictions)
    if topics.labels:
        for record in at.read(topics.labels, partition, 0, offsets[topics.labels]):
            task.replay_label(record, labelled)
