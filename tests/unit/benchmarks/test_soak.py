"""The soak, a short one: what is idle is let go, what is not is kept, and memory is judged."""

from __future__ import annotations

from pathlib import Path

import orjson

from benchmarks.soak import BATCH, Sample, Soak, Soaked
from streamproc.codec import JsonCodec
from streamproc.state.files import Files
from streamproc.state.snapshots import Snapshots
from streamproc.tasks.frozen import thaw
from streamproc.tasks.score import ScoreTask

ENTITIES = 2_000
KEEP_MS = 30 * 86_400_000 + 3_600_000
STEPS = 30  # some 110 days


def test_months_of_entities_leave_what_is_active(tmp_path: Path) -> None:
    """After their TTL all are let go and counted; the windows hold no more than a month before."""
    soak = Soak(ENTITIES, tmp_path, every=10 * BATCH)
    window = soak.task.features.windows[0]
    last_ms: dict[str, int] = {}
    newest_ms, held, entries = list[int](), list[int](), list[int]()
    for _ in range(STEPS):
        clock_ms = max(newest_ms, default=0)
        for record in soak.step():
            event = orjson.loads(record.value() or b"")
            clock_ms = max(clock_ms, event["time"])
            if event["time"] >= clock_ms - 3_600_000:  # a later one leaves no trace
                last_ms[event["customer"]] = max(last_ms.get(event["customer"], 0), event["time"])
        newest_ms.append(clock_ms)
        held.append(window.entities)
        entries.append(soak.task.features.window_entries)
    assert soak.dead_letters == 0
    # The sweep goes round once in two steps, and begins anew when somebody is due.
    kept, due = (
        {each for each, at in last_ms.items() if at > clock_ms - KEEP_MS}
        for clock_ms in (newest_ms[-1], newest_ms[-4])
    )
    assert all(window.holds(each) for each in kept)
    assert len(kept) <= held[-1] <= len(due) < len(last_ms) / 2
    assert window.expired_entities >= len(last_ms) - held[-1] > ENTITIES
    month = STEPS // 3
    assert max(held[-month:]) < 1.1 * max(held[-2 * month : -month])
    assert max(entries[-month:]) < 1.1 * max(entries[-2 * month : -month])


def test_its_snapshots_hold_what_the_task_holds(tmp_path: Path) -> None:
    """The last one, read again, has as many entities and records as were not due."""
    soak = Soak(ENTITIES, tmp_path, every=BATCH)
    for _ in range(12):
        soak.step()
    written = Snapshots(Files(str(tmp_path)), "soak", {"task": "soak"})
    snapshot = written.newest((1 << 40, 1 << 40))
    assert snapshot is not None
    again = ScoreTask(soak.task.pipeline, 0, JsonCodec())
    thaw(again, snapshot)
    window, thawed = soak.task.features.windows[0], again.features.windows[0]
    assert (snapshot.offsets, again.watermark_ms) == ((6_000, 6_000), soak.task.watermark_ms)
    assert ENTITIES / 2 < thawed.entities <= window.entities


def test_growth_is_called_growth() -> None:
    """A leak of 3 % an hour is not flat, noise and a warm-up are; too short a run is neither."""

    def run(*rss_mb: float) -> Soaked:
        samples = [Sample(360.0 * i, float(i), mb, 0, 0, 0.0, 0) for i, mb in enumerate(rss_mb)]
        return Soaked(samples, warm_day=3.0)

    leak = run(*(500.0 + 1.5 * i for i in range(20)))
    assert (round(leak.slope_mb_per_h or 0, 6), leak.flat) == (15.0, False)
    assert run(0.0, 100.0, 400.0, *(500.0 + i % 2 for i in range(20))).flat is True
    assert (run(1.0, 2.0, 3.0, 4.0, 5.0).slope_mb_per_h, run(1.0, 2.0, 3.0, 4.0, 5.0).flat) == (
        None,
        None,
    )
