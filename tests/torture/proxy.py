"""A wire between one worker and the broker that can be cut: nothing passes, nothing is told."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

_CHUNK_BYTES = 65_536


class Proxy:
    """Forwards connections to its own port to another one, unless it is cut."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._to = 0
        self._whole = threading.Event()
        self._whole.set()
        self._ends: list[socket.socket] = []

    def forward_to(self, port: int) -> None:
        """Begin to accept, for this port."""
        self._to = port
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def cut(self) -> None:
        """Let nothing pass: both sides wait, and find out by themselves."""
        self._whole.clear()

    def mend(self) -> None:
        """Let all pass again, what was on its way first."""
        self._whole.set()

    def close(self) -> None:
        """End all connections."""
        self._whole.set()
        for end in (self._listener, *self._ends):
            with suppress(OSError):
                end.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
            except OSError:  # closed, or the broker is away: whoever asked tries again
                if self._listener.fileno() < 0:
                    return
                continue
            self._ends += [near, far]
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(_CHUNK_BYTES):
                self._whole.wait()
                target.sendall(chunk)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
