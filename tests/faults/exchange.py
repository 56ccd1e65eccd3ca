"""What an instruction is, and what it may do with the connection while it is played."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal

from tests.faults.wire import Connection, Ending, Request

if TYPE_CHECKING:
    import threading

Headers = Mapping[str, str] | Iterable[tuple[str, str]]
Framing = Literal["length", "chunked", "close"]

NO_BODY = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
GLANCE = 0.02


class Stopped(Exception):
    """The server is being stopped."""


class ClientLeft(Exception):
    """The client has closed the connection while it was being written to."""


class Exchange:
    """One request and the connection it came on, in the hands of an instruction.

    An instruction sends bytes, waits, and says at the end what becomes of the connection; it never closes it itself.
    """

    def __init__(self, connection: Connection, request: Request, stopping: threading.Event) -> None:
        """Bind a request to its connection; ``stopping`` ends every wait."""
        self.request = request
        self.sent = 0
        self.ending = Ending.FINISH if _wants_close(request) else Ending.KEEP
        self.lose_next = False
        self._connection = connection
        self._stopping = stopping

    def send(self, data: bytes) -> None:
        """Write bytes as they are.

        :raises ClientLeft: when nobody reads any more.
        :raises Stopped: when the server is being stopped.
        """
        if self._stopping.is_set():
            raise Stopped
        try:
            self._connection.send(data)
        except OSError as exc:
            raise (Stopped if self._stopping.is_set() else ClientLeft) from exc
        self.sent += len(data)

    def send_slowly(self, data: bytes, interval: float, piece: int) -> None:
        """Write ``piece`` bytes every ``interval`` seconds."""
        for start in range(0, len(data), piece):
            self.send(data[start : start + piece])
            self.pause(interval)

    def pause(self, seconds: float | None) -> None:
        """Do nothing for so many seconds; ``None``: until the server is stopped."""
        if self._stopping.wait(seconds):
            raise Stopped

    def await_release(self, event: threading.Event) -> None:
        """Do nothing until a test sets the event."""
        while not event.wait(GLANCE):
            self.pause(0)


@dataclass(frozen=True)
class Instruction:
    """One thing the server is told to do with one request.

    :param name: what reports call it, ``answer(503)`` say.
    :param play: does it.
    :param before: called after the request was read and kept, before anything is answered: the place to kill a process.
    :param repeats: never used up; made by :func:`forever`.
    """

    name: str
    play: Callable[[Exchange], None] = field(repr=False)
    before: Callable[[Request], object] | None = field(default=None, repr=False)
    repeats: bool = False

    def with_before(self, hook: Callable[[Request], object]) -> Instruction:
        """Return the same instruction with a hook that runs between the request and its answer."""
        return replace(self, before=hook)

    def delayed(self, seconds: float) -> Instruction:
        """Return the same instruction, played so many seconds after the request."""

        def play(exchange: Exchange) -> None:
            exchange.pause(seconds)
            self.play(exchange)

        return replace(self, name=f"{self.name} after {seconds} s", play=play)


def forever(instruction: Instruction) -> Instruction:
    """Play an instruction for every request from here on; it counts as left over until it was played once."""
    return replace(instruction, name=f"forever {instruction.name}", repeats=True)


@dataclass(frozen=True)
class Reply:
    """An HTTP answer before it becomes bytes.

    :param framing: how the end of the body is told: by its length, by chunks, or by the end of the connection.
    :param headers: win over the headers that the framing would write, so an answer can lie about its length.
    :param announced: the length to announce when it is not the body's own.
    """

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    framing: Framing = "length"
    announced: int | None = None

    @classmethod
    def of(cls, body: bytes | str, *, status: int, headers: Headers, framing: Framing = "length") -> Reply:
        """Build a reply from what a test writes."""
        data = body.encode() if isinstance(body, str) else body
        pairs = tuple(headers.items()) if isinstance(headers, Mapping) else tuple(headers)
        return cls(status, data, pairs, framing)

    def head(self, *, last: bool) -> bytes:
        """Return status line and headers; ``last`` announces the end of the connection."""
        lines = dict.fromkeys(name.lower() for name, _ in self.headers)
        fields = [pair for pair in self._framing_headers(last=last) if pair[0].lower() not in lines]
        text = f"HTTP/1.1 {self.status} {_reason(self.status)}\r\n"
        text += "".join(f"{name}: {value}\r\n" for name, value in (*fields, *self.headers))
        return text.encode("latin-1") + b"\r\n"

    def _framing_headers(self, *, last: bool) -> Iterable[tuple[str, str]]:
        if self.framing == "length" and self.status not in NO_BODY:
            yield "Content-Length", str(len(self.body) if self.announced is None else self.announced)
        if self.framing == "chunked":
            yield "Transfer-Encoding", "chunked"
        if last or self.framing == "close":
            yield "Connection", "close"

    def send(self, exchange: Exchange, *, piece: int = 0) -> None:
        """Send head and body; ``piece`` is the size of the chunks where the framing has any, 0 for one chunk."""
        if self.framing == "close":
            exchange.ending = Ending.FINISH
        exchange.send(self.head(last=exchange.ending is not Ending.KEEP))
        if exchange.request.method == "HEAD" or self.status in NO_BODY:
            return
        if self.framing != "chunked":
            exchange.send(self.body)
            return
        for start in range(0, len(self.body), piece or len(self.body)):
            exchange.send(as_chunk(self.body[start : start + (piece or len(self.body))]))
        exchange.send(as_chunk(b""))


def as_chunk(data: bytes) -> bytes:
    """Frame one chunk; the empty one is the end of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def _wants_close(request: Request) -> bool:
    return (request.header("Connection") or "").lower() == "close"


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Scripted"
