"""Training data: what production computed, labels as known, and the same bytes every time."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pytest
from pyarrow import parquet
from river import compose, linear_model

from streamproc import (
    Calendar,
    DefinitionError,
    Events,
    Field,
    Hashed,
    Labels,
    LabelWindow,
    Pipeline,
    StreamprocError,
    Window,
    dataset,
    replay,
    training,
)
from streamproc.codec import Codec, JsonCodec
from streamproc.dataset import Span
from streamproc.replay import Replay
from streamproc.tasks.feeding import CHUNK, feed
from streamproc.tasks.records import Output, PlainRecord, Record
from streamproc.tasks.score import ScoreTask
from streamproc.timeline import LabelColumns, timeline
from streamproc.training import SourceFiles, export, export_logs
from tests.servers import ROOT

DAY_MS = 86_400_000
DELAY_MS = DAY_MS + DAY_MS // 2
HOW = {"label_delay": "36h"}


def pipeline(**changed: Any) -> Pipeline:
    """Return a pipeline with a feature of each kind."""
    given: dict[str, Any] = {
        "name": "cards",
        "events": Events("cards.events", id="id", key="card", time="at"),
        "labels": Labels("cards.labels", id="id", value="fraud", horizon="3d"),
        "features": [
            Field("amount"),
            Field("label", type="text"),
            Calendar("at", ("day",)),
            Window("amount", by="card", over=("1d", "2d"), aggregates=("count", "mean")),
            Hashed("shop", buckets=3),
        ],
        "model": compose.Discard("label") | linear_model.LogisticRegression(),
    }
    return Pipeline(**{**given, **changed})


def lines(days: int = 8, per_day: int = 24) -> list[dict[str, Any]]:
    """Return rows of some days from the epoch on, some without a label, some a bit out of order."""
    rng = random.Random(1)
    rows = []
    for number in range(days * per_day):
        time_ms = number * DAY_MS // per_day - rng.choice((0, 0, 0, 1_800_000))
        rows.append(
            {
                "id": number,
                "card": f"c{rng.randrange(4)}",
                "at": max(0, time_ms),
                "amount": round(rng.expovariate(0.02), 2),
                "label": rng.choice(("x", None)),
                "shop": rng.choice("abcdef"),
                "fraud": rng.choice((0, 0, 1, None)),
            }
        )
    return rows


def source_of(folder: Path, rows: list[dict[str, Any]]) -> SourceFiles:
    """Write rows into two files, and return them."""
    half = len(rows) // 2
    paths = [folder / "first.jsonl", folder / "second.jsonl"]
    for path, some in zip(paths, (rows[:half], rows[half:]), strict=True):
        path.write_bytes(b"\n".join(map(orjson.dumps, some)))
    return SourceFiles(paths)


def entries(rows: Any) -> Any:
    """Return events and labels, those a day and a half late."""
    return timeline(
        rows, id="id", key="card", time="at", labels=LabelColumns("id", "fraud"),
        label_delay_ms=DELAY_MS,
    )  # fmt: skip


def exported(
    folder: Path, span: Span, rows: list[dict[str, Any]] | None = None, **changed: Any
) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """Export into ``folder / "out"``; return the manifest and the rows of each part."""
    source = source_of(folder, rows or lines())
    out = folder / "out"
    manifest = export(pipeline(**changed), source, entries(source), span, out, HOW)
    assert orjson.loads((out / "manifest.json").read_bytes()) == manifest
    found: dict[str, list[dict[str, Any]]] = {part: [] for part in span.parts}
    for part in manifest["parts"]:
        name, day, _ = part["path"].split("/")
        table = parquet.ParquetFile(out / part["path"]).read().to_pylist()
        assert len(table) == part["rows"]
        assert {f"event_day={_day(row['event_time_ms'])}" for row in table} == {day}
        found[name] += table
    assert {name: len(rows) for name, rows in found.items()} == {
        name: count for name, count in manifest["rows"].items() if name != "gap"
    }
    return manifest, found


def _day(time_ms: int) -> str:
    return f"1970-01-{1 + time_ms // DAY_MS:02}"


def production() -> dict[str, dict[str, Any]]:
    """Return what a backtest with the real model predicts on, by id."""
    found: dict[str, dict[str, Any]] = {}

    def take(output: Output) -> None:
        for out in output.records.get("predictions", ()):
            said = orjson.loads(out["value"] or b"")
            found[said["id"]] = said

    Replay(pipeline(publish_every=20), 1 << 40, take).run(entries(lines()))
    return found


@pytest.mark.parametrize("chunk", [7, 1_000])
def test_features_are_those_of_production_and_labels_those_known(
    tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every event of the span once; windows hold what was before it; labels up to its end."""
    monkeypatch.setattr(replay, "AT_ONCE", chunk)
    span = Span(2 * DAY_MS, 6 * DAY_MS)
    manifest, found = exported(tmp_path, span)
    given = {str(row["id"]): row for row in lines()}
    told = production()
    inside = {id_: it for id_, it in told.items() if 2 * DAY_MS <= it["event_time_ms"] < 6 * DAY_MS}
    assert sorted(inside) == sorted(row["id"] for row in found["data"])
    for row in found["data"]:
        said = inside[row["id"]]
        own = dict(said["features"])
        own["features.label"] = own.pop("label")
        known_ms = said["event_time_ms"] + DELAY_MS
        label = given[row["id"]]["fraud"] if known_ms <= span.to_ms else None
        assert {
            "id": said["id"],
            "key": said["key"],
            "event_time_ms": said["event_time_ms"],
            **own,
            "label": label,
            "label_time_ms": None if label is None else known_ms,
        } == row
    unknown = sum(row["label"] is None for row in found["data"])
    assert 0 < unknown == manifest["without_label"] < len(found["data"])
    assert manifest["columns"][0] == {"name": "id", "type": "string"}
    assert manifest["columns"][-2] == {"name": "label", "type": "int64"}


def test_a_label_at_the_end_of_the_span_is_known(tmp_path: Path) -> None:
    """One at the very end is; one a millisecond later is not."""
    rows = [{"id": n, "card": "c", "at": n, "fraud": 1} for n in (0, 1)]
    _, found = exported(tmp_path, Span(0, DELAY_MS), rows)
    assert [row["label_time_ms"] for row in found["data"]] == [DELAY_MS, None]


def test_no_training_row_has_a_label_from_after_the_split(tmp_path: Path) -> None:
    """What lies in the gap is in neither part, and counted.

          split - delay       split                to
    ────────────┼───────────────┼──────────────────►
        train        gap              test
    """
    split_ms = 4 * DAY_MS
    span = Span(DAY_MS, 7 * DAY_MS, split_ms)
    manifest, found = exported(tmp_path, span)
    assert all(row["label_time_ms"] <= split_ms for row in found["train"])
    assert all(row["event_time_ms"] >= split_ms for row in found["test"])
    given = [row for row in lines() if DAY_MS <= row["at"] < 7 * DAY_MS]
    early = [row for row in given if row["at"] < split_ms]
    trains = [row for row in early if row["fraud"] is not None and row["at"] + DELAY_MS <= split_ms]
    assert manifest["without_label"] == sum(row["label"] is None for row in found["test"]) > 0
    assert {str(row["id"]) for row in trains} == {row["id"] for row in found["train"]}
    assert manifest["rows"] == {
        "train": len(trains), "test": len(given) - len(early), "gap": len(early) - len(trains),
    }  # fmt: skip


def digest() -> str:
    """Return a hash of every file of an export, with its name."""
    import tempfile

    said = hashlib.sha256()
    with tempfile.TemporaryDirectory() as folder:
        exported(Path(folder), Span(0, 7 * DAY_MS, 4 * DAY_MS))
        out = Path(folder, "out")
        for path in sorted(path for path in out.rglob("*") if path.is_file()):
            said.update(path.relative_to(out).as_posix().encode() + path.read_bytes())
    return said.hexdigest()


def test_it_can_be_made_again_to_the_byte() -> None:
    """In another process, another folder and with other hashes."""
    code = "from tests.unit import test_training; print(test_training.digest())"
    found = {
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, check=True, text=True, capture_output=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
            timeout=100,
        ).stdout.strip()
        for seed in ("1", "2")
    }  # fmt: skip
    assert found == {digest()}


def test_the_manifest_names_what_it_was_made_of(tmp_path: Path) -> None:
    """Each file with its hash and rows, each part with its own, the pipeline and the versions."""
    manifest, _ = exported(tmp_path, Span(0, 7 * DAY_MS))
    for told in manifest["files"]:
        read = (tmp_path / told["name"]).read_bytes()
        assert told == {
            "name": told["name"], "sha256": hashlib.sha256(read).hexdigest(),
            "rows": read.count(b"\n") + 1,
        }  # fmt: skip
    assert [told["name"] for told in manifest["files"]] == ["first.jsonl", "second.jsonl"]
    for part in manifest["parts"]:
        read = (tmp_path / "out" / part["path"]).read_bytes()
        assert part["sha256"] == hashlib.sha256(read).hexdigest()
    assert manifest["fingerprint"] == pipeline().fingerprint
    assert manifest["read"] == HOW
    assert {"streamproc", "river", "numpy", "pyarrow"} == set(manifest["versions"])
    assert (manifest["from"], manifest["to"], manifest["split"]) == (
        "1970-01-01T00:00:00.000Z", "1970-01-08T00:00:00.000Z", None,
    )  # fmt: skip


def test_a_day_is_let_go_once_no_label_can_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So what is held does not grow with the files; an event later than that has a file of its own.

    Events of nine days with a horizon of three, then one of the first day.
    """
    most = 0

    class Watched(dataset.Data):
        def _row(self, said: dict[str, Any]) -> None:
            nonlocal most
            super()._row(said)
            most = max(most, len(self._place), len(self._days))

    monkeypatch.setattr(training, "Data", Watched)
    rows = [{"id": n, "card": "c", "at": n * DAY_MS // 100, "fraud": None} for n in range(900)]
    rows.append({"id": 900, "card": "c", "at": 5, "fraud": None})
    manifest, found = exported(tmp_path, Span(0, 99 * DAY_MS), rows)
    assert len(found["data"]) == 901
    assert 300 <= most <= 1_000 - 100
    paths = [part["path"] for part in manifest["parts"]]
    first = "data/event_day=1970-01-01"
    assert {f"{first}/part-0.parquet", f"{first}/part-1.parquet"} < set(paths)
    assert (manifest["late"], len(paths)) == (1, 10)


def test_bad_rows_are_counted_by_their_reason(tmp_path: Path) -> None:
    """A dead letter is no row, and stops nothing."""
    rows = lines()
    rows[5] |= {"amount": "ten", "fraud": None}
    manifest, found = exported(tmp_path, Span(0, 99 * DAY_MS), rows)
    assert manifest["dead_letters"] == {"field_not_number": 1}
    assert len(found["data"]) == len(rows) - 1


def test_a_model_that_fails_leaves_no_row_out(tmp_path: Path) -> None:
    """Training data is of the events, whatever the model of today makes of them."""
    fails_on_text = linear_model.LogisticRegression()
    manifest, found = exported(tmp_path, Span(0, 99 * DAY_MS), model=fails_on_text)
    assert (len(found["data"]), manifest["dead_letters"]) == (len(lines()), {})


def test_files_that_are_read_again_are_told_of_once(tmp_path: Path) -> None:
    """The names, hashes and rows are those of the last time."""
    source = source_of(tmp_path, lines())
    once = (list(source), source.described)
    assert once == (list(source), source.described)
    assert len(source.described) == 2


def test_without_labels_there_are_features_alone(tmp_path: Path) -> None:
    """Without a split all rows are there, and none has a label."""
    rows = [{"id": n, "card": "c", "at": n * DAY_MS} for n in range(4)]
    manifest, found = exported(tmp_path, Span(0, 9 * DAY_MS), rows, labels=None)
    assert (len(found["data"]), manifest["without_label"]) == (4, 4)
    assert {row["label"] for row in found["data"]} == {None}


def test_nothing_is_left_of_an_export_that_failed(tmp_path: Path) -> None:
    """Neither the folder nor the one beside it; a folder that is there is not touched."""
    rows = lines(days=1)
    rows[-1]["id"] = None
    with pytest.raises(StreamprocError, match="row 24 has no 'id'"):
        exported(tmp_path, Span(0, DAY_MS), rows)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.jsonl", "second.jsonl"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(DefinitionError, match=r"--out: .*out is there already; name a new"):
        exported(tmp_path, Span(0, DAY_MS))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]
    source = source_of(tmp_path, lines(1))
    within = tmp_path / "first.jsonl" / "out"
    with pytest.raises(StreamprocError, match=r"cannot be written .*; choose another folder"):
        export(pipeline(), source, entries(source), Span(0, 1), within, HOW)


@pytest.mark.parametrize(
    ("times_ms", "message"),
    [
        ((5, 5, None), "--to: must be after --from"),
        ((0, 10, 10), "--split: must lie between --from and --to"),
        ((5, 10, 5), "--split: must lie between --from and --to"),
    ],
)
def test_times_out_of_order_name_the_remedy(times_ms: tuple[Any, ...], message: str) -> None:
    """Before anything is read."""
    with pytest.raises(DefinitionError, match=message):
        Span(*times_ms)


@pytest.mark.data
def test_real_payments_are_point_in_time(tmp_path: Path, data: Path) -> None:
    """Counts and means of a card holder's last day are those of the rows themselves."""
    file = data / "payments" / "transactions-2018-04.csv.gz"
    chosen = Pipeline(
        name="payments",
        events=Events("e", id="transaction_id", key="customer_id", time="event_time"),
        labels=Labels("l", id="transaction_id", value="fraud"),
        features=[Window("amount", by="customer_id", over=("1d",), aggregates=("count", "sum"))],
        model=linear_model.LogisticRegression(),
    )
    source = SourceFiles([file])
    rows = list(islice(source, 20_000))
    labels = LabelColumns("transaction_id", "fraud")
    fed = timeline(
        rows, id="transaction_id", key="customer_id", time="event_time", labels=labels
    )  # fmt: skip
    begin_ms = 1_522_540_800_000  # 2018-04-01
    span = Span(begin_ms + DAY_MS, begin_ms + 2 * DAY_MS)
    export(chosen, source, fed, span, tmp_path / "out", {})
    table = parquet.ParquetFile(
        tmp_path / "out" / "data" / "event_day=2018-04-02" / "part-0.parquet"
    ).read()
    ours = table.to_pylist()
    assert len(ours) > 5_000
    by_id = {str(row["transaction_id"]): row for row in rows}
    for row in ours[:: len(ours) // 50]:
        own = by_id[row["id"]]
        window = [
            other["amount"]
            for other in rows[: rows.index(own) + 1]
            if other["customer_id"] == own["customer_id"]
            and row["event_time_ms"] - DAY_MS < _ms(other["event_time"]) <= row["event_time_ms"]
        ]
        assert row["amount_count_1d_by_customer_id"] == len(window)
        assert row["amount_sum_1d_by_customer_id"] == pytest.approx(sum(window))
        assert row["label"] == own["fraud"]


def _ms(text: str) -> int:
    from streamproc.eventtime import parse_time_ms

    return parse_time_ms(text)


class Topics:
    """Events and labels of entries, on so many partitions, labels of one moment in any order."""

    def __init__(self, entries: Any, partitions: int) -> None:
        self.codec: Codec = JsonCodec()
        self.partitions, self.read_ms = partitions, 1 << 40
        self.described = {"topics": {"cards.events": partitions}}
        self.logs: dict[str, list[list[Record]]] = {
            kind: [[] for _ in range(partitions)] for kind in ("event", "label")
        }
        for entry in entries:
            at = zlib.crc32(entry.key) % partitions
            log = self.logs[entry.kind][at]
            log.append(
                PlainRecord(f"cards.{entry.kind}s", len(log), entry.time_ms, entry.key, entry.value)
            )

    def events(self, partition: int) -> Iterator[Record]:
        """Yield a partition's events."""
        return iter(self.logs["event"][partition])

    def labels(self, partition: int) -> Iterator[Record]:
        """Yield a partition's labels."""
        return iter(self.logs["label"][partition])


def of_topics(folder: Path, span: Span, topics: Topics, **changed: Any) -> dict[str, Any]:
    """Export from topics; return the rows by part and id."""
    manifest = export_logs(pipeline(**changed), topics, span, folder)
    found: dict[str, Any] = {part: {} for part in span.parts}
    for part in manifest["parts"]:
        rows = parquet.ParquetFile(folder / part["path"]).read().to_pylist()
        found[part["path"].split("/")[0]] |= {row["id"]: row for row in rows}
    assert {part: len(rows) for part, rows in found.items()} == {
        part: count for part, count in manifest["rows"].items() if part != "gap"
    }
    assert manifest["topics"] == {"cards.events": topics.partitions}
    return found


def windows(by: str) -> list[Any]:
    """Return windows by a field over values and labels."""
    return [
        Field("amount"),
        Window("amount", by=by, over=("1d", "2d"), aggregates=("count", "mean")),
        LabelWindow(by=by, over=("1d", "2d"), aggregates=("count", "mean")),
    ]


@pytest.mark.parametrize("by", ["card", "shop"])
@pytest.mark.parametrize("partitions", [1, 3])
def test_topics_give_the_rows_of_files(tmp_path: Path, by: str, partitions: int) -> None:
    """Whatever the partitions and the entity; rows and labels beyond the span are left out."""
    span = Span(2 * DAY_MS, 6 * DAY_MS, 4 * DAY_MS)
    _, wanted = exported(tmp_path, span, features=windows(by))
    topics = Topics(entries(lines()), partitions)
    found = of_topics(tmp_path / "topics", span, topics, features=windows(by))
    for part, rows in wanted.items():
        assert found[part] == {row["id"]: row for row in rows}
    assert sum(row[f"label_count_2d_by_{by}"] for row in found["test"].values()) > 100


def test_labels_in_any_order_are_known_from_their_time_on(tmp_path: Path) -> None:
    """Where a label lies in its log behind later ones, it is in windows all the same."""
    span = Span(0, 6 * DAY_MS)
    labels = Labels("cards.labels", id="id", value="fraud", time="known", horizon="3d")
    rows = timeline(
        lines(), id="id", key="card", time="at", labels=LabelColumns("id", "fraud", "known"),
        label_delay_ms=DELAY_MS,
    )  # fmt: skip
    topics = Topics(rows, 2)
    given = {"features": windows("card"), "labels": labels}
    wanted = of_topics(tmp_path / "sorted", span, topics, **given)
    for log in topics.logs["label"]:
        random.Random(2).shuffle(log)
    assert of_topics(tmp_path / "shuffled", span, topics, **given) == wanted


def test_a_log_is_read_as_it_is_needed() -> None:
    """Neither input is read far ahead of what was processed, though labels come days later."""
    topics = Topics(entries(lines(days=400)), 1)
    task = ScoreTask(replay.without_model(pipeline()), 0, JsonCodec())
    read = scored = most = 0

    def events() -> Iterator[Record]:
        nonlocal read
        for record in topics.events(0):
            read += 1
            yield record

    for output in feed(task, events(), topics.labels(0), 1 << 40):
        scored += len(output.records.get("predictions", ()))
        most = max(most, read - scored)
    assert (read, scored) == (9_600, 9_600)
    assert most < 2 * CHUNK
