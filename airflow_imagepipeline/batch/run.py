"""
One worker's turn at a batch: take the ledger, make or take up the plan, run the engine, write the manifest.

What a turn leaves behind is enough for the next one, in whatever process: the plan, a checkpoint, the ledger.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from airflow_imagepipeline.batch.engine import Batch, Work
from airflow_imagepipeline.batch.manifest import Ending, ManifestFile, manifest_rows
from airflow_imagepipeline.batch.plan import Decision, History, PlanReport, decided_rows, read_history
from airflow_imagepipeline.batch.progress import Metrics, Progress
from airflow_imagepipeline.batch.scratch import Scratch
from airflow_imagepipeline.batch.state import BatchState
from airflow_imagepipeline.contract.manifest import BatchSummary, RowOutcome
from airflow_imagepipeline.contract.planned_row import PlannedRow
from airflow_imagepipeline.policy.batch import Budget, Treatment
from airflow_imagepipeline.policy.ledger_entry import RowPhase
from airflow_imagepipeline.policy.looking import LookSchedule
from airflow_imagepipeline.records.grouped_writer import GroupedWriter
from airflow_imagepipeline.records.object_storage import Ledger, MarkForgotten
from airflow_imagepipeline.records.plans import PlanStore
from airflow_imagepipeline.storage.folder import Folder, StorageFailed

if TYPE_CHECKING:
    from airflow_imagepipeline.batch.options import BatchOptions
    from airflow_imagepipeline.compat import TaskStateStore
    from airflow_imagepipeline.contract.api import Api
    from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
    from airflow_imagepipeline.policy.batch_event import BatchEvent

_log: Final = logging.getLogger(__name__)
Item = TypeVar("Item")

LEASE: Final = 120.0
"""Seconds for which a ledger is held without a sign of life."""
_RENEW: Final = 30.0
_CHECKPOINT: Final = 30.0
_BEAT: Final = 1.0
_ROWS_AT_ONCE: Final = 200
_CURRENT: Final = "current.json"
"""Names the plan that had the ledger last: another one's checkpoint may know less than the ledger."""
_REPORTED: Final = {
    "reused": "reuse",
    "taken_up": "take up",
    "same": "same",
    "kept": "keep",
    "uncertain": "uncertain",
    "invalid": "invalid",
}
PLANS: Final = "plans"
MANIFESTS: Final = "_manifests"
"""Manifests lie here, in the folder of the images."""


@dataclass(frozen=True)
class Asked:
    """
    What the task asks for.

    :param rows: yields the checked rows; called when a plan is made.
    :param base: names the human decision: run, arguments, and how often the task was cleared.
    :param run: names the DAG run's task.
    :param is_cleared: whether a human cleared the task.
    """

    rows: Callable[[], Iterable[PlannedRow]]
    base: str
    run: str
    is_cleared: bool
    api: Api
    options: BatchOptions


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


@dataclass(frozen=True)
class Finished:
    """
    A batch that is over, for this try.

    :param may_change: whether an automatic retry may change something without paying for anything twice.
    :param why: the reasons that most rows did not go well for, for the reader.
    """

    summary: BatchSummary
    counts: Mapping[RowOutcome, int]
    may_change: bool
    why: str


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
        self._renewed = time.monotonic()
        self._renewing = threading.Lock()
        self._metrics = Metrics()

    def prepare(self) -> dict[str, Any]:
        """
        Take up the plan of this decision, or make it.

        :return: what the plan is about.
        """
        with self._released_on_failure(), Scratch() as scratch:
            name = self._current()
            if name.startswith(f"{self._asked.base}-"):
                self._name, self._plan = name, PlanStore(self._home, name)
                about = self._plan.about()
                if about is not None and self._resume(about):
                    return about
            self._name = f"{self._asked.base}-{self._ledger.mark.partition('-')[0]}"
            self._plan = PlanStore(self._home, self._name)
            report = self._freeze(scratch)
        about = self._plan.about() or {}
        self._state = BatchState(self._budget(about))
        self._metrics.count("reused", report.treatments[Treatment.REUSE])
        self._write_current()
        self._remove_other_plans()
        return about

    def report(self) -> dict[str, Any]:
        """
        Return what a run would do, without doing it: JSON values.

        ``new`` is the number of jobs that would be paid for, ``seconds`` and ``cost`` are guesses, or None.
        """
        report = PlanReport()
        with self._released_on_failure(), Scratch() as scratch:
            history = self._read_ledger(scratch)
            for _ in self._while_held(decided_rows(self._asked.rows(), scratch, self._decision(), report)):
                pass
        self.release()
        options = self._asked.options
        budget = self._budget({"jobs": history.jobs, "cost": history.cost})
        new = budget.part_of(report.treatments[Treatment.SUBMIT])
        seconds = None if history.job_seconds is None else history.job_seconds * new / options.max_in_flight
        cost = None if options.price_per_job is None else round(new * options.price_per_job, 6)
        counts = {name: report.treatments[Treatment(word)] for name, word in _REPORTED.items()}
        told = {**counts, "new": new, "invalid_rows": report.invalid, "cost": cost, "seconds": seconds}
        return {"v": 1, "plan_only": True, "total": report.total, **told}

    def release(self) -> None:
        """Leave the ledger to others."""
        self._ledger.release()

    @contextmanager
    def _released_on_failure(self) -> Iterator[None]:
        # Nothing is under way while a plan is made: whoever comes next need not wait for the lease to run out.
        try:
            yield
        except Exception:
            with suppress(Exception):
                self.release()
            raise

    def _current(self) -> str:
        content = self._home.content(_CURRENT)
        return "" if content is None else str(json.loads(content).get("plan", ""))

    def _write_current(self) -> None:
        self._home.write(_CURRENT, json.dumps({"v": 1, "plan": self._name}).encode())

    def _remove_other_plans(self) -> None:
        # A run that comes back after this one makes its plan anew, so nobody reads them any more.
        kept = f"{PLANS}/{self._name}/"
        with suppress(StorageFailed):
            listed = (found.name for found in self._home.listing(f"{PLANS}/"))
            self._home.remove([name for name in listed if not name.startswith(kept)])

    def _decision(self) -> Decision:
        asked = self._asked
        price = asked.options.price_per_job or 0.0
        return Decision(asked.base, asked.run, asked.is_cleared, self._folder.uri, asked.options.overwrite, price)

    def _read_ledger(self, scratch: Scratch) -> History:
        scratch.keep_newest(entry for _, entry in self._while_held(self._ledger.entries()))
        scratch.keep_files(found.name for found in self._while_held(self._folder.listing()))
        return read_history(scratch.all_newest(), self._asked.run, self._asked.options.price_per_job)

    def _freeze(self, scratch: Scratch) -> PlanReport:
        report = PlanReport()
        history = self._read_ledger(scratch)
        about: dict[str, Any] = {
            "mark": self._ledger.mark,
            "jobs": history.jobs,
            "cost": history.cost,
            "started_at": time.time(),
        }

        def lines() -> Iterator[str]:
            for row in self._while_held(decided_rows(self._asked.rows(), scratch, self._decision(), report)):
                yield row.to_line()
            # What the rows are about is written last, and only now known whole.
            about.update(report.to_payload())

        self._plan.freeze(lines(), about)
        return report

    def _while_held(self, items: Iterable[Item]) -> Iterator[Item]:
        for item in items:
            self._keep_lease()
            yield item

    def _keep_lease(self) -> None:
        if time.monotonic() - self._renewed > _RENEW:
            self._hold(LEASE)

    def _hold(self, seconds: float) -> None:
        # A thread of the engine's may still be at it when the turn ends: what is asked for last must count.
        with self._renewing:
            self._ledger.renew(seconds)
            self._renewed = time.monotonic()

    def _budget(self, about: Mapping[str, Any]) -> Budget:
        options = self._asked.options
        budget = Budget(max_jobs=options.max_jobs, max_cost=options.max_cost, price=options.price_per_job)
        budget.jobs, budget.cost = int(about.get("jobs", 0)), float(about.get("cost", 0.0))
        return budget

    def _resume(self, about: Mapping[str, Any]) -> bool:
        checkpoint = self._plan.checkpoint()
        mark = (checkpoint or about)["mark"]
        try:
            later = [entry for _, entry in self._ledger.entries(after=mark)]
        except MarkForgotten:
            return False
        self._state = BatchState.resumed(checkpoint, later, self._budget(about))
        _log.info("The plan of an earlier try is taken up at row %d of %d.", self._state.cursor, about["count"])
        return True

    def run(self, about: Mapping[str, Any], deadline: float, told: BatchEvent | None) -> InFlight | Finished:
        """
        Go on with the batch.

        :param deadline: of the whole batch, seconds since the epoch.
        :param told: what the triggerer has told; None at the beginning of a try, which may submit again.
        """
        if told is None:
            self._state.stopped = ""
        ended = frozenset(told.ended if told else ())
        return asyncio.run(self._run(about, deadline, ended, told.schedule if told else None))

    async def _run(
        self, about: Mapping[str, Any], deadline: float, ended: frozenset[int], learned: object
    ) -> InFlight | Finished:
        options = self._asked.options
        threads = options.landing_concurrency + options.submit_concurrency + 4
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(threads, "imagepipeline"))
        interval, source = options.poll_interval, random.Random()
        schedule = (
            LookSchedule.from_payload(learned, poll_interval=interval, source=source)
            if learned
            else LookSchedule(poll_interval=interval, source=source)
        )
        self._writer = GroupedWriter(self._ledger)
        self._batch = Batch(
            self._hook,
            self._state,
            self._writer,
            self._work,
            options,
            rows=self._rows(),
            name=self._asked.base,
            run=self._asked.run,
            api=self._asked.api,
            in_flight=await asyncio.to_thread(self._rows_in_flight),
            deadline=deadline,
            schedule=schedule,
        )
        progress = Progress(about["count"], about["treatments"], self._state.counts[RowOutcome.LANDED], self._store)
        self._told, self._told_jobs = self._state.counts.copy(), self._state.budget.jobs
        over = await self._batch.run(ended, [self._keep_house(progress)])
        await self._checkpoint()
        self._count_for_metrics()
        progress.tell(self._state.counts, self._batch.in_flight, self._state.budget.cost)
        if over:
            return await asyncio.to_thread(self._finish, about)
        await asyncio.to_thread(self._hold, max(LEASE, deadline - time.time() + LEASE))
        jobs = [[place, handle.job_id, handle.submitted_at] for place, handle in self._batch.fleet.waiting()]
        return InFlight(jobs, self._name, self._state.cursor, schedule.to_payload())

    async def _rows(self) -> AsyncIterator[tuple[int, PlannedRow]]:
        begun, cursor = frozenset(self._state.begun), self._state.cursor
        place = min(begun | {cursor})
        lines = self._plan.lines(place)
        while chunk := await asyncio.to_thread(list, islice(lines, _ROWS_AT_ONCE)):
            for line in chunk:
                if place in begun or place >= cursor:
                    yield place, PlannedRow.from_line(line)
                place += 1

    def _rows_in_flight(self) -> dict[int, PlannedRow]:
        wanted = {place for place, entry in self._state.open.items() if entry.phase is RowPhase.SUBMITTED}
        if not wanted:
            return {}
        first, last = min(wanted), max(wanted)
        lines = enumerate(islice(self._plan.lines(first), last - first + 1), first)
        return {place: PlannedRow.from_line(line) for place, line in lines if place in wanted}

    async def _keep_house(self, progress: Progress) -> None:
        checkpoint_at = time.monotonic() + _CHECKPOINT
        while True:
            await asyncio.sleep(_BEAT)
            self._count_for_metrics()
            if progress.is_due:
                progress.tell(self._state.counts, self._batch.in_flight, self._state.budget.cost)
            try:
                await asyncio.to_thread(self._keep_lease)
                if time.monotonic() >= checkpoint_at:
                    await self._checkpoint()
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

    async def _checkpoint(self) -> None:
        # The mark is the one of now: entries behind it that the state knows are told apart by their numbers. They
        # must be durable before the checkpoint says so.
        value = {**self._state.to_checkpoint(), "mark": self._writer.mark}
        await self._writer.flush()
        await asyncio.to_thread(self._plan.write_checkpoint, value)

    def _finish(self, about: Mapping[str, Any]) -> Finished:
        options = self._asked.options
        ending = Ending(self._asked.base, self._state.stopped, self._state.was_passed)
        name = f"{MANIFESTS}/{self._asked.base}.jsonl"
        with Scratch() as scratch, tempfile.TemporaryDirectory(prefix="imagepipeline-") as here:
            scratch.keep_newest(entry for _, entry in self._while_held(self._ledger.entries()))
            manifest = ManifestFile(Path(here) / "manifest")
            rows = map(PlannedRow.from_line, self._while_held(self._plan.lines()))
            self._folder.put(name, manifest.write(manifest_rows(rows, scratch, ending)), overwrite=True)
            if manifest.counts.total() != about["count"]:
                msg = f"the manifest has {manifest.counts.total()} rows instead of {about['count']}"
                raise RuntimeError(msg)
            with suppress(StorageFailed):
                self._ledger.compact(self._while_held(scratch.all_newest()), upto=self._ledger.mark)
        self._ledger.release()
        budget = self._state.budget
        is_priced = options.price_per_job is not None or budget.cost > 0
        summary = BatchSummary(
            self._folder.uri_of(name),
            self._home.uri,
            about["count"],
            {outcome.value: count for outcome, count in manifest.counts.items()},
            budget.jobs,
            round(budget.cost, 6) if is_priced else None,
            self._state.bytes,
            round(time.time() - about["started_at"], 3),
        )
        may_change = (
            bool(self._state.begun)
            or any(one.phase is RowPhase.SUBMITTED for one in self._state.open.values())
            or (bool(self._state.stopped) and manifest.counts[RowOutcome.NOT_SUBMITTED] > 0)
        )
        return Finished(summary, manifest.counts, may_change, manifest.why())
