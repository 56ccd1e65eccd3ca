"""A real HTTP/1.1 server on the loopback that does, request by request, what a test told it, and keeps what it got.

It fails loudly: a request it was not told about is answered 599 and makes :meth:`ScriptedServer.verify` fail, and so
does an instruction that nobody used. Clients may live in other processes; hundreds of connections at once are fine.
It does not understand the API it stands for: that is written in the instructions.
"""

from __future__ import annotations

import ssl
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from tests.faults.exchange import ClientLeft, Exchange, Instruction, Stopped
from tests.faults.listener import Accept, Listener
from tests.faults.script import Books, Outcome, Played, Route, Script
from tests.faults.wire import Connection, Ending, Request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType


@dataclass(frozen=True)
class Report:
    """What became of the script.

    :param played: the instructions that were used, in the order in which they ended.
    :param left_over: route label, or ``at_connect``, to the names of the instructions that nobody used.
    :param troubles: requests that were not expected, bytes that were no request, hooks that raised.
    """

    played: tuple[Played, ...]
    left_over: Mapping[str, tuple[str, ...]]
    troubles: tuple[str, ...]

    def defects(self, *, allow_unused: bool) -> tuple[str, ...]:
        """Return a line for everything that was not as told."""
        unused = (
            []
            if allow_unused
            else [f"left over on {label}: {', '.join(names)}" for label, names in self.left_over.items()]
        )
        return (*self.troubles, *unused)


class ScriptedServer:
    """A server that is told everything in advance.

    ::

        with ScriptedServer({"POST /jobs": [answer(503), pending("job-1")]}) as server:
            client(server.url)
        # leaving the block has verified that exactly two requests came

    :param routes: label (see :class:`~tests.faults.script.Route`) to script.
    :param at_connect: what to do with the first, second, … new connection before reading; later ones are
        served as usual. A single value is done to every connection.
    :param host: the address to listen on: ``127.0.0.1`` or another of the loopback.
    :param port: 0 for a free one.
    :param tls: speak TLS with this context.
    :param allow_unused: let instructions be left over.
    :param listening: ``False``: own the port, and refuse connections until :meth:`listen`.
    """

    def __init__(
        self,
        routes: Mapping[str, Script] | None = None,
        *,
        at_connect: Sequence[Accept] | Accept = (),
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        allow_unused: bool = False,
        listening: bool = True,
    ) -> None:
        """Bind the port; the server runs from ``with`` on."""
        self._books = Books()
        for label, script in (routes or {}).items():
            self.route(label, script)
        self._scheme = "https" if tls else "http"
        self._allow_unused = allow_unused
        self._listen_at_once = listening
        self._listener = Listener((host, port), self._serve, at_connect, tls)
        self.host, self.port = self._listener.host, self._listener.port

    def route(self, label: str, script: Script, *, repeat_last: bool = False) -> None:
        """Tell one more route, also while the server runs.

        :raises ValueError: when the label is told already, or is none.
        """
        self._books.add(Route(label, script, repeat_last=repeat_last))

    def listen(self) -> None:
        """Open the port of a server that was built with ``listening=False``."""
        self._listener.listen()

    def use_tls(self, context: ssl.SSLContext) -> None:
        """Show another certificate to the connections that come from now on."""
        self._listener.tls = context

    def __enter__(self) -> Self:
        """Start."""
        if self._listen_at_once:
            self.listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and verify unless the test has failed already: its own error says more."""
        self.stop()
        if kind is None:
            self.verify()

    def stop(self) -> None:
        """End all connections and threads, within seconds; may be called again."""
        for name in self._listener.stop():
            self._books.complain(f"still running after the stop: {name}")

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"{self._scheme}://{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The base to append a path to; it has none of its own, so it is the origin."""
        return self.origin

    @property
    def requests(self) -> tuple[Request, ...]:
        """What was received so far, in the order in which it was read to its end."""
        with self._books.changed:
            return tuple(self._books.requests)

    @property
    def connections(self) -> int:
        """How many connections were accepted, including those that were reset at once."""
        return self._listener.accepted

    @property
    def refused_handshakes(self) -> int:
        """How many clients broke off the TLS handshake."""
        return self._books.refused_handshakes

    def count(self, method: str | None = None) -> int:
        """Count the requests of a method, or all of them, whatever their path and whatever they were answered."""
        return sum(method in {None, request.method} for request in self.requests)

    def hits(self, label: str) -> int:
        """Count the requests of a route, answered or not.

        :raises KeyError: when there is no such route: a typing error must not count as zero.
        """
        return self._books.hits(label)

    def wait_for(self, label: str, count: int = 1, *, timeout: float = 10.0) -> None:
        """Wait until a route has received so many requests.

        :raises AssertionError: when that took longer than ``timeout`` seconds.
        """
        with self._books.changed:
            if not self._books.changed.wait_for(lambda: self._books.hits(label) >= count, timeout):
                message = f"{label}: {self._books.hits(label)} instead of {count} requests in {timeout} s"
                raise AssertionError(message)

    def settle(self, *, timeout: float = 10.0) -> None:
        """Wait until every request received so far has been dealt with; a client that left is found out only by then.

        :raises AssertionError: when that took longer than ``timeout`` seconds.
        """
        books = self._books
        with books.changed:
            if not books.changed.wait_for(lambda: len(books.played) >= len(books.requests), timeout):
                message = (
                    f"{len(books.requests) - len(books.played)} requests are still being answered after {timeout} s"
                )
                raise AssertionError(message)

    def report(self) -> Report:
        """Tell what became of the script so far; settled once the server is stopped."""
        left_over = self._books.left_over()
        if self._listener.unmet:
            left_over["at_connect"] = tuple(what.value for what in self._listener.unmet)
        with self._books.changed:
            return Report(tuple(self._books.played), left_over, tuple(self._books.troubles))

    def verify(self) -> None:
        """Check that the script was played to its end and nothing else was asked.

        :raises AssertionError: naming everything that was not so.
        """
        defects = self.report().defects(allow_unused=self._allow_unused)
        if defects:
            lines = "".join(f"\n- {defect}" for defect in defects)
            message = f"the scripted server {self.origin} was not used as told:{lines}"
            raise AssertionError(message)

    def _serve(self, connection: Connection) -> None:
        try:
            connection.greet()
        except (OSError, ValueError) as exc:
            told_why = isinstance(exc, ssl.SSLError) and not isinstance(exc, ssl.SSLEOFError)
            if told_why or not self._listener.stopping.is_set():  # else it was our own stop that broke it off
                self._books.refuse_handshake()
            return
        ending = Ending.KEEP
        lose_next = False
        while ending is Ending.KEEP:
            try:
                request = connection.read_request()
            except ValueError as exc:
                self._books.complain(f"connection {connection.number} is no HTTP: {exc}")
                return
            if request is None:
                return
            exchange = Exchange(connection, request, self._listener.stopping)
            self._answer(exchange, lose=lose_next)
            ending, lose_next = exchange.ending, exchange.lose_next
        connection.end(ending)

    def _answer(self, exchange: Exchange, *, lose: bool) -> None:
        request = exchange.request
        route = self._books.receive(request)
        name, outcome = "lost with its connection", Outcome.DONE
        try:
            if lose:
                exchange.ending = Ending.CUT
            else:
                instruction = self._books.instruction_for(request, route)
                name = instruction.name
                _perform(instruction, exchange)
        except Stopped:
            exchange.ending, outcome = Ending.CUT, Outcome.STOPPED
        except ClientLeft:
            exchange.ending, outcome = Ending.CUT, Outcome.CLIENT_LEFT
        except Exception:  # noqa: BLE001 - a hook or a route function is the test's own code: its error belongs in the report
            exchange.ending, outcome = Ending.CUT, Outcome.FAILED
            self._books.complain(f"{request}: {name} raised\n{traceback.format_exc()}")
        self._books.enter(Played(route.label if route else "", name, request, outcome, exchange.sent))


def _perform(instruction: Instruction, exchange: Exchange) -> None:
    if instruction.before is not None:
        instruction.before(exchange.request)
    instruction.play(exchange)
