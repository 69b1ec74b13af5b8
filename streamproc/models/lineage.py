"""Which code made a model: named with each version, so that it can be had again."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib import metadata
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_MATTERS = ("river", "numpy")


@cache
def code_of() -> dict[str, str]:
    """Return the versions of what computes: Python, the libraries, and this package's own files.

    ``files`` is twelve hex digits of the package's source files, so that a change which kept the
    version's number is seen as well.

    >>> sorted(code_of())
    ['files', 'numpy', 'python', 'river', 'streamproc']
    """
    return {
        "streamproc": _version("streamproc"),
        "files": _digest(),
        "python": platform.python_version(),
        **{name: _version(name) for name in _MATTERS},
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:  # run from its source
        return "not installed"


def _digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(_PACKAGE).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]
