"""Which snapshot is read, which are refused and why, and which files are kept."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from streamproc.errors import StreamprocError
from streamproc.state import snapshots as module
from streamproc.state.files import Files
from streamproc.state.snapshots import Snapshot, Snapshots
from streamproc.state.tables import GONE, Floor, Rows, Stack, Table

OF = {"pipeline": "shop", "task": "score-0", "topics": "shop.orders A"}


def rows(**texts: str) -> dict[str, Table]:
    """Return one table of these rows; a text of ``gone`` says that its key is no more."""
    made = Rows()
    for key, text in texts.items():
        made.append(key, 1, GONE if text == "gone" else 0, text.encode())
    return {"t": made.table()}


class Folder:
    """A folder of snapshots, and what was told of those that could not be used."""

    def __init__(self, path: Path, **of: str) -> None:
        self.path = path / "snapshots"
        self.told: list[tuple[str, str]] = []
        self.kept = self.open(path, **of)

    def open(self, path: Path, **of: str) -> Snapshots:
        """Return the folder as another process would open it."""
        told = self.told.append
        return Snapshots(Files(str(path)), "snapshots", {**OF, **of}, lambda *said: told(said))

    def write(self, offset: int, **texts: str) -> None:
        """Write a snapshot of so many events."""
        self.kept.write((offset, 0), rows(**texts), {"at": offset}, {}, {})

    def names(self, suffix: str) -> list[str]:
        """Return what files there are."""
        return sorted(each.name for each in self.path.glob(f"*{suffix}"))

    def newest(self, offset: int = 10**9) -> Snapshot | None:
        """Return what a process that starts now would take."""
        return self.kept.newest((offset, 0))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Return an empty folder."""
    return Folder(tmp_path)


def content(snapshot: Snapshot | None) -> dict[str, str]:
    """Return the rows of a snapshot."""
    assert snapshot is not None
    stack = Stack(snapshot.tables.get("t", []), Floor())
    return {key: bytes(stack.payload(row)).decode() for key, row in stack.rows.items()}


def test_the_newest_at_or_below_what_is_committed_is_read(folder: Folder) -> None:
    """Offsets decide, both of them; each snapshot holds what those before it held."""
    folder.kept.write((10, 5), rows(a="1"), {}, {}, {})
    folder.kept.write((20, 9), rows(a="2", b="2"), {}, {}, {})
    assert content(folder.kept.newest((20, 9))) == {"a": "2", "b": "2"}
    assert content(folder.kept.newest((25, 8))) == {"a": "1"}
    assert content(folder.kept.newest((19, 9))) == {"a": "1"}
    assert folder.kept.newest((9, 9)) is None
    assert folder.kept.chain == []


def test_what_is_written_goes_on_from_what_was_read(folder: Folder, tmp_path: Path) -> None:
    """A restart takes up the files of the run before."""
    folder.write(10, a="1", b="1")
    folder.kept = folder.open(tmp_path)
    assert folder.newest() is not None
    folder.write(20, b="2", c="2")
    assert content(folder.newest()) == {"a": "1", "b": "2", "c": "2"}


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (lambda blob: blob[:-1], "damaged"),
        (lambda blob: b"", "damaged"),
        (lambda blob: blob[:-1] + bytes([blob[-1] ^ 1]), "damaged"),
        (lambda blob: blob[: len(blob) // 2] + b"\0" + blob[len(blob) // 2 + 1 :], "damaged"),
        (None, "cannot be read"),
    ],
    ids=["cut", "empty", "bit", "middle", "missing"],
)
@pytest.mark.parametrize("which", ["tables", "json"])
def test_a_damaged_file_is_named_and_an_older_snapshot_taken(
    folder: Folder, which: str, harm: object, why: str
) -> None:
    """Nothing is taken from a snapshot of which one byte is wrong."""
    folder.write(10, a="1")
    folder.write(20, b="2")
    path = folder.path / folder.names(which)[-1]
    if callable(harm):
        path.write_bytes(harm(path.read_bytes()))
    else:
        path.unlink()
    assert content(folder.newest()) == {"a": "1"}
    if which == "json" and harm is None:
        assert folder.told == []  # as if it had not been written
    else:
        [(name, said)] = folder.told
        assert name.endswith("0000000000000020-0000000000000000.json")
        assert why in said


def test_one_of_another_task_is_refused(folder: Folder, tmp_path: Path) -> None:
    """Files that were swapped, or are of a topic that was made anew, are named."""
    folder.write(10, a="1")
    for what, other in (("task", "score-1"), ("topics", "shop.orders B"), ("pipeline", "bank")):
        folder.told.clear()
        folder.kept = folder.open(tmp_path, **{what: other})
        assert folder.newest() is None
        [(_, said)] = folder.told
        assert said == f"it is of {what} {OF[what]!r}, not {other!r}"


def test_one_of_a_later_version_is_refused(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be read yet is told of, with what can be done."""
    folder.write(10, a="1")
    monkeypatch.setattr(module, "FORMAT", 2)
    folder.write(20, a="2")
    monkeypatch.undo()
    assert content(folder.newest()) == {"a": "1"}
    [(_, said)] = folder.told
    assert (
        said == "it has format 2, and this version reads 1: start the version that wrote it, "
        "or a later one"
    )


def test_a_pickle_is_no_snapshot(folder: Folder) -> None:
    """Bytes that would run something when unpickled are refused: nothing here unpickles."""
    folder.write(10, a="1")
    evil = b"cbuiltins\nexec\n(S'raise SystemExit'\ntR."
    for name in folder.names(""):
        (folder.path / name).write_bytes(evil)
    assert folder.newest() is None
    assert "damaged" in folder.told[0][1]


def test_a_manifest_may_not_name_files_of_wrong_sizes(folder: Folder) -> None:
    """A manifest with a right hash and wrong tables is refused by the tables' own hash."""
    import hashlib

    folder.write(10, a="1")
    path = folder.path / folder.names(".json")[0]
    body = orjson.loads(path.read_bytes().partition(b"\n")[2])
    body["files"][0][2] = "0" * 64
    raw = orjson.dumps(body)
    path.write_bytes(hashlib.sha256(raw).hexdigest().encode() + b"\n" + raw)
    assert folder.newest() is None
    assert "another hash" in folder.told[0][1]


def test_old_ones_are_let_go_and_the_last_good_ones_never(folder: Folder) -> None:
    """Three stay, with every file that they name; what is beyond the offsets stays as well."""
    for offset in range(10, 90, 10):
        folder.write(offset, **{f"k{offset}": "1"})
        kept = folder.names(".json")
        assert len(kept) == min(module.KEPT, offset // 10)
        assert len(content(folder.newest())) == offset // 10
    folder.kept.chain = folder.kept.chain[:0]
    folder.write(5, z="1")  # an operator set the offsets back: what is ahead is not ours to delete
    assert len(folder.names(".json")) == module.KEPT + 1
    assert content(folder.newest(6)) == {"z": "1"}
    assert len(content(folder.newest())) == 8


def test_cost_follows_what_changed(folder: Folder) -> None:
    """A snapshot of a large state after a small change is small; few files are left behind."""
    folder.write(1, **{f"k{i}": "x" * 100 for i in range(2_000)})
    sizes = []
    for offset in range(2, 80):
        folder.write(offset, **{f"k{offset}": "y"})
        newest = max(folder.path.glob("*.tables"), key=lambda each: each.name)
        sizes.append(newest.stat().st_size)
    assert sorted(sizes)[-3] < 20_000  # but where all was merged, once or twice
    assert len(folder.kept.chain) < 3 * module.FANOUT
    assert len(content(folder.newest())) == 2_000


def test_a_key_that_is_gone_stays_so_through_merges(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What says that a key is gone is kept while an older file may still hold the key."""
    monkeypatch.setattr(module, "FANOUT", 2)
    floors = {"t": Floor()}
    for offset, texts in enumerate(({"a": "1"}, {"b": "1"}, {"a": "gone"}, {"c": "1"}, {"d": "1"})):
        folder.kept.write((offset, 0), rows(**texts), {}, floors, {})
        held = content(folder.newest())
        assert ("a" in held) == (offset < 2)
    assert set(content(folder.newest())) == {"b", "c", "d"}


def test_files_that_are_gone_are_noticed_before_the_next_one(folder: Folder) -> None:
    """A store that was emptied is not built on."""
    folder.write(10, a="1")
    assert folder.kept.whole()
    (folder.path / folder.names(".tables")[0]).unlink()
    assert not folder.kept.whole()


def test_a_store_that_fails_leaves_what_was_there(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk costs the new snapshot alone, and the next attempt writes it."""
    folder.write(10, a="1")
    before = folder.names("")
    whole = Files.put

    def full(self: Files, name: str, blob: bytes) -> None:
        if name.endswith(".json"):
            raise StreamprocError("no space left")
        whole(self, name, blob)

    monkeypatch.setattr(Files, "put", full)
    with pytest.raises(StreamprocError, match="no space left"):
        folder.write(20, b="2")
    assert content(folder.newest()) == {"a": "1"}
    monkeypatch.undo()
    folder.write(20, b="2")
    assert content(folder.newest()) == {"a": "1", "b": "2"}
    assert set(before) <= set(folder.names(""))
