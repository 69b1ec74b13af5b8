"""Rebuilding a score task's state from the log, without emitting anything.

The windows come from the events before the committed offset. What waits for its label comes from
the predictions that were published, so that it is joined with what was said, not with what the
present model would say; which labels have come is told by those before their committed offset.
"""

from __future__ import annotations

import time

import orjson

from agents.deployment import Deployment
from streamproc.tasks.records import Record
from streamproc.tasks.score import ScoreTask


def restore_score(task: ScoreTask, at: Deployment, offsets: dict[str, int]) -> None:
    """Bring ``task`` to the state it had when ``offsets`` (by topic) were committed."""
    topics, partition = at.pipeline.topics, task.partition
    now_ms = time.time_ns() // 1_000_000
    events_end = offsets[topics.events]
    labels: dict[str, Record] = {}
    predictions: dict[str, bytes] = {}
    if topics.labels:
        for record in at.read(topics.labels, partition, 0, offsets[topics.labels]):
            task.collect_label(record, labels)
        for record in at.read(topics.predictions, partition, 0, None) if events_end else ():
            prediction = at.codec.decode("prediction", record.value())
            if prediction["id"] not in labels:
                predictions[prediction["id"]] = orjson.dumps(prediction)
    refused = at.refused(partition) if events_end else ()
    for record in at.read(topics.events, partition, 0, events_end):
        if record.offset() in refused:
            continue
        task.replay_event(record, predictions, labels, now_ms)
    for record in labels.values():
        task.hold_label(record)
