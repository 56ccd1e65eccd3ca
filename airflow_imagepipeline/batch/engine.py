"""
Run a batch in one event loop: submit within window and budget, look at what is in flight, land what is done.

Every step is a ledger entry, written before money is spent and after it is known what became of it. What blocks (disk,
storage, decoding) runs in threads; one slow or broken image holds nobody but itself.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from airflow_imagepipeline.batch.landing import NOT_LANDED
from airflow_imagepipeline.batch.steps import IDLE, Steps
from airflow_imagepipeline.batch.submissions import Submissions
from airflow_imagepipeline.batch.submitting import Sender
from airflow_imagepipeline.contract.api import JobStatus
from airflow_imagepipeline.contract.job import Job
from airflow_imagepipeline.policy.fleet import Fleet
from airflow_imagepipeline.policy.ledger_entry import RowPhase
from airflow_imagepipeline.policy.waiting import JobEvent, Outcome, event_of

if TYPE_CHECKING:
    import aiohttp

    from airflow_imagepipeline.batch.options import BatchOptions
    from airflow_imagepipeline.batch.state import BatchState
    from airflow_imagepipeline.batch.work import Work
    from airflow_imagepipeline.contract.api import Api
    from airflow_imagepipeline.contract.job import JobHandle
    from airflow_imagepipeline.contract.planned_row import PlannedRow
    from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
    from airflow_imagepipeline.policy.ledger_entry import LedgerEntry
    from airflow_imagepipeline.policy.looking import LookSchedule
    from airflow_imagepipeline.records.grouped_writer import GroupedWriter

_log: Final = logging.getLogger(__name__)

LOOKS_AT_ONCE: Final = 16
_LONGEST_ANSWER: Final = 95.0
"""Seconds that a submission may take, see ``hooks/transport.py``, and a little more."""
_ENDED: Final[Mapping[Outcome, RowPhase]] = {
    Outcome.FAILED: RowPhase.FAILED,
    Outcome.LOST: RowPhase.LOST,
    Outcome.REFUSED: RowPhase.LOST,
    Outcome.TIMED_OUT: RowPhase.SUBMITTED,
    Outcome.UNREACHABLE: RowPhase.SUBMITTED,
}
"""A job that may still be running stays submitted: the next try of the task takes it up."""


class Batch:
    """
    One worker's part of a batch.

    :param state: where the batch stands; it is changed as rows go on.
    :param name: of the plan.
    :param run: names the DAG run's task, see :class:`LedgerEntry`.
    :param rows: those whose turn has not come, each with its place in the plan.
    :param in_flight: the rows that were submitted before, by their places.
    :param deadline: of the whole batch, seconds since the epoch.
    """

    def __init__(
        self,
        hook: ImagePipelineHook,
        state: BatchState,
        writer: GroupedWriter,
        work: Work,
        options: BatchOptions,
        *,
        rows: AsyncIterator[tuple[int, PlannedRow]],
        name: str,
        run: str,
        api: Api,
        in_flight: dict[int, PlannedRow],
        deadline: float,
        schedule: LookSchedule,
    ) -> None:
        self.state = state
        self.waits: list[float] = []
        """Seconds that jobs were in flight, of those that have ended since they were last told."""
        self.fleet = Fleet(schedule, poll_interval=options.poll_interval, source=random.Random())
        self._hook = hook
        self._steps = Steps(state, writer)
        self._work = work
        self._options = options
        self._api = api
        self._deadline = deadline
        self._submissions = Submissions(
            hook,
            self._steps,
            work,
            options,
            rows=rows,
            name=name,
            run=run,
            deadline=deadline,
            fleet=self.fleet,
            to_land=lambda: self.to_land,
            submitted=self._submitted,
            taken_over=self._taken_over,
        )
        self._due: asyncio.Queue[tuple[int, JobHandle]] = asyncio.Queue(1)
        self._landing: asyncio.Queue[tuple[int, Job, float]] = asyncio.Queue()
        self._in_flight = in_flight
        self._looking = 0
        self._being_landed = 0

    @property
    def in_flight(self) -> int:
        """Jobs that the API has taken and not finished, as far as is known."""
        return len(self.fleet)

    @property
    def to_land(self) -> int:
        """Jobs that are done and whose images are not all landed."""
        return self._landing.qsize() + self._being_landed

    async def run(self, ended: frozenset[int], chores: Sequence[Coroutine[Any, Any, None]] = ()) -> bool:
        """
        Go on until every row has come to an end, or nothing is to be done for longer than ``defer_after``.

        :param ended: places whose jobs are known to be done.
        :param chores: what runs beside it for as long as it takes.
        :return: whether the batch is over; False means that jobs in flight are worth no worker for now.
        :raises LeaseLost: when another process has taken over.
        """
        async with self._hook.asession() as session:
            window = self._submissions.window
            sender = Sender(self._hook, session, window, state=self.state, fleet=self.fleet, deadline=self._deadline)
            self._take_up(ended)
            parts = [self._submissions.submit_rows(sender) for _ in range(self._options.submit_concurrency)]
            parts += [self._land_jobs() for _ in range(self._options.landing_concurrency)]
            parts += [self._look_at_jobs(session) for _ in range(LOOKS_AT_ONCE)]
            over = await self._until_idle([*parts, self._call_for_looks(), *chores])
        await self._steps.flush()
        return over

    async def _until_idle(self, parts: Sequence[Coroutine[Any, Any, None]]) -> bool:
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            while not (self._is_over() or self._is_worth_no_worker()):
                for task in tasks:
                    if task.done():
                        task.result()
                await self._steps.change()
            return self._is_over()
        finally:
            await self._let_answers_come()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _let_answers_come(self) -> None:
        # When something broke: a submission that is cut off is one of which nobody knows whether it was accepted.
        until = time.monotonic() + _LONGEST_ANSWER
        if self._submissions.is_posting:
            self.state.stopped = self.state.stopped or "The batch was broken off."
        while self._submissions.is_posting and time.monotonic() < until:
            await self._steps.change()

    def _is_over(self) -> bool:
        return self._submissions.is_over and not (self.to_land or len(self.fleet))

    def _is_worth_no_worker(self) -> bool:
        patience = self._options.defer_after
        is_busy = self._submissions.is_busy or self._looking or self.to_land
        if patience is None or is_busy or not len(self.fleet):
            return False
        now = self._steps.clock()
        if self.fleet.next_due <= now:
            # Those that are known to be done are landed first, however long others take.
            return False
        expected = self.fleet.seconds_to_end(now)
        # Of jobs of which nothing is known, those that were silent for so long may be so for as long again.
        is_silent = expected > patience if expected is not None else now - self._steps.active_at > patience
        return self._submissions.is_full and is_silent

    def _take_up(self, ended: frozenset[int]) -> None:
        for place, entry in self.state.open.items():
            if entry.phase is RowPhase.SUBMITTED and entry.job_id is not None:
                self._wait_for(place, entry.handle(self._api), at_once=place in ended)

    def _wait_for(self, place: int, job: Job | JobHandle, *, at_once: bool = False) -> None:
        now, handle = self._steps.clock(), job.handle if isinstance(job, Job) else job
        deadline = min(self._deadline, (handle.submitted_at or now) + self._options.job_timeout)
        self.fleet.add(place, job, deadline=deadline, now=now, at_once=at_once)

    def _taken_over(self, entry: LedgerEntry, row: PlannedRow) -> None:
        self._in_flight[entry.index] = row
        self._wait_for(entry.index, entry.handle(self._api), at_once=True)

    async def _submitted(self, entry: LedgerEntry, row: PlannedRow, job: Job) -> None:
        if job.handle.job_id is not None:
            known = {"job_id": job.handle.job_id, "submitted_at": job.handle.submitted_at}
            try:
                entry = await self._steps.write(entry, RowPhase.SUBMITTED, **known)
            except BaseException:
                _log.exception("Job %s of row %d is paid for, and is not recorded.", job.handle.job_id, row.index)
                raise
        self._in_flight[entry.index] = row
        if job.status is JobStatus.PENDING:
            self._wait_for(entry.index, job)
        else:
            self._ended(entry.index, event_of(job))
        self._steps.tell()

    async def _call_for_looks(self) -> None:
        while True:
            while (due := self.fleet.take_due(self._steps.clock())) is None:
                await self._steps.change(max(0.0, min(IDLE, self.fleet.next_due - self._steps.clock())))
            self._looking += 1
            await self._due.put(due)

    async def _look_at_jobs(self, session: aiohttp.ClientSession) -> None:
        while True:
            place, handle = await self._due.get()
            event = self.fleet.after(place, await self._hook.aseen(handle, session), now=self._steps.clock())
            self._looking -= 1
            if event is not None:
                self._ended(place, event)
                self._steps.tell()
            elif remark := self.fleet.remark(place):
                _log.warning("%s", remark)

    def _ended(self, place: int, event: JobEvent) -> None:
        entry = self.state.open[place]
        if entry.submitted_at is not None:
            self.waits.append(max(0.0, time.time() - entry.submitted_at))
        if event.job is not None and event.outcome is Outcome.SUCCEEDED:
            self._landing.put_nowait((place, event.job, time.time()))
            return
        self._in_flight.pop(place, None)
        self._steps.write_later(
            entry,
            _ENDED[event.outcome],
            finished_at=time.time(),
            reason=event.message,
            reason_code=event.reason_code or event.outcome.name,
            retryable=event.retryable,
            cost=dict(event.cost),
        )

    async def _land_jobs(self) -> None:
        while True:
            place, job, finished_at = await self._landing.get()
            self._being_landed += 1
            try:
                row = self._in_flight.pop(place)
                if self.state.open[place].replaces:
                    row = replace(row, earlier={**row.earlier, "replaces": True})
                phase, changes = await asyncio.to_thread(self._land, row, job)
                known = {"finished_at": finished_at, "cost": dict(job.cost), **changes}
                self._landed(place, row, phase, known)
            finally:
                self._being_landed -= 1
                self._steps.tell()

    def _land(self, row: PlannedRow, job: Job) -> tuple[RowPhase, dict[str, Any]]:
        try:
            return self._work.land(row, job)
        except Exception as error:  # noqa: BLE001 - one image, broken in a way nobody thought of, holds no others
            said = f"Row {row.index} was not landed ({type(error).__name__})."
            _log.warning("%s", said)
            return RowPhase.SUBMITTED, {"reason": said, "reason_code": NOT_LANDED}

    def _landed(self, place: int, row: PlannedRow, phase: RowPhase, known: Mapping[str, Any]) -> None:
        entry = self.state.open[place]
        if phase is RowPhase.SUBMITTED and entry.job_id is None:
            # Finished in the answer to its submission, without an id: nothing leads to its images any more.
            phase = RowPhase.LOST
        if phase is RowPhase.REJECTED and self._submissions.may_redo(entry, row):
            self._steps.write_later(entry, RowPhase.AGAIN, **known)
            self._submissions.add(place, row)
        else:
            self._steps.write_later(entry, phase, **known)
