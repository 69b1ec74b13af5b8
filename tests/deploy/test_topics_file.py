"""deploy/topics.yml says what the worker would make."""

from __future__ import annotations

import yaml

from streamproc.kafka.topics import Cluster, describe
from streamproc.pipeline import Pipeline
from tests.servers import ROOT


def test_the_file_has_the_topics_that_the_worker_makes() -> None:
    """Names, partitions and settings are those of examples/payments.py on an empty cluster."""
    pipeline = Pipeline.load(ROOT / "examples/payments.py")
    empty = Cluster("", "", embedded=False, partitions={})
    expected = [
        {"name": topic.name, "partitions": topic.partitions, "config": dict(topic.config)}
        for topic in describe(pipeline, empty)
    ]
    actual = yaml.safe_load((ROOT / "deploy/topics.yml").read_text())["topics"]
    assert actual == expected
