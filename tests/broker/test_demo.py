"""`streamproc demo` as a user runs it: the summary holds what is promised, nothing is left over."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest

from tests.commands import Running, widest

_SLOW_S = 240.0


def processes_below(root: int) -> set[int]:
    """Return the ids of the processes that descend from one, by Linux's /proc."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text()
            except OSError:  # it ended meanwhile
                continue
            parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
    below: set[int] = set()
    found = {root}
    while found:
        found = {pid for pid, parent in parents.items() if parent in found} - below
        below |= found
    return below


def alive(pid: int) -> bool:
    """Whether a process still runs; one that only waits to be reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.timeout(300)
def test_the_summary_shows_what_is_promised(tmp_path: Path) -> None:
    """Every event is predicted once, both faults are named and resolved, and learning pays."""
    with Running(tmp_path, "demo", "--json", "--seconds", "12") as running:
        done = running.done(_SLOW_S)
    assert done.code == 0, done.err
    (line,) = done.out.splitlines()
    summary = json.loads(line)
    assert list(summary) == [
        "events",
        "predictions",
        "outcomes",
        "missing",
        "duplicates",
        "alerts",
        "false_alarms",
        "auc",
        "baseline_auc",
        "seconds",
    ]
    assert summary["events"] > 50_000
    assert summary["predictions"] == summary["outcomes"] == summary["events"]
    assert summary["missing"] == summary["duplicates"] == summary["false_alarms"] == 0
    assert summary["auc"] > summary["baseline_auc"] + 0.05
    faults = (
        ("covariate_drift", "amount", None),
        ("prediction_bias", "predictions", {"country": "BE"}),
    )
    alerts = summary["alerts"]
    named = [a for a in alerts if (a["kind"], a["subject"], a["slice"]) in faults]
    assert [(a["kind"], a["resolved"]) for a in named] == [(kind, True) for kind, *_ in faults]
    assert all(0 < a["opened_after_events"] < 12_000 for a in named)


def test_ctrl_c_ends_it_with_all_it_started(tmp_path: Path) -> None:
    """Within 2 s, with exit code 130, and neither the broker nor the worker survives."""
    with Running(tmp_path, "demo", tty=True) as running:
        running.until(lambda: re.search(r"Events[^\n]* \d,\d{3} ", running.out()) is not None)
        below = processes_below(running.process.pid)
        done = running.interrupt()
    assert done.code == 130, done.out
    assert len(below) == 2
    assert not any(map(alive, below))
    assert widest(done.out) <= 80


def test_nothing_is_left_over_when_the_demo_is_killed(tmp_path: Path) -> None:
    """Broker and worker end by themselves when who started them no longer can end them."""
    with Running(tmp_path, "demo") as running:
        running.until(lambda: "day " in running.out())
        below = processes_below(running.process.pid)
        assert len(below) == 2
        running.process.kill()
        deadline_s = time.monotonic() + _SLOW_S
        while any(map(alive, below)):
            assert time.monotonic() < deadline_s
            time.sleep(0.02)


def test_a_worker_that_dies_ends_the_demo_with_a_sentence(tmp_path: Path) -> None:
    """It does not go on without predictions, nor wait for them for ever."""
    with Running(tmp_path, "demo") as running:
        running.until(lambda: "day " in running.out())
        (worker,) = [
            pid
            for pid in processes_below(running.process.pid)
            if b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        os.kill(worker, 9)
        done = running.done()
    assert done.code == 1
    assert "streamproc: the demo's worker ended by itself" in done.err
    assert len(done.err.splitlines()) == 1
