"""One request of one task instance: decided on its record, sent at most once, its record kept true."""

from __future__ import annotations

import logging
import random
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from airflow_imagepipeline.contract.errors import ImagePipelineError, Misconfigured, Uncertain
from airflow_imagepipeline.contract.job import Job, JobHandle
from airflow_imagepipeline.exceptions import RecordUnavailable, SubmissionUncertain, submission_failure
from airflow_imagepipeline.policy.resending import SUBMIT_ATTEMPTS
from airflow_imagepipeline.policy.submission import (
    Action,
    Phase,
    SubmissionRecord,
    Wish,
    decide,
    decide_without_records,
    in_doubt_sentence,
    is_same_host,
    uncertain_sentence,
    why_not,
)
from airflow_imagepipeline.records.task_state import record_of, records_of

if TYPE_CHECKING:
    from airflow_imagepipeline.contract.job_parameters import JobParameters
    from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook

log: Final = logging.getLogger(__name__)


class Submission:
    """
    Decide, send and record.

    :param context: Airflow's task context.
    :param parameters: as the user gave them; a seed is drawn when the request is sent.
    :param timeout: seconds a job may take.
    :param resubmit: submit again although an earlier request may have been taken.
    :param retry_failed_jobs: an automatic retry may pay again after a failed job.
    """

    def __init__(
        self,
        context: Mapping[str, Any],
        hook: ImagePipelineHook,
        parameters: JobParameters,
        *,
        timeout: float,
        resubmit: bool = False,
        retry_failed_jobs: bool = False,
    ) -> None:
        ti = context["ti"]
        self._hook = hook
        self._parameters = parameters
        self._timeout = timeout
        self._retries = ti.task.retries or 0
        self._try_number = ti.try_number
        self._records = records_of(context, timeout)
        self._wish = Wish(
            fingerprint=parameters.fingerprint(),
            origin=hook.access.origin,
            max_tries=ti.max_tries,
            is_mapped=ti.map_index is not None and ti.map_index >= 0,
            resubmit=resubmit,
            retry_failed_jobs=retry_failed_jobs,
            fields=parameters.field_digests(),
        )
        self.record: SubmissionRecord | None = None
        """The record that the decision was made on, later the one that was written."""

    def job_or_handle(self, prepare: Callable[[], Mapping[str, str]]) -> Job | JobHandle:
        """
        Return the job, submitted now, or the handle of the one that is recorded.

        :param prepare: called before anything is sent; returns the links to send for inputs the vendor cannot fetch.
        :raises AirflowException: when a human must decide, the request was refused, or nothing could be sent.
        """
        action = self._decide()
        if action is Action.TAKE_UP and self.record is not None:
            log.info("Job %s was submitted by an earlier try; it is taken up again.", self.record.job_id)
            return self.record.handle
        if action is Action.SUBMIT_AGAIN:
            log.warning("An earlier request may have been taken; on_ambiguous_submit='resubmit' submits again.")
        elif action is not Action.SUBMIT:
            raise self._stopped(action)
        return self._send(prepare(), is_in_doubt=action is Action.SUBMIT_AGAIN)

    def deadline(self) -> float:
        """Return the seconds since the epoch at which the job must be done: decided once, kept through retries."""
        if (
            self.record is not None
            and self.record.deadline is not None
            and self.record.max_tries == self._wish.max_tries
        ):
            return self.record.deadline
        return time.time() + self._timeout

    def _decide(self) -> Action:
        if self._records is None:
            log.warning("Airflow before 3.3 keeps no submission records: after a crash a human must look.")
            return decide_without_records(self._try_number, self._wish, self._retries)
        try:
            self.record = self._records.get(self._wish.fingerprint)
            latest = self._records.latest()
        except Exception as exc:
            msg = f"The record of this task's submissions cannot be read ({type(exc).__name__}), so nothing is sent."
            raise RecordUnavailable(msg) from exc
        action = decide(self.record, latest, self._wish)
        if action is Action.TAKE_UP and self.record is not None:
            if self.record != latest:
                self._records.take_up(self.record)
            if self.record.max_tries != self._wish.max_tries:
                # A human cleared the task while its job ran: from now on it is that decision's, with a new deadline.
                deadline = time.time() + self._timeout
                self._write(replace(self.record, max_tries=self._wish.max_tries, deadline=deadline))
        self.record = latest if action is Action.CHANGED else self.record
        return action

    def _stopped(self, action: Action) -> Exception:
        if action is Action.ASK and self.record is not None:
            self._write(replace(self.record, phase=Phase.AMBIGUOUS, max_tries=self._wish.max_tries))
        failure = RecordUnavailable if action is Action.OTHER_HOST else SubmissionUncertain
        return failure(why_not(action, self.record, self._wish))

    def _send(self, links: Mapping[str, str], *, is_in_doubt: bool) -> Job:
        parameters = self._parameters.with_seed(random.SystemRandom())
        self._begin(parameters.seed)
        failures = 0
        while True:
            try:
                job = self._hook.submit_job(parameters, links)
            except Uncertain as error:
                failures, is_in_doubt = failures + 1, True
                if not self._wish.resubmit or failures >= SUBMIT_ATTEMPTS:
                    raise self._uncertain(error) from error
                log.warning("%s It is submitted again: on_ambiguous_submit='resubmit'.", error)
            except ImagePipelineError as error:
                raise (self._failed_later(error) if is_in_doubt else self._failed(error)) from error
            else:
                break
        self._submitted(job)
        return job

    def _begin(self, seed: int | None) -> None:
        if self._records is None:
            return
        token = secrets.token_hex(8)
        record = SubmissionRecord(
            phase=Phase.SUBMITTING,
            fingerprint=self._wish.fingerprint,
            fields=self._wish.fields,
            origin=self._wish.origin,
            api=self._parameters.api.name,
            seed=seed,
            submitted_at=time.time(),
            try_number=self._try_number,
            max_tries=self._wish.max_tries,
            token=token,
        )
        try:
            # Preparing takes seconds: what the decision was made on may be out of date.
            is_alone = self._records.get(record.fingerprint) == self.record
            if is_alone:
                self._records.begin(record)
            written = self._records.get(record.fingerprint)
        except Exception as exc:
            msg = f"The intent to submit cannot be recorded ({type(exc).__name__}), so nothing is sent."
            raise RecordUnavailable(msg) from exc
        if not is_alone or written is None or written.token != token:
            msg = "Another worker runs the same try of this task and is submitting; this one submits nothing."
            raise RecordUnavailable(msg)
        self.record = record

    def _submitted(self, job: Job) -> None:
        # A job without an id can never be looked at again: its record stays "submitting" until its images are safe.
        if self.record is None or job.handle.job_id is None:
            return
        deadline = (job.handle.submitted_at or time.time()) + self._timeout
        self._write(replace(self.record, phase=Phase.SUBMITTED, job_id=job.handle.job_id, deadline=deadline))

    def _uncertain(self, error: ImagePipelineError) -> SubmissionUncertain:
        if self.record is not None:
            self._write(replace(self.record, phase=Phase.AMBIGUOUS))
        return SubmissionUncertain(uncertain_sentence(str(error), self.record))

    def _failed(self, error: ImagePipelineError) -> Exception:
        failure = submission_failure(error)
        if isinstance(failure, SubmissionUncertain):
            return self._uncertain(error)
        if self.record is not None and self._records is not None:
            try:
                self._records.remove(self.record)
            except Exception as exc:  # noqa: BLE001 - what failed first is what the reader must see
                log.warning("The record of a request that was not taken could not be removed (%s).", type(exc).__name__)
        return failure

    def _failed_later(self, error: ImagePipelineError) -> Exception:
        # "resubmit" alone comes here: this request was not taken, but one before it may have been. The record stays.
        failure = submission_failure(error)
        if isinstance(failure, SubmissionUncertain):
            return self._uncertain(error)
        failure.args = (in_doubt_sentence(str(error), self.record),)
        return failure

    def _write(self, record: SubmissionRecord) -> None:
        self.record = record
        if self._records is not None:
            self._records.keep(record)


def refuse_other_host(context: Mapping[str, Any], hook: ImagePipelineHook, handle: JobHandle) -> None:
    """
    Refuse to look for a job where it never was: the connection may have been edited while the task was deferred.

    :raises Misconfigured: naming both hosts.
    """
    record = record_of(context, handle)
    if record is not None and not is_same_host(record.origin, hook.access.origin):
        msg = (
            f"it was submitted to {record.origin}, but connection {hook.imagepipeline_conn_id!r} leads to "
            f"{hook.access.origin} now. Restore the connection: a retry looks at the same job."
        )
        raise Misconfigured(msg)
