"""An alert explained from what is on a pipeline's topics; takes part in nothing."""

from __future__ import annotations

from typing import Any

import orjson

from agents.logs import outside
from agents.models import published_versions
from streamproc.errors import StreamprocError
from streamproc.explaining import Explanation, explained, newest
from streamproc.kafka.topics import probe
from streamproc.messages import Alert
from streamproc.pipeline import Pipeline
from streamproc.settings import Settings


def explanation_of(pipeline: Pipeline, settings: Settings, alert_id: str) -> Explanation:
    """Return what is known of an alert, by its id or its beginning (6 characters at least).

    Raises :class:`StreamprocError` where there is none, or several, or no such topics.
    """
    cluster = probe(settings.kafka_config())
    topics = pipeline.topics
    partitions = cluster.partitions.get(topics.predictions)
    if partitions is None or topics.alerts not in cluster.partitions:
        raise StreamprocError(
            f"there is no topic {topics.alerts} at {settings.brokers}; has this pipeline run there?"
        )
    at = outside(pipeline, settings, cluster, partitions)
    told: list[Any] = [
        at.codec.decode("alert", record.value())
        for record in at.read(topics.alerts, 0, 0, None)
        if record.value() is not None
    ]
    alerts: list[Alert] = newest(told)
    alert = _named(alerts, alert_id, topics.alerts)
    records = (orjson.loads(r.value() or b"{}") for r in at.read(topics.buckets, 0, 0, None))
    return explained(pipeline, records, alert, alerts, published_versions(at))


def _named(alerts: list[Alert], alert_id: str, topic: str) -> Alert:
    """Return the alert with an id.

    >>> _named([{"alert_id": "d4cc887545ea07cf"}], "d4cc88", "a")["alert_id"]
    'd4cc887545ea07cf'
    """
    long_enough = len(alert_id) >= 6
    found = [
        alert
        for alert in alerts
        if alert["alert_id"] == alert_id or (long_enough and alert["alert_id"].startswith(alert_id))
    ]
    if len(found) == 1:
        return found[0]
    several = f"{len(found)} alerts begin with" if found else "no alert has the id"
    raise StreamprocError(f"{several} {alert_id!r} on {topic}; see `streamproc watch alerts`")
