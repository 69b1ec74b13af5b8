"""`streamproc export`: training data from files, as a user asks for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pyarrow import parquet

from tests.commands import Done, run

PIPELINE = """
from river import linear_model
from streamproc import Events, Field, Labels, Pipeline, Window

pipeline = Pipeline(
    name="cards",
    events=Events("cards.events", id="id", key="card", time="at"),
    labels=Labels("cards.labels", id="id", value="fraud"),
    features=[Field("amount"), Window("amount", by="card", over=("1d",), aggregates=("count",))],
    model=linear_model.LogisticRegression(),
)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a pipeline and two files: an event an hour, four days in all."""
    (tmp_path / "cards.py").write_text(PIPELINE)
    for first, name in ((0, "one.csv"), (48, "two.csv")):
        lines = ["id,card,at,amount,fraud"]
        for n in range(first, first + 48):
            at = f"2024-01-{1 + n // 24:02}T{n % 24:02}:00:00Z"
            lines.append(f"{n},{n % 3},{at},{'ten' if n == 5 else n},{n % 2}")
        (tmp_path / name).write_text("\n".join(lines))
    return tmp_path


def export(folder: Path, *options: str) -> Done:
    """Export both files, labels half a day late."""
    files = ("--files", "one.csv", "two.csv", "--label-delay", "12h")
    return run(folder, "export", "cards.py", *files, *options)


def test_files_become_training_data(folder: Path) -> None:
    """Rows of the span, partitioned by day, with a manifest; a summary for people."""
    done = export(folder, "--from", "2024-01-02", "--to", "2024-01-04", "--out", "data")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "        48 rows in data/data",
        "        11 rows have no label by 2024-01-04T00:00:00.000Z",
        "         1 dead letters: field_not_number",
    ]
    days = sorted(path.name for path in (folder / "data" / "data").iterdir())
    assert days == ["event_day=2024-01-02", "event_day=2024-01-03"]
    rows = parquet.read_table(folder / "data" / "data").to_pylist()
    assert [int(row["id"]) for row in rows] == list(range(24, 72))
    assert rows[0]["amount_count_1d_by_card"] == 8  # the day before is in its window


def test_a_split_and_json(folder: Path) -> None:
    """Train and test with the gap between; the JSON is the manifest."""
    done = export(
        folder, "--to", "2024-01-05", "--split", "2024-01-03T00:00:00Z", "--out", "data", "--json"
    )
    manifest = json.loads(done.out)
    assert manifest == json.loads((folder / "data" / "manifest.json").read_text())
    assert manifest["rows"] == {"train": 36, "test": 48, "gap": 11}
    assert [(each["name"], each["rows"]) for each in manifest["files"]] == [
        ("one.csv", 48),
        ("two.csv", 48),
    ]
    again = export(
        folder, "--to", "2024-01-05", "--split", "2024-01-03T00:00:00Z", "--out", "again"
    )
    assert "        11 rows left out: their label was not known by the split" in again.out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--out", "data"), "Missing option '--to'"),
        (("--to", "2024-01-04"), "Missing option '--out'"),
        (("--to", "soon", "--out", "data"), "--to: 'soon' is no time; write e.g. 1996-05-07"),
        (
            ("--from", "2024-01-04", "--to", "2024-01-04", "--out", "data"),
            "--to: must be after --from",
        ),
        (("--to", "2024-01-04", "--out", "."), "--out: . is there already; name a new folder"),
        (("--to", "2024-01-04", "--out", "data", "none.csv"), "none.csv: no such file"),
    ],
)
def test_a_mistake_is_one_line(folder: Path, options: tuple[str, ...], told: str) -> None:
    """Exit code 2, and nothing is written."""
    done = export(folder, *options)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert done.err.count("\n") == 1
    assert not (folder / "data").exists()


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        ((), 1, "no broker answered at 127.0.0.1:9; start one with `streamproc broker`"),
        (("--label-delay", "2d"), 2, "--label-delay: goes with --files; without, the topics are"),
        (("--number-rows",), 2, "--number-rows: goes with --files"),
        (("--leave-out", "x"), 2, "--leave-out: goes with --files"),
        (("one.csv",), 2, "one.csv: give files by --files"),
        (("--files", "one.csv", "--offsets", "m.json"), 2, "--offsets: is of topics, and --files"),
    ],
)
def test_topics_are_read_where_no_file_is_named(
    folder: Path, options: tuple[str, ...], code: int, told: str
) -> None:
    """And what is about files is not taken for something about them."""
    line = ("export", "cards.py", "--to", "2024-01-04", "--out", "data", *options)
    done = run(folder, *line, env={"STREAMPROC_BROKERS": "127.0.0.1:9"})
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1)
    assert told in done.err
    assert not (folder / "data").exists()
