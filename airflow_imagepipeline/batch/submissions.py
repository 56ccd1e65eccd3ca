"""
Submit the rows of a batch within window and budget: each is recorded before money is spent, and after it is answered.

What becomes of a job that was taken is the engine's business.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Final

from airflow_imagepipeline.batch.submitting import Sender, is_for_all, may_have_been_taken
from airflow_imagepipeline.contract.errors import ImagePipelineError, InvalidParameters
from airflow_imagepipeline.policy.batch import Treatment, Window, spent_before
from airflow_imagepipeline.policy.ledger_entry import LedgerEntry, RowPhase

if TYPE_CHECKING:
    from airflow_imagepipeline.batch.options import BatchOptions
    from airflow_imagepipeline.batch.steps import Steps
    from airflow_imagepipeline.batch.work import Work
    from airflow_imagepipeline.contract.job import Job
    from airflow_imagepipeline.contract.job_parameters import JobParameters
    from airflow_imagepipeline.contract.planned_row import PlannedRow
    from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
    from airflow_imagepipeline.policy.fleet import Fleet

_log: Final = logging.getLogger(__name__)


class Submissions:
    """
    The submitting half of the engine.

    :param rows: those whose turn has not come, each with its place in the plan.
    :param name: of the plan.
    :param run: names the DAG run's task, see :class:`LedgerEntry`.
    :param deadline: of the whole batch, seconds since the epoch.
    :param fleet: the jobs in flight.
    :param to_land: returns how many jobs are done whose images are not all landed.
    :param submitted: is told of every job that was taken.
    :param taken_over: is told of every row whose work has a job already.
    """

    def __init__(
        self,
        hook: ImagePipelineHook,
        steps: Steps,
        work: Work,
        options: BatchOptions,
        *,
        rows: AsyncIterator[tuple[int, PlannedRow]],
        name: str,
        run: str,
        deadline: float,
        fleet: Fleet,
        to_land: Callable[[], int],
        submitted: Callable[[LedgerEntry, PlannedRow, Job], Awaitable[None]],
        taken_over: Callable[[LedgerEntry, PlannedRow], None],
    ) -> None:
        self.window = Window(options.max_in_flight)
        self._hook = hook
        self._steps = steps
        self._state = steps.state
        self._work = work
        self._options = options
        self._rows = rows
        self._name = name
        self._run = run
        self._deadline = deadline
        self._fleet = fleet
        self._to_land = to_land
        self._submitted = submitted
        self._taken_over = taken_over
        self._source = random.SystemRandom()
        self._turn = asyncio.Lock()
        self._again: deque[tuple[int, PlannedRow]] = deque()
        self._sending = 0
        self._posting = 0
        self._without_budget = 0
        self._uncertain_in_a_row = 0
        self._rows_left = True

    @property
    def is_over(self) -> bool:
        """Tell whether no row is left to submit, and none is being submitted."""
        waits_for_turn = self._rows_left or (self._again and not self._state.stopped)
        return not (waits_for_turn or self._sending)

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
        has_turn = (self._rows_left or self._again) and not self._without_budget
        return not has_turn or len(self._fleet) >= self.window.limit

    def may_redo(self, entry: LedgerEntry, row: PlannedRow) -> bool:
        """Tell whether a row whose image was rejected may be submitted again."""
        before = int(row.earlier.get("attempts", 0)) if row.treatment == Treatment.SUBMIT.value else 0
        may_redo = entry.attempts > 0 and entry.attempts - before <= self._options.redo_rejected
        # With the user's own seed, a redo would make the same image.
        return may_redo and "seed" not in row.arguments

    def add(self, place: int, row: PlannedRow) -> None:
        """Submit a row again, when it is its turn."""
        self._again.append((place, row))

    async def submit_rows(self, sender: Sender) -> None:
        """Submit one row after the other, until it is cancelled; several may do so beside one another."""
        while True:
            taken = await self._next_row()
            try:
                await self._begin(*taken, sender)
            finally:
                self._sending -= 1
                self._steps.tell()

    async def _next_row(self) -> tuple[int, PlannedRow]:
        async with self._turn:
            while True:
                while not self._has_room():
                    await self._steps.change()
                found = self._again.popleft() if self._again and not self._state.stopped else await self._new_row()
                if found is not None:
                    break
                await self._steps.change()
            place, _ = found
            self._state.begun.add(place)
            self._state.cursor = max(self._state.cursor, place + 1)
            self._sending += 1
            return found

    async def _new_row(self) -> tuple[int, PlannedRow] | None:
        while self._rows_left and self._steps.clock() < self._deadline:
            found = await anext(self._rows, None)
            if found is None:
                break
            if not self._state.stopped or found[1].treatment == Treatment.TAKE_UP.value:
                return found
            # A job that is there is brought home all the same; the others stay for the next try.
            self._state.begun.add(found[0])
            self._state.cursor = max(self._state.cursor, found[0] + 1)
        if self._rows_left:
            self._rows_left = False
            self._steps.tell()
        return None

    def _has_room(self) -> bool:
        if self._steps.clock() >= self._deadline:
            self._state.stopped = self._state.stopped or "The time for the whole batch is up."
        is_behind = self._to_land() >= 2 * self._options.max_in_flight
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
        while not (self._state.stopped or self._state.budget.has_room()):
            if not self._may_become_cheaper():
                return False
            self._without_budget += 1
            await self._steps.change()
            self._without_budget -= 1
        return True

    def _may_become_cheaper(self) -> bool:
        waits_for_price = self._options.max_cost is not None and (len(self._fleet) > 0 or self._to_land() > 0)
        # Besides this row and those that wait as it does; until its id is written, a job is not in the fleet yet.
        is_undecided = self._sending - self._without_budget > 1
        return is_undecided or waits_for_price

    async def _take_over(self, place: int, row: PlannedRow) -> None:
        earlier = LedgerEntry.from_payload(row.earlier)
        is_ours = earlier.run == self._run
        entry = await self._steps.write(
            earlier,
            RowPhase.SUBMITTED,
            index=place,
            plan=self._name,
            run=self._run,
            attempts=earlier.attempts if is_ours else 0,
            spent=earlier.spent if is_ours else spent_before(earlier, self._options.price_per_job or 0.0),
            reason="",
        )
        self._taken_over(entry, row)

    async def _submit(self, place: int, row: PlannedRow, sender: Sender) -> None:
        entry = self._intent(place, row)
        try:
            parameters, links = await self._request(row)
        except ImagePipelineError as error:
            phase = RowPhase.REFUSED if isinstance(error, InvalidParameters) else RowPhase.WITHDRAWN
            await self._steps.write(entry, phase, reason=str(error), reason_code="INPUT")
            return
        parameters = parameters.with_seed(self._source)
        # Another row may have been quicker while the links were made.
        if not await self._has_budget():
            self._state.begun.discard(place)
            return
        if self._state.stopped:
            # It stays begun: the next try sends it.
            return
        known = {"attempts": entry.attempts + 1, "seed": parameters.seed, "submitted_at": time.time()}
        self._posting += 1
        try:
            entry = await self._steps.write(entry, RowPhase.SUBMITTING, **known)
            job = await sender.send(parameters, links)
            self._uncertain_in_a_row = 0
            await self._submitted(entry, row, job)
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
            replaces = before.replaces or before.phase is RowPhase.AGAIN
        return LedgerEntry(
            row.key,
            0,
            place,
            self._name,
            self._run,
            RowPhase.SUBMITTING,
            attempts=attempts or 0,
            spent=spent or {},
            replaces=bool(replaces),
        )

    async def _request(self, row: PlannedRow) -> tuple[JobParameters, dict[str, str]]:
        parameters = self._work.parameters(row)
        links = await asyncio.to_thread(self._work.links, parameters) if _needs_links(parameters) else {}
        self._hook.refuse_unreachable_inputs(parameters.to_payload(links))
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
