"""An alert explained from what is on a pipeline's topics; takes part in nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from agents.deployment import Deployment
from agents.logs import outside
from agents.models import published_versions
from streamproc.explaining import Explanation, explained
from streamproc.kafka.topics import probe
from streamproc.messages import Alert
from streamproc.pipeline import Pipeline
from streamproc.settings import Settings


def explanation_of(
    pipeline: Pipeline, settings: Settings, alert: Alert, others: Sequence[Alert] = ()
) -> Explanation:
    """Return what is known of an alert; ``others`` are the newest step of each.

    Raises :class:`StreamprocError` where the brokers are not there. A topic that is not there has
    nothing to say.
    """
    cluster = probe(settings.kafka_config())
    topics, there = pipeline.topics, cluster.partitions
    at = outside(pipeline, settings, cluster, there.get(topics.predictions, 1))
    records = _sums(at) if topics.buckets in there else iter(())
    versions = published_versions(at) if topics.models in there else iter(())
    return explained(pipeline, records, alert, others, versions)


def _sums(at: Deployment) -> Iterator[dict[str, Any]]:
    for record in at.read(at.pipeline.topics.buckets, 0, 0, None, unblock=False):
        yield orjson.loads(record.value() or b"{}")
