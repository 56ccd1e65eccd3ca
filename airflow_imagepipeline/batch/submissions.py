"""
Submit the rows of a batch within window and budget: each is recorded before money is spent, and after it is answered.

What becomes of a job that was taken is the engine's business.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import TYPE_CHECKING, Final, Protocol

from airflow_imagepipeline.batch.submitting import Sender, is_for_all, may_have_been_taken
from airflow_imagepipeline.contract.errors import ImagePipelineError, InvalidParameters
from airflow_imagepipeline.policy.batch import Treatment, Window, spent_before
from airflow_imagepipeline.policy.ledger_entry import LedgerEntry, RowPhase

if TYPE_CHECKING:
    from airflow_imagepipeline.batch.row_queue import RowQueue
    from airflow_imagepipeline.batch.steps import Steps
    from airflow_imagepipeline.batch.work import Assignment
    from airflow_imagepipeline.contract.job import Job
    from airflow_imagepipeline.contract.job_parameters import JobParameters
    from airflow_imagepipeline.contract.planned_row import PlannedRow
    from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
    from airflow_imagepipeline.policy.fleet import Fleet

_log: Final = logging.getLogger(__name__)


class Jobs(Protocol):
    """The rest of the engine, which the jobs that were taken are told to."""

    @property
    def to_land(self) -> int:
        """Jobs that are done and whose images are not all landed."""

    async def submitted(self, entry: LedgerEntry, row: PlannedRow, job: Job) -> None:
        """Take in a job that was taken."""

    def taken_over(self, entry: LedgerEntry, row: PlannedRow) -> None:
        """Take in a row whose work has a job already."""


class Submissions:
    """
    The submitting half of the engine.

    :param queue: gives the rows.
    :param fleet: the jobs in flight.
    :param jobs: is told what became of the rows.
    """

    def __init__(
        self,
        hook: ImagePipelineHook,
        steps: Steps,
        assignment: Assignment,
        *,
        queue: RowQueue,
        fleet: Fleet,
        jobs: Jobs,
    ) -> None:
        self.window = Window(assignment.options.max_in_flight)
        self._hook = hook
        self._steps = steps
        self._state = steps.state
        self._assignment = assignment
        self._options = assignment.options
        self._queue = queue
        self._fleet = fleet
        self._jobs = jobs
        self._source = random.SystemRandom()
        self._sending = 0
        self._preparing = 0
        self._posting = 0
        self._without_budget = 0
        self._uncertain_in_a_row = 0

    @property
    def is_over(self) -> bool:
        """Tell whether no row is left to submit, and none is being submitted."""
        return self._queue.is_empty and not self._sending

    @property
    def is_busy(self) -> bool:
        """Tell whether a row is being submitted that does not wait for budget."""
        return self._sending > self._without_budget

    @property
    def is_posting(self) -> bool:
        """Tell whether a request is under way, of which only its answer tells whether it was accepted."""
        return self._posting > 0

    @property
    def is_full(self) -> bool:
        """Tell whether no row can be submitted before something in flight has ended."""
        has_turn = self._queue.has_rows and not self._without_budget
        return not has_turn or len(self._fleet) >= self.window.limit

    async def submit_rows(self, sender: Sender) -> None:
        """Submit one row after the other, until it is cancelled; several may do so beside one another."""
        while True:
            taken = await self._queue.next(self._has_room, self._count)
            try:
                await self._begin(*taken, sender)
            finally:
                self._sending -= 1
                self._steps.tell()

    def _count(self) -> None:
        self._sending += 1

    def _has_room(self) -> bool:
        if self._steps.clock() >= self._assignment.deadline:
            self._state.stopped = self._state.stopped or "The time for the whole batch is up."
        is_behind = self._jobs.to_land >= 2 * self._options.max_in_flight
        return bool(self._state.stopped) or (len(self._fleet) + self._sending < self.window.limit and not is_behind)

    async def _begin(self, place: int, row: PlannedRow, sender: Sender) -> None:
        treatment, before = Treatment(row.treatment), self._state.open.get(place)
        is_redone = before is not None and before.phase is RowPhase.AGAIN
        if treatment is Treatment.TAKE_UP and not is_redone:
            await self._take_over(place, row)
        elif (treatment is Treatment.SUBMIT or is_redone) and await self._has_budget():
            await self._submit(place, row, sender)
        else:
            self._state.begun.discard(place)

    async def _has_budget(self) -> bool:
        # A submission under way may turn out to be refused, and a job in flight to be free: then there is room again.
        while not (self._state.stopped or self._state.budget.has_room(self._preparing)):
            if not self._may_become_cheaper():
                return False
            self._without_budget += 1
            await self._steps.change()
            self._without_budget -= 1
        return True

    def _may_become_cheaper(self) -> bool:
        waits_for_price = self._options.max_cost is not None and (len(self._fleet) > 0 or self._jobs.to_land > 0)
        # Besides this row and those that wait as it does; until its id is written, a job is not in the fleet yet.
        is_undecided = self._sending - self._without_budget > 1
        return is_undecided or waits_for_price

    async def _take_over(self, place: int, row: PlannedRow) -> None:
        earlier = LedgerEntry.from_payload(row.earlier)
        is_ours = earlier.run == self._assignment.run
        entry = await self._steps.write(
            earlier,
            RowPhase.SUBMITTED,
            index=place,
            plan=self._assignment.name,
            run=self._assignment.run,
            attempts=earlier.attempts if is_ours else 0,
            spent=earlier.spent if is_ours else spent_before(earlier, self._options.price_per_job or 0.0),
            reason="",
        )
        self._jobs.taken_over(entry, row)

    async def _submit(self, place: int, row: PlannedRow, sender: Sender) -> None:
        entry = self._intent(place, row)
        # Its part of the budget is kept meanwhile: nothing is uploaded, or signed, that could not be paid for.
        self._preparing += 1
        try:
            parameters, links = await self._request(row)
        except ImagePipelineError as error:
            phase = RowPhase.REFUSED if isinstance(error, InvalidParameters) else RowPhase.WITHDRAWN
            await self._steps.write(entry, phase, reason=str(error), reason_code="INPUT")
            return
        finally:
            self._preparing -= 1
        parameters = parameters.with_seed(self._source)
        if self._state.stopped:
            # It stays begun: the next try sends it.
            return
        known = {"attempts": entry.attempts + 1, "seed": parameters.seed, "submitted_at": time.time()}
        self._posting += 1
        try:
            entry = await self._steps.write(entry, RowPhase.SUBMITTING, **known)
            job = await sender.send(parameters, links)
            self._uncertain_in_a_row = 0
            await self._jobs.submitted(entry, row, job)
        except ImagePipelineError as error:
            await self._not_submitted(entry, error)
        finally:
            self._posting -= 1

    def _intent(self, place: int, row: PlannedRow) -> LedgerEntry:
        # What this very run has paid for the row before: in this plan, or in the one that this plan was made after.
        before = self._state.open.get(place)
        attempts, spent, replaces = (row.earlier.get(name) for name in ("attempts", "spent", "replaces"))
        if before is not None:
            attempts, spent = before.attempts, before.spent
            replaces = before.replaces or (row.stem if before.phase is RowPhase.AGAIN else "")
        return LedgerEntry(
            row.key,
            0,
            place,
            self._assignment.name,
            self._assignment.run,
            RowPhase.SUBMITTING,
            attempts=attempts or 0,
            spent=spent or {},
            replaces=replaces or "",
            owner=row.owner,
            query=row.query,
        )

    async def _request(self, row: PlannedRow) -> tuple[JobParameters, dict[str, str]]:
        work = self._assignment.work
        parameters = work.parameters(row)
        links = await asyncio.to_thread(work.links, parameters) if _needs_links(parameters) else {}
        self._hook.refuse_unfit_request(parameters.to_payload(links))
        return parameters, links

    async def _not_submitted(self, entry: LedgerEntry, error: ImagePipelineError) -> None:
        said, code = str(error), getattr(error, "code", "")
        self._uncertain_in_a_row += 1
        if may_have_been_taken(error):
            if self._uncertain_in_a_row >= self._options.submit_concurrency:
                self._stop(f"{self._uncertain_in_a_row} submissions in a row may or may not have been accepted.")
            await self._steps.write(entry, RowPhase.SUBMITTING, reason=said)
            return
        self._uncertain_in_a_row = 0
        known = {"attempts": entry.attempts - 1, "reason": said, "reason_code": code}
        if is_for_all(error):
            self._stop(said)
            await self._steps.write(entry, RowPhase.WITHDRAWN, **known)
        else:
            await self._steps.write(entry, RowPhase.REFUSED, **known)

    def _stop(self, reason: str) -> None:
        if not self._state.stopped:
            self._state.stopped = reason
            _log.error("Nothing more is submitted: %s What is in flight is still brought home.", reason)


def _needs_links(parameters: JobParameters) -> bool:
    return any(not address.startswith(("https://", "http://")) for address in parameters.inputs())
