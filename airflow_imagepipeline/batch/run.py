"""
One worker's turn at a batch: take the ledger, make or take up the plan, run the engine, write the manifest.

What a turn leaves behind is enough for the next one, in whatever process: the plan, a checkpoint, the ledger.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from airflow_imagepipeline.batch.ending import Finished, finish
from airflow_imagepipeline.batch.engine import Batch
from airflow_imagepipeline.batch.lease_keeping import LEASE, LeaseKeeper
from airflow_imagepipeline.batch.plan_making import Asked, PlanMaker
from airflow_imagepipeline.batch.progress import Metrics, Progress
from airflow_imagepipeline.batch.steps import Assignment, SpareIds, Steps
from airflow_imagepipeline.contract.manifest import RowOutcome
from airflow_imagepipeline.contract.planned_row import PlannedRow
from airflow_imagepipeline.policy.ledger_entry import RowPhase
from airflow_imagepipeline.policy.looking import LookSchedule
from airflow_imagepipeline.records.plans import PlanDamaged
from airflow_imagepipeline.storage.folder import Folder, StorageFailed

if TYPE_CHECKING:
    from airflow_imagepipeline.batch.steps import Work
    from airflow_imagepipeline.compat import TaskStateStore
    from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
    from airflow_imagepipeline.policy.batch_event import BatchEvent
    from airflow_imagepipeline.records.object_storage import Ledger

_log: Final = logging.getLogger(__name__)

_CHECKPOINT: Final = 30.0
_BEAT: Final = 1.0
_ROWS_AT_ONCE: Final = 200
MANIFESTS: Final = "_manifests"
"""Manifests lie here, in the folder of the images."""


@dataclass(frozen=True)
class InFlight:
    """
    A turn that ended because nothing is to be done for a while.

    :param jobs: place, id and time of submission of every job to wait for.
    :param plan: name of the plan.
    :param cursor: the first place that was never begun.
    """

    jobs: list[list[Any]]
    plan: str
    cursor: int
    schedule: dict[str, Any]


class BatchRun:
    """
    One worker's turn.

    :param folder: for the images.
    :param home: folder of the ledger.
    """

    def __init__(
        self,
        hook: ImagePipelineHook,
        folder: Folder,
        home: Folder,
        ledger: Ledger,
        *,
        asked: Asked,
        work: Work,
        store: TaskStateStore | None,
    ) -> None:
        self._hook = hook
        self._folder = folder
        self._home = home
        self._ledger = ledger
        self._asked = asked
        self._work = work
        self._store = store
        self._lease = LeaseKeeper(ledger)
        self._spare = SpareIds(store)
        self._maker = PlanMaker(folder, home, self._lease, asked, self._spare)
        self._metrics = Metrics()
        self._steps: Steps | None = None

    @property
    def base(self) -> str:
        """Name of the human decision, with which the names of its plans begin."""
        return self._asked.base

    @property
    def is_changed(self) -> bool:
        """Tell whether an earlier try has asked for something else, and nobody has cleared the task since."""
        return self._asked.clears.is_changed

    def prepare(self) -> dict[str, Any]:
        """
        Take up the plan of this decision, or make it.

        :return: what the plan is about.
        """
        self._plan = self._maker.prepare()
        self._state = self._plan.state
        return self._plan.about

    def report(self) -> dict[str, Any]:
        """Return what a run would do, without doing it, see :meth:`PlanMaker.report`."""
        return self._maker.report()

    def unrecorded(self) -> Iterable[str]:
        """Return the ids of jobs that this process alone knows of."""
        entries = list(self._steps.unrecorded.values()) if self._steps else []
        return [str(entry.job_id) for entry in entries]

    def release(self) -> None:
        """Leave the ledger to others."""
        self._lease.release()

    def refuse(self, reason: str) -> Finished:
        """
        End the batch, which is prepared, without submitting anything.

        :param reason: for the manifest's rows that might have been submitted.
        """
        self._state.stopped = reason
        return finish(self._folder, self._home, self._lease, self._plan, self._asked, name=self._manifest)

    @property
    def _manifest(self) -> str:
        return f"{MANIFESTS}/{self._asked.base}.jsonl"

    def run(self, deadline: float, told: BatchEvent | None) -> InFlight | Finished:
        """
        Go on with the batch, which is prepared.

        :param deadline: of the whole batch, seconds since the epoch.
        :param told: what the triggerer has told; None at the beginning of a try, which may submit again.
        """
        if told is None:
            self._state.stopped = ""
        ended = frozenset(told.ended if told else ())
        self._steps = steps = Steps(self._state, self._ledger, self._spare, deadline)
        try:
            return asyncio.run(self._run(steps, deadline, ended, told.schedule if told else None))
        except BaseException as error:
            steps.end()
            if isinstance(error, Exception):
                # The loop is closed, so nothing is submitted any more: whoever comes next need not wait.
                with suppress(Exception):
                    if isinstance(error, PlanDamaged):
                        self._maker.forget()
                    self._lease.release()
            raise

    async def _run(self, steps: Steps, deadline: float, ended: frozenset[int], learned: object) -> InFlight | Finished:
        options = self._asked.options
        threads = options.landing_concurrency + options.submit_concurrency + 4
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(threads, "imagepipeline"))
        schedule = self._schedule(learned)
        self._batch = await self._engine(steps, deadline, schedule)
        about = self._plan.about
        progress = Progress(about["count"], about["treatments"], about["started_at"], self._store)
        self._told, self._told_jobs = self._state.counts.copy(), self._state.budget.jobs
        over = await self._batch.run(ended, [self._keep_house(steps, progress), steps.keep_ids()])
        await self._checkpoint(steps)
        self._count_for_metrics()
        await self._report(progress)
        if over:
            return await asyncio.to_thread(
                finish, self._folder, self._home, self._lease, self._plan, self._asked, name=self._manifest
            )
        await asyncio.to_thread(self._lease.hold, max(LEASE, deadline - time.time() + LEASE), is_idle=True)
        jobs = [[place, handle.job_id, handle.submitted_at] for place, handle in self._batch.fleet.waiting()]
        return InFlight(jobs, self._plan.name, self._state.cursor, schedule.to_payload())

    def _schedule(self, learned: object) -> LookSchedule:
        interval, source = self._asked.options.poll_interval, random.Random()
        if learned:
            return LookSchedule.from_payload(learned, poll_interval=interval, source=source)
        return LookSchedule(poll_interval=interval, source=source)

    async def _engine(self, steps: Steps, deadline: float, schedule: LookSchedule) -> Batch:
        asked = self._asked
        return Batch(
            self._hook,
            steps,
            Assignment(asked.base, asked.run, asked.api, self._work, asked.options, deadline),
            rows=self._rows(),
            in_flight=await asyncio.to_thread(self._rows_in_flight),
            schedule=schedule,
        )

    async def _rows(self) -> AsyncIterator[tuple[int, PlannedRow]]:
        begun, cursor = frozenset(self._state.begun), self._state.cursor
        place = min(begun | {cursor})
        rows = self._plan.store.rows(place)
        while chunk := await asyncio.to_thread(list, islice(rows, _ROWS_AT_ONCE)):
            for row in chunk:
                if place in begun or place >= cursor:
                    yield place, row
                place += 1

    def _rows_in_flight(self) -> dict[int, PlannedRow]:
        wanted = {place for place, entry in self._state.open.items() if entry.phase is RowPhase.SUBMITTED}
        if not wanted:
            return {}
        first, last = min(wanted), max(wanted)
        rows = enumerate(islice(self._plan.store.rows(first), last - first + 1), first)
        return {place: row for place, row in rows if place in wanted}

    async def _keep_house(self, steps: Steps, progress: Progress) -> None:
        checkpoint_at = time.monotonic() + _CHECKPOINT
        while True:
            await asyncio.sleep(_BEAT)
            self._count_for_metrics()
            if progress.is_due:
                await self._report(progress)
            try:
                await asyncio.to_thread(self._lease.keep)
                if time.monotonic() >= checkpoint_at:
                    await self._checkpoint(steps)
                    checkpoint_at = time.monotonic() + _CHECKPOINT
            except StorageFailed as error:
                # What must be durable is written elsewhere, and tried again there.
                _log.warning("%s The batch goes on.", error)

    def _count_for_metrics(self) -> None:
        new = self._state.counts - self._told
        self._told = self._state.counts.copy()
        self._metrics.count("landed", new[RowOutcome.LANDED])
        self._metrics.count("failed", new.total() - new[RowOutcome.LANDED])
        # A refused submission is given back, and then told already.
        jobs = max(self._told_jobs, self._state.budget.jobs)
        self._metrics.count("submitted", jobs - self._told_jobs)
        self._told_jobs = jobs
        for seconds in self._batch.waits:
            self._metrics.waited(seconds)
        self._batch.waits.clear()

    async def _report(self, progress: Progress) -> None:
        # In a thread, as all that asks Airflow: its server may be slow, and answers one request at a time.
        known = (self._state.counts.copy(), self._batch.in_flight, self._state.budget.cost)
        await asyncio.to_thread(progress.tell, *known)

    async def _checkpoint(self, steps: Steps) -> None:
        # The mark is the one of now: entries behind it that the state knows are told apart by their numbers. They
        # must be durable before the checkpoint says so.
        value = self._state.to_checkpoint()
        value["mark"] = await steps.flush()
        await asyncio.to_thread(self._plan.store.write_checkpoint, value)
