"""
Submit the rows of a batch within window and budget: each is recorded before money is spent, and after it is answered.

What becomes of a job that was taken is the engine's business.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from airflow_imagepipeline.batch.submitting import Refusals, Sender, Submission, is_for_all, may_have_been_taken
from airflow_imagepipeline.contract.calls import submit_job
from airflow_imagepipeline.contract.errors import ImagePipelineError, InvalidParameters
from airflow_imagepipeline.policy.batch import Treatment, Window, spent_before
from airflow_imagepipeline.policy.ledger_entry import LedgerEntry, RowPhase

if TYPE_CHECKING:
    from airflow_imagepipeline.batch.steps import Assignment, Steps, Work
    from airflow_imagepipeline.contract.job import Job
    from airflow_imagepipeline.contract.job_parameters import JobParameters
    from airflow_imagepipeline.contract.planned_row import PlannedRow
    from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
    from airflow_imagepipeline.policy.fleet import Fleet

_TIME_IS_UP: Final = "The time for the whole batch is up."


class RowQueue:
    """
    Gives one row after the other to the coroutines that submit them: those that are new, and those to be redone.

    :param rows: those whose turn has not come, each with its place in the plan.
    :param deadline: of the whole batch, seconds since the epoch: no row is given after it.
    """

    def __init__(self, steps: Steps, rows: AsyncIterator[tuple[int, PlannedRow]], deadline: float) -> None:
        self._steps = steps
        self._state = steps.state
        self._rows = rows
        self._deadline = deadline
        self._turn = asyncio.Lock()
        self._again: list[tuple[float, int, PlannedRow]] = []
        self._rows_left = True
        self._failure: Exception | None = None

    @property
    def has_rows(self) -> bool:
        """Tell whether a row waits for its turn."""
        return self._rows_left or bool(self._again)

    @property
    def is_empty(self) -> bool:
        """Tell whether no row will have its turn any more: of those to be redone none has, when all is stopped."""
        return not (self._rows_left or (self._again and not self._state.stopped))

    def add(self, place: int, row: PlannedRow, *, pause: float = 0.0) -> None:
        """
        Take in a row that is to be redone.

        :param pause: seconds from now before which it is not given.
        """
        heapq.heappush(self._again, (self._steps.clock() + pause, place, row))

    async def next(self, has_room: Callable[[], bool], taken: Callable[[], None]) -> tuple[int, PlannedRow]:
        """
        Wait for room, and return the next row with its place.

        :param has_room: tells whether a row may be begun now.
        :param taken: is called when one is, before anybody else asks for room.
        """
        async with self._turn:
            while True:
                while not has_room():
                    await self._steps.change()
                found = self._redone() or await self._new_row()
                if found is not None:
                    break
                await self._steps.change()
            self._begin(found[0])
            taken()
            return found

    def _redone(self) -> tuple[int, PlannedRow] | None:
        is_due = self._again and self._again[0][0] <= self._steps.clock()
        return heapq.heappop(self._again)[1:] if is_due and not self._state.stopped else None

    async def _new_row(self) -> tuple[int, PlannedRow] | None:
        while self._rows_left:
            if self._steps.clock() >= self._deadline:
                self._steps.stop(_TIME_IS_UP)
                break
            found = await self._read()
            if found is None:
                break
            if not self._state.stopped or found[1].treatment == Treatment.TAKE_UP.value:
                return found
            # A job that is there is landed all the same; the others stay for the next try.
            self._begin(found[0])
        if self._rows_left:
            self._rows_left = False
            self._steps.tell()
        return None

    async def _read(self) -> tuple[int, PlannedRow] | None:
        # A reader that has failed is exhausted for whoever asks it next: its error must not be read as the end.
        if self._failure is not None:
            raise self._failure
        try:
            return await anext(self._rows, None)
        except Exception as error:
            self._failure = error
            raise

    def _begin(self, place: int) -> None:
        self._state.begun.add(place)
        self._state.cursor = max(self._state.cursor, place + 1)


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
        self._price = assignment.options.price_per_job or 0.0
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
        """Tell whether a request is recorded as leaving, of which only its answer tells whether it was accepted."""
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
            self._steps.stop(_TIME_IS_UP)
        is_behind = self._jobs.to_land >= 2 * self._options.max_in_flight
        return bool(self._state.stopped) or (len(self._fleet) + self._sending < self.window.limit and not is_behind)

    async def _begin(self, place: int, row: PlannedRow, sender: Sender) -> None:
        treatment, before = Treatment(row.treatment), self._state.open.get(place)
        is_redone = before is not None and before.phase in {RowPhase.AGAIN, RowPhase.WITHDRAWN}
        if treatment is Treatment.TAKE_UP and not is_redone:
            await self._take_over(place, row)
        elif treatment is Treatment.SUBMIT or is_redone:
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
        entry = replace(
            earlier,
            index=place,
            plan=self._assignment.name,
            run=self._assignment.run,
            attempts=earlier.attempts if is_ours else 0,
            failed=earlier.failed if is_ours else 0,
            spent=earlier.spent if is_ours else spent_before(earlier, self._price),
            reason="",
        )
        if recorded := await self._steps.record(entry, str(earlier.job_id)):
            self._jobs.taken_over(recorded, row)

    async def _submit(self, place: int, row: PlannedRow, sender: Sender) -> None:
        request, refusals, again = _Request(row, self._assignment.work, self._hook), Refusals(), True
        # A row that is left while nothing more is submitted stays begun: the next try sends it.
        while again and await sender.is_open():
            if not await self._has_budget():
                self._state.begun.discard(place)
                return
            # Nothing is uploaded that the budget does not cover: who prepares counts as if it had been sent.
            self._preparing += 1
            try:
                made = await request.made(self._source)
            except ImagePipelineError as error:
                phase = RowPhase.REFUSED if isinstance(error, InvalidParameters) else RowPhase.WITHDRAWN
                await self._steps.write(self._entry(place, row), phase, reason=str(error), reason_code="INPUT")
                return
            finally:
                self._preparing -= 1
            # A job may have turned out to be dearer meanwhile.
            if not self._state.stopped and self._state.budget.has_room():
                again = await self._attempt(self._entry(place, row), row, made, sender, refusals)

    async def _attempt(
        self, entry: LedgerEntry, row: PlannedRow, made: Submission, sender: Sender, refusals: Refusals
    ) -> bool:
        """Record that a request leaves, and send it; tell whether it is to be sent again, since it was not taken."""
        known = {"attempts": entry.attempts + 1, "seed": made.seed, "submitted_at": made.submitted_at}
        refusal: ImagePipelineError | None = None
        self._posting += 1
        try:
            # All that can fail before money is spent, and takes no proof, is behind us: the request follows the entry.
            entry = await self._steps.write(entry, RowPhase.SUBMITTING, **known)
            job = await sender.send(made)
            self._uncertain_in_a_row = 0
            await self._jobs.submitted(entry, row, job)
        except ImagePipelineError as error:
            refusal = error if sender.may_go_on(error, refusals) else None
            await self._not_submitted(entry, error, is_over=refusal is None)
        finally:
            self._posting -= 1
        if refusal is not None:
            await sender.pause(refusal, refusals)
        return refusal is not None

    def _entry(self, place: int, row: PlannedRow) -> LedgerEntry:
        # What this very run has paid for the row before: in this plan, or in the one that this plan was made after.
        before = self._state.open.get(place)
        attempts, spent, replaces = (row.earlier.get(name) for name in ("attempts", "spent", "replaces"))
        if before is not None:
            attempts, spent, replaces = before.attempts, before.spent, before.replaces
        if before is not None and before.phase is RowPhase.AGAIN:
            # The job that ended has a price of its own.
            spent, replaces = spent_before(before, self._price), before.replaces or (row.stem if before.images else "")
        return LedgerEntry(
            row.key,
            0,
            place,
            self._assignment.name,
            self._assignment.run,
            RowPhase.SUBMITTING,
            attempts=attempts or 0,
            failed=before.failed if before is not None else 0,
            spent=spent or {},
            replaces=replaces or "",
            owner=row.owner,
            query=row.query,
        )

    async def _not_submitted(self, entry: LedgerEntry, error: ImagePipelineError, *, is_over: bool) -> None:
        known = {"reason": str(error), "reason_code": getattr(error, "code", "")}
        if may_have_been_taken(error):
            self._uncertain_in_a_row += 1
            if self._uncertain_in_a_row >= self._options.submit_concurrency:
                self._steps.stop(f"{self._uncertain_in_a_row} submissions in a row may or may not have been accepted.")
            await self._steps.write(entry, RowPhase.SUBMITTING, reason=str(error))
            return
        self._uncertain_in_a_row = 0
        if is_over and is_for_all(error):
            self._steps.stop(str(error))
        phase = RowPhase.WITHDRAWN if is_for_all(error) else RowPhase.REFUSED
        await self._steps.write(entry, phase, attempts=entry.attempts - 1, **known)


class _Request:
    """The request of one row: its inputs are uploaded once, its links are signed for each attempt."""

    def __init__(self, row: PlannedRow, work: Work, hook: ImagePipelineHook) -> None:
        self._row = row
        self._work = work
        self._hook = hook
        self._parameters: JobParameters | None = None
        self._uploaded: dict[str, str] = {}

    async def made(self, source: random.Random) -> Submission:
        """
        Return the request as it may leave now.

        :param source: gives a seed to a row that has none.
        :raises ImagePipelineError: when an input cannot be used, or cannot be read for now.
        """
        if self._parameters is None:
            parameters = self._work.parameters(self._row)
            self._uploaded = await self._links(self._work.uploaded, parameters)
            self._parameters = parameters.with_seed(source)
        parameters, made_at = self._parameters, time.monotonic()
        links = {**self._uploaded, **await self._links(self._work.signed, parameters)}
        self._hook.refuse_unfit_request(parameters.to_payload(links))
        call = submit_job(parameters, links, submitted_at=(now := time.time()))
        return Submission(call, parameters.seed, now, made_at)

    @staticmethod
    async def _links(make: Callable[[JobParameters], dict[str, str]], parameters: JobParameters) -> dict[str, str]:
        is_public = all(address.startswith(("https://", "http://")) for address in parameters.inputs())
        return {} if is_public else await asyncio.to_thread(make, parameters)
