"""Importing what a worker runs on without what it rarely needs, so that it is soon back.

River names ``scipy.stats`` in four of its modules (``proba.gaussian``, ``drift.kswin``,
``metrics.geometric_mean``, ``tree.stochastic_gradient_tree``), which most pipelines never call, and
``scipy.stats`` is a third of the time that the imports of a worker take.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

_NAME = "scipy.stats"


@contextmanager
def quick_imports() -> Iterator[None]:
    """Give those who import from ``scipy.stats`` meanwhile what imports it when it is used.

    Nor is garbage looked for: what is imported stays.

    >>> with quick_imports():
    ...     from river.proba import MultivariateGaussian
    """
    with_garbage = gc.isenabled()
    gc.disable()
    deferred = _NAME not in sys.modules
    if deferred:
        sys.modules[_NAME] = _Deferred(_NAME)
    try:
        yield
    finally:
        if deferred:
            del sys.modules[_NAME]
        if with_garbage:
            gc.enable()


class _Deferred(ModuleType):
    """Stands for the module: its functions are stand-ins as well, as long as it is in its place."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(_NAME) is self:
            return _Later(name)
        return getattr(import_module(_NAME), name)


class _Later:
    """Stands for one of its functions or distributions."""

    def __init__(self, name: str) -> None:
        self._stands_for = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return getattr(import_module(_NAME), self._stands_for)(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # for what only asks what this is
            raise AttributeError(name)
        return getattr(getattr(import_module(_NAME), self._stands_for), name)
