"""Make an image again: send the request of its sidecar, wait, land what comes. **This is paid for.**"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowException

from airflow_imagepipeline.contract.calls import RequestKind
from airflow_imagepipeline.contract.errors import ImagePipelineError, InvalidParameters
from airflow_imagepipeline.exceptions import wait_sentence
from airflow_imagepipeline.landing.inputs import links_for
from airflow_imagepipeline.landing.landing import land_job
from airflow_imagepipeline.landing.provenance import Provenance
from airflow_imagepipeline.policy.job_event import Outcome, event_of
from airflow_imagepipeline.policy.resending import Verdict, verdict

if TYPE_CHECKING:
    from airflow_imagepipeline.contract.job import Job
    from airflow_imagepipeline.contract.replay import Replay
    from airflow_imagepipeline.contract.result import JobResult
    from airflow_imagepipeline.contract.sidecar import Sidecar
    from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
    from airflow_imagepipeline.storage.folder import Folder


class ReplayFailed(AirflowException):
    """The image was not made again; the message says whether something was paid for."""


class Replaying:
    """
    One request, to be sent once more. No record is kept: whoever runs it twice pays twice.

    :param aws_conn_id: connection for ``s3://`` inputs.
    :param request: what :func:`rebuilt` gave for the sidecar.
    """

    def __init__(self, hook: ImagePipelineHook, aws_conn_id: str | None, sidecar: Sidecar, request: Replay) -> None:
        self._hook = hook
        self._aws_conn_id = aws_conn_id
        self._sidecar = sidecar
        self._parameters = request.parameters
        self._digests: dict[str, str] = {}

    def links(self, seconds: float) -> Mapping[str, str]:
        """
        Return the links to send for inputs that the vendor cannot fetch; what was uploaded then is uploaded now.

        :param seconds: how long a signed link must live.
        :raises ImagePipelineError: when an input cannot be read or sent, or is not what the image was made from.
        """
        known = {one.address: one.sha256 for one in self._sidecar.inputs if one.sha256}
        self._hook.refuse_unfit_request(self._parameters.to_payload({}))
        links = links_for(
            self._parameters.inputs(),
            self._hook,
            self._aws_conn_id,
            seconds=seconds,
            upload=bool(known),
            digests=self._digests,
        )
        for address, digest in self._digests.items():
            if known.get(address, digest) != digest:
                msg = f"{address} is not what the image was made from: its SHA-256 is another. Nothing was submitted."
                raise InvalidParameters(msg)
        return links

    def submit(self, links: Mapping[str, str]) -> Job:
        """
        Send the request.

        :raises ReplayFailed: when it was not taken, or when that is not known.
        """
        try:
            return self._hook.submit_job(self._parameters, links)
        except ImagePipelineError as error:
            said = str(error).rstrip(".")
            msg = f"{said}. Nothing was submitted."
            if verdict(RequestKind.SUBMIT, error) is Verdict.UNCERTAIN:
                msg = (
                    f"The request may or may not have been taken, and paid for ({said}): look at the vendor's "
                    "dashboard before you submit it again."
                )
            raise ReplayFailed(msg) from error

    def land(self, job: Job, folder: Folder, timeout: float) -> JobResult:
        """
        Wait for the job and land its images, with sidecars of their own.

        :param timeout: seconds from now in which it must be done.
        :raises ReplayFailed: when it ended without a result, or could not be landed.
        """
        handle = job.handle
        if handle.job_id is None:
            ended = event_of(job)
        else:
            ended = self._hook.wait_for_job(handle, deadline=time.time() + timeout)
        if ended.job is None or ended.outcome is not Outcome.SUCCEEDED:
            raise ReplayFailed(wait_sentence(ended))
        provenance = Provenance().asked(
            self._parameters, handle.seed, digests=self._digests, fingerprint=self._sidecar.fingerprint
        )
        try:
            return land_job(self._hook, ended.job, folder, None, overwrite=False, provenance=provenance)
        except AirflowException as error:
            msg = f"{error} Do not submit again: ImagePipelineToObjectStorageOperator lands job {handle.job_id}."
            raise ReplayFailed(msg) from error
