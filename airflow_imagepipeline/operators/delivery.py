"""Where the images of a job go: into a folder, or on to other tasks as the vendor's links."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from airflow_imagepipeline.contract.errors import InvalidParameters
from airflow_imagepipeline.contract.job_parameters import is_unset
from airflow_imagepipeline.contract.result import JobResult
from airflow_imagepipeline.exceptions import TooFewImages, too_few_images
from airflow_imagepipeline.landing.landing import land_job
from airflow_imagepipeline.operators.provenance import task_provenance

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_imagepipeline.contract.job import Job, JobHandle
    from airflow_imagepipeline.landing.gate import Gate
    from airflow_imagepipeline.landing.provenance import Provenance
    from airflow_imagepipeline.operators.job import ImagePipelineJobOperator
    from airflow_imagepipeline.storage.folder import Folder


class Delivery:
    """
    What a task does with its images.

    All that can be refused is refused by :meth:`check` and :meth:`prepare`, before the request that is paid for.

    :param task: its arguments say it, rendered by now.
    """

    def __init__(self, task: ImagePipelineJobOperator) -> None:
        self._task = task
        self._stem = None if is_unset(task.file_stem) else task.file_stem
        self.digests: Mapping[str, str] = {}
        """Of the inputs that this very process has uploaded, by address: SHA-256, hexadecimal."""

    @cached_property
    def folder(self) -> Folder | None:
        """Where the images are landed; None where they are not."""
        from airflow_imagepipeline.storage.folder import open_folder

        return open_folder(self._task.destination, self._task.aws_conn_id) if self._task.destination else None

    @cached_property
    def gate(self) -> Gate | None:
        """What judges the images; None where nothing does."""
        from airflow_imagepipeline.landing.gate import gate_for

        return gate_for(self._task.accept, self._task.hook, self._task.aws_conn_id)

    def check(self) -> None:
        """
        Look at the arguments alone.

        :raises InvalidParameters: naming the argument.
        """
        from airflow_imagepipeline.storage.folder import checked_stem

        if self._task.destination and not self._task.wait_for_completion:
            msg = "destination: landing needs wait_for_completion=True; without it use the sensor and the transfer."
            raise InvalidParameters(msg)
        if self._task.strict_count and not self._task.wait_for_completion:
            msg = "strict_count: images are counted with wait_for_completion=True; without it, let the transfer count."
            raise InvalidParameters(msg)
        if self._stem:
            checked_stem(self._stem)
        _ = self.gate

    def prepare(self) -> None:
        """
        Make sure that the images can be landed.

        :raises AirflowFailException: when the folder cannot be used, or holds what would be in the way.
        """
        from airflow_imagepipeline.landing.earlier import images_of
        from airflow_imagepipeline.storage.folder import AlreadyThere

        if self.folder is None:
            return
        self.folder.prepare()
        if self._stem and not self._task.overwrite and (images := images_of(self.folder, self._stem)):
            where = self.folder.uri_of(images[0])
            msg = f"{where} exists: give another file_stem, or overwrite=True. Nothing was submitted."
            raise AlreadyThere(msg)

    @property
    def writes_sidecars(self) -> bool:
        """Tell whether what the images were made from is written next to them."""
        return self._task.provenance and self.folder is not None

    def too_few(self, job: Job) -> TooFewImages | None:
        """Return what the task fails with if it insists on ``samples`` images; None when as many came."""
        return too_few_images(job, self._asked_for)

    @property
    def _asked_for(self) -> int | None:
        try:
            return getattr(self._task.parameters(), "samples", None)
        except InvalidParameters:
            # The arguments may give something else after a restart; the images are paid for.
            return None

    def deliver(self, context: Context, job: Job) -> JobResult:
        """
        Land a finished job, or return its links.

        :raises AirflowException: see :func:`land_job`.
        """
        task, job = self._task, job.first(self._asked_for if is_unset(self._task.job_id) else None)
        if self.folder is None:
            # Without an id the job can never be looked at again: its links are all there is of what was paid for.
            links = job.download_urls if task.return_urls or job.handle.job_id is None else None
            return JobResult(job.handle, job.status, download_urls=links, cost=job.cost)
        return land_job(
            task.hook,
            job,
            self.folder,
            self._stem,
            overwrite=task.overwrite,
            provenance=self._known_of(context, job.handle) if self.writes_sidecars else None,
            gate=self.gate,
            original=self._original,
        )

    @property
    def _original(self) -> str | None:
        # A job that was handed in may be one of another input.
        return self._task.parameters().inputs()[0] if self.gate is not None and is_unset(self._task.job_id) else None

    def _known_of(self, context: Context, handle: JobHandle) -> Provenance:
        is_handed_in = not is_unset(self._task.job_id)
        return task_provenance(context, handle, self._task.parameters, is_handed_in=is_handed_in, digests=self.digests)
