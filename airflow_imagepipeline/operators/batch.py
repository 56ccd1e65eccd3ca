"""Operators that edit thousands of images in one task."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Final

from airflow.providers.common.compat.sdk import conf
from airflow.sdk import BaseOperator

from airflow_imagepipeline.compat import RowsStayData
from airflow_imagepipeline.contract.errors import ImagePipelineError
from airflow_imagepipeline.contract.job_parameters import JobParameters
from airflow_imagepipeline.contract.parameters import EditImageParameters, ImageToImageParameters
from airflow_imagepipeline.contract.text import counted
from airflow_imagepipeline.exceptions import BatchFailed, BatchIncomplete, submission_failure
from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
from airflow_imagepipeline.operators.batch_arguments import as_text, check_constants, checked_flag
from airflow_imagepipeline.policy.batch import is_good_enough
from airflow_imagepipeline.policy.batch_event import BatchEvent

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg

    from airflow_imagepipeline.batch.ending import Finished
    from airflow_imagepipeline.batch.run import BatchRun, InFlight

BACKSTOP: Final = 300.0
"""Seconds after the deadline in which the trigger must have ended by itself."""


class Rows:
    """Inputs that were given as a list: data, which Airflow must neither render nor look into."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self.rows = rows

    def __str__(self) -> str:
        """Return what Airflow's UI shows in their place: the same at every parsing."""
        return counted(len(self.rows), "row")


class ImagePipelineBatchOperator(RowsStayData, BaseOperator):
    """
    Edit every image of a folder, a table or a list: one job for each, a bounded number of them in flight.

    What was landed before, for the same input and the same request, is not paid for again. Every input has one row in
    the manifest. A retry, and the worker after a deferral, go on where the last one ended.

    :param inputs: a list of links or ``s3://`` objects; a list of dicts (rows); a folder or glob
        (``s3://bucket/catalog/*.jpg``, ``file:///...``, an absolute path); a table (CSV, TSV, JSON, Parquet); or the
        output of a task. Only a string and a task's output are resolved by Airflow: rows are data, and never rendered.
        (templated)
    :param request: the endpoint's fields; texts may hold ``{column}`` placeholders, ``{lbrace}`` and ``{rbrace}`` are
        braces. Every row has the columns ``index``, and of its input ``path`` (below the folder, without ending),
        ``folder``, ``file`` (with ending) and ``name``. The input itself comes from the row's column of the field's
        name, unless the request gives it. (templated)
    :param destination: folder to land the images in: an address or an absolute path. (templated)
    :param file_stem: files are called ``{file_stem}-{i:02d}.{ext}``, with placeholders as in ``request``; None means
        the job's id. (templated)
    :param overwrite: whether a file of another content may be replaced.
    :param max_in_flight: jobs that may be running at once; the API may allow fewer, which is found out.
    :param submit_concurrency: submissions under way at once; as many may end uncertain when a worker is killed.
    :param min_success_ratio: landed and reused rows over all rows that were not left out (invalid, over budget) below
        which the task fails; 0 to 1. All failed is always a failed task.
    :param max_jobs: jobs that one DAG run pays for at most, retries and clears included; None for no bound. (templated)
    :param max_cost: what they may cost at most; needs ``price_per_job``. (templated)
    :param price_per_job: what a job is taken to cost until the vendor says.
    :param reuse: ``same_request`` takes what an earlier run has landed for the same input and request; ``never`` makes
        everything anew in each run.
    :param link_identity: what of an https link tells one image from another: ``path`` no query parameter, ``link`` the
        whole link, a list of names these parameters; None takes away known signatures only, and stops when most new
        links are known ones with another query.
    :param on_empty: ``fail`` fails when a folder, glob or table holds no row, naming what was looked for; ``succeed``
        does nothing then.
    :param on_invalid_row: ``fail`` submits nothing when a row is invalid; ``skip`` leaves such rows out.
    :param accept: what a result must be, see :class:`Acceptance`; ``{}`` takes the defaults, None checks nothing. What
        does not pass is put into ``<destination>/rejected``.
    :param redo_failed: how often a job that failed is submitted again in the same run, after some seconds and inside
        the budget: one that the vendor calls worth another try (its ``retryable``, else its page's list of codes), and
        has not charged. (templated)
    :param redo_rejected: how often a rejected row is submitted again, with another seed and inside the budget; rows
        with a seed of their own are not. (templated)
    :param provenance: write next to each image, as ``<file>.json``, what it was made from.
    :param contact_sheet: draw one picture of the run beside the manifest: pairs of before and after, failures among
        them.
    :param plan_only: report what would be done, and submit nothing. (templated)
    :param deferrable: give up the worker while nothing is to be done; default from ``[operators] default_deferrable``.
    :param defer_after: seconds without anything to do that are worth giving up the worker.
    :param poll_interval: seconds; a job is looked at about as often as with this interval, when it is likely done.
    :param timeout: seconds from the start of a try in which the whole batch must be done.
    :param job_timeout: seconds from its submission in which a job must be done.
    :param ledger: folder of what was submitted and landed, kept from run to run: None means
        ``<destination>/_imagepipeline``. (templated)
    :param shard: ``[i, n]`` takes one of n parts of the rows, with a ledger and a budget of its own; the input decides
        which part a row belongs to.
    :param imagepipeline_conn_id: connection of type ``imagepipeline``. (templated)
    :param aws_conn_id: connection for ``s3://``. (templated)
    """

    template_fields: Sequence[str] = (
        "inputs",
        "request",
        "destination",
        "file_stem",
        "ledger",
        "max_jobs",
        "max_cost",
        "redo_failed",
        "redo_rejected",
        "plan_only",
        "imagepipeline_conn_id",
        "aws_conn_id",
    )
    template_fields_renderers = {"request": "json"}  # noqa: RUF012 - as Airflow declares it
    ui_color = "#f3e8ff"

    parameters_class: ClassVar[type[JobParameters]]
    upload_inputs: bool = False
    _batch: BatchRun | None = None

    def __init__(
        self,
        *,
        inputs: str | PathLike[str] | Sequence[Any] | XComArg,
        request: Mapping[str, Any],
        destination: str | PathLike[str],
        file_stem: str | None = None,
        overwrite: bool = False,
        max_in_flight: int = 50,
        submit_concurrency: int = 8,
        min_success_ratio: float = 1.0,
        max_jobs: int | str | None = None,
        max_cost: float | str | None = None,
        price_per_job: float | None = None,
        reuse: str = "same_request",
        link_identity: str | Sequence[str] | None = None,
        on_empty: str = "fail",
        on_invalid_row: str = "fail",
        accept: Mapping[str, Any] | None = None,
        redo_failed: int | str = 1,
        redo_rejected: int | str = 0,
        provenance: bool = True,
        contact_sheet: bool = False,
        plan_only: bool | str = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        defer_after: float = 60.0,
        poll_interval: float = 5.0,
        timeout: float = 12 * 3600.0,
        job_timeout: float = 3600.0,
        ledger: str | PathLike[str] | None = None,
        shard: Sequence[int] | None = None,
        imagepipeline_conn_id: str = ImagePipelineHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.inputs = Rows(inputs) if isinstance(inputs, list | tuple) else as_text(inputs)
        self.request = request
        self.destination = as_text(destination)
        self.file_stem = file_stem
        self.overwrite = overwrite
        self.max_in_flight = max_in_flight
        self.submit_concurrency = submit_concurrency
        self.min_success_ratio = min_success_ratio
        self.max_jobs = max_jobs
        self.max_cost = max_cost
        self.price_per_job = price_per_job
        self.reuse = reuse
        self.link_identity = link_identity
        self.on_empty = on_empty
        self.on_invalid_row = on_invalid_row
        self.accept = accept
        self.redo_failed = redo_failed
        self.redo_rejected = redo_rejected
        self.provenance = provenance
        self.contact_sheet = contact_sheet
        self.plan_only = plan_only
        self.deferrable = deferrable
        self.defer_after = defer_after
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.job_timeout = job_timeout
        self.ledger = as_text(ledger)
        self.shard = shard
        self.imagepipeline_conn_id = imagepipeline_conn_id
        self.aws_conn_id = aws_conn_id
        check_constants(self)

    @cached_property
    def hook(self) -> ImagePipelineHook:
        """The hook on this operator's connection."""
        return ImagePipelineHook(self.imagepipeline_conn_id)

    def execute(self, context: Context) -> dict[str, Any] | None:
        """
        Make the plan, or take up that of an earlier try, and go on with it.

        :return: the summary, see :class:`BatchSummary`; with ``plan_only`` a report.
        :raises AirflowException: see :mod:`airflow_imagepipeline.exceptions`.
        """
        return self._go_on(context, None)

    def execute_complete(self, context: Context, event: Any, **_: Any) -> dict[str, Any] | None:
        """
        Go on after the triggerer.

        :param event: what :class:`ImagePipelineBatchTrigger` fired.
        :raises ValueError: when it is something else.
        """
        told = BatchEvent.from_payload(event)
        if told.message:
            self.log.warning("%s The worker waits itself.", told.message)
        return self._go_on(context, told)

    def on_kill(self) -> None:
        """Log only, ids that are not recorded yet, too: the API has no way to cancel jobs."""
        for job_id in self._batch.unrecorded() if self._batch else ():
            self.log.error("Job %s is paid for, and is not recorded yet.", job_id)
        self.log.warning(
            "The API cannot cancel jobs in flight: they may still finish and be billed; a retry lands them."
        )

    def _go_on(self, context: Context, told: BatchEvent | None) -> dict[str, Any] | None:
        from airflow_imagepipeline.operators.batch_arguments import checked_options, seconds_allowed
        from airflow_imagepipeline.operators.batch_task import open_batch

        try:
            deadline = time.time() + seconds_allowed(self) if told is None else told.deadline
            options = checked_options(self, may_defer=told is None or not told.message)
            is_plan_only = checked_flag("plan_only", self.plan_only)
            self._batch = run = open_batch(self, context, options)
            if is_plan_only:
                return self._report(run)
            self._refuse_change(run, told)
            about = run.prepare()
        except ImagePipelineError as error:
            raise submission_failure(error) from error
        self._refuse_invalid(context, run, about)
        turn = run.run(deadline, told)
        from airflow_imagepipeline.batch.run import InFlight

        if isinstance(turn, InFlight):
            self._defer_until_done(turn, deadline)
            return None
        return self._ended(context, turn)

    def _refuse_change(self, run: BatchRun, told: BatchEvent | None) -> None:
        # Other work for all rows: what this run has paid for would be paid again, with nobody asking for it.
        if run.is_changed or (told is not None and not told.plan.startswith(f"{run.base}-")):
            run.release()
            msg = (
                "The arguments are others than when the task deferred or was tried first, so nothing more was "
                "submitted: a template that gives another value at every start (now(), uuid4(), try_number) is the "
                "usual cause. Give it a value of the run, and clear the task: what is in flight is taken up."
            )
            raise BatchFailed(msg)

    def _report(self, run: BatchRun) -> dict[str, Any]:
        report = run.report()
        self.log.info("Nothing was submitted: plan_only=True. It would be: %s", report)
        return report

    def _refuse_invalid(self, context: Context, run: BatchRun, about: Mapping[str, Any]) -> None:
        count, shown = about["treatments"].get("invalid", 0), list(about["invalid"])
        if count > len(shown):
            shown.append(f"row … and {count - len(shown)} more: the manifest names them all.")
        if count and self.on_invalid_row == "fail":
            said = f"{count} of {about['count']} rows are invalid, so nothing was submitted"
            turn = run.refuse(f"{said}.")
            self._leave_summary(context, turn.summary.to_payload())
            msg = (
                f"{said}. Mend them, or leave them out with on_invalid_row='skip'; then clear the task. "
                f"Manifest: {turn.summary.manifest}"
            )
            raise BatchFailed("\n".join([msg, *shown]))
        for reason in shown:
            self.log.warning("Left out: %s", reason)

    def _defer_until_done(self, turn: InFlight, deadline: float) -> None:
        from airflow_imagepipeline.triggers.batch import ImagePipelineBatchTrigger

        trigger = ImagePipelineBatchTrigger(
            self.parameters_class.api.name,
            turn.jobs,
            self.imagepipeline_conn_id,
            turn.plan,
            turn.cursor,
            deadline,
            self.job_timeout,
            self.poll_interval,
            turn.schedule,
        )
        kwargs = {"plan": turn.plan, "cursor": turn.cursor, "deadline": deadline}
        # Airflow's own timeout is a backstop: when it fires, nothing of this class runs any more.
        backstop = timedelta(seconds=max(deadline - time.time(), 0.0) + BACKSTOP)
        self.log.info("%s in flight: the triggerer polls from here on.", counted(len(turn.jobs), "job"))
        self.defer(trigger=trigger, method_name="execute_complete", kwargs=kwargs, timeout=backstop)

    def _ended(self, context: Context, turn: Finished) -> dict[str, Any]:
        from airflow_imagepipeline.operators.batch_task import with_sheet

        summary = with_sheet(self, turn.summary).to_payload()
        told = ", ".join(f"{count:,} {outcome}" for outcome, count in summary["counts"].items() if count)
        said = f"{counted(turn.summary.total, 'row')}: {told or 'nothing to do'}. Manifest: {turn.summary.manifest}"
        if is_good_enough(turn.counts, self.min_success_ratio):
            self.log.info("%s", said)
            return summary
        self._leave_summary(context, summary)
        failure = BatchIncomplete if turn.may_change else BatchFailed
        raise failure(f"{said} ({turn.why})" if turn.why else said)

    def _leave_summary(self, context: Context, summary: Mapping[str, Any]) -> None:
        # A failed task returns nothing: what reads the summary (the Images tab, a later task) finds it all the same.
        context["ti"].xcom_push(key="return_value", value=summary)


class ImageToImageBatchOperator(ImagePipelineBatchOperator):
    """
    Edit every image with the vendor's SDXL image-to-image endpoint; ``request`` as :class:`ImageToImageOperator`.

    All arguments are those of :class:`ImagePipelineBatchOperator`.
    """

    parameters_class = ImageToImageParameters


class EditImageBatchOperator(ImagePipelineBatchOperator):
    """
    Edit every image with the vendor's current endpoint; ``request`` as :class:`EditImageOperator`.

    :param upload_inputs: give the vendor copies of ``s3://`` objects and files instead of signed links.

    All other arguments are those of :class:`ImagePipelineBatchOperator`.
    """

    parameters_class = EditImageParameters

    def __init__(self, *, upload_inputs: bool = False, **kwargs: Any) -> None:
        # Before the others, with which it is checked.
        self.upload_inputs = upload_inputs
        super().__init__(**kwargs)
