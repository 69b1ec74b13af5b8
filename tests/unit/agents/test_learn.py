"""The learn stage: which published version it goes on from."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from river import linear_model

from agents.learn import LearnStage
from streamproc.errors import StreamprocError
from streamproc.features import Field, Shared
from streamproc.features.shared import definitions
from tests.unit.tasks.kit import pipeline

OLD, NEW = (Shared([Field(name)], name="amounts") for name in ("amount", "total"))


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ({"features": [OLD]}, None),
        (
            {"features": [NEW]},
            " (shared features 'amounts' are not those of main@7, which have version 1, too; "
            "give them version 2)",
        ),
        ({"features": [OLD], "model": linear_model.Perceptron()}, "another name"),
    ],
)
def test_a_version_of_other_features_says_which(now: dict[str, Any], told: str | None) -> None:
    """What changed under one version is named; what is the same is gone on from."""
    old = pipeline(features=[OLD])
    sources = {"learns_what": old.learns_what, "shared": definitions(old.shared)}
    version: Any = {"model": "main@7", "sources": sources}
    deployment: Any = SimpleNamespace(pipeline=pipeline(**now), fresh_model=False)
    stage = LearnStage(deployment)
    if told is None:
        stage._check_fits(version)
        return
    with pytest.raises(StreamprocError, match="main@7 was learnt by another model") as raised:
        stage._check_fits(version)
    assert str(raised.value).endswith(told)
