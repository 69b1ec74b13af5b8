"""The alerts of a backtest and what they are made of, as a file of JSON lines."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import orjson

from streamproc.alerts.commands import Command
from streamproc.errors import StreamprocError
from streamproc.tasks.records import Output

_ROLES = ("alerts", "buckets", "models")


class AlertFileWriter:
    """Writes what a replay puts on the topics of alerts, buckets and models, whole or not at all.

    Used in a ``with`` block, whose failure leaves no file. Raises :class:`StreamprocError` where
    it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._file: BinaryIO | None = None

    def __enter__(self) -> AlertFileWriter:
        try:
            self._file = self._part.open("wb")
        except OSError as error:
            raise StreamprocError(f"{self._path} cannot be written: {error.strerror}") from error
        return self

    def add(self, output: Output) -> None:
        """Take in what a task put out."""
        assert self._file is not None
        for role in _ROLES:
            for out in output.records.get(role, ()):
                value = out["value"] or b"{}"
                self._file.write(b'{"of":"%b","value":%b}\n' % (role.encode(), value))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._file is not None
        self._file.close()
        if kind is None:
            self._part.replace(self._path)
        else:
            with contextlib.suppress(OSError):
                self._part.unlink()


class AlertFile:
    """Reads such a file, as `AlertLog` reads topics; nobody can ask anything of what is past.

    Raises :class:`StreamprocError` where it is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = str(path)
        self.listed = f"streamproc alerts list --all --of {path}"

    def steps(self) -> list[dict[str, Any]]:
        """Return all steps, in order."""
        return list(self._values("alerts"))

    def commands(self) -> list[Command]:
        """Return what was asked: nothing."""
        return []

    def sums(self) -> Iterator[dict[str, Any]]:
        """Yield the records of the log of sums, in order."""
        return self._values("buckets")

    def versions(self) -> list[dict[str, Any]]:
        """Return the published versions."""
        return [each for each in self._values("models") if "sha256" in each]

    def _values(self, role: str) -> Iterator[dict[str, Any]]:
        try:
            with self._path.open("rb") as lines:
                for line in lines:
                    record = orjson.loads(line)
                    if record["of"] == role:
                        yield record["value"]
        except OSError as error:
            raise StreamprocError(f"{self._path} cannot be read: {error.strerror}") from error
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise StreamprocError(
                f"{self._path} is no file of alerts; `streamproc backtest --alerts FILE` writes one"
            ) from None


def newest_of(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the newest step of each alert, in the order in which they were first seen."""
    found: dict[str, dict[str, Any]] = {}
    for step in steps:
        found[step["alert_id"]] = step
    return list(found.values())


def find(alerts: list[dict[str, Any]], alert_id: str, where: str, listed: str) -> dict[str, Any]:
    """Return an alert by its id; raises :class:`StreamprocError` where it is not there.

    ``listed`` is the command that lists those that are.
    """
    for alert in alerts:
        if alert["alert_id"] == alert_id:
            return alert
    raise StreamprocError(f"no alert {alert_id!r} is on {where}; `{listed}` has those that are")
