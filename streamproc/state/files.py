"""Files at an fsspec url: a local folder, s3, gcs and so on. Written whole or not at all."""

from __future__ import annotations

import posixpath
import uuid
from contextlib import suppress

import fsspec

from streamproc.errors import StreamprocError


class Files:
    """The files under one url; names are relative to it.

    Every method but ``full`` raises :class:`StreamprocError`, which names the file, where the
    store fails.

    >>> files = Files("memory://doc-files")
    >>> files.put("a/b.txt", b"one")
    >>> files.names("a"), files.get("a/b.txt"), files.names("none")
    (['b.txt'], b'one', [])
    """

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise StreamprocError(
                f"STREAMPROC_STORE={url!r} cannot be opened: {_brief(error)}; use a folder or an "
                "fsspec url"
            ) from error

    def full(self, name: str) -> str:
        """Return where a file is."""
        return posixpath.join(self._root, name)

    def put(self, name: str, blob: bytes) -> None:
        """Write a file, whole or not at all, in place of the one that is there."""
        path = self.full(name)
        beside = f"{path}.{uuid.uuid4().hex}.tmp"
        try:
            self._files.makedirs(posixpath.dirname(path), exist_ok=True)
            self._files.pipe_file(beside, blob)
            self._files.mv(beside, path)
        except Exception as error:  # every store has errors of its own
            with suppress(Exception):  # a full disk: what did not fit shall not stay
                self._files.rm_file(beside)
            raise self._trouble("be written", path, error) from error

    def get(self, name: str) -> bytes:
        """Return what is in a file."""
        path = self.full(name)
        try:
            blob: bytes = self._files.cat_file(path)
        except Exception as error:  # every store has errors of its own
            raise self._trouble("be read", path, error) from error
        return blob

    def has(self, name: str, size_bytes: int) -> bool:
        """Say whether a file of this size is there."""
        path = self.full(name)
        try:
            return bool(self._files.exists(path) and self._files.size(path) == size_bytes)
        except Exception as error:  # every store has errors of its own
            raise self._trouble("be looked for", path, error) from error

    def names(self, folder: str) -> list[str]:
        """Return the names of a folder's files, sorted; none where there is no such folder."""
        path = self.full(folder)
        try:
            self._files.invalidate_cache()
            found = self._files.ls(path, detail=False)
        except FileNotFoundError:
            return []
        except Exception as error:  # every store has errors of its own
            raise self._trouble("be listed", path, error) from error
        return sorted(posixpath.basename(each) for each in found)

    def remove(self, name: str) -> None:
        """Delete a file, if it is there."""
        path = self.full(name)
        try:
            self._files.rm_file(path)
        except FileNotFoundError:
            return
        except Exception as error:  # every store has errors of its own
            raise self._trouble("be removed", path, error) from error

    def _trouble(self, what: str, path: str, error: Exception) -> StreamprocError:
        return StreamprocError(
            f"{path} cannot {what} ({type(error).__name__}: {_brief(error)}); "
            f"check STREAMPROC_STORE={self.url}"
        )


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
