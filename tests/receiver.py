"""A server of HTTP that takes what is posted to it, and answers as a test wants."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import orjson


class Posted(NamedTuple):
    """One request, as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> object:
        """The body, read as JSON."""
        return orjson.loads(self.body)


def taken(posted: Posted) -> int:
    """Answer that all is well."""
    return 200


class Receiver:
    """Listens on 127.0.0.1, on a free port or the one given; used in a ``with`` block.

    ``answer`` says by which status; what it takes longer for is answered later.
    """

    def __init__(self, answer: Callable[[Posted], int] = taken, port: int = 0) -> None:
        self.answer = answer
        self.headers: dict[str, str] = {}
        self.posted: list[Posted] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                posted = Posted(self.path, dict(self.headers.items()), body)
                receiver.posted.append(posted)
                self.send_response(receiver.answer(posted))
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Tests look at what was posted."""

        self._server = _Quiet(("127.0.0.1", port), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    def encrypt(self, certificate: Path) -> None:
        """Speak TLS from now on, with this certificate and its key."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Quiet(ThreadingHTTPServer):
    """Clients that go away in the middle are what some tests are about."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing."""
