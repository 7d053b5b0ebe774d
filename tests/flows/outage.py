"""A Prefect server that can be away: what stands between it and its clients, and answers for it or not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

DATABASE_AWAY = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
"""What Prefect answers while its database is away."""


class Line:
    """A line to a server.

    Attributes:
        url: Of the server, through the line.
    """

    def __init__(self, url: str) -> None:
        self._to = urlsplit(url)
        self._door = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._answer: bytes | None = None
        self._away = False
        self.url = f"http://127.0.0.1:{self._door.getsockname()[1]}{self._to.path}"
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self, answer: bytes = b"") -> None:
        """Let the server be away: nobody answers, or something else than it."""
        self._answer, self._away = answer, True
        for end in list(self._open):
            _close(end)

    def mend(self) -> None:
        """Let it be back."""
        self._away = False

    def close(self) -> None:
        """Take the line down."""
        self.cut()
        _close(self._door)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._door.accept()
            except OSError:
                return
            if self._away:
                with suppress(OSError):
                    if self._answer:
                        client.recv(65536)
                        client.sendall(self._answer)
                _close(client)
                continue
            server = socket.create_connection((self._to.hostname, self._to.port))
            self._open |= {client, server}
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while content := one.recv(65536):
                other.sendall(content)
        for end in (one, other):
            self._open.discard(end)
            _close(end)


@contextmanager
def line(url: str) -> Iterator[Line]:
    """A line to the server at a url, as long as the block lasts."""
    made = Line(url)
    try:
        yield made
    finally:
        made.close()


def _close(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
