"""Events later than the lateness allows: what is said of them, and why one is not scored."""

from __future__ import annotations

from streamproc.errors import BadRecord
from streamproc.messages import LateEvent
from streamproc.tasks.intake import Event


def late_by_ms(time_ms: int, watermark_ms: int, lateness_ms: int) -> int:
    """Return by how much later than allowed an event is; above 0 it is late.

    >>> late_by_ms(80, watermark_ms=100, lateness_ms=20), late_by_ms(79, 100, 20)
    (0, 1)
    """
    return watermark_ms - lateness_ms - time_ms


def too_late(event: Event, watermark_ms: int) -> BadRecord:
    """Return why a late event is not scored, in a pipeline that asks for that."""
    behind_ms = watermark_ms - event.time_ms
    return BadRecord("late", f"the event is {behind_ms} ms behind the watermark, over the lateness")


def late_event(event: Event, watermark_ms: int, lateness_ms: int, scored: bool) -> LateEvent:
    """Return what is reported of a late event: where it is, and what became of it."""
    return {
        "id": event.id,
        "key": event.key,
        "event_time_ms": event.time_ms,
        "watermark_ms": watermark_ms,
        "late_by_ms": late_by_ms(event.time_ms, watermark_ms, lateness_ms),
        "source_topic": event.record.topic(),
        "source_partition": event.record.partition(),
        "source_offset": event.record.offset(),
        "scored": scored,
    }
