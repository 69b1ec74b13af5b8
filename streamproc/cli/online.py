"""Asking a running worker for an entity's features."""

from __future__ import annotations

import http.client
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from streamproc.errors import DefinitionError, StreamprocError
from streamproc.settings import Settings

_ANSWER_S = 5.0


def current_features(
    settings: Settings, address: str | None, entity: str, by: Sequence[str]
) -> dict[str, Any]:
    """Return what a worker answers for an entity, by these fields or the events' key.

    ``address`` is the worker's host:port; else it is that of the settings. Raises
    :class:`StreamprocError` where it does not answer, or has no state of the entity.
    """
    where = address or settings.metrics_address
    host, _, port = where.rpartition(":")
    if not host or not port.isdigit() or int(port) == 0:
        raise DefinitionError(
            f"{where} is no worker's address; give --at HOST:PORT, as its log says at 'serving'"
        )
    token = settings.metrics_token
    headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}
    path = f"/features/{quote(entity, safe='')}?{urlencode([('by', each) for each in by])}"
    connection = http.client.HTTPConnection(host, int(port), timeout=_ANSWER_S)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise StreamprocError(f"{where} does not answer ({error}); is the worker up?") from error
    finally:
        connection.close()
    if answer.status == 401:
        raise StreamprocError(f"{where} wants a token; set STREAMPROC_METRICS_TOKEN to it")
    if answer.status != 200:
        raise StreamprocError(f"{where}: {body.decode(errors='replace').strip()}")
    found: dict[str, Any] = orjson.loads(body)
    return found
