"""
What the parts of the engine share: their assignment, and the steps that they take. Every step is an entry.

An entry with a job's id is worth money. It is written until it is durable, or the process dies; while the ledger is
away, it is also put where the ledger is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow_imagepipeline.exceptions import RecordUnavailable
from airflow_imagepipeline.policy.ledger_entry import LedgerEntry, RowPhase
from airflow_imagepipeline.policy.waiting import steady_clock
from airflow_imagepipeline.records.grouped_writer import GroupedWriter

if TYPE_CHECKING:
    from airflow_imagepipeline.batch.options import BatchOptions
    from airflow_imagepipeline.batch.state import BatchState
    from airflow_imagepipeline.compat import TaskStateStore
    from airflow_imagepipeline.contract.api import Api
    from airflow_imagepipeline.contract.job import Job
    from airflow_imagepipeline.contract.job_parameters import JobParameters
    from airflow_imagepipeline.contract.planned_row import PlannedRow
    from airflow_imagepipeline.records.object_storage import Ledger

_log: Final = logging.getLogger(__name__)

IDLE: Final = 0.5
"""Seconds after which whoever waits for a change looks around without one."""
_PATIENCE: Final = 300.0
"""Seconds for which a storage may be away while nothing is at stake; then a retry of the task is the better way."""
_SOON: Final = 3.0
"""Seconds after which an id that the ledger does not take is put into the second place."""
_SPARE: Final = "imagepipeline:unrecorded"
_MOST_SPARE: Final = 1000
_KEPT_FOR: Final = timedelta(days=30)
"""The vendor keeps no result for longer."""


@dataclass(frozen=True)
class Work:
    """
    What the engine asks of the rest of the house, so that it knows of rows and jobs only.

    :param parameters: the checked parameters of a row.
    :param uploaded: for inputs that the vendor is given a copy of, the link to it; called in a thread, once a row.
    :param signed: for inputs that the vendor fetches from a private place, a link that lives for an hour at most;
        called in a thread, before each attempt.
    :param land: brings a job's images home and says what became of the row: a phase and the changes of its entry;
        called in a thread, raises nothing.
    """

    parameters: Callable[[PlannedRow], JobParameters]
    uploaded: Callable[[JobParameters], dict[str, str]]
    signed: Callable[[JobParameters], dict[str, str]]
    land: Callable[[PlannedRow, Job], tuple[RowPhase, dict[str, Any]]]


@dataclass(frozen=True)
class Assignment:
    """
    What one worker's turn at a batch is about.

    :param name: of the plan.
    :param run: names the DAG run's task, see :class:`LedgerEntry`.
    :param deadline: of the whole batch, seconds since the epoch.
    """

    name: str
    run: str
    api: Api
    work: Work
    options: BatchOptions
    deadline: float


class SpareIds:
    """
    The second place for ids of jobs: one value in the task's state, which a later try takes into the ledger.

    :param store: None where Airflow has none; then there is no second place.
    """

    def __init__(self, store: TaskStateStore | None) -> None:
        self._store = store
        self.kept: set[int] = set()
        """Places of the rows whose ids lie here."""

    def keep(self, entries: dict[int, LedgerEntry]) -> None:
        """Put entries here in place of those that are; a store that cannot be reached costs a warning."""
        if self._store is None:
            return
        kept = dict(list(entries.items())[:_MOST_SPARE])
        try:
            value = {"v": 1, "entries": [entry.to_payload() for entry in kept.values()]}
            self._store.set(_SPARE, value, retention=_KEPT_FOR)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the ledger is tried further on
            _log.warning("The ids of %d jobs cannot be kept in the task's state (%s).", len(kept), type(exc).__name__)
        else:
            self.kept = set(kept)

    def forget(self) -> None:
        """Remove what lies here; what cannot be removed is known to the ledger, and does no harm."""
        self.kept = set()
        if self._store is not None:
            with contextlib.suppress(Exception):
                self._store.delete(_SPARE)

    def entries(self) -> list[LedgerEntry]:
        """
        Return what an earlier try has left here.

        :raises RecordUnavailable: when it cannot be read.
        """
        try:
            value = None if self._store is None else self._store.get(_SPARE)
            return [LedgerEntry.from_payload(entry) for entry in value["entries"]] if value else []
        except Exception as exc:
            msg = (
                f"The task's state ({_SPARE}) cannot be read ({type(exc).__name__}): an earlier try may have left ids "
                "of jobs there, so nothing was submitted. Retry the task; remove that key if it is damaged."
            )
            raise RecordUnavailable(msg) from exc


class Steps:
    """
    Takes steps: the state is changed, the ledger told, and whoever waits for a change woken.

    :param state: where the batch stands; it is changed as rows go on.
    :param deadline: of the whole batch, seconds since the epoch.
    """

    def __init__(self, state: BatchState, ledger: Ledger, spare: SpareIds, deadline: float) -> None:
        self.state = state
        self.clock = steady_clock(time.time, time.monotonic)
        self.active_at = self.clock()
        """When something was last told, seconds since the epoch."""
        self.unrecorded: dict[int, LedgerEntry] = {}
        """Entries with an id that are not durable in the ledger, by their places."""
        self._sent = 0
        self._deadline = deadline
        self._spare = spare
        self._writer = GroupedWriter(ledger, self._goes_on)
        self._changed = asyncio.Event()

    @property
    def is_at_stake(self) -> bool:
        """Tell whether a request is under way, or an id is known to this process alone."""
        return self._sent > 0 or not self.unrecorded.keys() <= self._spare.kept

    @contextmanager
    def at_stake(self) -> Iterator[None]:
        """Mark a request as under way, so that its answer can be recorded."""
        self._sent += 1
        try:
            yield
        finally:
            self._sent -= 1

    async def write(self, entry: LedgerEntry, phase: RowPhase, **changes: Any) -> LedgerEntry:
        """Take a step and return its entry; it is durable then. It fails as :meth:`GroupedWriter.write`."""
        following = self.state.next_entry(entry, phase, **changes)
        await self._writer.write(following.to_payload())
        return following

    def write_later(self, entry: LedgerEntry, phase: RowPhase, **changes: Any) -> None:
        """Take a step without waiting until it is durable: what is lost of these in a crash is found out again."""
        self._writer.later(self.state.next_entry(entry, phase, **changes).to_payload())

    async def record(self, entry: LedgerEntry, job_id: str, **known: Any) -> LedgerEntry | None:
        """
        Take the step to a known id, as :meth:`write`; until it is durable, the batch does not end by itself.

        :return: the entry; None when other work has this id, so that nobody knows what became of this one.
        """
        if job_id in self.state.ids:
            await self.write(entry, **named_twice(job_id, self.state.ids[job_id]))
            return None
        following = self.state.next_entry(entry, RowPhase.SUBMITTED, job_id=job_id, **known)
        self.unrecorded[entry.index] = following
        try:
            await self._writer.write(following.to_payload())
        except BaseException:
            _log.exception("Job %s of row %d is paid for, and is not recorded.", job_id, entry.index)
            raise
        del self.unrecorded[entry.index]
        return following

    async def keep_ids(self) -> None:
        """Keep ids that the ledger does not take for some seconds in the second place, until it is cancelled."""
        while True:
            await asyncio.sleep(_SOON / 3)
            unrecorded = dict(self.unrecorded)
            if self._writer.away_for >= _SOON and not unrecorded.keys() <= self._spare.kept:
                await asyncio.to_thread(self._spare.keep, unrecorded)
            elif self._spare.kept and not unrecorded:
                await asyncio.to_thread(self._spare.forget)

    def end(self) -> None:
        """Put the ids that a turn which is broken off could not record into the second place; it blocks."""
        if self.unrecorded:
            self._spare.keep(self.unrecorded)

    async def confirm(self) -> None:
        """Prove the right to spend; it fails as :meth:`write`."""
        await self._writer.confirm()

    async def flush(self) -> str:
        """Wait until all steps are durable, and return the ledger's mark of before; it fails as :meth:`write`."""
        mark = self._writer.mark
        await self._writer.flush()
        return mark

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

    def stop(self, reason: str) -> None:
        """Submit nothing more in this try; the first reason is kept."""
        if not self.state.stopped:
            self.state.stopped = reason
            _log.error("Nothing more is submitted: %s What is in flight is still landed.", reason)

    def _goes_on(self, seconds: float) -> bool:
        return self.is_at_stake or (seconds < _PATIENCE and self.clock() < self._deadline)


def named_twice(job_id: str, place: int) -> dict[str, Any]:
    """Return the changes of an entry whose job has the id of another row's: what became of it, nobody knows."""
    reason = f"The API gave it the id of row {place}'s job, {job_id}: whether it made another job is not known."
    _log.warning("%s", reason)
    return {"phase": RowPhase.SUBMITTING, "job_id": None, "reason": reason, "reason_code": "SAME_ID"}
