"""The replay: nothing is learnt before it was due, and every run gives the same."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pytest
from river import base, linear_model

from streamproc.events import Events, Labels
from streamproc.features import Field, Window
from streamproc.models import versions
from streamproc.monitors import DataQuality, Drift, PredictionBias, Reactions
from streamproc.monitors.sketch import Sketch, unpacked
from streamproc.pipeline import Pipeline
from streamproc.replay import AT_ONCE, Replay
from streamproc.tasks.records import Output
from streamproc.timeline import Entry, LabelColumns, reactions, timeline, with_reactions
from tests.servers import ROOT

NOW_MS = 2_000_000_000_000
DELAY_MS, HOUR_MS = 600_000, 3_600_000
EMPTY = Sketch.of(np.zeros(0)).packed()


def entries(count: int = 300, step_ms: int = 60_000) -> list[Entry]:
    """Return payments a minute apart, with labels ten minutes late."""
    rows = [
        {
            "id": n,
            "card": n % 5,
            "at": n * step_ms,
            "amount": (n * 37 % 101) / 7,
            "fraud": n % 3 == 0,
        }
        for n in range(count)
    ]
    labels = LabelColumns("id", "fraud")
    return list(
        timeline(rows, id="id", key="card", time="at", labels=labels, label_delay_ms=DELAY_MS)
    )


def pipeline(**changed: Any) -> Pipeline:
    """Return a pipeline that publishes often."""
    definition: dict[str, Any] = {
        "name": "shop",
        "events": Events("orders", id="id", key="card", time="at"),
        "labels": Labels("labels", id="id", value="fraud", classes=(False, True)),
        "features": [Field("amount"), Window("amount", "card", ("1h",), ("mean", "std", "max"))],
        "model": linear_model.LogisticRegression(),
        "publish_every": 20,
    }
    return Pipeline(**{**definition, **changed})


def run(
    made: Pipeline, fed: list[Entry], at_once: int = AT_ONCE
) -> tuple[Replay, dict[str, list[Any]]]:
    """Replay entries; return the replay and what each topic got."""
    said: dict[str, list[Any]] = {}

    def keep(output: Output) -> None:
        for role, outs in output.records.items():
            decoded = (out["value"] or b"" for out in outs)
            read = orjson.loads if role != "dead_letters" else bytes
            said.setdefault(role, []).extend(map(read, decoded))

    replayed = Replay(made, NOW_MS, keep, at_once=at_once)
    replayed.run(fed)
    return replayed, said


class Witness(base.Classifier):
    """A model that knows what it learnt from: the number is the amount."""

    def __init__(self) -> None:
        self.learnt: list[float] = []

    def learn_one(self, x: Any, y: Any) -> None:
        """Remember."""
        self.learnt.append(x["amount"])

    def predict_proba_one(self, x: Any, **kwargs: Any) -> dict[Any, float]:
        """Tell the newest number that was learnt, and how many were, in one float."""
        newest = max(self.learnt, default=-1.0)
        return {True: newest + len(self.learnt) / 1e6}


def test_nothing_is_learnt_before_its_label_was_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """No score knows a label that came after its event, and no version is held back."""
    name = f"{Witness.__module__}.Witness"
    plain = versions.loads
    for module in ("streamproc.replay", "streamproc.models.scoring"):
        monkeypatch.setattr(f"{module}.loads", lambda blob, allow=(): plain(blob, [name]))
    rows = [
        {"id": n, "card": n % 5, "at": n * 60_000, "amount": float(n), "fraud": 1}
        for n in range(200)
    ]
    labels = LabelColumns("id", "fraud")
    fed = timeline(rows, id="id", key="card", time="at", labels=labels, label_delay_ms=DELAY_MS)
    made = pipeline(
        model=Witness(), features=[Field("amount")], labels=Labels("labels", "id", "fraud")
    )
    _, said = run(made, list(fed))
    late = 0
    for prediction in said["predictions"]:
        number = int(prediction["id"])
        due = max(-1, number - DELAY_MS // 60_000)  # the newest event whose label had come
        known = -1 if prediction["model"] == "main@0" else int(prediction["score"])
        assert known <= due
        late = max(late, due - known)
    assert late <= made.publish_every + 1


def test_the_way_of_every_event_is_complete() -> None:
    """One prediction an event, one outcome a label, a version every so many outcomes."""
    made = pipeline(monitors=[Drift(), PredictionBias()])
    replayed, said = run(made, entries())
    assert [int(p["id"]) for p in said["predictions"]] == list(range(300))
    assert [int(o["id"]) for o in said["outcomes"]] == list(range(300))
    assert "dead_letters" not in said
    published = [m for m in said["models"] if "sha256" in m]
    assert [m["outcomes"] for m in published] == list(range(20, 301, 20))
    assert len(replayed.models) == 15
    used = {p["model"] for p in said["predictions"]}
    assert used == {f"main@{n}" for n in range(15)}
    assert replayed.learn.learner.outcomes == 300


@pytest.mark.parametrize("chunk", [1, 7, 500])
def test_the_chunk_changes_nothing_that_is_learnt_or_computed(chunk: int) -> None:
    """However many entries are fed at once: the same features, outcomes and versions."""
    made = pipeline()

    def facts(at_once: int) -> list[Any]:
        _, said = run(made, entries(), at_once=at_once)
        return [
            [(p["id"], p["features"]) for p in said["predictions"]],
            [(o["id"], o["label"], o["label_time_ms"], o["features"]) for o in said["outcomes"]],
            [(m["version"], m["sha256"], m["outcomes"]) for m in said["models"] if "sha256" in m],
        ]

    assert facts(chunk) == facts(AT_ONCE)


def digest() -> str:
    """Return a hash of all that a replay of simulated payments writes."""
    said = hashlib.sha256()

    def add(output: Output) -> None:
        said.update(repr((output.records, output.blobs)).encode())

    made = pipeline(monitors=[Drift(bucket="1h"), PredictionBias(bucket="1h")])
    Replay(made, NOW_MS, add).run(entries(400))
    return said.hexdigest()


def test_two_processes_give_the_same_bytes() -> None:
    """Everything that is written, models included, is the same to the byte in another process."""
    code = "from tests.unit import test_replay; print(test_replay.digest())"
    path = {"PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    found = {
        subprocess.run(
            [sys.executable, "-c", code], env=path, cwd=ROOT, check=True, text=True,
            capture_output=True, timeout=100,
        ).stdout
        for _ in range(2)
    }  # fmt: skip
    assert len(found) == 1


def test_bad_rows_leave_the_others_alone() -> None:
    """What cannot be read is a dead letter in its place, and nothing stops."""
    fed = entries(50)
    fed.insert(20, Entry("event", fed[20].time_ms, b"0", b"{"))
    fed.insert(30, Entry("label", fed[30].time_ms, b"0", b'{"id": 1}'))
    _, said = run(pipeline(), fed)
    assert (len(said["predictions"]), len(said["outcomes"])) == (50, 50)
    assert len(said["dead_letters"]) == 2


@pytest.mark.parametrize("at_once", [AT_ONCE, 7])
def test_no_reaction_comes_too_late_for_its_bucket(at_once: int) -> None:
    """However many records are fed at once: days of them, and an hour of lateness."""
    clicks = Reactions("clicks", id="id", value="clicked", time="at", bucket="1h")
    made = pipeline(monitors=[clicks])
    came = [
        {"id": n, "clicked": n % 2 == 0, "at": n * 600_000 + 5_000_000} for n in range(0, 900, 3)
    ]
    counted, last_ms = 0, 899 * 600_000 // HOUR_MS * HOUR_MS

    def take(output: Output) -> None:
        nonlocal counted
        for out in output.records.get("buckets", ()):
            for bucket in orjson.loads(out["value"] or b"").get("buckets", ()):
                if bucket["bucket_ms"] < last_ms:
                    counted += unpacked(bucket["series"].get("values", EMPTY)).n

    replay = Replay(made, NOW_MS, take, at_once=at_once)
    fed = [each for each in entries(900, 600_000) if each.kind == "event"]
    replay.run(with_reactions(fed, reactions("clicks", came, "at")))
    judge: Any = replay._down["buckets"][0]
    assert (counted, judge.judge.late) == (sum(each["at"] < last_ms for each in came), 0)
    assert counted > 290


def test_alerts_are_told_at_the_time_of_the_newest_record() -> None:
    """In event time, at the record that ends a bucket, however many are fed at once.

    An event of the future does not count.
    """
    step_ms, broken = 30_000, range(600, 1_200)
    rows: list[dict[str, Any]] = [
        {"id": n, "card": 1, "at": n * step_ms, "amount": float(n % 9)} for n in range(3_000)
    ]
    for n in (*range(0, 600, 50), *broken):
        rows[n]["amount"] = None
    rows[70]["at"] = NOW_MS + 86_400_000
    made = pipeline(monitors=[DataQuality(bucket="1h")], features=[Field("amount")])

    def told(at_once: int) -> list[tuple[str, int]]:
        newest_ms, found = 0, []

        def fed() -> Iterator[Entry]:
            nonlocal newest_ms
            for entry in timeline(rows, id="id", key="card", time="at"):
                newest_ms = max(newest_ms, entry.time_ms if entry.time_ms < NOW_MS else 0)
                yield entry

        def take(output: Output) -> None:
            for out in output.records.get("alerts", ()):
                alert = orjson.loads(out["value"] or b"")
                assert alert["detected_at_ms"] == newest_ms
                found.append((alert["status"], newest_ms))

        Replay(made, NOW_MS, take, at_once=at_once).run(fed())
        return found

    # It lasts from 5:00 to 10:00; a bucket of an hour is known after one more, of lateness.
    expected = [("open", 7 * HOUR_MS), ("resolved", 12 * HOUR_MS)]
    assert [told(at_once) for at_once in (1, 64, AT_ONCE)] == [expected] * 3
