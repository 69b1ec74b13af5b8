"""Finding the record that ends the process each time, without ending it once more.

What kills a worker (a fault in native code, memory that runs out, a loop without end) leaves no
trace in a journal that only success writes. So each start of a task is noted before it, with the
offsets it starts from. Where it was noted twice for the same offsets, the records that follow are
tried out in a child process first: the one that ends the child is put aside as a dead letter.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import confluent_kafka
import orjson
import structlog

from agents.deployment import Deployment
from streamproc.errors import StreamprocError
from streamproc.state.snapshots import Offsets
from streamproc.tasks.records import Record
from streamproc.tasks.score import ScoreTask

log = structlog.get_logger("careful")

TRIES = 2
"""How many starts from the same offsets come before the next is careful."""

CAREFUL_RECORDS = 20_000
"""How many records of a topic are tried out then: at least as many as one commit takes."""

TRY_OUT_S = 20.0
"""A child that takes longer will not end by itself."""

_FLUSH_S = 5.0


def note_starts(at: Deployment, offsets: dict[int, Offsets]) -> set[int]:
    """Note that tasks start from these offsets, by partition; return those to be careful with.

    A process that starts a task again, as in a rebalance, did not end on it: that counts once.
    Raises :class:`StreamprocError` where it started further on before, see :func:`check_not_reset`.
    """
    before: dict[int, dict[str, Any]] = {}
    for record in at.read(at.pipeline.topics.models, 0, 0, None):
        if (record.key() or b"").startswith(b"start/"):
            said = orjson.loads(record.value() or b"{}")
            before[said["start"]] = said
    if at.state_from is None:
        topics = (at.pipeline.topics.events, at.pipeline.topics.labels or "")
        for partition, now in offsets.items():
            check_not_reset(topics, partition, before.get(partition, {}).get("offsets", now), now)
    # Not idempotent: to be given an id takes half a second, and a note may come twice.
    producer = confluent_kafka.Producer({**at.producer_config(), "enable.idempotence": False})
    careful, ours = set(), f"{at.settings.instance} {at.epoch}"
    for partition, now in offsets.items():
        then = before.get(partition, {})
        tries = then["tries"] if then.get("offsets") == list(now) else 0
        if tries and then["by"] == ours:
            tries -= 1
        if tries >= TRIES:
            careful.add(partition)
        said = {"start": partition, "offsets": now, "tries": tries + 1, "by": ours}
        key = b"start/%d" % partition
        producer.produce(at.pipeline.topics.models, orjson.dumps(said), key, partition=0)
    producer.flush(_FLUSH_S)
    return careful


def check_not_reset(
    topics: tuple[str, str], partition: int, noted: Sequence[int], committed: Offsets
) -> None:
    """Raise :class:`StreamprocError` where a group is committed behind where it once started from.

    Nothing of ours sets it back. Somebody did, or the offsets expired while no worker ran, or the
    topic is another of the same name: whatever was predicted since would be predicted again.

    >>> check_not_reset(("cards", "frauds"), 0, [40, 9], (40, 12))
    >>> check_not_reset(("cards", "frauds"), 0, [40, 9], (0, 0))
    Traceback (most recent call last):
    streamproc.errors.StreamprocError: cards/0 is committed at 0, and a worker has started from 40 \
before: the group's offsets were set back, or expired, or the topic was made anew. Set them to 40 \
or later (kafka-consumer-groups --reset-offsets), or start once with --rebuild-from earliest (or \
--fresh-state): what came since is then predicted again
    """
    for topic, then, now in zip(topics, noted, committed, strict=True):
        if now < then:
            raise StreamprocError(
                f"{topic}/{partition} is committed at {now}, and a worker has started from {then} "
                "before: the group's offsets were set back, or expired, or the topic was made "
                f"anew. Set them to {then} or later (kafka-consumer-groups --reset-offsets), or "
                "start once with --rebuild-from earliest (or --fresh-state): what came since is "
                "then predicted again"
            )


async def find_killers(
    task: ScoreTask,
    topic: str,
    records: Sequence[Record],
    now_ms: int,
    survives: Callable[[Callable[[], None]], Awaitable[bool]],
) -> set[int]:
    """Return the offsets of the records that end a process in which they are tried out.

    ``survives`` runs a function in such a process. The task itself stays as it is.
    """
    killers: set[int] = set()

    def try_out(upto: int) -> Callable[[], None]:
        return lambda: task.try_out(topic, records[:upto], now_ms, killers)

    while not await survives(try_out(len(records))):
        good, bad = 0, len(records)  # so many survive; so many don't
        while bad - good > 1:
            middle = (good + bad) // 2
            if await survives(try_out(middle)):
                good = middle
            else:
                bad = middle
        offset = records[good].offset()
        if offset in killers:  # it is not this record: what waited before ends the process
            return killers
        killers.add(offset)
        log.error("record_kills", topic=topic, partition=task.partition, offset=offset)
    return killers


async def survives(run: Callable[[], None]) -> bool:
    """Run a function in a child process; say whether it came to its end."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(int(TRY_OUT_S))
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            run()
            code = 0
        finally:
            os._exit(code)
    with suppress(ChildProcessError):
        _, status = await asyncio.to_thread(os.waitpid, pid, 0)
        return status == 0
    return False
