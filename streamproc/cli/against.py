"""Whether a pipeline's shared features are those that training data was made with."""

from __future__ import annotations

from pathlib import Path

import orjson

from streamproc.errors import DefinitionError
from streamproc.features.shared import changed
from streamproc.pipeline import Pipeline


def differences(pipeline: Pipeline, manifest: Path) -> list[str]:
    """Return what differs from a manifest of `export`, a sentence each.

    Raises :class:`DefinitionError` where a file is none.
    """
    try:
        said = orjson.loads(manifest.read_bytes())
        before, columns = said["shared"], {each["name"] for each in said["columns"]}
        found = changed(pipeline.shared, before, str(manifest))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise DefinitionError(
            f"--against: {manifest} is no manifest of an export; name a manifest.json"
        ) from None
    missing = [name for name in pipeline.feature_names if not {name, f"features.{name}"} & columns]
    return found + [f"feature {name!r} is not in {manifest}" for name in missing]
