"""Predictions from a model that keeps learning, and alerts when data or predictions go wrong.

The names a pipeline file needs, in reading order; each is imported when it is asked for.

>>> from streamproc import Events, Field
>>> Events("payments.transactions", id="id", key="card", time="at").key, Field("amount").names
('card', ('amount',))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamproc.errors import BadRecord, DefinitionError, StreamprocError
    from streamproc.events import Events, Labels
    from streamproc.features import (
        Bucketed,
        Calendar,
        Clipped,
        Cyclical,
        Difference,
        Field,
        Hashed,
        HashedWords,
        Imputed,
        LabelWindow,
        Log,
        Lookup,
        Missing,
        OneHot,
        Over,
        Ratio,
        Shared,
        Window,
    )
    from streamproc.monitors import (
        Calibration,
        ConceptDrift,
        DataQuality,
        Drift,
        Health,
        LabelShift,
        Performance,
        PredictionBias,
        Ranking,
        Reactions,
    )
    from streamproc.pipeline import Pipeline
    from streamproc.replay import Replay

__all__ = [  # noqa: RUF022  in reading order
    "Pipeline",
    "Events",
    "Labels",
    "Field",
    "Calendar",
    "Cyclical",
    "Lookup",
    "Window",
    "LabelWindow",
    "OneHot",
    "Hashed",
    "HashedWords",
    "Bucketed",
    "Log",
    "Clipped",
    "Over",
    "Ratio",
    "Difference",
    "Missing",
    "Imputed",
    "Shared",
    "Drift",
    "PredictionBias",
    "Calibration",
    "LabelShift",
    "ConceptDrift",
    "Performance",
    "Ranking",
    "DataQuality",
    "Health",
    "Reactions",
    "Replay",
    "StreamprocError",
    "DefinitionError",
    "BadRecord",
]

_HOME = {
    "pipeline": ("Pipeline",),
    "events": ("Events", "Labels"),
    "features": (
        *(
            "Field",
            "Calendar",
            "Cyclical",
            "Lookup",
            "Window",
            "LabelWindow",
            "OneHot",
            "Hashed",
            "HashedWords",
        ),
        *("Bucketed", "Log", "Clipped", "Over", "Ratio", "Difference", "Missing", "Imputed"),
        "Shared",
    ),
    "monitors": (
        *("Drift", "PredictionBias", "Calibration", "LabelShift", "ConceptDrift"),
        *("Performance", "Ranking", "DataQuality", "Health", "Reactions"),
    ),
    "replay": ("Replay",),
    "errors": ("StreamprocError", "DefinitionError", "BadRecord"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name from where it lives: `streamproc --help` needs no River."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'streamproc' has no attribute {name!r}")
    found = getattr(import_module(f"streamproc.{_MODULE_OF[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*globals(), *__all__]
