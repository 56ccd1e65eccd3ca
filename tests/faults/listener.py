"""The threads below a scripted server: accept, a thread for each client, and gone when told, within seconds."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING

from tests.faults.wire import Connection, Ending

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

STOP_WITHIN = 5.0
BACKLOG = 1024
FIRST_BYTE_WITHIN = 1.0


class Accept(Enum):
    """What the server does with a new connection before a byte of it is read."""

    SERVE = "serve"
    RESET = "reset"  # RST when the client has begun to send: the request is never seen
    CLOSE = "close"  # FIN
    MUTE = "mute"  # kept open, never read: a TLS handshake or an answer that does not come


class Listener:
    """A port with a thread that accepts and a thread for each client.

    :param serve: talks with one client until that connection is over; called in a thread of its own.
    :param at_connect: see :class:`~tests.faults.scripted_server.ScriptedServer`.
    """

    def __init__(
        self,
        address: tuple[str, int],
        serve: Callable[[Connection], None],
        at_connect: Sequence[Accept] | Accept,
        tls: ssl.SSLContext | None,
    ) -> None:
        """Bind the port. A port that is bound and not listened to is refused by the kernel, and nobody else's."""
        self.tls = tls
        self.stopping = threading.Event()
        self.accepted = 0
        self._serve = serve
        self._always = at_connect if isinstance(at_connect, Accept) else Accept.SERVE
        self._at_connect = [] if isinstance(at_connect, Accept) else list(at_connect)
        self._connections: set[Connection] = set()
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self._accepting: threading.Thread | None = None
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind(address)
        except OSError:
            self._socket.close()
            raise
        self.host, self.port = self._socket.getsockname()

    @property
    def unmet(self) -> tuple[Accept, ...]:
        """What was planned for connections that never came."""
        return tuple(self._at_connect)

    def listen(self) -> None:
        """Begin to accept.

        :raises RuntimeError: when it does already, or has been stopped.
        """
        if self._accepting is not None or self.stopping.is_set():
            message = "the server listens already, or is over"
            raise RuntimeError(message)
        self._socket.listen(BACKLOG)
        self._accepting = threading.Thread(target=self._accept, name=f"accept:{self.port}", daemon=True)
        self._accepting.start()

    def stop(self) -> tuple[str, ...]:
        """End every thread and connection; return the names of threads that would not, which is a defect of a hook."""
        self.stopping.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the accept; a close alone would not
        deadline = time.monotonic() + STOP_WITHIN
        if self._accepting is not None:
            self._accepting.join(STOP_WITHIN)
        self._socket.close()
        with self._lock:
            connections, threads = list(self._connections), list(self._threads)
        for connection in connections:
            connection.interrupt()
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        for connection in connections:
            connection.end(Ending.CUT)
        return tuple(thread.name for thread in threads if thread.is_alive())

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                sock, _ = self._socket.accept()
            except OSError:
                # The stop, or a client that gave up in the backlog, or no file descriptor left for the moment.
                self.stopping.wait(0.01)
                continue
            self._admit(sock)

    def _admit(self, sock: socket.socket) -> None:
        self.accepted += 1
        what = self._at_connect.pop(0) if self._at_connect else self._always
        try:
            connection = Connection(sock, self.accepted, self.tls if what is Accept.SERVE else None)
        except (OSError, ValueError):  # the client has left already
            sock.close()
            return
        if what is Accept.CLOSE:
            connection.end(Ending.CUT)
            return
        name = f"client {self.accepted}:{self.port}"
        talk = _reset if what is Accept.RESET else self._serve
        thread = threading.Thread(target=self._run, args=(connection, talk), name=name, daemon=True)
        with self._lock:
            self._connections.add(connection)
            if what is not Accept.MUTE:
                self._threads.add(thread)
                thread.start()

    def _run(self, connection: Connection, talk: Callable[[Connection], None]) -> None:
        try:
            talk(connection)
        finally:
            connection.end(Ending.CUT)  # of no effect where the connection was ended on purpose
            with self._lock:
                self._connections.discard(connection)
                self._threads.discard(threading.current_thread())


def _reset(connection: Connection) -> None:
    # An RST that overtakes the end of connect() is reported by connect() itself, as if nothing had listened.
    connection.await_first_byte(FIRST_BYTE_WITHIN)
    connection.end(Ending.RESET)
