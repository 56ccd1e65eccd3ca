"""What every operator that submits a job does: check, submit once, wait, land. Endpoints differ in parameters only."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final

from airflow.providers.common.compat.sdk import conf
from airflow.sdk import BaseOperator

from airflow_imagepipeline.compat import RowsStayData
from airflow_imagepipeline.contract.api import JobStatus
from airflow_imagepipeline.contract.calls import RequestKind
from airflow_imagepipeline.contract.errors import ImagePipelineError, InvalidParameters
from airflow_imagepipeline.contract.job import Job, JobHandle
from airflow_imagepipeline.contract.job_parameters import JobParameters, is_unset
from airflow_imagepipeline.contract.result import JobResult, done_sentence
from airflow_imagepipeline.exceptions import submission_failure, wait_failure
from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
from airflow_imagepipeline.landing.inputs import links_for, refuse_files, refuse_unopenable
from airflow_imagepipeline.landing.landing import refuse_rejected
from airflow_imagepipeline.links.storage import LandedImageLink
from airflow_imagepipeline.operators.delivery import Delivery
from airflow_imagepipeline.operators.provenance import keep_digests
from airflow_imagepipeline.operators.submission import Submission, refuse_other_host
from airflow_imagepipeline.policy.job_event import JobEvent, Outcome, event_of, uncancelled
from airflow_imagepipeline.policy.submission import Phase
from airflow_imagepipeline.policy.waiting import check_seconds
from airflow_imagepipeline.records.task_state import mark

if TYPE_CHECKING:
    from airflow.sdk import Context

BACKSTOP: Final = 300.0
"""Seconds after the deadline in which the trigger must have ended by itself."""
_PHASES: Final = {Outcome.FAILED: Phase.FAILED, Outcome.LOST: Phase.LOST, Outcome.REFUSED: Phase.LOST}


class ImagePipelineJobOperator(RowsStayData, BaseOperator):
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
    :param accept: what an image must be to get into the destination, see :class:`Acceptance`; ``{}`` takes the
        defaults, None checks nothing. What does not pass is put into ``<destination>/rejected``; the task fails if
        nothing passes.
    :param provenance: write next to each landed image, as ``<file>.json``, what it was made from: the request with its
        prompt and seed, digests, who asked for it. Never the key, nor what signs a link.
    :param strict_count: fail the task when fewer images came than ``samples`` asked for (without it, a warning says
        so). What came is landed first; a retry looks at the same job again and pays nothing.
    :param on_ambiguous_submit: what to do when a submit request may or may not have been accepted: ``fail`` stops for a
        human and never pays twice; ``resubmit`` submits again, at the risk of paying twice.
    :param retry_failed_jobs: whether an automatic retry submits anew (and pays again) after the vendor reports a failed
        job; False fails the task for good.
    :param job_id: a job to take up instead of submitting, say one found on the vendor's dashboard. (templated)
    :param return_urls: whether a result without landed images holds the vendor's links; they end up in XCom. Those of a
        job without an id (finished in the answer to its submission) are always returned: nothing else leads to it.
    """

    template_fields: Sequence[str] = ("imagepipeline_conn_id", "aws_conn_id", "destination", "file_stem", "job_id")
    operator_extra_links = (LandedImageLink(),)
    ui_color = "#f3e8ff"

    parameters_class: ClassVar[type[JobParameters]]
    """The endpoint's parameters; each of their fields is an argument and an attribute of the operator."""
    upload_inputs: bool = False
    _job_id: str | None = None

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
        accept: Mapping[str, Any] | None = None,
        provenance: bool = True,
        return_urls: bool = True,
        strict_count: bool = False,
        on_ambiguous_submit: str = "fail",
        retry_failed_jobs: bool = False,
        job_id: str | None = None,
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
        self.accept = accept
        self.provenance = provenance
        self.return_urls = return_urls
        self.strict_count = strict_count
        self.on_ambiguous_submit = on_ambiguous_submit
        self.retry_failed_jobs = retry_failed_jobs
        self.job_id = job_id

    def parameters(self) -> JobParameters:
        """
        Return the checked parameters of the job.

        :raises InvalidParameters: naming the field, the value and the range.
        """
        fields = self.parameters_class.model_fields
        return self.parameters_class.checked({name: getattr(self, name) for name in fields})

    @cached_property
    def hook(self) -> ImagePipelineHook:
        """The hook on this operator's connection."""
        return ImagePipelineHook(self.imagepipeline_conn_id)

    def execute(self, context: Context) -> dict[str, Any] | None:
        """
        Submit, or take up the job of an earlier try; then wait in this process, defer, or end.

        :return: the result, see :meth:`JobResult.to_payload`.
        :raises AirflowException: see :mod:`airflow_imagepipeline.exceptions`.
        """
        submission = Submission(context)
        if is_unset(self.job_id):
            submission.begin()
        try:
            # Whatever way it came: a template, an environment, a row that Airflow rendered a second time.
            self.hook.access.refuse_key({name: getattr(self, name) for name in self.template_fields})
            handed_in = self._handed_in()
            self._ask_for(submission)
        except ImagePipelineError as error:
            raise submission_failure(error) from error
        started = handed_in or submission.job_or_handle(lambda: self._prepare(context))
        handle = started.handle if isinstance(started, Job) else started
        self.log.info("Job %s of %s.", handle.job_id, handle.api.name)
        self._job_id = handle.job_id
        if isinstance(started, Job) and (handle.job_id is None or started.status is JobStatus.FAILURE):
            return self._ended(context, event_of(started))
        if not self.wait_for_completion:
            mark(context, handle, Phase.HANDED_OVER)
            return JobResult(handle, JobStatus.PENDING).to_payload()
        return self._wait(context, handle, submission.deadline())

    def execute_complete(self, context: Context, event: Any) -> dict[str, Any]:
        """
        Go on after the triggerer: a fresh look gives fresh links.

        :param event: what the trigger fired, see :class:`JobEvent`.
        """
        ended = JobEvent.from_payload(event)
        self._job_id = ended.handle.job_id
        try:
            refuse_other_host(context, self.hook, ended.handle)
            if ended.outcome is Outcome.SUCCEEDED:
                ended = self.hook.last_look(ended.handle, was_finished=True)
        except ImagePipelineError as error:
            ended = JobEvent(ended.handle, Outcome.UNREACHABLE, str(error))
        return self._ended(context, ended)

    def on_kill(self) -> None:
        """Log only: the API has no way to cancel a job."""
        self.log.warning("%s", uncancelled(self._job_id))

    def _handed_in(self) -> JobHandle | None:
        try:
            api = self.parameters_class.api.name
            return None if is_unset(self.job_id) else JobHandle.from_payload(self.job_id, api)
        except ValueError as error:
            msg = f"job_id: {error}"
            raise InvalidParameters(msg) from error

    def _ask_for(self, submission: Submission) -> None:
        parameters = self.parameters()
        self._check_arguments()
        refuse_files(parameters.inputs(), upload=self.upload_inputs)
        for advice in parameters.advice():
            self.log.warning("%s", advice)
        submission.ask_for(
            self.hook,
            parameters,
            timeout=self._seconds_allowed(),
            resubmit=self.on_ambiguous_submit == "resubmit",
            retry_failed_jobs=self.retry_failed_jobs,
        )

    def _check_arguments(self) -> None:
        check_seconds(poll_interval=self.poll_interval, timeout=self.timeout)
        if self.on_ambiguous_submit not in {"fail", "resubmit"}:
            msg = f"on_ambiguous_submit: {self.on_ambiguous_submit!r} is neither 'fail' nor 'resubmit'"
            raise InvalidParameters(msg)
        self._delivery.check()

    @cached_property
    def _delivery(self) -> Delivery:
        return Delivery(self)

    def _prepare(self, context: Context) -> Callable[[], dict[str, str]]:
        # All that can be refused is refused here, before the request that is paid for.
        self._delivery.prepare()
        parameters = self.parameters()
        inputs, digests, upload = parameters.inputs(), dict[str, str](), self.upload_inputs

        def links() -> dict[str, str]:
            return links_for(inputs, self.hook, self.aws_conn_id, seconds=self.timeout, upload=upload, digests=digests)

        try:
            self.hook.refuse_unfit_request(parameters.to_payload({}))
            if not upload:
                refuse_unopenable(inputs, self.aws_conn_id)
            ready = links()
        except ImagePipelineError as error:
            raise submission_failure(error, RequestKind.UPLOAD) from error
        if self._delivery.writes_sidecars:
            self._delivery.digests = digests
            keep_digests(context, parameters, digests)
        # An uploaded copy stays where it is; a signature ages, and is made anew for each attempt.
        return (lambda: ready) if upload else links

    def _seconds_allowed(self) -> float:
        # Airflow does not count the time in the triggerer against execution_timeout: the deadline does.
        limit = self.execution_timeout.total_seconds() if self.execution_timeout else self.timeout
        return min(self.timeout, limit)

    def _wait(self, context: Context, handle: JobHandle, deadline: float) -> dict[str, Any] | None:
        if not self.deferrable:
            return self._ended(
                context, self.hook.wait_for_job(handle, deadline=deadline, poll_interval=self.poll_interval)
            )
        from airflow_imagepipeline.triggers.imagepipeline import ImagePipelineJobTrigger

        trigger = ImagePipelineJobTrigger(handle.to_payload(), self.imagepipeline_conn_id, deadline, self.poll_interval)
        # Airflow's own timeout is a backstop: when it fires, nothing of this class runs any more.
        backstop = timedelta(seconds=max(deadline - time.time(), 0.0) + BACKSTOP)
        self.defer(trigger=trigger, method_name="execute_complete", timeout=backstop)
        return None

    def _ended(self, context: Context, ended: JobEvent) -> dict[str, Any]:
        if ended.job is None or ended.outcome is not Outcome.SUCCEEDED:
            if (phase := _PHASES.get(ended.outcome)) is not None:
                mark(context, ended.handle, phase)
            raise wait_failure(ended, retryable=self.retry_failed_jobs)
        few = self._delivery.too_few(ended.job)
        if few is not None:
            self.log.warning("%s", few)
        result = self._delivery.deliver(context, ended.job)
        self.log.info("%s", done_sentence(result, now=time.time()))
        mark(context, ended.handle, Phase.HANDED_OVER if result.images is None else Phase.STORED)
        refuse_rejected(result)
        if few is not None and self.strict_count:
            raise few
        return result.to_payload()
