"""Alerts: what becomes of findings, and what people may do about them."""

from streamproc.alerts.book import AlertBook
from streamproc.alerts.commands import Command, Match, read_command
from streamproc.alerts.telling import alert_id
from streamproc.monitors.judge import Judge
from streamproc.monitors.spec import Watched

__all__ = ["AlertBook", "Command", "Match", "alert_id", "new_judge", "read_command"]


def new_judge(pipeline: Watched, partitions: int) -> Judge:
    """Return the judge of a pipeline whose topics have so many partitions."""
    features = {
        name: (fields, pipeline.warmup_ms(name)) for name, fields in pipeline.made_of.items()
    }
    book = AlertBook(pipeline.name, pipeline.fingerprint, features)
    return Judge(pipeline, partitions, book)
