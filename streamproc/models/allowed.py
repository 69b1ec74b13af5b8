"""What a stored model may be made of: the names its pickle may ask for.

Unpickling calls what the bytes name, with the arguments they give. So whole modules are never let
in: only classes where they are defined, and the functions listed here, which compute and no more.
"""

from __future__ import annotations

import random
import sys
from importlib import import_module
from inspect import getattr_static
from typing import Any

from streamproc.errors import StreamprocError

_RIVER_WITHOUT = frozenset(
    {"api", "bandit.datasets", "bandit.envs", "checks", "datasets", "evaluate", "stream"}
)
"""The parts of River that read files or fetch, and that no model keeps."""

_CLASSES = frozenset(
    {
        *(
            f"builtins.{name}"
            for name in (
                "bool",
                "bytearray",
                "bytes",
                "complex",
                "dict",
                "float",
                "frozenset",
                "int",
                "list",
                "object",
                "range",
                "set",
                "slice",
                "str",
                "tuple",
            )
        ),
        *(f"collections.{name}" for name in ("Counter", "OrderedDict", "defaultdict", "deque")),
        *(f"datetime.{name}" for name in ("date", "datetime", "time", "timedelta", "timezone")),
        "decimal.Decimal",
        "fractions.Fraction",
        "functools.partial",
        "random.Random",
        "statistics.NormalDist",
        "numpy.dtype",
        "numpy.ndarray",
        "numpy.random.bit_generator.SeedSequence",
        *(
            f"numpy.random._{name.lower()}.{name}"
            for name in ("MT19937", "PCG64", "Philox", "SFC64")
        ),
    }
)

_FUNCTIONS = frozenset(
    {
        "builtins.iter",
        "copy.deepcopy",
        "numpy.array",
        "numpy.ones",
        "numpy._core.multiarray._reconstruct",
        "numpy._core.multiarray.scalar",
        "numpy._core.numeric._frombuffer",
        "numpy.random._pickle.__bit_generator_ctor",
        "numpy.random._pickle.__generator_ctor",
        "numpy.random._pickle.__randomstate_ctor",
        "numpy.random.bit_generator.__pyx_unpickle_SeedSequence",
        "river._river_rust.vectordict.euclidean_distance_dict",
        "river._river_rust.vectordict.euclidean_distance_tuple",
        "river.feature_extraction.vectorize.strip_accents_unicode",
        "river.feature_extraction.vectorize.tokenize_using_regex_pattern",
        "river.utils.math.minkowski_distance",
    }
)

_METHODS = frozenset(
    {
        "clone",
        "_calc_tau_0",
        "_calc_tau_1",
        "_calc_tau_2",
        "_fixed_trigger",
        "_leveraging_bag",
        "_leveraging_bag_half",
        "_leveraging_bag_me",
        "_leveraging_bag_wt",
        "_next_code",
        "_rand_gauss",
        "_rand_weights_for_feature",
        "_random_trigger",
        "_random_weights",
        "_scale",
        "_test_both",
        "_test_decrease",
        "_test_increase",
        "_unscale",
    }
)
"""The methods of River's objects that its models keep; pickle fetches them by ``getattr``."""

_OTHER_METHODS = ((str, "lower"), (random.Random, "gauss"))


def allowed(module: str, name: str) -> Any:
    """Return what a model's bytes ask for, or None where no model is made of that.

    >>> allowed("collections", "deque"), allowed("os", "system")
    (<class 'collections.deque'>, None)
    """
    dotted = f"{module}.{name}"
    if dotted == "builtins.getattr":
        return _method
    if dotted in _CLASSES or dotted in _FUNCTIONS:
        return getattr(import_module(module), name, None)
    if _of_river(module):
        return _river(module, name)
    return None


def _of_river(module: str) -> bool:
    package, _, inside = module.partition(".")
    parts = inside.split(".")
    heads = {parts[0], ".".join(parts[:2])}
    return package == "river" and bool(inside) and not heads & _RIVER_WITHOUT


def _river(module: str, name: str) -> Any:
    """Return a class where River defines it, or a static method of one."""
    try:
        found = getattr(
            sys.modules.get(module) or import_module(module), name.partition(".")[0], None
        )
    except ImportError:
        return None
    if not isinstance(found, type) or found.__module__ != module:
        return None
    if issubclass(found, type):  # a metaclass makes new classes
        return None
    if "." not in name:
        return found
    method = name.partition(".")[2]
    if isinstance(getattr_static(found, method, None), staticmethod):
        return getattr(found, method)
    return None


def _method(owner: Any, name: Any) -> Any:
    """Stand in for ``getattr``: the methods that River's models keep, and nothing else."""
    of = owner if isinstance(owner, type) else type(owner)
    if (name in _METHODS and _of_river(of.__module__)) or (of, name) in _OTHER_METHODS:
        return getattr(owner, name)
    raise not_allowed(f"{of.__module__}.{of.__qualname__}.{name}")


def not_allowed(asked: str) -> StreamprocError:
    """Return the error that names what a model's bytes asked for and may not have."""
    return StreamprocError(
        f"the model's bytes ask for {asked:.200}, which no model is made of; publish the model "
        "anew, or allow the name if it is your own"
    )
