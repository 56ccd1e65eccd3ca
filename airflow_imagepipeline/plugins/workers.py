"""Threads of the tab's own: reading from a storage must never use up those that serve the rest of Airflow."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Overloaded(Exception):
    """Too much is waiting already, or it takes too long; the message is a sentence for the reader."""


class Workers:
    """
    A few threads with a queue of bounded length.

    :param threads: how many calls run at once.
    :param waiting: how many calls may be there at once, running ones included.
    :param patience: seconds for which a reader is kept waiting.
    """

    def __init__(self, name: str, *, threads: int, waiting: int, patience: float = 45.0) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"imagepipeline-{name}")
        self._patience = patience
        self._places = threading.BoundedSemaphore(waiting)

    async def run(self, call: Callable[..., T], *arguments: object) -> T:
        """
        Call a function in one of the threads.

        :raises Overloaded: when there is no place, or no answer in time. A call that has begun goes on all the same.
        """
        if not self._places.acquire(blocking=False):
            msg = "Too many pictures are being read at this moment. Try again in some seconds."
            raise Overloaded(msg)
        future = self._pool.submit(call, *arguments)
        # The place is taken until the thread is done, also when nobody waits for it any more.
        future.add_done_callback(lambda _: self._places.release())
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self._patience)
        except TimeoutError as exc:
            msg = f"The storage has not answered for {self._patience:.0f} seconds. Try again in a minute."
            raise Overloaded(msg) from exc
