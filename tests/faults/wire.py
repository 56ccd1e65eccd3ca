"""HTTP/1.1 on a raw socket, as a server sees it: read a request whole, write bytes, end in one of TCP's ways.

The sockets are raw because the faults are: a reset, a body cut in the middle of a chunk or a byte every second cannot
be asked of an HTTP library that is built to prevent them. Only what a client under test sends is understood: no
upgrade, no trailers, no pipelining beyond what happens to work.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

HEAD_LIMIT = 64 * 1024
BODY_LIMIT = 64 * 1024 * 1024
PIECE = 64 * 1024

# SO_LINGER with zero seconds: close() throws the connection away with an RST instead of a FIN.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class UnreadableError(ValueError):
    """The bytes of a client are no HTTP request: a TLS greeting on a plain port, for example."""


class Ending(Enum):
    """What becomes of a connection when an answer is over."""

    KEEP = "keep"  # the client may send the next request
    FINISH = "finish"  # orderly end: FIN, over TLS after a close_notify
    CUT = "cut"  # FIN alone: over TLS the end of the stream comes unannounced
    RESET = "reset"  # RST: the client gets ECONNRESET


@dataclass(frozen=True)
class Request:
    """One request as it arrived.

    :param target: as sent: a path, ``http://host/path`` when spoken to as a proxy, ``host:port`` for CONNECT.
    :param headers: name and value in the order and spelling of the client.
    :param arrived: ``time.monotonic()`` when the head had been read.
    :param connection: 1 for the first connection the server accepted, 2 for the next, …
    :param turn: 1 for the first request of its connection.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    arrived: float
    connection: int
    turn: int

    @property
    def path(self) -> str:
        """The path without the query, percent-encoding untouched; the whole target for CONNECT."""
        return self.target if self.method == "CONNECT" else urlsplit(self.target).path

    @property
    def query(self) -> str:
        """What stands behind the question mark, undecoded."""
        return urlsplit(self.target).query

    @property
    def fresh(self) -> bool:
        """Whether the client opened a connection for this request instead of taking one from a pool."""
        return self.turn == 1

    def header(self, name: str) -> str | None:
        """Return the first value of a header, whatever its spelling, or ``None``."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def json(self) -> Any:
        """Decode the body, whatever content type it was labelled with."""
        return json.loads(self.body)

    def __str__(self) -> str:
        """Name the request in reports; never its headers, they may carry a key."""
        return f"{self.method} {self.path} (connection {self.connection}, request {self.turn} on it)"


class Connection:
    """One accepted client."""

    def __init__(self, sock: socket.socket, number: int, tls: ssl.SSLContext | None) -> None:
        """Take over an accepted socket; the TLS handshake, if any, waits for :meth:`greet`."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.number = number
        self.turns = 0
        self._sock = tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False) if tls else sock
        self._ahead = b""
        self._guard = threading.Lock()

    def greet(self) -> None:
        """Shake hands where TLS is spoken.

        :raises OSError: when the client breaks off, say because it does not trust the certificate.
        """
        if isinstance(self._sock, ssl.SSLSocket):
            self._sock.do_handshake()

    def await_first_byte(self, seconds: float) -> None:
        """Wait, no longer than that, until the client has sent something, and leave it unread."""
        with suppress(OSError):
            self._sock.settimeout(seconds)
            self._sock.recv(1, socket.MSG_PEEK)

    def send(self, data: bytes) -> None:
        """Write all of it.

        :raises OSError: when the client has left.
        """
        self._sock.sendall(data)

    def read_request(self) -> Request | None:
        """Read the next request to its last byte; ``None`` when the client left instead.

        :raises ValueError: when what came is no HTTP.
        """
        try:
            head = self._until(b"\r\n\r\n")
            arrived = time.monotonic()
            method, target, headers = _parse_head(head)
            body = self._body({name.lower(): value for name, value in headers})
        except (OSError, EOFError):
            return None
        self.turns += 1
        return Request(method, target, headers, body, arrived, self.number, self.turns)

    def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("expect", "").lower() == "100-continue":
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return self._chunks()
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            message = f"Content-Length: {length[:40]}"
            raise UnreadableError(message)
        return self._exactly(int(length))

    def _chunks(self) -> bytes:
        body = bytearray()
        while size := int(self._until(b"\r\n").split(b";")[0], 16):
            body += self._exactly(size)
            self._until(b"\r\n")
        self._until(b"\r\n")
        return bytes(body)

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._ahead:
            if len(self._ahead) > HEAD_LIMIT:
                message = f"no end of the head in {HEAD_LIMIT} bytes"
                raise UnreadableError(message)
            self._ahead += self._receive()
        found, _, self._ahead = self._ahead.partition(mark)
        return found

    def _exactly(self, size: int) -> bytes:
        if size > BODY_LIMIT:
            message = f"a body of {size} bytes"
            raise UnreadableError(message)
        body = bytearray(self._ahead[:size])
        self._ahead = self._ahead[size:]
        while len(body) < size:
            body += self._receive(size - len(body))
        return bytes(body)

    def _receive(self, at_most: int = PIECE) -> bytes:
        data = self._sock.recv(min(at_most, PIECE))
        if not data:
            raise EOFError
        return data

    def end(self, ending: Ending) -> None:
        """Close in the given way; only the thread that reads and writes may, or an RST would wait for the reader."""
        with self._guard:
            if ending is Ending.RESET:
                with suppress(OSError):
                    self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                self._sock.close()
                return
            if ending is Ending.FINISH and isinstance(self._sock, ssl.SSLSocket):
                # Without a timeout the second half of unwrap() would wait for the client's own close_notify.
                self._sock.settimeout(0)
                with suppress(OSError, ValueError):
                    self._sock.unwrap()
            self._shut(socket.SHUT_WR)
            self._sock.close()

    def interrupt(self) -> None:
        """Wake the thread that waits for the client; it then finds the stream at its end. For the server's stop."""
        with self._guard:
            self._shut(socket.SHUT_RDWR)

    def _shut(self, how: int) -> None:
        # The plain socket's method: SSLSocket.shutdown() takes the TLS state away from under a thread that reads.
        # A shutdown, unlike a close, also reaches the client while a forked child still holds a copy of the socket.
        with suppress(OSError):
            socket.socket.shutdown(self._sock, how)


def _parse_head(head: bytes) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        message = f"request line {first[:80]!r}"
        raise UnreadableError(message)
    fields = (line.partition(":") for line in lines)
    return words[0], words[1], tuple((name, value.strip()) for name, _, value in fields)
