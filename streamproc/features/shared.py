"""Features that several pipelines share: defined once, in a module that their files import."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from streamproc.errors import DefinitionError
from streamproc.features.spec import Feature


@dataclass(frozen=True)
class Shared:
    """Features with an owner and a description, for the catalogue; in a pipeline's features.

    A pipeline that has it computes its features as if they stood there themselves, in their
    order. What is said of them changes no model and no state. With a ``name`` they have a
    ``version``, which is to be another one once their definition is: model versions and training
    data say which they were made with.

    >>> from streamproc import Field, Log
    >>> spending = Shared([Field("amount"), Log("amount")], owner="risk", description="Spending")
    >>> [name for feature in flattened([spending]) for name in feature.names]
    ['amount', 'amount_log']
    >>> Shared([Field("amount")], name="spending", version=2).said["version"]
    2
    """

    features: Sequence[Feature]
    owner: str = ""
    description: str = ""
    name: str = ""
    version: int = 1

    def __post_init__(self) -> None:
        given = self.features if isinstance(self.features, list | tuple) else (self.features,)
        object.__setattr__(self, "features", tuple(given))
        for feature in self.features:
            if not isinstance(feature, Feature):
                raise DefinitionError(
                    f"Shared: features holds {feature!r:.60}; use Field, Calendar, Window or an "
                    "encoder, such as Log"
                )
        for what in ("owner", "description", "name"):
            text = getattr(self, what)
            if not isinstance(text, str) or not text.isprintable():
                raise DefinitionError(f"Shared: {what} must be one line of text")
        if type(self.version) is not int or self.version < 1:
            raise DefinitionError("Shared: version must be a whole number from 1 on")
        if self.version > 1 and not self.name:
            raise DefinitionError(f"Shared: version={self.version} of what? give it a name")

    @cached_property
    def definition(self) -> str:
        """Twelve hex digits that change when a feature does, whatever is said of it."""
        return hashlib.sha256(repr(self.features).encode()).hexdigest()[:12]

    @property
    def said(self) -> dict[str, Any]:
        """What models and training data keep of it."""
        return {"version": self.version, "definition": self.definition}


def definitions(shared: Iterable[Shared]) -> dict[str, dict[str, Any]]:
    """Return the version and definition of features that have a name, by that.

    >>> from streamproc import Field
    >>> found = definitions([Shared([Field("x")], name="size"), Shared([Field("y")])])
    >>> [(name, each["version"]) for name, each in found.items()]
    [('size', 1)]
    """
    return {each.name: each.said for each in shared if each.name}


def check_names(shared: Iterable[Shared]) -> None:
    """Raise :class:`DefinitionError` where two have one name."""
    known: dict[str, Shared] = {}
    for each in shared:
        before = known.setdefault(each.name, each) if each.name else each
        if before is not each:
            raise DefinitionError(
                f"Shared: {each.name!r} is there twice, as version {before.version} and as version "
                f"{each.version}; take one, or give one another name"
            )


def changed(
    shared: Iterable[Shared], before: Mapping[str, Mapping[str, Any]], whose: str
) -> list[str]:
    """Say which shared features are others than ``before``, as :func:`definitions` had them.

    ``whose`` they were. What has the same version and another definition is told with the remedy.

    >>> from streamproc import Field
    >>> one, two = Shared([Field("x")], name="size"), Shared([Field("y")], name="size")
    >>> print(*changed([two], definitions([one]), "main@7"))
    shared features 'size' are not those of main@7, which have version 1, too; give them version 2
    >>> two = Shared([Field("y")], name="size", version=2)
    >>> print(*changed([two], definitions([one]), "main@7"))
    shared features 'size' are version 2; main@7 has version 1
    """
    found = []
    for name, ours in definitions(shared).items():
        said = before.get(name)
        if said is None or said == ours:
            continue
        if said["version"] != ours["version"]:
            found.append(
                f"shared features {name!r} are version {ours['version']}; {whose} has version "
                f"{said['version']}"
            )
        else:
            found.append(
                f"shared features {name!r} are not those of {whose}, which have version "
                f"{ours['version']}, too; give them version {ours['version'] + 1}"
            )
    return found


def flattened(features: Iterable[Any]) -> tuple[Any, ...]:
    """Return features with those of each :class:`Shared` in its place."""
    found: list[Any] = []
    for feature in features:
        found += feature.features if isinstance(feature, Shared) else (feature,)
    return tuple(found)
