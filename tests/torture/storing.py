"""A store that fails as stores do, and snapshots that are damaged: ``MODE_FILE PIPELINE``.

``python -m tests.torture.storing mode.txt payments.py`` is a worker whose store does what the file
says: ``away``, ``full``, ``read-only`` or ``slow``; without a word in it, nothing is wrong.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamproc.cli import fix_hashes
from tests.torture.field import Field

SLOW_S = 5.0
MODES = ("away", "full", "read-only", "slow")
DAMAGES = ("cut", "flipped", "swapped", "missing")
_MODE = "store-mode.txt"
_WRITING = ("pipe_file", "mv", "makedirs", "rm_file")
_READING = ("cat_file", "ls", "exists", "size")


def store(field: Field) -> float:
    """Let the store fail for a while, or damage the snapshots of a worker that is started again."""
    kinds = [*MODES, *DAMAGES]
    kind = kinds[(field.seed + field.round) % len(kinds)]
    field.round += 1
    field.wait(1.0, 4.0)
    return _fail(field, kind) if kind in MODES else _damage(field, kind)


def failing(folder: Path) -> list[str]:
    """Return the command that runs workers on such a store; a worker's pipeline is added to it."""
    mode = folder / _MODE
    mode.write_text("")
    return [sys.executable, "-m", "tests.torture.storing", str(mode)]


def _fail(field: Field, kind: str) -> float:
    """Scoring goes on meanwhile; a worker that is started then has its state, or says why not."""
    (field.folder / _MODE).write_text(kind)
    began_s = time.monotonic()
    field.wait(2.0, 6.0)
    field.recovered(began_s + 1.0)
    killed = field.chance.random() < 0.5
    if killed:
        instance = field.any()
        field.kill(instance)
        worker = field.start(instance)
        field.wait(2.0, 6.0)
        if not worker.alive:
            assert "STREAMPROC_STORE" in worker.tail(), worker.tail()
    (field.folder / _MODE).write_text("")
    began_s = time.monotonic()
    field.revive()
    return field.recovered(began_s)


def _damage(field: Field, kind: str) -> float:
    """The snapshot is named and passed over, for an older one or the log."""
    instance = field.any()
    field.kill(instance)
    files = sorted((field.folder / "store/snapshots" / field.name).glob("*/*.tables"))
    manifests = sorted((field.folder / "store/snapshots" / field.name).glob("*/*.json"))
    if files and manifests:
        for each in field.chance.sample(files, min(3, len(files))):
            _harm(each, kind, field.chance.choice(manifests), field.chance.choice(files))
    began_s = time.monotonic()
    field.start(instance)
    return field.recovered(began_s)


def _harm(tables: Path, kind: str, manifest: Path, other: Path) -> None:
    """Do to a file, or to a manifest, what a disk or a person does."""
    try:
        blob = tables.read_bytes()
        if kind == "cut":
            tables.write_bytes(blob[: len(blob) // 2])
        elif kind == "flipped":
            middle = len(blob) // 2
            tables.write_bytes(blob[:middle] + bytes([blob[middle] ^ 4]) + blob[middle + 1 :])
        elif kind == "swapped":
            (tables.parent / manifest.name).write_bytes(manifest.read_bytes())
            tables.write_bytes(other.read_bytes())
        else:
            tables.unlink()
    except FileNotFoundError:
        return  # the worker that lives has let go of it just now


def main(mode: str, pipeline: str) -> None:
    """Put the faults in place and run the worker."""
    from fsspec.implementations.local import LocalFileSystem

    from agents.worker import run_worker
    from streamproc.cli import logs
    from streamproc.errors import StreamprocError
    from streamproc.pipeline import Pipeline
    from streamproc.settings import Settings

    for name in (*_WRITING, *_READING):
        call = getattr(LocalFileSystem, name)
        setattr(LocalFileSystem, name, _faulty(call, name in _WRITING, Path(mode)))
    logs.configure()
    try:
        run_worker(Pipeline.load(Path(pipeline)), Settings.load())
    except StreamprocError as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def _faulty(call: Callable[..., Any], writes: bool, mode: Path) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        now = mode.read_text()
        if now == "slow":
            time.sleep(SLOW_S)
        elif now == "away":
            raise OSError(errno.EIO, "the store is away")
        elif now == "read-only" and writes:
            raise OSError(errno.EROFS, "read-only file system")
        elif now == "full" and call.__name__ == "pipe_file":
            call(*args[:2], args[2][: len(args[2]) // 2])  # what a full disk leaves behind
            raise OSError(errno.ENOSPC, "no space left on device")
        return call(*args, **kwargs)

    return wrapped


if __name__ == "__main__":
    fix_hashes()
    main(sys.argv[1], sys.argv[2])
