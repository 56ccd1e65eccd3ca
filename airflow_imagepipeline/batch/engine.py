"""
Run a batch in one event loop: submit within window and budget, look at what is in flight, land what is done.

Every step is a ledger entry, written before money is spent and after it is known what became of it. What blocks (disk,
storage, decoding) runs in threads; one slow or broken image holds nobody but itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from airflow_imagepipeline.batch.landing import NOT_LANDED
from airflow_imagepipeline.batch.submitting import Sender, is_for_all, may_have_been_taken
from airflow_imagepipeline.contract.api import JobStatus
from airflow_imagepipeline.contract.errors import ImagePipelineError, InvalidParameters
from airflow_imagepipeline.contract.job import Job
from airflow_imagepipeline.policy.batch import Treatment, Window
from airflow_imagepipeline.policy.fleet import Fleet
from airflow_imagepipeline.policy.ledger_entry import LedgerEntry, RowPhase
from airflow_imagepipeline.policy.waiting import JobEvent, Outcome, event_of, steady_clock

if TYPE_CHECKING:
    import aiohttp

    from airflow_imagepipeline.batch.options import BatchOptions
    from airflow_imagepipeline.batch.state import BatchState
    from airflow_imagepipeline.contract.api import Api
    from airflow_imagepipeline.contract.job import JobHandle
    from airflow_imagepipeline.contract.job_parameters import JobParameters
    from airflow_imagepipeline.contract.planned_row import PlannedRow
    from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
    from airflow_imagepipeline.policy.looking import LookSchedule
    from airflow_imagepipeline.records.grouped_writer import GroupedWriter

_log: Final = logging.getLogger(__name__)

LOOKS_AT_ONCE: Final = 16
_IDLE: Final = 0.5
_ENDED: Final[Mapping[Outcome, RowPhase]] = {
    Outcome.FAILED: RowPhase.FAILED,
    Outcome.LOST: RowPhase.LOST,
    Outcome.REFUSED: RowPhase.LOST,
    Outcome.TIMED_OUT: RowPhase.SUBMITTED,
    Outcome.UNREACHABLE: RowPhase.SUBMITTED,
}
"""A job that may still be running stays submitted: the next try of the task takes it up."""


@dataclass(frozen=True)
class Work:
    """
    What the engine asks of the rest of the house, so that it knows of rows and jobs only.

    :param parameters: the checked parameters of a row.
    :param links: for inputs that the vendor cannot fetch as they are, the link to send instead; called in a thread.
    :param land: brings a job's images home and says what became of the row: a phase and the changes of its entry;
        called in a thread, raises nothing.
    """

    parameters: Callable[[PlannedRow], JobParameters]
    links: Callable[[JobParameters], dict[str, str]]
    land: Callable[[PlannedRow, Job], tuple[RowPhase, dict[str, Any]]]


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
        self._writer = writer
        self._work = work
        self._options = options
        self._rows = rows
        self._name = name
        self._run = run
        self._api = api
        self._deadline = deadline
        self._clock = steady_clock(time.time, time.monotonic)
        self._active_at = self._clock()
        self._source = random.SystemRandom()
        self._window = Window(options.max_in_flight)
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()
        self._due: asyncio.Queue[tuple[int, JobHandle]] = asyncio.Queue(1)
        self._landing: asyncio.Queue[tuple[int, Job, float]] = asyncio.Queue()
        self._in_flight = in_flight
        self._again: deque[tuple[int, PlannedRow]] = deque()
        self._sending = 0
        self._without_budget = 0
        self._looking = 0
        self._being_landed = 0
        self._uncertain_in_a_row = 0
        self._rows_left = True

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
            sender = Sender(
                self._hook, session, self._window, in_flight=lambda: len(self.fleet), deadline=self._deadline
            )
            self._take_up(ended)
            parts = [self._submit_rows(sender) for _ in range(self._options.submit_concurrency)]
            parts += [self._land_jobs() for _ in range(self._options.landing_concurrency)]
            parts += [self._look_at_jobs(session) for _ in range(LOOKS_AT_ONCE)]
            over = await self._until_idle([*parts, self._call_for_looks(), *chores])
        await self._writer.flush()
        return over

    async def _until_idle(self, parts: Sequence[Coroutine[Any, Any, None]]) -> bool:
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            while not (self._is_over() or self._is_worth_no_worker()):
                for task in tasks:
                    if task.done():
                        task.result()
                await self._change()
            return self._is_over()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _change(self, seconds: float = _IDLE) -> None:
        # Whoever waits holds the event of now: one that is set is never cleared again under its waiters.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    def _tell(self) -> None:
        self._active_at = self._clock()
        self._changed.set()
        self._changed = asyncio.Event()

    def _is_over(self) -> bool:
        waits_for_turn = self._rows_left or (self._again and not self.state.stopped)
        return not (waits_for_turn or self._sending or self.to_land or len(self.fleet))

    def _is_worth_no_worker(self) -> bool:
        patience = self._options.defer_after
        is_busy = self._sending > self._without_budget or self._looking or self.to_land
        if patience is None or is_busy or not len(self.fleet):
            return False
        has_turn = (self._rows_left or self._again) and not self._without_budget
        is_full = not has_turn or len(self.fleet) >= self._window.limit
        now = self._clock()
        if self.fleet.next_due <= now:
            # Those that are known to be done are landed first, however long others take.
            return False
        expected = self.fleet.seconds_to_end(now)
        # Of jobs of which nothing is known, those that were silent for so long may be so for as long again.
        return is_full and (expected > patience if expected is not None else now - self._active_at > patience)

    def _take_up(self, ended: frozenset[int]) -> None:
        for place, entry in self.state.open.items():
            if entry.phase is RowPhase.SUBMITTED:
                self._wait_for(place, entry.handle(self._api), at_once=place in ended)

    def _wait_for(self, place: int, job: Job | JobHandle, *, at_once: bool = False) -> None:
        now, handle = self._clock(), job.handle if isinstance(job, Job) else job
        deadline = min(self._deadline, (handle.submitted_at or now) + self._options.job_timeout)
        self.fleet.add(place, job, deadline=deadline, now=now, at_once=at_once)

    # Submitting

    async def _submit_rows(self, sender: Sender) -> None:
        while True:
            taken = await self._next_row()
            try:
                await self._begin(*taken, sender)
            finally:
                self._sending -= 1
                self._tell()

    async def _next_row(self) -> tuple[int, PlannedRow]:
        async with self._turn:
            while True:
                while not self._has_room():
                    await self._change()
                found = self._again.popleft() if self._again and not self.state.stopped else await self._new_row()
                if found is not None:
                    break
                await self._change()
            place, _ = found
            self.state.begun.add(place)
            self.state.cursor = max(self.state.cursor, place + 1)
            self._sending += 1
            return found

    async def _new_row(self) -> tuple[int, PlannedRow] | None:
        found = await anext(self._rows, None) if self._rows_left and not self.state.stopped else None
        if found is None and self._rows_left:
            self._rows_left = False
            self._tell()
        return found

    def _has_room(self) -> bool:
        if self._clock() >= self._deadline:
            self.state.stopped = self.state.stopped or "The time for the whole batch is up."
        is_behind = self.to_land >= 2 * self._options.max_in_flight
        return bool(self.state.stopped) or (len(self.fleet) + self._sending < self._window.limit and not is_behind)

    async def _begin(self, place: int, row: PlannedRow, sender: Sender) -> None:
        treatment = Treatment(row.treatment)
        if treatment is Treatment.TAKE_UP:
            await self._take_over(place, row)
        elif treatment is Treatment.SUBMIT and await self._has_budget():
            await self._submit(place, row, sender)
        else:
            self.state.begun.discard(place)

    async def _has_budget(self) -> bool:
        # A submission under way may turn out to be refused, and a job in flight to be free: then there is room again.
        while not (self.state.stopped or self.state.budget.has_room()):
            if not self._may_become_cheaper():
                return False
            self._without_budget += 1
            await self._change()
            self._without_budget -= 1
        return True

    def _may_become_cheaper(self) -> bool:
        waits_for_price = self._options.max_cost is not None and (len(self.fleet) > 0 or self.to_land > 0)
        is_undecided = any(one.phase is RowPhase.SUBMITTING and not one.reason for one in self.state.open.values())
        return is_undecided or waits_for_price

    async def _take_over(self, place: int, row: PlannedRow) -> None:
        earlier = LedgerEntry.from_payload(row.earlier)
        is_ours = earlier.run == self._run
        entry = self.state.next_entry(
            earlier,
            RowPhase.SUBMITTED,
            index=place,
            plan=self._name,
            run=self._run,
            attempts=earlier.attempts if is_ours else 0,
            reason="",
        )
        await self._writer.write(entry.to_payload())
        self._in_flight[place] = row
        self._wait_for(place, entry.handle(self._api), at_once=True)

    async def _submit(self, place: int, row: PlannedRow, sender: Sender) -> None:
        known = {"attempts": row.earlier.get("attempts", 0), "spent": row.earlier.get("spent", {})}
        entry = LedgerEntry(row.key, 0, place, self._name, self._run, RowPhase.SUBMITTING, **known)
        try:
            parameters = self._work.parameters(row)
            links = await asyncio.to_thread(self._work.links, parameters) if _needs_links(parameters) else {}
            self._hook.refuse_unreachable_inputs(parameters.to_payload(links))
        except InvalidParameters as error:
            await self._write(entry, RowPhase.REFUSED, reason=str(error), reason_code="INPUT")
            return
        except ImagePipelineError as error:
            await self._write(entry, RowPhase.WITHDRAWN, reason=str(error), reason_code="INPUT")
            return
        parameters = parameters.with_seed(self._source)
        # Another row may have been quicker while the links were made.
        if not await self._has_budget():
            self.state.begun.discard(place)
            return
        if self.state.stopped:
            # It stays begun: the next try sends it.
            return
        rejected = self.state.open.get(place)
        attempts = int(row.earlier.get("attempts", 0) if rejected is None else rejected.attempts) + 1
        seed, now = parameters.seed, time.time()
        entry = await self._write(entry, RowPhase.SUBMITTING, attempts=attempts, seed=seed, submitted_at=now)
        try:
            job = await sender.send(parameters, links)
        except ImagePipelineError as error:
            await self._not_submitted(entry, error)
            return
        self._uncertain_in_a_row = 0
        await self._submitted(entry, row, job)

    async def _write(self, entry: LedgerEntry, phase: RowPhase, **changes: Any) -> LedgerEntry:
        following = self.state.next_entry(entry, phase, **changes)
        await self._writer.write(following.to_payload())
        return following

    def _write_later(self, entry: LedgerEntry, phase: RowPhase, **changes: Any) -> None:
        # What is lost of these in a crash is found out again: they are not waited for.
        self._writer.later(self.state.next_entry(entry, phase, **changes).to_payload())

    async def _not_submitted(self, entry: LedgerEntry, error: ImagePipelineError) -> None:
        said, code = str(error), getattr(error, "code", "")
        self._uncertain_in_a_row += 1
        if may_have_been_taken(error):
            if self._uncertain_in_a_row >= self._options.submit_concurrency:
                self._stop(f"{self._uncertain_in_a_row} submissions in a row may or may not have been accepted.")
            await self._write(entry, RowPhase.SUBMITTING, reason=said)
            return
        self._uncertain_in_a_row = 0
        if is_for_all(error):
            self._stop(said)
            await self._write(entry, RowPhase.WITHDRAWN, attempts=entry.attempts - 1, reason=said, reason_code=code)
        else:
            await self._write(entry, RowPhase.REFUSED, attempts=entry.attempts - 1, reason=said, reason_code=code)

    def _stop(self, reason: str) -> None:
        if not self.state.stopped:
            self.state.stopped = reason
            _log.error("Nothing more is submitted: %s What is in flight is still brought home.", reason)

    async def _submitted(self, entry: LedgerEntry, row: PlannedRow, job: Job) -> None:
        if job.handle.job_id is not None:
            entry = await self._write(
                entry, RowPhase.SUBMITTED, job_id=job.handle.job_id, submitted_at=job.handle.submitted_at
            )
        self._in_flight[entry.index] = row
        if job.status is JobStatus.PENDING:
            self._wait_for(entry.index, job)
        else:
            self._ended(entry.index, event_of(job))
        self._tell()

    # Waiting

    async def _call_for_looks(self) -> None:
        while True:
            while (due := self.fleet.take_due(self._clock())) is None:
                await self._change(max(0.0, min(_IDLE, self.fleet.next_due - self._clock())))
            self._looking += 1
            await self._due.put(due)

    async def _look_at_jobs(self, session: aiohttp.ClientSession) -> None:
        while True:
            place, handle = await self._due.get()
            event = self.fleet.after(place, await self._hook.aseen(handle, session), now=self._clock())
            self._looking -= 1
            if event is not None:
                self._ended(place, event)
                self._tell()
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
        self._write_later(
            entry,
            _ENDED[event.outcome],
            finished_at=time.time(),
            reason=event.message,
            reason_code=event.reason_code or event.outcome.name,
            retryable=event.retryable,
            cost=dict(event.cost),
        )

    # Landing

    async def _land_jobs(self) -> None:
        while True:
            place, job, finished_at = await self._landing.get()
            self._being_landed += 1
            try:
                row = self._in_flight.pop(place)
                phase, changes = await asyncio.to_thread(self._land, row, job)
                known = {"finished_at": finished_at, "cost": dict(job.cost), **changes}
                self._landed(place, row, phase, known)
            finally:
                self._being_landed -= 1
                self._tell()

    def _land(self, row: PlannedRow, job: Job) -> tuple[RowPhase, dict[str, Any]]:
        try:
            return self._work.land(row, job)
        except Exception as error:  # noqa: BLE001 - one image, broken in a way nobody thought of, holds no others
            said = f"Row {row.index} was not landed ({type(error).__name__})."
            _log.warning("%s", said)
            return RowPhase.SUBMITTED, {"reason": said, "reason_code": NOT_LANDED}

    def _landed(self, place: int, row: PlannedRow, phase: RowPhase, known: Mapping[str, Any]) -> None:
        entry = self.state.open[place]
        # With the user's own seed, a redo would make the same image.
        may_redo = entry.attempts and entry.attempts - self._attempts_before(row) <= self._options.redo_rejected
        if phase is RowPhase.REJECTED and may_redo and "seed" not in row.arguments:
            self._write_later(entry, RowPhase.AGAIN, **known)
            self._again.append((place, row))
        else:
            self._write_later(entry, phase, **known)

    @staticmethod
    def _attempts_before(row: PlannedRow) -> int:
        return int(row.earlier.get("attempts", 0)) if row.treatment == Treatment.SUBMIT.value else 0


def _needs_links(parameters: JobParameters) -> bool:
    return any(not address.startswith(("https://", "http://")) for address in parameters.inputs())
