"""What the two halves of the engine share, that which submits and that which brings home: every step is an entry."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Final

from airflow_imagepipeline.policy.waiting import steady_clock

if TYPE_CHECKING:
    from airflow_imagepipeline.batch.state import BatchState
    from airflow_imagepipeline.policy.ledger_entry import LedgerEntry, RowPhase
    from airflow_imagepipeline.records.grouped_writer import GroupedWriter

IDLE: Final = 0.5
"""Seconds after which whoever waits for a change looks around without one."""


class Steps:
    """
    Takes steps: the state is changed, the ledger told, and whoever waits for a change woken.

    :param state: where the batch stands; it is changed as rows go on.
    """

    def __init__(self, state: BatchState, writer: GroupedWriter) -> None:
        self.state = state
        self.clock = steady_clock(time.time, time.monotonic)
        self.active_at = self.clock()
        """When something was last told, seconds since the epoch."""
        self._writer = writer
        self._changed = asyncio.Event()

    async def write(self, entry: LedgerEntry, phase: RowPhase, **changes: Any) -> LedgerEntry:
        """Take a step and return its entry; it is durable then. It fails as :meth:`GroupedWriter.write`."""
        following = self.state.next_entry(entry, phase, **changes)
        await self._writer.write(following.to_payload())
        return following

    def write_later(self, entry: LedgerEntry, phase: RowPhase, **changes: Any) -> None:
        """Take a step without waiting until it is durable: what is lost of these in a crash is found out again."""
        self._writer.later(self.state.next_entry(entry, phase, **changes).to_payload())

    async def flush(self) -> None:
        """Wait until all steps are durable; it fails as :meth:`write`."""
        await self._writer.flush()

    async def change(self, seconds: float = IDLE) -> None:
        """Wait until something is told, for some seconds at most."""
        # Whoever waits holds the event of now: one that is set is never cleared again under its waiters.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    def tell(self) -> None:
        """Wake whoever waits for a change."""
        self.active_at = self.clock()
        self._changed.set()
        self._changed = asyncio.Event()
