"""Land the jobs of a batch that are done, and say what became of their rows."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.sdk import AirflowException

from airflow_imagepipeline.contract.errors import ImagePipelineError
from airflow_imagepipeline.contract.links import is_file
from airflow_imagepipeline.landing.few_warnings import FewWarnings
from airflow_imagepipeline.landing.landing import land_job
from airflow_imagepipeline.policy.batch import Treatment
from airflow_imagepipeline.policy.ledger_entry import LedgerEntry, RowPhase

if TYPE_CHECKING:
    from airflow_imagepipeline.batch.steps import Assignment, Steps
    from airflow_imagepipeline.batch.submissions import RowQueue
    from airflow_imagepipeline.contract.job import Job
    from airflow_imagepipeline.contract.job_parameters import JobParameters
    from airflow_imagepipeline.contract.planned_row import PlannedRow
    from airflow_imagepipeline.contract.result import JobResult
    from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
    from airflow_imagepipeline.landing.gate import Gate
    from airflow_imagepipeline.landing.provenance import Provenance
    from airflow_imagepipeline.storage.folder import Folder

_log: Final = logging.getLogger(__name__)

NOT_LANDED: Final = "NOT_LANDED"
"""Code of a row whose job is done, and whose images could not be brought home: a retry fetches them again."""
FILTERED: Final = "FILTERED"
REJECTED: Final = "REJECTED"
_FILTERED: Final = "The image is of one colour, as the vendor's safety filter paints what it withholds."


class Lander:
    """
    Lands the jobs of a batch; may be used by several threads at once.

    :param parameters: the checked parameters of a row.
    :param gate: judges each image; None takes all.
    :param provenance: what a sidecar says of the task; None writes none.
    :param overwrite: whether an existing file of another content may be replaced.
    """

    def __init__(
        self,
        hook: ImagePipelineHook,
        folder: Folder,
        parameters: Callable[[PlannedRow], JobParameters],
        *,
        overwrite: bool,
        gate: Gate | None = None,
        provenance: Provenance | None = None,
    ) -> None:
        self._hook = hook
        self._folder = folder
        self._parameters = parameters
        self._overwrite = overwrite
        self._gate = gate
        self._provenance = provenance

    def land(self, row: PlannedRow, job: Job) -> tuple[RowPhase, dict[str, Any]]:
        """Return the phase that the row has come to, and what changes in its ledger entry."""
        try:
            result = self._landed(row, job)
        except (AirflowException, ImagePipelineError, OSError) as error:
            return RowPhase.SUBMITTED, {"reason": str(error), "reason_code": NOT_LANDED}
        images = [*(result.images or ()), *result.rejected]
        changes = {"images": [image.to_payload() for image in images], "landed_at": time.time(), "reason": ""}
        if images:
            changes["checks"] = images[0].checks
        if any(image.blank or image.checks.get("black") for image in images):
            return RowPhase.FILTERED, {**changes, "reason": _FILTERED, "reason_code": FILTERED}
        if result.rejected:
            said = " ".join(result.rejected[0].checks["reasons"])
            return RowPhase.REJECTED, {**changes, "reason": said, "reason_code": REJECTED}
        return RowPhase.LANDED, {**changes, "reason_code": ""}

    def _landed(self, row: PlannedRow, job: Job) -> JobResult:
        provenance = self._provenance
        if provenance is not None:
            parameters = self._parameters(row)
            tags = {address: tag for address, tag in zip(parameters.inputs(), row.tags, strict=False) if tag}
            digests = {address: tag for address, tag in tags.items() if is_file(address)}
            versions = {address: tag for address, tag in tags.items() if address not in digests}
            provenance = provenance.asked(parameters, job.handle.seed, digests=digests, versions=versions)
        return land_job(
            self._hook,
            job,
            self._folder,
            row.stem,
            overwrite=self._overwrite,
            provenance=provenance,
            gate=self._gate,
            original=self._parameters(row).inputs()[0],
        )


class Landings:
    """
    The landing half of the engine: in threads, so that one slow or broken image holds nobody but itself.

    :param in_flight: the rows whose jobs are not landed, by their places; those that are begun are taken out.
    :param queue: is given the rows that are to be redone.
    """

    def __init__(self, steps: Steps, assignment: Assignment, in_flight: dict[int, PlannedRow], queue: RowQueue) -> None:
        self._steps = steps
        self._state = steps.state
        self._work = assignment.work
        self._redos = assignment.options.redo_rejected
        self._in_flight = in_flight
        self._again = queue
        self._few_images = FewWarnings(_log)
        self._waiting: asyncio.Queue[tuple[int, Job, float]] = asyncio.Queue()
        self._under_way = 0

    def __len__(self) -> int:
        """Return how many jobs are done whose images are not all landed."""
        return self._waiting.qsize() + self._under_way

    def add(self, place: int, job: Job) -> None:
        """Take in a job that is done."""
        self._waiting.put_nowait((place, job, time.time()))

    async def land_jobs(self) -> None:
        """
        Land one job after the other, until it is cancelled; several may do so beside one another.

        :raises LeaseLost: when another process has taken over.
        """
        while True:
            place, job, finished_at = await self._waiting.get()
            self._under_way += 1
            try:
                row = self._in_flight.pop(place)
                row = replace(row, earlier={**row.earlier, "replaces": self._state.open[place].replaces})
                # A process that was superseded must not put its image in the place of its successor's.
                await self._steps.confirm()
                phase, changes = await asyncio.to_thread(self._land, row, job)
                known = {"finished_at": finished_at, "cost": job.kept_cost, **changes}
                self._landed(place, row, phase, known)
            finally:
                self._under_way -= 1
                self._steps.tell()

    def _land(self, row: PlannedRow, job: Job) -> tuple[RowPhase, dict[str, Any]]:
        try:
            asked_for = getattr(self._work.parameters(row), "samples", None) or 0
            if len(job.download_urls) < asked_for:
                told = (row.index, job.handle.job_id, len(job.download_urls), asked_for)
                self._few_images.warn("Row %d: job %s gave %d of the %d images that were asked for.", *told)
            return self._work.land(row, job.first(asked_for))
        except Exception as error:  # noqa: BLE001 - one image, broken in a way nobody thought of, holds no others
            said = f"Row {row.index} was not landed ({type(error).__name__})."
            _log.warning("%s", said)
            return RowPhase.SUBMITTED, {"reason": said, "reason_code": NOT_LANDED}

    def _landed(self, place: int, row: PlannedRow, phase: RowPhase, known: Mapping[str, Any]) -> None:
        entry = self._state.open[place]
        if phase is RowPhase.SUBMITTED and entry.job_id is None:
            # Finished in the answer to its submission, without an id: nothing leads to its images any more.
            phase = RowPhase.LOST
        if phase is RowPhase.REJECTED and self._may_redo(entry, row):
            self._steps.write_later(entry, RowPhase.AGAIN, **known)
            self._again.add(place, row)
        else:
            self._steps.write_later(entry, phase, **known)

    def _may_redo(self, entry: LedgerEntry, row: PlannedRow) -> bool:
        before = int(row.earlier.get("attempts", 0)) if row.treatment == Treatment.SUBMIT.value else 0
        may_redo = entry.attempts > 0 and entry.attempts - before - entry.failed <= self._redos
        # With the user's own seed, a redo would make the same image.
        return may_redo and "seed" not in row.arguments
