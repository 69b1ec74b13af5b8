"""Posting to an endpoint whose url is a secret: nothing that is told of a try has any of it."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import unquote, urlsplit

TIMEOUT_S = 10.0
LONGEST_RETRY_AFTER_S = 300.0

_LATER = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


@dataclass(frozen=True)
class Answer:
    """What came of a try: the ``status``, or None with the reason ``why`` there is none."""

    status: int | None
    why: str
    retry_after_s: float = 0.0

    @property
    def taken(self) -> bool:
        """Whether it was taken."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def refused(self) -> bool:
        """Whether it would be refused again: the request, the url or the password is wrong.

        >>> [Answer(status, "").refused for status in (200, 301, 400, 404, 429, 503, None)]
        [False, True, True, True, False, False, False]
        """
        return self.status is not None and 300 <= self.status < 500 and self.status not in _LATER


class Endpoint:
    """A place to post to: ``url``, which may carry a user and a password, and ``path`` behind it.

    The whole of a try takes ``timeout_s`` at most, however slowly the answer comes, but for looking
    up the name.
    """

    def __init__(self, url: str, path: str = "", timeout_s: float = TIMEOUT_S) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port
        self._tls = parts.scheme == "https"
        before = parts.path.rstrip("/") if path else parts.path
        self._path = (before + path or "/") + (f"?{parts.query}" if parts.query else "")
        self._headers = {"User-Agent": "streamproc"}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        self._timeout_s = timeout_s
        self._connection: HTTPConnection | None = None
        self._cut = False

    def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post, and say what came of it; one thread at a time."""
        self._cut = False
        self._connection = connection = self._new_connection()
        watchdog = threading.Timer(self._timeout_s, self.cut)
        watchdog.daemon = True
        watchdog.start()
        try:
            connection.connect()
            if self._cut:
                raise TimeoutError
            connection.request("POST", self._path, body, {**self._headers, **headers})
            answer = connection.getresponse()
            later = answer.headers.get("Retry-After", "")
            return Answer(answer.status, _phrase(answer.status), _seconds(later))
        except (OSError, HTTPException) as error:
            return Answer(None, self._why(error))
        finally:
            watchdog.cancel()
            connection.close()

    def cut(self) -> None:
        """End the try that is on its way; called in other threads."""
        self._cut = True
        connection = self._connection
        sock = getattr(connection, "sock", None)
        if sock is not None:
            with suppress(OSError):  # it has just come to its end
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _new_connection(self) -> HTTPConnection:
        if self._tls:
            return HTTPSConnection(
                self._host, self._port, timeout=self._timeout_s, context=self._context
            )
        return HTTPConnection(self._host, self._port, timeout=self._timeout_s)

    @cached_property
    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context()

    def _why(self, error: Exception) -> str:
        """Say what went wrong, without what a server may have sent back of the request."""
        if self._cut or isinstance(error, TimeoutError):
            return f"no answer within {self._timeout_s:g} s"
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        return type(error).__name__


def _phrase(status: int) -> str:
    """Return a status with its name; what the server calls it may be anything."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _seconds(retry_after: str) -> float:
    if not (retry_after.isascii() and retry_after.isdigit()):
        return 0.0  # none, or a date, which our own waits come near enough
    return min(LONGEST_RETRY_AFTER_S, float(retry_after))
