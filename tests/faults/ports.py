"""A port that neither accepts nor refuses: what a connect timeout is made of."""

from __future__ import annotations

import socket
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_QUEUE = 2  # one more than a backlog of 0 holds on Linux


@contextmanager
def unanswered_port() -> Iterator[int]:
    """Yield a port of 127.0.0.1 whose backlog is full: the kernel drops the SYN of everyone who comes.

    For a port that *refuses*, build a :class:`~tests.faults.scripted_server.ScriptedServer` with ``listening=False``.
    """
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(_QUEUE):
            waiting = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            waiting.settimeout(0)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
