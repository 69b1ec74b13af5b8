"""Bringing a score task's state back: the newest snapshot, and the log since, emitting nothing.

Windows and known ids come from the events, what waits for its label from the predictions that were
published, so that it is joined with what was said and not with what the present model would say.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping

import orjson
import structlog

from agents.deployment import Deployment
from streamproc.errors import StreamprocError
from streamproc.state.snapshots import Offsets, Snapshot, Snapshots
from streamproc.tasks.frozen import UnfitError, thaw
from streamproc.tasks.merge import AT_ONCE
from streamproc.tasks.records import Record
from streamproc.tasks.rekeyed import RekeyedTask
from streamproc.tasks.replaying import Step, replay
from streamproc.tasks.score import ScoreTask

log = structlog.get_logger("restore")

_REPLAYED_AT_ONCE = 500
_ID_FIRST = b'{"id":"'


def restore_score(
    task: ScoreTask,
    at: Deployment,
    committed: Offsets,
    snapshots: Snapshots | None,
    state_from: str | None = None,
) -> None:
    """Bring ``task`` to the state it had when ``committed`` was, of its events and labels.

    ``state_from`` is where state comes from instead: ``nothing``, ``earliest``, or a time.
    """
    if state_from == "nothing":
        log.warning("state_fresh", partition=task.partition)
        return
    began_s = time.monotonic()
    snapshot = None
    if snapshots is not None and state_from is None:
        snapshot = _thawed(task, committed, snapshots)
    topics = at.pipeline.topics
    inputs = [topic for topic in (topics.events, topics.labels) if topic]
    start: Offsets = (
        snapshot.offsets
        if snapshot
        else at.log_start(inputs, task.partition, committed, state_from)
    )
    thawed_s = time.monotonic()
    _replay(task, at, start, committed, snapshot)
    log.info(
        "state_restored",
        partition=task.partition,
        snapshot=snapshot.name if snapshot else None,
        thaw_ms=round((thawed_s - began_s) * 1000),
        replayed_events=committed[0] - start[0],
        replay_ms=round((time.monotonic() - thawed_s) * 1000),
    )


def restore_rekeyed(
    task: RekeyedTask,
    at: Deployment,
    committed: Offsets,
    snapshots: Snapshots | None,
    state_from: str | None = None,
) -> None:
    """Bring ``task`` to the state it had when ``committed`` was; see :func:`restore_score`.

    What waited still is in the journal. Without one, which is at least once, all that came since
    the snapshot waits again, and is answered again.
    """
    if state_from == "nothing":
        log.warning("state_fresh", rekeyed=task.partition)
        return
    began_s = time.monotonic()
    topics, partition = at.pipeline.topics, task.partition
    snapshot = None
    if snapshots is not None and state_from is None:
        snapshot = _thawed(task, committed, snapshots)
    start = snapshot.offsets if snapshot else at.log_start(
        [topics.rekeyed], partition, committed, state_from
    )  # fmt: skip
    queued = task.queued
    if at.exactly_once and committed[0]:
        tail = snapshot.tails.get(topics.journal, 0) if snapshot else 0
        for record in at.read(topics.journal, 0, tail, None):
            entry = orjson.loads(record.value() or b"{}")
            queued |= entry.get("queued", {}).get(str(partition), {})
    records: list[Record] = []
    for record in at.read(topics.rekeyed, partition, start[0], committed[0]):
        records.append(record)
        if len(records) == _REPLAYED_AT_ONCE and at.exactly_once:
            task.replay(records)
            records = []
    if at.exactly_once:
        task.replay(records)
        task.settle(queued)
    else:
        task.take(topics.rekeyed, records, False, AT_ONCE)
    task.begin_at(committed[0])
    log.info(
        "state_restored",
        rekeyed=partition,
        snapshot=snapshot.name if snapshot else None,
        replayed_records=committed[0] - start[0],
        took_ms=round((time.monotonic() - began_s) * 1000),
    )


def _thawed(
    task: ScoreTask | RekeyedTask, committed: Offsets, snapshots: Snapshots
) -> Snapshot | None:
    snapshot = snapshots.newest(committed)
    if snapshot is None:
        return None
    try:
        thaw(task, snapshot)
    except UnfitError as error:
        raise StreamprocError(
            f"{error}; start once with --rebuild-from earliest (or a time, as 2018-07-01T00:00:00Z)"
            " to compute it from the log, with --fresh-state to begin with empty windows, or take "
            "the change back"
        ) from None
    return snapshot


def _replay(
    task: ScoreTask, at: Deployment, start: Offsets, committed: Offsets, snapshot: Snapshot | None
) -> None:
    """Replay what was consumed since ``start``."""
    topics, partition = at.pipeline.topics, task.partition
    tails = snapshot.tails if snapshot else {}
    steps: Iterator[Step] = iter((committed,))
    if snapshot and topics.journal in tails:
        steps = steps_of(at, partition, tails[topics.journal], committed)
    refused = at.refused(partition, tails.get(topics.dead_letters, 0)) if any(committed) else {}

    def labels() -> Iterable[Record]:
        if topics.labels is None:
            return ()
        return without(refused, at.read(topics.labels, partition, start[1], committed[1]))

    if snapshot:  # few came since, and are read once
        few = list(labels())
        labels = lambda: few  # noqa: E731
    predictions = {}
    if topics.labels and start[0] < committed[0]:
        joined = {label.id for label in map(task.read_label, labels()) if label is not None}
        predictions = _predictions(at, partition, tails.get(topics.predictions, 0), joined)
    replay(
        task,
        without(refused, at.read(topics.events, partition, start[0], committed[0])),
        labels(),
        lambda event: predictions.get(event.id),
        steps,
        time.time_ns() // 1_000_000,
    )


def without(refused: Mapping[str, Collection[int]], records: Iterable[Record]) -> Iterator[Record]:
    """Leave out what was refused then and would not be now."""
    return (each for each in records if each.offset() not in refused.get(each.topic(), ()))


def _predictions(
    at: Deployment, partition: int, tail: int, joined: Collection[str]
) -> dict[str, bytes]:
    """Return what was published since ``tail``, by id; of what has its label already, only that."""
    found: dict[str, bytes] = {}
    for record in at.read(at.pipeline.topics.predictions, partition, tail, None):
        raw = record.value() or b""
        record_id = _id_in(raw)
        if record_id is None:
            prediction = at.codec.decode("prediction", raw)
            record_id, raw = prediction["id"], orjson.dumps(prediction)
        found[record_id] = b"" if record_id in joined else raw
    return found


def _id_in(raw: bytes) -> str | None:
    """Return the id in a prediction as we write it; None where that takes more than a look.

    >>> _id_in(b'{"id":"7","key":"k"}'), _id_in(b'{"key":"k"}')
    ('7', None)
    """
    end = raw.find(b'"', len(_ID_FIRST))
    text = raw[len(_ID_FIRST) : end]
    return text.decode() if raw.startswith(_ID_FIRST) and b"\\" not in text else None


def steps_of(at: Deployment, partition: int, tail: int, committed: Offsets) -> Iterator[Step]:
    """Yield where batches and transactions since ``tail`` had come, by the journal, to the end."""
    topics = at.pipeline.topics
    events, labels = f"{topics.events}/{partition}", f"{topics.labels}/{partition}"
    events_to = labels_to = 0
    for record in at.read(topics.journal, 0, tail, None):
        said = orjson.loads(record.value() or b"{}")
        inputs = said.get("inputs", {})
        if events in inputs or labels in inputs:
            for events_at, labels_at in said.get("bounds", {}).get(str(partition), ()):
                yield min(events_at, committed[0]), min(labels_at, committed[1])
            events_to = inputs.get(events, (0, events_to))[1]
            labels_to = inputs.get(labels, (0, labels_to))[1]
            yield min(events_to, committed[0]), min(labels_to, committed[1])
    yield committed
