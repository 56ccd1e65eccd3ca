"""A TCP proxy on the loopback that delays, throttles, damages and breaks what passes, switchable while it runs.

It knows nothing of HTTP or TLS: offsets count the bytes of the stream, heads included. Use it where a well-behaved
server must be reached through a bad network; where the server itself misbehaves, the scripted server is simpler.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING, Literal, Self, TypeVar

from tests.faults.tcp_link import Link
from tests.faults.toxics import Kind, Lane, Strike

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

Direction = Literal["down", "up"]
T = TypeVar("T")

PATIENCE = 5.0


class TcpProxy:
    """Forward a port of 127.0.0.1 to a target.

    ::

        with ScriptedServer(...) as server, TcpProxy(server.port) as proxy:
            proxy.cut_after(1000, times=1)
            client(proxy.url)

    Every toxic holds for old and new connections until :meth:`clear`; ``direction`` ``"down"`` is what the client
    receives, ``"up"`` what it sends.
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        """Bind a free port; the proxy runs from ``with`` on."""
        self.connections = 0
        self._target = (host, port)
        self._lanes: dict[Direction, Lane] = {"down": Lane(), "up": Lane()}
        self._links: set[Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tcp proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._port_owner = _bound(0)
        self.host, self.port = self._port_owner.getsockname()

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Break every connection and end the thread, within seconds."""
        asyncio.run_coroutine_threadsafe(self._finish(), self._loop).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._port_owner.close()
        self._loop.close()

    @property
    def url(self) -> str:
        """The proxy's ``http`` base; replace the scheme where TLS passes through."""
        return f"http://{self.host}:{self.port}"

    @property
    def bytes_down(self) -> int:
        """Bytes handed to clients."""
        return self._lanes["down"].passed

    @property
    def bytes_up(self) -> int:
        """Bytes handed to the target."""
        return self._lanes["up"].passed

    @property
    def struck(self) -> int:
        """How often a cut, a reset or a flipped bit really happened."""
        return sum(lane.struck for lane in self._lanes.values())

    def latency(self, seconds: float, *, direction: Direction = "down") -> None:
        """Delay each piece of data; 0 ends it."""
        self._call(lambda: setattr(self._lanes[direction], "latency", seconds))

    def bandwidth(self, bytes_per_second: int | None, *, direction: Direction = "down") -> None:
        """Let so many bytes a second pass on each connection; ``None`` ends it."""
        self._call(lambda: setattr(self._lanes[direction], "bandwidth", bytes_per_second))

    def reset(self, after: int = 0, *, times: int | None = None, direction: Direction = "down") -> None:
        """RST connections after so many bytes; with 0 the open ones now, new ones when they begin to send."""
        self._strike(Strike("reset", after, times), direction)

    def cut_after(self, n: int, *, times: int | None = None, direction: Direction = "down") -> None:
        """End connections in an orderly way (FIN) after ``n`` bytes."""
        self._strike(Strike("cut", n, times), direction)

    def flip_bit(self, at: int, *, times: int | None = None, direction: Direction = "down") -> None:
        """Invert the lowest bit of the byte at offset ``at``."""
        self._strike(Strike("flip", at, times), direction)

    def hold(self) -> None:
        """Accept connections and let nothing pass, either way, until :meth:`release`."""
        self._call(self._flowing.clear)

    def release(self) -> None:
        """Let pass what was held."""
        self._call(self._flowing.set)

    def clear(self) -> None:
        """Forget every toxic except :meth:`down`; the counts stay."""
        self._call(self._clear)

    def down(self, *, drop: bool = True) -> None:
        """Refuse connections from now on, and ``drop`` (RST) the open ones. The port stays this proxy's own."""
        self._call(lambda: self._close(drop=drop))

    def up(self) -> None:
        """Accept connections again, on the same port."""
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(PATIENCE)

    def _call(self, change: Callable[[], T]) -> T:
        async def run() -> T:  # on the loop's own thread, so no piece of data sees half a change
            return change()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(PATIENCE)

    def _strike(self, strike: Strike, direction: Direction) -> None:
        def change() -> None:
            self._lanes[direction].strikes.append(strike)
            if strike.kind == "reset" and strike.at == 0:
                for link in list(self._links):
                    if self._struck_at_once():
                        link.end("reset")

        self._call(change)

    def _struck_at_once(self) -> Kind | None:
        ends = (lane.treat(b"", 0)[1] for lane in self._lanes.values())
        return next((end for end in ends if end is not None), None)

    def _clear(self) -> None:
        for lane in self._lanes.values():
            lane.latency, lane.bandwidth = 0.0, None
            lane.strikes.clear()
        self._flowing.set()

    def _admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        link = Link(reader, writer, self._flowing)
        end = self._struck_at_once()
        fate = link.end_early(end) if end else link.carry(self._target, self._lanes["down"], self._lanes["up"])
        self._links.add(link)
        task = self._loop.create_task(fate)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: self._links.discard(link))

    async def _open(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._admit, sock=self._port_owner, backlog=512)

    def _close(self, *, drop: bool) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
            # Bound and not listening: connections are refused, and no other program can take the port meanwhile.
            self._port_owner = _bound(self.port)
        if drop:
            for link in list(self._links):
                link.end("reset")

    async def _finish(self) -> None:
        self._close(drop=True)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the transports close their sockets in the next turn of the loop


def _bound(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    sock.settimeout(0)
    return sock
