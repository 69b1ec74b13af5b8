"""Features: what a pipeline declares, and how it is computed."""

from streamproc.features.calendar import Calendar, Cyclical
from streamproc.features.categories import Hashed, HashedWords, OneHot
from streamproc.features.compute import FeatureSet
from streamproc.features.encoders import (
    Bucketed,
    Clipped,
    Difference,
    Encoder,
    Imputed,
    Log,
    Missing,
    Over,
    Ratio,
)
from streamproc.features.shared import Shared
from streamproc.features.spec import (
    AGGREGATES,
    Feature,
    Field,
    LabelWindow,
    Lookup,
    Window,
    type_of,
)

__all__ = [
    "AGGREGATES",
    "Bucketed",
    "Calendar",
    "Clipped",
    "Cyclical",
    "Difference",
    "Encoder",
    "Feature",
    "FeatureSet",
    "Field",
    "Hashed",
    "HashedWords",
    "Imputed",
    "LabelWindow",
    "Log",
    "Lookup",
    "Missing",
    "OneHot",
    "Over",
    "Ratio",
    "Shared",
    "Window",
    "type_of",
]
