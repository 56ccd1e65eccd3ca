"""What every operator that submits a job does: check, submit once, wait, land. Endpoints differ in parameters only."""

from __future__ import annotations

import random
import time
from abc import abstractmethod
from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import BaseOperator, conf

from airflow_imagepipeline.contract.api import JobStatus
from airflow_imagepipeline.contract.errors import ImagePipelineError, InvalidParameters
from airflow_imagepipeline.contract.job import Job, JobHandle
from airflow_imagepipeline.contract.parameters import ImageToImageParameters
from airflow_imagepipeline.contract.result import JobResult
from airflow_imagepipeline.exceptions import submission_failure, wait_failure
from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
from airflow_imagepipeline.landing.landing import land_job
from airflow_imagepipeline.links.storage import LandedImageLink
from airflow_imagepipeline.policy.waiting import JobEvent, Outcome

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_imagepipeline.storage.folder import Folder

BACKSTOP: Final = 300.0
"""Seconds after the deadline in which the trigger must have ended by itself."""
_LONGEST_SIGNATURE: Final = 3600.0


class ImagePipelineJobOperator(BaseOperator):
    """
    Submit one job, and wait for it and land its images where asked to.

    :param imagepipeline_conn_id: connection of type ``imagepipeline``. (templated)
    :param aws_conn_id: connection for ``s3://`` inputs and destinations. (templated)
    :param wait_for_completion: False submits and ends; the result then names the job.
    :param deferrable: wait in the triggerer, without a worker; default from ``[operators] default_deferrable``.
    :param poll_interval: seconds between two looks at the job.
    :param timeout: seconds from the submission in which the job must be done.
    :param destination: folder to land the images in: ``s3://bucket/prefix``, ``file:///path`` or another address of
        Airflow's object storage. None lands nothing. (templated)
    :param file_stem: files are called ``{file_stem}-{i:02d}.{ext}``; None means the job's id. (templated)
    :param overwrite: whether an existing file of another content may be replaced.
    :param return_urls: whether a result without landed images holds the vendor's links; they end up in XCom.
    """

    template_fields: Sequence[str] = ("imagepipeline_conn_id", "aws_conn_id", "destination", "file_stem")
    operator_extra_links = (LandedImageLink(),)
    ui_color = "#f3e8ff"

    def __init__(
        self,
        *,
        imagepipeline_conn_id: str = ImagePipelineHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 5.0,
        timeout: float = 3600.0,
        destination: str | None = None,
        file_stem: str | None = None,
        overwrite: bool = False,
        return_urls: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.imagepipeline_conn_id = imagepipeline_conn_id
        self.aws_conn_id = aws_conn_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.destination = destination
        self.file_stem = file_stem
        self.overwrite = overwrite
        self.return_urls = return_urls

    @abstractmethod
    def parameters(self) -> ImageToImageParameters:
        """
        Return the checked parameters of the job.

        :raises InvalidParameters: naming the field, the value and the range.
        """

    @cached_property
    def hook(self) -> ImagePipelineHook:
        """The hook on this operator's connection."""
        return ImagePipelineHook(self.imagepipeline_conn_id)

    def execute(self, context: Context) -> dict[str, Any] | None:
        """
        Submit, then wait in this process, defer, or end.

        :return: the result, see :meth:`JobResult.to_payload`.
        :raises AirflowException: see :mod:`airflow_imagepipeline.exceptions`.
        """
        try:
            job = self._submit()
        except ImagePipelineError as error:
            raise submission_failure(error) from error
        self.log.info("Submitted job %s to %s.", job.handle.job_id, job.handle.api.name)
        if job.handle.job_id is None:
            return self._result_of(job)
        if not self.wait_for_completion:
            return JobResult(job.handle, job.status).to_payload()
        return self._wait(job.handle)

    def execute_complete(self, context: Context, event: Any) -> dict[str, Any]:
        """
        Go on after the triggerer: a fresh look gives fresh links.

        :param event: what the trigger fired, see :class:`JobEvent`.
        """
        ended = JobEvent.from_payload(event)
        if ended.outcome is not Outcome.SUCCEEDED:
            raise wait_failure(ended)
        return self._finished(self.hook.last_look(ended.handle))

    def on_kill(self) -> None:
        """Log only: the API has no way to cancel a job."""
        self.log.warning("The API cannot cancel a job: one that was submitted may still finish and be billed.")

    def _submit(self) -> Job:
        parameters = self.parameters()
        self._check_arguments()
        for advice in parameters.advice():
            self.log.warning("%s", advice)
        _ = self.hook.access
        if self._folder is not None:
            self._prepare(self._folder)
        return self.hook.submit_job(parameters.with_seed(random.SystemRandom()), self._links(parameters))

    def _check_arguments(self) -> None:
        if self.destination and not self.wait_for_completion:
            msg = "destination: landing needs wait_for_completion=True; without it use the sensor and the transfer."
            raise InvalidParameters(msg)
        for name, seconds in {"poll_interval": self.poll_interval, "timeout": self.timeout}.items():
            if not isinstance(seconds, int | float) or not seconds > 0:
                msg = f"{name}: {seconds!r} is not a number of seconds above 0"
                raise InvalidParameters(msg)

    @cached_property
    def _folder(self) -> Folder | None:
        from airflow_imagepipeline.storage.folder import open_folder

        return open_folder(self.destination, self.aws_conn_id) if self.destination else None

    def _prepare(self, folder: Folder) -> None:
        from airflow_imagepipeline.storage.folder import AlreadyThere, checked_stem

        folder.prepare()
        if not self.file_stem:
            return
        try:
            checked_stem(self.file_stem)
        except ValueError as exc:
            raise InvalidParameters(str(exc)) from exc
        if not self.overwrite and (there := folder.names(self.file_stem)):
            msg = f"{folder.uri_of(there[0])} exists: give another file_stem, or overwrite=True. Nothing was submitted."
            raise AlreadyThere(msg)

    def _links(self, parameters: ImageToImageParameters) -> dict[str, str]:
        private = [address for address in parameters.inputs() if address.startswith("s3://")]
        if not private:
            return {}
        from airflow_imagepipeline.storage.s3 import signed_link

        seconds = int(min(self.timeout, _LONGEST_SIGNATURE))
        return {address: signed_link(address, self.aws_conn_id, seconds) for address in private}

    def _deadline(self) -> float:
        limit = self.execution_timeout.total_seconds() if self.execution_timeout else self.timeout
        return time.time() + min(self.timeout, limit)

    def _wait(self, handle: JobHandle) -> dict[str, Any] | None:
        deadline = self._deadline()
        if not self.deferrable:
            return self._finished(self.hook.wait_for_job(handle, deadline=deadline, poll_interval=self.poll_interval))
        from airflow_imagepipeline.triggers.imagepipeline import ImagePipelineJobTrigger

        trigger = ImagePipelineJobTrigger(handle.to_payload(), self.imagepipeline_conn_id, deadline, self.poll_interval)
        # Airflow's own timeout is a backstop: when it fires, nothing of this class runs any more.
        backstop = timedelta(seconds=deadline - time.time() + BACKSTOP)
        self.defer(trigger=trigger, method_name="execute_complete", timeout=backstop)
        return None

    def _finished(self, ended: JobEvent) -> dict[str, Any]:
        if ended.job is None or ended.outcome is not Outcome.SUCCEEDED:
            raise wait_failure(ended)
        return self._result_of(ended.job)

    def _result_of(self, job: Job) -> dict[str, Any]:
        if job.status is not JobStatus.SUCCESS:
            raise wait_failure(JobEvent(job.handle, Outcome.FAILED, job.error or "No reason given."))
        if self._folder is not None:
            return land_job(self.hook, job, self._folder, self.file_stem, overwrite=self.overwrite).to_payload()
        links = job.download_urls if self.return_urls else None
        return JobResult(job.handle, job.status, download_urls=links).to_payload()
