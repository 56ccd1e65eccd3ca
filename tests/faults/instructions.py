"""The instructions a scripted server understands: ordinary answers and every way a network fails.

Each function returns a value; nothing happens until the server plays it for a request. Sizes are bytes, times seconds.
"""

from __future__ import annotations

import json as json_module
import threading
import zlib
from functools import lru_cache
from typing import Any, Literal

from tests.faults.exchange import Exchange, Framing, Headers, Instruction, Reply, as_chunk
from tests.faults.wire import Ending

_NOTHING: Any = object()
_BLOCK = 1024 * 1024


def answer(status: int = 200, body: bytes | str = b"", *, json: Any = _NOTHING, headers: Headers = ()) -> Instruction:
    """Answer with a body of known length and keep the connection for the next request.

    :param json: a value to be sent as JSON instead of ``body``; ``None`` sends ``null``.
    """
    reply = Reply.of(body, status=status, headers=headers)
    if json is not _NOTHING:
        labelled = any(name.lower() == "content-type" for name, _ in reply.headers)
        label = () if labelled else (("Content-Type", "application/json"),)
        reply = Reply(status, json_module.dumps(json).encode(), (*reply.headers, *label))
    return Instruction(f"answer({status})", reply.send)


def redirect(code: int, location: str, *, headers: Headers = ()) -> Instruction:
    """Send the client elsewhere."""
    pairs = (*Reply.of(b"", status=code, headers=headers).headers, ("Location", location))
    return Instruction(f"redirect({code})", Reply(code, b"", pairs).send)


def raw(data: bytes) -> Instruction:
    """Answer with exactly these bytes, HTTP or not, and end the connection."""

    def play(exchange: Exchange) -> None:
        exchange.send(data)
        exchange.ending = Ending.FINISH

    return Instruction(f"raw({data[:20]!r})", play)


def reset_after_request() -> Instruction:
    """Read the whole request, then RST: the client cannot know whether it was taken."""
    return _end("reset_after_request()", Ending.RESET)


def close_after_request() -> Instruction:
    """Read the whole request, then FIN without an answer."""
    return _end("close_after_request()", Ending.CUT)


def _end(name: str, ending: Ending) -> Instruction:
    def play(exchange: Exchange) -> None:
        exchange.ending = ending

    return Instruction(name, play)


def hold(until: threading.Event | float | None = None, then: Instruction | None = None) -> Instruction:
    """Read the request and answer nothing until released.

    :param until: an event a test sets, or seconds; ``None`` holds until the server is stopped.
    :param then: what to do after the release; ``None`` closes without an answer.
    """
    after = then or close_after_request()

    def play(exchange: Exchange) -> None:
        if isinstance(until, threading.Event):
            exchange.await_release(until)
        else:
            exchange.pause(until)
        after.play(exchange)

    return Instruction("hold()" if then is None else f"hold(), then {then.name}", play)


def silent() -> Instruction:
    """Read the request and never answer: a read timeout."""
    return Instruction("silent()", hold().play)


def keepalive_then_close(first: Instruction) -> Instruction:
    """Play ``first``; the next request *on the same connection* is read, kept in the record, and lost: read, then FIN.

    That is what a pooled connection does that the server gave up in the meantime. The lost request uses no instruction;
    a client that opens a fresh connection is served by the script as usual.
    """

    def play(exchange: Exchange) -> None:
        first.play(exchange)
        exchange.lose_next = True

    return Instruction(f"keepalive_then_close({first.name})", play)


def drip(
    body: bytes | str,
    interval: float,
    chunk: int = 1,
    *,
    status: int = 200,
    headers: Headers = (),
    framing: Framing = "length",
) -> Instruction:
    """Send the head at once and then ``chunk`` bytes of the body every ``interval``."""
    reply = Reply.of(body, status=status, headers=headers, framing=framing)

    def play(exchange: Exchange) -> None:
        exchange.ending = Ending.FINISH if framing == "close" else exchange.ending
        exchange.send(reply.head(last=exchange.ending is not Ending.KEEP))
        for start in range(0, len(reply.body), chunk):
            exchange.send(_framed(reply.body[start : start + chunk], framing))
            exchange.pause(interval)
        exchange.send(as_chunk(b"") if framing == "chunked" else b"")

    return Instruction(f"drip({len(reply.body)} bytes)", play)


def drip_headers(interval: float, chunk: int = 1, *, status: int = 200, headers: Headers = ()) -> Instruction:
    """Send status line and headers ``chunk`` bytes every ``interval``; an empty body follows."""
    reply = Reply.of(b"", status=status, headers=headers)

    def play(exchange: Exchange) -> None:
        exchange.send_slowly(reply.head(last=exchange.ending is not Ending.KEEP), interval, chunk)

    return Instruction(f"drip_headers({interval} s)", play)


def cut_after(
    n: int,
    body: bytes | str,
    *,
    framing: Framing = "length",
    abrupt: bool = False,
    status: int = 200,
    headers: Headers = (),
) -> Instruction:
    """Announce the whole body, send its first ``n`` bytes, end the connection.

    With ``framing="close"`` nothing on the wire tells the cut from the end.

    :param abrupt: end with RST instead of FIN.
    """
    reply = Reply.of(body, status=status, headers=headers, framing=framing)

    def play(exchange: Exchange) -> None:
        exchange.ending = Ending.RESET if abrupt else Ending.CUT
        exchange.send(reply.head(last=framing == "close"))
        if n:
            exchange.send(_framed(reply.body[:n], framing))

    return Instruction(f"cut_after({n} of {len(reply.body)} bytes, {framing})", play)


def chunked(body: bytes | str, size: int = 0, *, status: int = 200, headers: Headers = ()) -> Instruction:
    """Answer in chunks of ``size`` bytes, 0 for a single one."""
    reply = Reply.of(body, status=status, headers=headers, framing="chunked")

    def play(exchange: Exchange) -> None:
        reply.send(exchange, piece=size)

    return Instruction(f"chunked({len(reply.body)} bytes)", play)


def endless(
    chunk: bytes,
    max_bytes: int,
    *,
    framing: Framing = "close",
    announced: int = 0,
    headers: Headers = (),
) -> Instruction:
    """Send ``chunk`` over and over; a client that does not stop by itself is cut off at ``max_bytes``.

    :param announced: the lie in Content-Length where ``framing="length"``.
    """
    reply = Reply(200, b"", Reply.of(b"", status=200, headers=headers).headers, framing, announced)

    def play(exchange: Exchange) -> None:
        exchange.ending = Ending.CUT
        exchange.send(reply.head(last=framing == "close"))
        for _ in range(max_bytes // len(chunk)):
            exchange.send(_framed(chunk, framing))

    return Instruction(f"endless(at most {max_bytes} bytes, {framing})", play)


def gzip_bomb(
    decoded_size: int, shape: Literal["json", "zeros"] = "json", *, status: int = 200, headers: Headers = ()
) -> Instruction:
    """Answer with a small gzip body that decodes to ``decoded_size`` bytes.

    :param shape: ``json`` decodes to a valid PENDING answer with a long field, ``zeros`` to NUL bytes.
    """
    kind = "application/json" if shape == "json" else "application/octet-stream"
    pairs = Reply.of(b"", status=status, headers=headers).headers
    labels = (("Content-Encoding", "gzip"), ("Content-Type", kind))
    reply = Reply(status, _bomb(decoded_size, shape), (*pairs, *labels))
    return Instruction(f"gzip_bomb({decoded_size} bytes of {shape})", reply.send)


@lru_cache(maxsize=8)
def _bomb(decoded_size: int, shape: str) -> bytes:
    start, fill, end = (
        (b'{"id": "job-1", "status": "PENDING", "x": "', b"0", b'"}') if shape == "json" else (b"", b"\0", b"")
    )
    gzip_format = 16 + zlib.MAX_WBITS
    squeezer = zlib.compressobj(wbits=gzip_format)
    out = bytearray(squeezer.compress(start))
    blocks, rest = divmod(max(0, decoded_size - len(start) - len(end)), _BLOCK)
    block = fill * _BLOCK
    for _ in range(blocks):  # block by block: the decoded bytes never exist at once
        out += squeezer.compress(block)
    out += squeezer.compress(fill * rest + end) + squeezer.flush()
    return bytes(out)


def _framed(data: bytes, framing: Framing) -> bytes:
    return as_chunk(data) if framing == "chunked" else data
