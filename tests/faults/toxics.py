"""What a proxy may do to the bytes of one direction, as plain data and pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["flip", "cut", "reset"]


@dataclass
class Strike:
    """A fault at a byte of the stream of each connection.

    :param at: how many bytes pass unharmed before it.
    :param times: so many connections are struck, then no more; ``None``: every one.
    """

    kind: Kind
    at: int
    times: int | None = None

    @property
    def armed(self) -> bool:
        """Whether it will strike again."""
        return self.times is None or self.times > 0

    def spend(self) -> None:
        """Count one connection."""
        if self.times is not None:
            self.times -= 1


@dataclass
class Lane:
    """One direction: ``down`` is from the target to the client.

    :param latency: seconds that each piece is delayed.
    :param bandwidth: bytes a second, shared by nobody: each connection has it for itself; ``None``: as fast as it goes.
    """

    latency: float = 0.0
    bandwidth: int | None = None
    strikes: list[Strike] = field(default_factory=list)
    passed: int = 0
    struck: int = 0

    def treat(self, data: bytes, offset: int) -> tuple[bytes, Kind | None]:
        """Apply the strikes to a piece that begins at ``offset`` of its stream.

        :return: the bytes to pass on, and how the connection ends after them, if it does.
        """
        end: Kind | None = None
        for strike in sorted((one for one in self.strikes if one.armed), key=lambda one: one.at):
            place = strike.at - offset
            if strike.kind == "flip" and 0 <= place < len(data):
                data = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
            elif strike.kind != "flip" and place <= len(data):
                data, end = data[: max(0, place)], strike.kind
            else:
                continue
            strike.spend()
            self.struck += 1
            if end is not None:
                break
        return data, end

    def pieces(self, data: bytes) -> list[bytes]:
        """Cut the bytes to what passes in a twentieth of a second."""
        size = max(1, (self.bandwidth or 0) // 20) if self.bandwidth else len(data)
        return [data[start : start + size] for start in range(0, len(data), max(1, size))]
