"""What a task instance knows of the job that it lands: its own arguments, as far as they are those of the job."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow_imagepipeline.compat import task_state_store
from airflow_imagepipeline.contract.errors import ImagePipelineError
from airflow_imagepipeline.landing.provenance import Provenance
from airflow_imagepipeline.records.task_state import records_of

if TYPE_CHECKING:
    from airflow_imagepipeline.contract.job import JobHandle
    from airflow_imagepipeline.contract.job_parameters import JobParameters
    from airflow_imagepipeline.policy.submission import SubmissionRecord

log: Final = logging.getLogger(__name__)

_INPUTS: Final = "imagepipeline:inputs:"
_RETENTION: Final = timedelta(days=30)


def task_provenance(
    context: Mapping[str, Any],
    handle: JobHandle,
    asked: Callable[[], JobParameters],
    *,
    is_handed_in: bool,
    digests: Mapping[str, str],
) -> Provenance:
    """
    Return what the sidecars of a job say.

    Nothing here may cost an image that is paid for: what cannot be known is left out.

    :param asked: returns the parameters as the task's arguments give them now, which may be after a restart.
    :param is_handed_in: the user named the job; it is this task's own only if a record says so.
    :param digests: of inputs that this very process has uploaded.
    """
    task = Provenance.of_task(context)
    try:
        parameters = asked()
    except ImagePipelineError as error:
        log.warning("The request of job %s is not written next to its images: %s", handle.job_id, error)
        return task
    fingerprint = parameters.fingerprint()
    record = _record(context, handle, fingerprint)
    if record is None and is_handed_in:
        return task
    if record is not None and record.fingerprint != fingerprint:
        log.warning("The task's arguments have changed since job %s was submitted.", handle.job_id)
        return replace(task, fingerprint=record.fingerprint)
    seed = handle.seed if handle.seed is not None or record is None else record.seed
    return task.asked(parameters, seed, digests=digests or _kept_digests(context, parameters, fingerprint))


def keep_digests(context: Mapping[str, Any], parameters: JobParameters, digests: Mapping[str, str]) -> None:
    """
    Remember the digests of uploaded inputs for the process that lands the images, where Airflow has a store (3.3+).

    :param digests: input address to SHA-256 (hex).
    """
    store = task_state_store(context)
    if store is None or not digests:
        return
    # In the order of the inputs: the store holds no addresses.
    values = [digests.get(address) for address in parameters.inputs()]
    try:
        store.set(_INPUTS + parameters.fingerprint()[:12], values, retention=_RETENTION)
    except Exception as exc:  # noqa: BLE001 - whatever it is, the task goes on
        log.warning("The digests of the inputs cannot be written (%s).", type(exc).__name__)


def _kept_digests(context: Mapping[str, Any], parameters: JobParameters, fingerprint: str) -> dict[str, str]:
    store = task_state_store(context)
    try:
        values = store.get(_INPUTS + fingerprint[:12]) if store is not None else None
    except Exception as exc:  # noqa: BLE001 - as above
        log.warning("The digests of the inputs cannot be read (%s).", type(exc).__name__)
        return {}
    inputs = parameters.inputs()
    if not isinstance(values, list) or len(values) != len(inputs):
        return {}
    return {address: value for address, value in zip(inputs, values, strict=True) if isinstance(value, str)}


def _record(context: Mapping[str, Any], handle: JobHandle, fingerprint: str) -> SubmissionRecord | None:
    records = records_of(context)
    if records is None:
        return None
    try:
        if (own := records.of_job(handle)) is not None:
            return own
        # A submission without an answer, whose job a human has found and handed in.
        asked = records.get(fingerprint)
    except Exception as exc:  # noqa: BLE001 - as above
        log.warning("The record of job %s cannot be read (%s).", handle.job_id, type(exc).__name__)
        return None
    return asked if asked is not None and asked.job_id in {None, handle.job_id} else None
