"""Structured logs on standard error: for eyes on a terminal, JSON lines everywhere else."""

from __future__ import annotations

import logging
import sys
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_SELDOM_S = 10.0
_SECRET = ("password", "secret", "token", "credential")


def configure() -> None:
    """Send our logs, and the warnings of the libraries, to standard error in one form."""
    on_terminal = sys.stderr.isatty()
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True, key="time")
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        stamp,
        _without_secrets,
    ]
    last: list[Processor] = (
        [structlog.dev.ConsoleRenderer(timestamp_key="time", exception_formatter=_brief)]
        if on_terminal
        else [structlog.processors.format_exc_info, _json]
    )
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_Seldom())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    for name in ("faust", "mode", "aiokafka"):  # they set levels of their own
        logging.getLogger(name).setLevel(logging.WARNING)


class _Seldom(logging.Filter):
    """Lets librdkafka say one kind of thing every few seconds: it tells of each try to connect."""

    def __init__(self) -> None:
        super().__init__()
        self._told_s: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name != "librdkafka":
            return True
        kind = str(record.msg).partition(" ")[0]  # such as FAIL or SESSTMOUT
        last_s = self._told_s.get(kind)
        if last_s is not None and record.created - last_s < _SELDOM_S:
            return False
        self._told_s[kind] = record.created
        return True


def _without_secrets(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Blank what is called a password or the like, should one ever be logged."""
    for name in event:
        if any(word in name.lower() for word in _SECRET):
            event[name] = "***"
    return event


def _json(logger: WrappedLogger, method: str, event: EventDict) -> str:
    return orjson.dumps(event, default=str).decode()


def _brief(stream: Any, exc_info: Any) -> None:
    structlog.dev.plain_traceback(stream, exc_info)
