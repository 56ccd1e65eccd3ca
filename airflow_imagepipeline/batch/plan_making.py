"""Take up the plan of a batch, or make it: the rows, decided by what the ledger knows, and frozen beside it."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from airflow_imagepipeline.batch.lease_keeping import LEASE
from airflow_imagepipeline.batch.plan import Decision, History, PlanReport, decided_rows, read_history
from airflow_imagepipeline.batch.progress import Metrics
from airflow_imagepipeline.batch.scratch import Scratch
from airflow_imagepipeline.batch.state import BatchState
from airflow_imagepipeline.contract.planned_row import PlannedRow
from airflow_imagepipeline.contract.text import cleaned
from airflow_imagepipeline.policy.batch import Budget, Treatment
from airflow_imagepipeline.policy.ledger_entry import is_count, is_number
from airflow_imagepipeline.records.ledger_lines import json_object
from airflow_imagepipeline.records.object_storage import MarkForgotten
from airflow_imagepipeline.records.plans import PlanDamaged, PlanStore
from airflow_imagepipeline.storage.folder import Folder, StorageFailed

if TYPE_CHECKING:
    from airflow_imagepipeline.batch.clears import Clears
    from airflow_imagepipeline.batch.lease_keeping import LeaseKeeper
    from airflow_imagepipeline.batch.options import BatchOptions
    from airflow_imagepipeline.batch.steps import SpareIds
    from airflow_imagepipeline.contract.api import Api

_log: Final = logging.getLogger(__name__)

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


@dataclass(frozen=True)
class Asked:
    """
    What the task asks for.

    :param rows: yields the checked rows; called when a plan is made.
    :param base: names the human decision: run, arguments, and how often the task was cleared.
    :param run: names the DAG run's task.
    :param clears: what a human has decided since the run began.
    """

    rows: Callable[[], Iterable[PlannedRow]]
    base: str
    run: str
    clears: Clears
    api: Api
    options: BatchOptions


@dataclass(frozen=True)
class Plan:
    """
    A frozen plan.

    :param about: what it is about.
    :param state: where it stands.
    """

    name: str
    store: PlanStore
    about: dict[str, Any]
    state: BatchState


class PlanMaker:
    """
    Makes the plan of one human decision.

    :param folder: for the images.
    :param home: folder of the ledger.
    :param spare: where an earlier try may have left ids that the ledger does not know.
    """

    def __init__(self, folder: Folder, home: Folder, lease: LeaseKeeper, asked: Asked, spare: SpareIds) -> None:
        self._folder = folder
        self._home = home
        self._ledger = lease.ledger
        self._lease = lease
        self._asked = asked
        self._spare = spare

    def prepare(self) -> Plan:
        """Take up the plan of this decision, or make it."""
        with self._released_on_failure(), Scratch() as scratch:
            is_known = not self._take_spare_ids()
            name = self._current()
            is_ours = re.fullmatch(f"{re.escape(self._asked.base)}-[0-9]{{8}}", name, re.ASCII) is not None
            if is_known and is_ours and (earlier := self._earlier(name)):
                return earlier
            name = f"{self._asked.base}-{self._ledger.mark.partition('-')[0]}"
            store = PlanStore(self._home, name)
            report = self._freeze(store, scratch)
        _warn_of_names(report)
        about = store.about() or {}
        state = BatchState(self._budget(about))
        Metrics().count("reused", report.treatments[Treatment.REUSE])
        # Planning may have taken long: a plan that another process works through by now must not be removed.
        self._lease.hold(LEASE)
        self._write_current(name)
        self._remove_other_plans(name)
        return Plan(name, store, about, state)

    def report(self) -> dict[str, Any]:
        """
        Return what a run would do, without doing it: JSON values.

        ``new`` is the number of jobs that would be paid for, ``seconds`` and ``cost`` are guesses, or None.
        """
        report = PlanReport()
        with self._released_on_failure(), Scratch() as scratch:
            history = self._read_ledger(scratch)
            for _ in self._decided(scratch, report):
                pass
        self._lease.release()
        _warn_of_names(report)
        options = self._asked.options
        budget = self._budget({"jobs": history.jobs, "cost": history.cost})
        new = budget.part_of(report.treatments[Treatment.SUBMIT])
        seconds = None if history.job_seconds is None else history.job_seconds * new / options.max_in_flight
        cost = None if options.price_per_job is None else round(new * options.price_per_job, 6)
        counts = {name: report.treatments[Treatment(word)] for name, word in _REPORTED.items()}
        told = {**counts, "new": new, "invalid_rows": report.invalid, "cost": cost, "seconds": seconds}
        return {"v": 1, "plan_only": True, "total": report.total, **told}

    @contextmanager
    def _released_on_failure(self) -> Iterator[None]:
        # Nothing is under way while a plan is made: whoever comes next need not wait for the lease to run out.
        try:
            yield
        except Exception:
            with suppress(Exception):
                self._lease.release()
            raise

    def _take_spare_ids(self) -> bool:
        """Take ids that an earlier try could not record into the ledger; tell whether there were any."""
        if not (spared := self._spare.entries()):
            return False
        with Scratch() as scratch:
            scratch.keep_newest(entry for _, entry in self._lease.while_held(self._ledger.entries()))
            answers = [entry for entry in spared if entry.answers(scratch.newest(entry.key))]
        self._ledger.append([entry.to_payload() for entry in answers])
        self._spare.forget()
        _log.info("%d ids of jobs that an earlier try could not record are in the ledger now.", len(answers))
        return bool(answers)

    def forget(self) -> None:
        """Have the next try plan anew, as an object of the plan is damaged."""
        # A process that was superseded finds its plan removed: the newer one's is left alone.
        self._lease.hold(LEASE)
        self._home.remove([_CURRENT])

    def _current(self) -> str:
        content = self._home.content(_CURRENT)
        try:
            return "" if content is None else str(json_object(content).get("plan", ""))
        except ValueError as exc:
            _log.warning("%s is damaged (%s): the rows are planned anew.", self._home.uri_of(_CURRENT), exc)
            return ""

    def _write_current(self, name: str) -> None:
        self._home.write(_CURRENT, json.dumps({"v": 1, "plan": name}).encode())

    def _remove_other_plans(self, name: str) -> None:
        # A run that comes back after this one makes its plan anew, so nobody reads them any more.
        kept = f"{PLANS}/{name}/"
        with suppress(StorageFailed):
            listed = (found.name for found in self._home.listing(f"{PLANS}/"))
            self._home.remove([name for name in listed if not name.startswith(kept)])

    def _earlier(self, name: str) -> Plan | None:
        store = PlanStore(self._home, name)
        try:
            about, checkpoint = store.about(), store.checkpoint()
            if about is None:
                return None
            _check_about(about)
            later = list(self._ledger.entries(after=str((checkpoint or about).get("mark"))))
            _check_places(later, about["count"])
            state = BatchState.resumed(checkpoint, later, self._budget(about))
        except (MarkForgotten, PlanDamaged, ValueError) as exc:
            _log.warning("The plan of an earlier try cannot be taken up, so the rows are planned anew. %s", exc)
            return None
        _log.info("The plan of an earlier try is taken up at row %d of %d.", state.cursor, about["count"])
        return Plan(name, store, about, state)

    def _freeze(self, store: PlanStore, scratch: Scratch) -> PlanReport:
        report = PlanReport()
        history = self._read_ledger(scratch)
        about: dict[str, Any] = {
            "mark": self._ledger.mark,
            "jobs": history.jobs,
            "cost": history.cost,
            "started_at": time.time(),
        }

        def lines() -> Iterator[str]:
            for row in self._decided(scratch, report):
                yield row.to_line()
            # What the rows are about is written last, and only now known whole.
            about.update(report.to_payload())

        store.freeze(lines(), about)
        return report

    def _read_ledger(self, scratch: Scratch) -> History:
        self._lease.read_into(scratch, self._folder.uri)
        scratch.keep_files(found.name for found in self._lease.while_held(self._folder.listing()))
        return read_history(scratch.all_newest(), self._asked.run, self._asked.options.price_per_job)

    def _decided(self, scratch: Scratch, report: PlanReport) -> Iterator[PlannedRow]:
        asked = self._asked
        price = asked.options.price_per_job or 0.0
        options = asked.options
        is_cleared = asked.clears.count != 0
        decision = Decision(
            asked.base, asked.run, is_cleared, self._folder.uri, options.overwrite, price, options.link_identity
        )
        return self._lease.while_held(decided_rows(asked.rows(), scratch, decision, report))

    def _budget(self, about: Mapping[str, Any]) -> Budget:
        options = self._asked.options
        budget = Budget(max_jobs=options.max_jobs, max_cost=options.max_cost, price=options.price_per_job)
        budget.resume(about.get("jobs", 0), about.get("cost", 0.0))
        return budget


def _warn_of_names(report: PlanReport) -> None:
    if report.renamed:
        _log.warning(
            "%d pictures that are to be made will not be called as version 0.1.0 called them (%s): the old ones stay "
            "where they are. A file_stem of a column of your own keeps the old names.",
            report.renamed,
            report.example,
        )


def _check_about(about: Mapping[str, Any]) -> None:
    treatments, invalid = about.get("treatments"), about.get("invalid")
    is_whole = isinstance(treatments, dict) and all(map(is_count, treatments.values())) and isinstance(invalid, list)
    if (
        not is_whole
        or not is_count(about.get("jobs"))
        or not all(is_number(about.get(it)) for it in ("cost", "started_at"))
    ):
        msg = f"not what a plan is about: {cleaned(repr(about), 80)}"
        raise ValueError(msg)


def _check_places(entries: Iterable[tuple[str, Mapping[str, Any]]], count: int) -> None:
    if any(entry["index"] >= count for _, entry in entries):
        msg = f"the ledger's entries since its checkpoint are of other rows than its {count}"
        raise ValueError(msg)
