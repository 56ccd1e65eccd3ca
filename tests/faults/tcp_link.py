"""One client and its target, as a proxy holds them together."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.faults.toxics import Kind, Lane

PIECE = 64 * 1024
FIRST_BYTE_WITHIN = 1.0

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Link:
    """The two connections of one client, which end together.

    :param flowing: while it is not set, nothing passes.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flowing: asyncio.Event) -> None:
        """Begin with the client alone."""
        self.over = False
        self._flowing = flowing
        self._client = (reader, writer)
        self._writers = [writer]

    def end(self, kind: Kind) -> None:
        """End both connections: ``reset`` by RST, losing what is not sent yet, anything else by FIN after it."""
        self.over = True
        for writer in self._writers:
            if kind == "reset":
                with suppress(OSError):
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                writer.transport.abort()
            else:
                writer.close()

    async def end_early(self, kind: Kind) -> None:
        """End a connection that has just come, as soon as the client has begun to send.

        An RST that overtakes the end of connect() would be reported by connect() itself, as if nothing had listened.
        """
        with suppress(OSError, TimeoutError):
            await asyncio.wait_for(self._client[0].read(1), FIRST_BYTE_WITHIN)
        self.end(kind)

    async def carry(self, target: tuple[str, int], down: Lane, up: Lane) -> None:
        """Connect to the target and pass bytes both ways until both sides are done."""
        try:
            reader, writer = await asyncio.open_connection(*target)
        except OSError:
            self.end("reset")
            return
        self._writers.append(writer)
        if self.over:
            self.end("reset")
            return
        for each in self._writers:  # drain() then means "in the kernel's hands", so a reset after n bytes has sent n
            each.transport.set_write_buffer_limits(0)
        await asyncio.gather(self._pump(reader, self._client[1], down), self._pump(self._client[0], writer, up))
        self.end("cut")

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lane: Lane) -> None:
        offset = 0
        try:
            while data := await reader.read(PIECE):
                await self._flowing.wait()
                await asyncio.sleep(lane.latency)
                data, end = lane.treat(data, offset)
                offset += len(data)
                await self._deliver(data, writer, lane)
                if end is not None:
                    self.end(end)
                    return
            writer.write_eof()  # half-closed: the other direction may go on
        except OSError:
            self.end("reset")  # a side that broke breaks the other one

    async def _deliver(self, data: bytes, writer: asyncio.StreamWriter, lane: Lane) -> None:
        for piece in lane.pieces(data):
            await self._flowing.wait()
            lane.passed += len(piece)  # first: whoever has received a byte finds it counted
            writer.write(piece)
            await writer.drain()
            if lane.bandwidth:
                await asyncio.sleep(len(piece) / lane.bandwidth)
