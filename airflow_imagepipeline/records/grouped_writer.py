"""Many coroutines write to one ledger: what arrives within a moment, or meanwhile, goes into one segment."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from airflow_imagepipeline.records.ledger_lines import line_of
from airflow_imagepipeline.records.object_storage import Ledger
from airflow_imagepipeline.storage.folder import StorageFailed

_log: Final = logging.getLogger(__name__)

_GATHERING: Final = 0.02
"""Seconds that a group waits for others to join: every segment is a request, and a name that later readers list."""
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 10.0
_WARN_EVERY: Final = 10


class GroupedWriter:
    """
    Writes entries to a ledger, in the order in which they were given, without blocking the event loop.

    A segment that cannot be written is tried again and again, and the others wait behind it. When that is to end,
    nothing more is written: the error reaches everybody who waits, and every later call. An entry whose writer was
    cancelled is written all the same.

    :param ledger: nobody else may append to it meanwhile.
    :param goes_on: tells, for the seconds since the first attempt, whether there is to be another one.
    """

    def __init__(self, ledger: Ledger, goes_on: Callable[[float], bool]) -> None:
        self._ledger = ledger
        self._goes_on = goes_on
        self._lines: list[bytes] = []
        self._next: asyncio.Future[None] | None = None
        self._current: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None
        self._away_since: float | None = None

    @property
    def mark(self) -> str:
        """The ledger's: that of the last durable segment."""
        return self._ledger.mark

    @property
    def away_for(self) -> float:
        """Seconds for which the storage has not taken what was given to it; 0 while all is well."""
        return 0.0 if self._away_since is None else time.monotonic() - self._away_since

    async def write(self, entry: Mapping[str, Any]) -> None:
        """
        Write an entry; it is durable when this returns.

        :raises LeaseLost: when a newer process has taken over the ledger.
        :raises StorageFailed: when the storage did not do what it was asked for as long as ``goes_on`` allowed.
        :raises ValueError: when the entry holds what JSON cannot carry, as :exc:`TypeError`; others are not touched.
        """
        await asyncio.shield(self._add(entry))

    def later(self, entry: Mapping[str, Any]) -> None:
        """Add an entry to the next group without waiting for it; it fails as :meth:`write`, if only afterwards."""
        self._add(entry)

    async def flush(self) -> None:
        """Wait until all that was given so far is durable; it fails as :meth:`write`."""
        if self._failure is not None:
            raise self._failure
        # A group is written after the ones before it.
        if (last := self._next or self._current) is not None:
            await asyncio.shield(last)

    async def confirm(self) -> None:
        """Prove the right to spend, see :meth:`Ledger.confirm`; it waits, and fails, as :meth:`write`."""
        await self._insist(self._ledger.confirm)

    def _add(self, entry: Mapping[str, Any]) -> asyncio.Future[None]:
        if self._failure is not None:
            raise self._failure
        self._lines.append(line_of(entry))
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return self._next

    async def _run(self) -> None:
        try:
            while self._next is not None:
                await asyncio.sleep(_GATHERING)
                self._current, self._next = self._next, None
                lines, self._lines = self._lines, []
                await self._insist(self._ledger.append_lines, lines)
                self._end(self._current)
        except BaseException as exc:
            self._failure = exc
            for group in (self._current, self._next):
                self._end(group)
            if not isinstance(exc, Exception):
                raise
        finally:
            self._current = self._task = None

    async def _insist(self, ask: Callable[..., Any], *arguments: Any) -> None:
        again = AsyncRetrying(
            retry=retry_if_exception_type(StorageFailed),
            stop=lambda state: not self._goes_on(state.seconds_since_start or 0.0),
            wait=wait_random_exponential(_FIRST_PAUSE, _LONGEST_PAUSE),
            before_sleep=self._is_away,
            reraise=True,
        )
        await again(asyncio.to_thread, ask, *arguments)
        self._away_since = None

    def _is_away(self, state: RetryCallState) -> None:
        self._away_since = self._away_since or state.start_time
        if state.attempt_number % _WARN_EVERY == 1 and state.outcome is not None:
            _log.warning("%s Nothing more is submitted until the ledger can be written.", state.outcome.exception())

    def _end(self, group: asyncio.Future[None] | None) -> None:
        if group is None or group.done():
            return
        if self._failure is None:
            group.set_result(None)
        elif isinstance(self._failure, asyncio.CancelledError):
            group.cancel()
        else:
            group.set_exception(self._failure)
            # Nobody may be waiting for it: the next call says it.
            group.exception()
