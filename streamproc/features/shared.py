"""Features that several pipelines share: defined once, in a module that their files import."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from streamproc.errors import DefinitionError
from streamproc.features.spec import Feature


@dataclass(frozen=True)
class Shared:
    """Features with an owner and a description, for the catalogue; in a pipeline's features.

    A pipeline that has it computes its features as if they stood there themselves, in their
    order. What is said of them changes no model and no state.

    >>> from streamproc import Field, Log
    >>> spending = Shared([Field("amount"), Log("amount")], owner="risk", description="Spending")
    >>> [name for feature in flattened([spending]) for name in feature.names]
    ['amount', 'amount_log']
    """

    features: Sequence[Feature]
    owner: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        given = self.features if isinstance(self.features, list | tuple) else (self.features,)
        object.__setattr__(self, "features", tuple(given))
        for feature in self.features:
            if not isinstance(feature, Feature):
                raise DefinitionError(
                    f"Shared: features holds {feature!r:.60}; use Field, Calendar, Window or an "
                    "encoder, such as Log"
                )
        for what in ("owner", "description"):
            text = getattr(self, what)
            if not isinstance(text, str) or not text.isprintable():
                raise DefinitionError(f"Shared: {what} must be one line of text")


def flattened(features: Iterable[Any]) -> tuple[Any, ...]:
    """Return features with those of each :class:`Shared` in its place."""
    found: list[Any] = []
    for feature in features:
        found += feature.features if isinstance(feature, Shared) else (feature,)
    return tuple(found)
