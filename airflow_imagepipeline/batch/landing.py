"""Bring one job's images home, and say what became of its row."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.sdk import AirflowException

from airflow_imagepipeline.contract.errors import ImagePipelineError
from airflow_imagepipeline.contract.links import is_file
from airflow_imagepipeline.landing.landing import land_job
from airflow_imagepipeline.policy.ledger_entry import RowPhase

if TYPE_CHECKING:
    from airflow_imagepipeline.contract.job import Job
    from airflow_imagepipeline.contract.job_parameters import JobParameters
    from airflow_imagepipeline.contract.planned_row import PlannedRow
    from airflow_imagepipeline.contract.result import JobResult
    from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
    from airflow_imagepipeline.landing.gate import Gate
    from airflow_imagepipeline.landing.provenance import Provenance
    from airflow_imagepipeline.storage.folder import Folder

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
