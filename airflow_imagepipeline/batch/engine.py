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
from typing import TYPE_CHECKING, Any, Final

from airflow_imagepipeline.batch.landing import Landings
from airflow_imagepipeline.batch.steps import Steps, named_twice
from airflow_imagepipeline.batch.submissions import RowQueue, Submissions
from airflow_imagepipeline.batch.submitting import Sender
from airflow_imagepipeline.contract.api import JobStatus
from airflow_imagepipeline.contract.job import COST_UNUSABLE, Job
from airflow_imagepipeline.landing.few_warnings import FewWarnings
from airflow_imagepipeline.policy.batch import is_free
from airflow_imagepipeline.policy.fleet import Fleet, Polling
from airflow_imagepipeline.policy.job_event import JobEvent, Outcome, event_of
from airflow_imagepipeline.policy.ledger_entry import RowPhase

if TYPE_CHECKING:
    from airflow_imagepipeline.batch.steps import Assignment
    from airflow_imagepipeline.contract.job import JobHandle
    from airflow_imagepipeline.contract.planned_row import PlannedRow
    from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
    from airflow_imagepipeline.policy.ledger_entry import LedgerEntry
    from airflow_imagepipeline.policy.looking import LookSchedule

_log: Final = logging.getLogger(__name__)

_LONGEST_ANSWER: Final = 95.0
"""Seconds that a submission may take, see ``hooks/transport.py``, and a little more."""
REDO_PAUSE: Final = 4.0
"""Seconds, before jitter, before a job that failed is submitted again; twice as long after each further failure."""
_MOST_DOUBLINGS: Final = 5
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

    :param rows: those whose turn has not come, each with its place in the plan.
    :param in_flight: the rows that were submitted before, by their places.
    """

    def __init__(
        self,
        hook: ImagePipelineHook,
        steps: Steps,
        assignment: Assignment,
        *,
        rows: AsyncIterator[tuple[int, PlannedRow]],
        in_flight: dict[int, PlannedRow],
        schedule: LookSchedule,
    ) -> None:
        self.waits: list[float] = []
        """Seconds that jobs were in flight, of those that have ended since they were last told."""
        options = assignment.options
        self.fleet = Fleet(schedule, poll_interval=options.poll_interval, source=random.Random())
        self._hook = hook
        self._steps = steps
        self._state = steps.state
        self._assignment = assignment
        self._options = options
        self._in_flight = in_flight
        self._queue = RowQueue(steps, rows, assignment.deadline)
        self._landings = Landings(steps, assignment, in_flight, self._queue)
        self._submissions = Submissions(hook, steps, assignment, queue=self._queue, fleet=self.fleet, jobs=self)
        self._odd_costs = FewWarnings(_log)
        self._polling = Polling(
            self.fleet,
            ended=self._ended,
            warn=lambda remark: _log.warning("%s", remark),
            clock=steps.clock,
            pause=steps.change,
        )

    @property
    def in_flight(self) -> int:
        """Jobs that the API has taken and not finished, as far as is known."""
        return len(self.fleet)

    @property
    def to_land(self) -> int:
        """Jobs that are done and whose images are not all landed."""
        return len(self._landings)

    async def run(self, ended: frozenset[int], chores: Sequence[Coroutine[Any, Any, None]] = ()) -> bool:
        """
        Go on until every row has come to an end, or nothing is to be done for longer than ``defer_after``.

        :param ended: places whose jobs are known to be done.
        :param chores: what runs beside it for as long as it takes.
        :return: whether the batch is over; False means that jobs in flight are worth no worker for now.
        :raises LeaseLost: when another process has taken over.
        """
        async with self._hook.asession() as session:
            sender = Sender(
                self._hook,
                session,
                self._submissions.window,
                steps=self._steps,
                fleet=self.fleet,
                deadline=self._assignment.deadline,
            )
            self._take_up(ended)
            parts = [self._submissions.submit_rows(sender) for _ in range(self._options.submit_concurrency)]
            parts += [self._landings.land_jobs() for _ in range(self._options.landing_concurrency)]
            parts += self._polling.parts(lambda handle: self._hook.aseen(handle, session))
            over = await self._until_idle([*parts, *chores])
        await self._steps.flush()
        return over

    async def _until_idle(self, parts: Sequence[Coroutine[Any, Any, None]]) -> bool:
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            while True:
                # A part that has failed has nothing left to do: its error is asked for before the end is.
                _raise_first(tasks)
                if (is_over := self._is_over()) or self._is_worth_no_worker():
                    break
                await self._steps.change()
        finally:
            await self._let_answers_come()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        _raise_first(tasks)
        return is_over

    async def _let_answers_come(self) -> None:
        # When something broke: a submission that is cut off is one of which nobody knows whether it was accepted.
        until = time.monotonic() + _LONGEST_ANSWER
        if self._submissions.is_posting:
            self._state.stopped = self._state.stopped or "The batch was broken off."
        while self._submissions.is_posting and (self._steps.is_at_stake or time.monotonic() < until):
            await self._steps.change()

    def _is_over(self) -> bool:
        return self._submissions.is_over and not (self.to_land or len(self.fleet))

    def _is_worth_no_worker(self) -> bool:
        patience = self._options.defer_after
        is_busy = self._submissions.is_busy or self._polling.is_busy or self.to_land
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
        ids: dict[str, int] = {}
        for place, entry in list(self._state.open.items()):
            if entry.phase is not RowPhase.SUBMITTED or entry.job_id is None:
                continue
            if ids.setdefault(entry.job_id, place) == place:
                self._wait_for(place, entry.handle(self._assignment.api), at_once=place in ended)
            else:
                self._steps.write_later(entry, **named_twice(entry.job_id, ids[entry.job_id]))

    def _wait_for(self, place: int, job: Job | JobHandle, *, at_once: bool = False) -> None:
        now, handle = self._steps.clock(), job.handle if isinstance(job, Job) else job
        deadline = min(self._assignment.deadline, (handle.submitted_at or now) + self._options.job_timeout)
        self.fleet.add(place, job, deadline=deadline, now=now, at_once=at_once)

    def taken_over(self, entry: LedgerEntry, row: PlannedRow) -> None:
        """Wait for the job that the work of a row has already."""
        self._in_flight[entry.index] = row
        self._wait_for(entry.index, entry.handle(self._assignment.api), at_once=True)

    async def submitted(self, entry: LedgerEntry, row: PlannedRow, job: Job) -> None:
        """Record a job that was taken, and wait for it."""
        if job.handle.job_id is not None:
            recorded = await self._steps.record(entry, job.handle.job_id, submitted_at=job.handle.submitted_at)
            if recorded is None:
                return
            entry = recorded
        self._in_flight[entry.index] = row
        if job.status is JobStatus.PENDING:
            self._wait_for(entry.index, job)
        else:
            self._ended(entry.index, event_of(job))
        self._steps.tell()

    def _ended(self, place: int, event: JobEvent) -> None:
        self._steps.tell()
        entry = self._state.open[place]
        if entry.submitted_at is not None:
            self.waits.append(max(0.0, time.time() - entry.submitted_at))
        cost = event.job.kept_cost if event.job is not None else {}
        if COST_UNUSABLE in cost:
            price = f"price_per_job ({self._options.price_per_job}) counts"
            self._odd_costs.warn(
                "Row %d: what the API says job %s has cost is no price: %s.", place, entry.job_id, price
            )
        if event.job is not None and event.outcome is Outcome.SUCCEEDED:
            self._landings.add(place, event.job)
            return
        row = self._in_flight.pop(place, None)
        known = {
            "finished_at": time.time(),
            "reason": event.message,
            "reason_code": event.reason_code or event.outcome.name,
            "retryable": event.retryable,
            "cost": cost,
        }
        if row is not None and self._may_redo(entry, event, cost):
            # One that another run has submitted is none of this plan's.
            failed = entry.failed + (entry.attempts > 0)
            self._steps.write_later(entry, RowPhase.AGAIN, **known, failed=failed)
            self._queue.add(place, row, pause=random.uniform(0.5, 1.0) * REDO_PAUSE * 2 ** min(failed, _MOST_DOUBLINGS))
        else:
            self._steps.write_later(entry, _ENDED[event.outcome], **known)

    def _may_redo(self, entry: LedgerEntry, event: JobEvent, cost: Mapping[str, float | bool]) -> bool:
        is_passing = event.outcome is Outcome.FAILED and event.retryable is True
        return is_passing and is_free(cost) and entry.failed < self._options.redo_failed


def _raise_first(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Raise the error of a part that has failed, if there is one."""
    for task in tasks:
        if task.done() and not task.cancelled():
            task.result()
