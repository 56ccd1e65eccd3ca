"""The transfer: land the images of a finished job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import BaseOperator, Context, XComArg

from airflow_imagepipeline.compat import RowsStayData
from airflow_imagepipeline.contract.errors import ImagePipelineError, InvalidParameters
from airflow_imagepipeline.contract.job_parameters import is_unset
from airflow_imagepipeline.contract.result import finished_without_id
from airflow_imagepipeline.exceptions import too_few_images, wait_failure
from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
from airflow_imagepipeline.landing.landing import land_job, refuse_rejected
from airflow_imagepipeline.landing.provenance import Provenance
from airflow_imagepipeline.links.storage import LandedImageLink
from airflow_imagepipeline.policy.job_event import Outcome, event_of


class ImagePipelineToObjectStorageOperator(RowsStayData, BaseOperator):
    """
    Land a job's images in storage. The links are looked up here, so that none travels through XCom.

    A job that is not done yet is waited for during two minutes at most: use the sensor before this. A job without an id
    (finished in the answer to its submission) is landed from the links of the result that is handed in.

    :param job: a job id, or what an operator of this provider returned. (templated)
    :param api: the API that is meant where ``job`` is a mere id: ``sdxl/image2image/v1`` or ``edit/image/v1``. None
        asks both, and takes the one that knows the job.
    :param destination: folder: ``s3://bucket/prefix``, ``file:///path`` or another address of Airflow's object storage.
        (templated)
    :param imagepipeline_conn_id: connection of type ``imagepipeline``. (templated)
    :param aws_conn_id: connection for ``s3://``. (templated)
    :param file_stem: files are called ``{file_stem}-{i:02d}.{ext}``; None means the job's id. (templated)
    :param overwrite: whether an existing file of another content may be replaced.
    :param accept: what an image must be, see :class:`Acceptance`; ``{}`` takes the defaults, None checks nothing. It is
        not compared with its input, which is not known here. What does not pass is put into ``<destination>/rejected``;
        the task fails if nothing passes.
    :param provenance: write next to each landed image, as ``<file>.json``, what it is and who landed it. The request is
        not known here: its ``request`` is empty and its ``fingerprint`` null. One that the operator has written for the
        same image, and that knows more, stays.
    :param samples: how many images the job was asked for; fewer are warned of. None means that it is not known.
        (templated)
    :param strict_count: fail the task when there are fewer than ``samples``. What came is landed first; a retry looks
        at the same job again.
    """

    template_fields: Sequence[str] = (
        *("job", "destination", "imagepipeline_conn_id", "aws_conn_id", "file_stem", "samples"),
    )
    operator_extra_links = (LandedImageLink(),)
    ui_color = "#f3e8ff"

    def __init__(
        self,
        *,
        job: str | dict[str, Any] | XComArg,
        destination: str,
        api: str | None = None,
        imagepipeline_conn_id: str = ImagePipelineHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        file_stem: str | None = None,
        overwrite: bool = False,
        accept: Mapping[str, Any] | None = None,
        provenance: bool = True,
        samples: int | str | None = None,
        strict_count: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job = job
        self.api = api
        self.destination = destination
        self.imagepipeline_conn_id = imagepipeline_conn_id
        self.aws_conn_id = aws_conn_id
        self.file_stem = file_stem
        self.overwrite = overwrite
        self.accept = accept
        self.provenance = provenance
        self.samples = samples
        self.strict_count = strict_count

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Look the links up, fetch, check and store.

        :return: the result with ``images``, see :meth:`JobResult.to_payload`.
        """
        from airflow_imagepipeline.landing.gate import gate_for
        from airflow_imagepipeline.storage.folder import checked_stem, open_folder

        hook = ImagePipelineHook(self.imagepipeline_conn_id)
        try:
            hook.access.refuse_key({name: getattr(self, name) for name in self.template_fields})
            finished = finished_without_id(self.job)
            handle = finished.handle if finished else hook.handle_of(self.job, self.api)
            stem = None if self.file_stem is None or is_unset(self.file_stem) else checked_stem(self.file_stem)
            asked_for = self._asked_for()
            folder = open_folder(self.destination, self.aws_conn_id)
            gate = gate_for(self.accept, hook, self.aws_conn_id)
        except (ImagePipelineError, ValueError) as error:
            msg = f"The job cannot be landed: {error}"
            raise AirflowFailException(msg) from error
        folder.prepare()
        ended = event_of(finished) if finished else hook.last_look(handle)
        if ended.job is None or ended.outcome is not Outcome.SUCCEEDED:
            raise wait_failure(ended)
        few = too_few_images(ended.job, asked_for)
        if few is not None:
            self.log.warning("%s", few)
        provenance = Provenance.of_task(context) if self.provenance else None
        job = ended.job.first(asked_for)
        result = land_job(hook, job, folder, stem, overwrite=self.overwrite, provenance=provenance, gate=gate)
        refuse_rejected(result)
        if few is not None and self.strict_count:
            raise few
        return result.to_payload()

    def _asked_for(self) -> int | None:
        text = str(self.samples).strip()
        if not is_unset(text) and not (text.isascii() and text.isdigit() and int(text) > 0):
            msg = f"samples: {self.samples!r} is not a whole number from 1"
            raise InvalidParameters(msg)
        if is_unset(text) and self.strict_count:
            msg = "strict_count: samples must be given too, as the job does not tell how many images were asked for"
            raise InvalidParameters(msg)
        return None if is_unset(text) else int(text)
