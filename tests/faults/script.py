"""The script of a server and its books: which request met which instruction, what was too much, what is left."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from tests.faults.exchange import Instruction
from tests.faults.instructions import answer
from tests.faults.wire import Request

Script = Sequence[Instruction] | Callable[[Request], Instruction]

OVERRUN_STATUS = 599


class Outcome(Enum):
    """How playing an instruction ended."""

    DONE = "done"
    CLIENT_LEFT = "client left"  # writing failed, the client had closed
    STOPPED = "stopped"  # the server was stopped meanwhile
    FAILED = "failed"  # the hook or the instruction raised


@dataclass(frozen=True)
class Played:
    """One instruction that was used up: by which request, with which end, and how many bytes were written for it."""

    route: str
    instruction: str
    request: Request
    outcome: Outcome
    sent: int


class Route:
    """The requests of one kind and the instructions that await them.

    :param label: ``"POST /jobs"``: the path itself and whatever lies below it; ``"GET ~/files/[0-9]+"``: a regular
        expression for the whole path; ``*`` as method stands for any.
    :param script: one instruction a request, or a function that answers from the request (one call at a time), which is
        never used up.
    :param repeat_last: play the last instruction for ever.
    :raises ValueError: for a label without method, and for instructions behind one that repeats.
    """

    def __init__(self, label: str, script: Script, *, repeat_last: bool = False) -> None:
        """Read the label; see the class."""
        method, _, path = label.partition(" ")
        if not path:
            message = f"a route is 'METHOD /path', not {label!r}"
            raise ValueError(message)
        self.label = label
        self._method = method
        expression = path[1:] if path.startswith("~") else re.escape(path.rstrip("/")) + r"(/.*)?"
        self._path = re.compile(expression, re.DOTALL)
        # Patterns are asked before prefixes, longer paths before shorter ones.
        self.rank = (path.startswith("~"), len(path))
        self._answerer = script if callable(script) else None
        self._script = [] if callable(script) else list(script)
        self._repeat_last = repeat_last
        self._next = 0
        self._repeated = False
        self._one_at_a_time = threading.Lock()
        if any(instruction.repeats for instruction in self._script[:-1]):
            message = f"route {label!r}: nothing comes after forever"
            raise ValueError(message)

    def matches(self, request: Request) -> bool:
        """Whether the request is one of this route's."""
        return self._method in {"*", request.method} and self._path.fullmatch(request.path) is not None

    def take(self, request: Request) -> Instruction | None:
        """Use up the next instruction; ``None`` when the script is over."""
        with self._one_at_a_time:
            if self._answerer is not None:
                return self._answerer(request)
            if self._next >= len(self._script):
                return self._script[-1] if self._repeat_last and self._script else None
            instruction = self._script[self._next]
            if instruction.repeats:
                self._repeated = True
            else:
                self._next += 1
            return instruction

    @property
    def left_over(self) -> tuple[str, ...]:
        """The names of the instructions that no request has used."""
        rest = self._script[self._next :]
        return tuple(one.name for one in rest if not (one.repeats and self._repeated))


class Books:
    """Everything a server saw and did, safe to ask from any thread."""

    def __init__(self) -> None:
        """Open empty books."""
        self.changed = threading.Condition()
        self.requests: list[Request] = []
        self.played: list[Played] = []
        self.troubles: list[str] = []
        self.refused_handshakes = 0
        self._routes: list[Route] = []
        self._fell_to: dict[str, int] = {}

    def add(self, route: Route) -> None:
        """Take in a route.

        :raises ValueError: when there is one of that label.
        """
        with self.changed:
            if route.label in self._fell_to:
                message = f"route {route.label!r} is told twice"
                raise ValueError(message)
            self._fell_to[route.label] = 0
            self._routes.append(route)
            self._routes.sort(key=lambda one: one.rank, reverse=True)

    def receive(self, request: Request) -> Route | None:
        """Enter a request and find its route."""
        with self.changed:
            route = next((one for one in self._routes if one.matches(request)), None)
            if route is not None:
                self._fell_to[route.label] += 1
            self.requests.append(request)
            self.changed.notify_all()
            return route

    def instruction_for(self, request: Request, route: Route | None) -> Instruction:
        """Return what to do, which is a loud 599 where nothing was told."""
        told = route.take(request) if route is not None else None
        if told is not None:
            return told
        why = f"route {route.label!r} has no instruction left" if route is not None else "no such route was told"
        return self.complain(f"unexpected: {request}: {why}")

    def complain(self, trouble: str) -> Instruction:
        """Enter a trouble, and return the answer that tells the client of it."""
        with self.changed:
            self.troubles.append(trouble)
            self.changed.notify_all()
        text = f"scripted server: {trouble}\n"
        return answer(OVERRUN_STATUS, text, headers={"Content-Type": "text/plain; charset=utf-8"})

    def refuse_handshake(self) -> None:
        """Count a client that broke off the TLS handshake."""
        with self.changed:
            self.refused_handshakes += 1
            self.changed.notify_all()

    def enter(self, played: Played) -> None:
        """Enter the end of an instruction."""
        with self.changed:
            self.played.append(played)
            self.changed.notify_all()

    def hits(self, label: str) -> int:
        """Count the requests that fell to a route, answered or not.

        :raises KeyError: when there is no such route: a typing error must not count as zero.
        """
        with self.changed:
            return self._fell_to[label]

    def left_over(self) -> dict[str, tuple[str, ...]]:
        """Return the unused instructions of each route that has any."""
        with self.changed:
            return {route.label: route.left_over for route in self._routes if route.left_over}
