"""Published versions of a model: bytes under their hash in a store, and their record.

A model's bytes are a pickle, and a pickle can run anything. So what comes back from the store is
checked against the hash in the version's record, and may name only what models are made of.
"""

from __future__ import annotations

import copyreg
import hashlib
import io
import pickle
import random
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from river.proba.base import Distribution

from streamproc.errors import StreamprocError
from streamproc.messages import ModelVersion
from streamproc.models.allowed import allowed, not_allowed
from streamproc.state.files import Files

PICKLE_PROTOCOL = 5


def dumps(model: Any) -> bytes:
    """Return a model's bytes; raise :class:`StreamprocError` where it cannot be pickled.

    Models that learnt the same, from the same start, give equal bytes in processes that run with
    the same ``PYTHONHASHSEED``.
    """
    file = io.BytesIO()
    try:
        _Pickler(file, protocol=PICKLE_PROTOCOL).dump(model)
        return file.getvalue()
    except Exception as error:  # whatever the parts of a model raise
        said = " ".join(str(error).split())[:200]
        raise StreamprocError(
            f"the model cannot be stored: {said}; use functions that a module defines, no lambdas"
        ) from error


def loads(blob: bytes, allow: Collection[str] = (), apart: Sequence[Any] = ()) -> Any:
    """Return the model in some bytes.

    They may name the classes of River's, what numpy arrays are rebuilt by and plain Python values;
    and ``allow``: the user's own classes and functions, as ``module.name``. ``apart`` is what was
    pickled by itself; the bytes say where it belongs. Raises :class:`StreamprocError` that names
    anything else that is asked for.

    >>> from river import linear_model
    >>> loads(dumps(linear_model.LogisticRegression(l2=0.1))).l2
    0.1
    >>> loads(pickle.dumps(print))
    Traceback (most recent call last):
        ...
    streamproc.errors.StreamprocError: the model's bytes ask for builtins.print, which ...
    """
    try:
        return _Unpickler(blob, allow, apart).load()
    except StreamprocError:
        raise
    except Exception as error:  # broken bytes can raise anything
        said = " ".join(str(error).split())[:200]
        raise StreamprocError(
            f"the model's bytes cannot be read ({type(error).__name__}: {said}); publish it anew "
            "with the river and numpy versions installed here"
        ) from error


class _Pickler(pickle.Pickler):
    """Gives models that learnt the same the same bytes, whatever else is in their processes.

    pickle remembers objects by identity, and what is one object in a live model can be two in a
    restored one: equal text, and numpy's dtypes. These are written by value. And distributions
    that River makes without a seed, inside trees and naive Bayes, carry a random generator each,
    2.5 kB that nothing draws from: all are given the same.
    """

    def persistent_id(self, value: Any) -> Any:
        if type(value) is str:
            return sys.intern(value)
        if isinstance(value, np.dtype) and value.isbuiltin == 1:
            return value.str.encode()
        return None

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, Distribution) and value.seed is None and "_rng" in value.__dict__:
            return copyreg.__newobj__, (type(value),), {**value.__dict__, "_rng": _ONE_RNG}  # type: ignore[attr-defined]
        return NotImplemented


_ONE_RNG = random.Random(0)


class _Unpickler(pickle.Unpickler):
    def __init__(self, blob: bytes, allow: Collection[str], apart: Sequence[Any]) -> None:
        super().__init__(io.BytesIO(blob))
        self._allow = frozenset(allow)
        self._apart = apart

    def persistent_load(self, value: Any) -> Any:
        if isinstance(value, int):
            return self._apart[value]
        return value if isinstance(value, str) else np.dtype(value.decode())

    def find_class(self, module: str, name: str) -> Any:
        found = allowed(module, name)
        if found is not None:
            return found
        asked = f"{module}.{name}"
        if asked in self._allow and "." not in name:
            return super().find_class(module, name)
        raise not_allowed(asked)


def build_version(
    blob: bytes,
    *,
    version: int,
    outcomes: int,
    label_time_ms: int,
    published_at_ms: int,
    fingerprint: str,
    variant: str = "main",
    metrics: Mapping[str, float | None] | None = None,
    sources: Mapping[str, Any] | None = None,
) -> ModelVersion:
    """Return the record of a model's bytes as version ``version``, 1 and up, of its variant.

    >>> record = build_version(b"...", version=2, outcomes=2000, label_time_ms=5,
    ...                        published_at_ms=6, fingerprint="5f3a9c")
    >>> record["model"], record["parent"], record["size_bytes"]
    ('main@2', 'main@1', 3)
    """
    return {
        "model": f"{variant}@{version}",
        "variant": variant,
        "version": version,
        "parent": f"{variant}@{version - 1}" if version > 1 else None,
        "sha256": hashlib.sha256(blob).hexdigest(),
        "size_bytes": len(blob),
        "outcomes": outcomes,
        "label_time_ms": label_time_ms,
        "published_at_ms": published_at_ms,
        "fingerprint": fingerprint,
        "metrics": dict(metrics or {}),
        "sources": dict(sources or {}),
    }


class Store:
    """The bytes of models at an fsspec url, as ``<url>/models/<sha256>.bin``.

    ``allow`` names what else than River's own a model may be made of; see :func:`loads`.

    >>> store = Store("memory://doc")
    >>> blob = dumps({"weights": [0.5]})
    >>> record = build_version(blob, version=1, outcomes=1, label_time_ms=0, published_at_ms=0,
    ...                        fingerprint="")
    >>> store.put(record["sha256"], blob)
    >>> store.load(record)
    {'weights': [0.5]}
    """

    def __init__(self, url: str, allow: Collection[str] = ()) -> None:
        self.url = url
        self._allow = tuple(allow)
        self._files = Files(url)

    def path(self, sha256: str) -> str:
        """Return where the bytes with this hash are; raise :class:`StreamprocError` for no hash."""
        return self._files.full(_name(sha256))

    def put(self, sha256: str, blob: bytes) -> None:
        """Write bytes under their hash, whole or not at all; what is there already stays.

        Raises :class:`StreamprocError` where they have another hash or cannot be written.
        """
        if hashlib.sha256(blob).hexdigest() != sha256:
            raise StreamprocError(
                f"bytes to be stored as {sha256} have another hash; compute it anew"
            )
        if not self._files.has(_name(sha256), len(blob)):
            self._files.put(_name(sha256), blob)

    def get(self, version: ModelVersion) -> bytes:
        """Return the bytes of a version; raise :class:`StreamprocError` unless they are its own."""
        path = self.path(version["sha256"])
        blob = self._files.get(_name(version["sha256"]))
        size = version["size_bytes"]
        if len(blob) != size or hashlib.sha256(blob).hexdigest() != version["sha256"]:
            raise StreamprocError(
                f"{path} is not what {version['model']} was published with ({len(blob)} bytes of "
                f"{size}, or another hash); restore the file"
            )
        return blob

    def load(self, version: ModelVersion) -> Any:
        """Return a version's model; raise :class:`StreamprocError` where it can't be trusted."""
        return self.unpack(self.get(version))

    def unpack(self, blob: bytes) -> Any:
        """Return the model in some bytes; raise :class:`StreamprocError` as :func:`loads` does."""
        return loads(blob, self._allow)


def _name(sha256: str) -> str:
    if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
        raise StreamprocError(f"{sha256!r:.80} is no SHA-256; the record of the model is broken")
    return f"models/{sha256}.bin"
