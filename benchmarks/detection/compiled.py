"""What the ports are compiled by, and how they hand over their alarms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a function by numba; what was compiled is kept for the next process."""
    jit: Any = numba.njit(cache=True)
    return cast(Function, jit(function))
