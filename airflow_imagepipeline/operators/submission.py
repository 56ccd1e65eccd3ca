"""One request of one task instance: decided on its record, sent at most once, its record kept true."""

from __future__ import annotations

import logging
import random
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from airflow_imagepipeline.contract.calls import RequestKind
from airflow_imagepipeline.contract.errors import ImagePipelineError, Misconfigured, Uncertain
from airflow_imagepipeline.contract.job import Job, JobHandle
from airflow_imagepipeline.exceptions import RecordUnavailable, SubmissionUncertain, submission_failure
from airflow_imagepipeline.policy.resending import (
    SUBMIT_ATTEMPTS,
    Verdict,
    pause_before_resending,
    verdict,
)
from airflow_imagepipeline.policy.submission import (
    SHORTEST_RETENTION,
    Action,
    Phase,
    SubmissionRecord,
    Wish,
    decide,
    decide_without_records,
    first_try,
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

WRITE_ATTEMPTS: Final = 10
"""How often a write that is worth money is tried, with the pauses between submissions: for about a minute."""
_SUPERSEDED: Final = (
    "Another worker runs the same try of this task, or a later one, and may submit; this one submits nothing."
)


class Submission:
    """
    Decide, send and record.

    Without a compare-and-set, two tries are kept apart by the order of writes and reads: a try writes its claim before
    it reads the records, and its record before it reads the claim for the last time. So of two tries that overlap, one
    sees the other. What remains is the time from that last read until the request has left.

    :param context: Airflow's task context.
    """

    def __init__(self, context: Mapping[str, Any]) -> None:
        ti = context["ti"]
        self._retries = ti.task.retries or 0
        self._try_number = ti.try_number
        self._max_tries = ti.max_tries
        self._is_mapped = ti.map_index is not None and ti.map_index >= 0
        self._first_try = first_try(self._max_tries, self._retries)
        self._may_have_expired = _is_old(context)
        self._records = records_of(context)
        self._claim = f"{self._try_number}:{secrets.token_hex(8)}"
        self._is_claimed = False
        self.record: SubmissionRecord | None = None
        """What is recorded of the request, as this process read or wrote it last."""

    def begin(self) -> None:
        """
        Leave a trace that the first try of a human decision began, before anything else of it can fail.

        Without it, the next try could not tell that nothing was sent from a store that was emptied. A store that
        cannot be written now is written to before anything is sent.
        """
        if self._records is not None and self._try_number <= self._first_try:
            try:
                self._take_claim()
            except Exception as exc:  # noqa: BLE001 - whatever it is, nothing has been lost by it yet
                log.warning("The start of this try cannot be recorded yet (%s).", type(exc).__name__)

    def ask_for(
        self,
        hook: ImagePipelineHook,
        parameters: JobParameters,
        *,
        timeout: float,
        resubmit: bool = False,
        retry_failed_jobs: bool = False,
    ) -> None:
        """
        Take in what is asked for.

        :param parameters: as the user gave them; a seed is drawn when the request is sent.
        :param timeout: seconds a job may take.
        :param resubmit: submit again although an earlier request may have been taken.
        :param retry_failed_jobs: an automatic retry may pay again after a failed job.
        """
        self._hook = hook
        self._parameters = parameters
        self._timeout = timeout
        self._wish = Wish(
            fingerprint=parameters.fingerprint(),
            origin=hook.access.origin,
            max_tries=self._max_tries,
            is_mapped=self._is_mapped,
            try_number=self._try_number,
            first_try=self._first_try,
            may_have_expired=self._may_have_expired,
            resubmit=resubmit,
            retry_failed_jobs=retry_failed_jobs,
            fields=parameters.field_digests(),
        )

    def job_or_handle(self, prepare: Callable[[], Callable[[], Mapping[str, str]]]) -> Job | JobHandle:
        """
        Return the job, submitted now, or the handle of the one that is recorded.

        :param prepare: called before anything is sent; returns what gives the links to send for inputs that the vendor
            cannot fetch, for each attempt.
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
        self._claim_late()
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
            has_claim = self._is_claimed or self.record is not None or latest is not None or self._records.has_claim()
        except Exception as exc:
            msg = f"The record of this task's submissions cannot be read ({type(exc).__name__}), so nothing is sent."
            raise RecordUnavailable(msg) from exc
        action = decide(self.record, latest, self._wish, has_claim=has_claim)
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
            # Whoever sent it may live on: it must not take its late result for what Airflow was told.
            self._persist(self._take_claim)
        failure = RecordUnavailable if action is Action.OTHER_HOST else SubmissionUncertain
        return failure(why_not(action, self.record, self._wish))

    def _take_claim(self) -> None:
        if self._records is not None:
            self._records.claim(self._claim)
            self._is_claimed = True

    def _claim_late(self) -> None:
        if self._records is None or self._is_claimed:
            return
        try:
            self._take_claim()
            # Read again after the claim: whoever sends after this read sees the claim first.
            is_alone = self._records.get(self._wish.fingerprint) == self.record
        except Exception as exc:
            msg = f"The start of this try cannot be recorded ({type(exc).__name__}), so nothing is sent."
            raise RecordUnavailable(msg) from exc
        if not is_alone:
            raise RecordUnavailable(_SUPERSEDED)

    def _send(self, links: Callable[[], Mapping[str, str]], *, is_in_doubt: bool) -> Job:
        parameters = self._parameters.with_seed(random.SystemRandom())
        self._hook.around_submission = lambda: self._sending(parameters.seed)
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

    @contextmanager
    def _sending(self, seed: int | None) -> Iterator[None]:
        """Record that the request may have been sent for just as long as that is so."""
        earlier = self.record
        self._begin(seed)
        try:
            yield
        except ImagePipelineError as error:
            if verdict(RequestKind.SUBMIT, error) is not Verdict.UNCERTAIN:
                self._restore(earlier)
            raise

    def _begin(self, seed: int | None) -> None:
        if self._records is None:
            return
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
            token=secrets.token_hex(8),
        )
        earlier = self.record
        try:
            # Preparing and waiting take time: what the decision was made on may be out of date.
            is_ours = self._records.holds(self._claim) and self._records.get(record.fingerprint) == earlier
            if is_ours:
                self.record = record
                self._records.begin(record)
                is_ours = self._records.holds(self._claim, record)
        except Exception as exc:
            if self.record is record:
                self._restore(earlier)
            msg = f"The intent to submit cannot be recorded ({type(exc).__name__}), so nothing is sent."
            raise RecordUnavailable(msg) from exc
        if not is_ours:
            raise RecordUnavailable(_SUPERSEDED)

    def _restore(self, earlier: SubmissionRecord | None) -> None:
        records, self.record = self._records, earlier

        def restore() -> None:
            # Whoever has taken over has read the record as it was, and may have written another.
            if records is not None and records.holds(self._claim):
                records.restore(self._wish.fingerprint, earlier)

        if (failure := self._persist(restore)) is not None:
            log.warning("The record of a request that was not taken could not be removed (%s).", failure)

    def _persist(self, write: Callable[[], None]) -> str | None:
        """Try a write that is worth money until it is done, for about a minute; return the name of the last error."""
        failures = 0
        while True:
            try:
                write()
            except Exception as exc:  # noqa: BLE001 - whatever it is, it may pass
                failures += 1
                if failures >= WRITE_ATTEMPTS:
                    return type(exc).__name__
                time.sleep(pause_before_resending(failures, None, random.Random()))
            else:
                return None

    def _submitted(self, job: Job) -> None:
        # A job without an id can never be looked at again: its record stays "submitting" until its images are safe.
        if self.record is None or job.handle.job_id is None:
            return
        deadline = (job.handle.submitted_at or time.time()) + self._timeout
        self.record = replace(self.record, phase=Phase.SUBMITTED, job_id=job.handle.job_id, deadline=deadline)
        self._keep(self.record)

    def _uncertain(self, error: ImagePipelineError) -> SubmissionUncertain:
        if self.record is not None:
            self._write(replace(self.record, phase=Phase.AMBIGUOUS))
        return SubmissionUncertain(uncertain_sentence(str(error), self.record))

    def _failed(self, error: ImagePipelineError) -> Exception:
        failure = submission_failure(error)
        return self._uncertain(error) if isinstance(failure, SubmissionUncertain) else failure

    def _failed_later(self, error: ImagePipelineError) -> Exception:
        # "resubmit" alone comes here: this request was not taken, but one before it may have been. The record stays.
        failure = submission_failure(error)
        if isinstance(failure, SubmissionUncertain):
            return self._uncertain(error)
        failure.args = (in_doubt_sentence(str(error), self.record),)
        return failure

    def _keep(self, record: SubmissionRecord) -> None:
        records = self._records
        if records is not None and (failure := self._persist(lambda: records.put(record))) is not None:
            where = f"Job {record.job_id} is {record.phase}"
            log.warning("%s, but its record cannot be written (%s).", where, failure)

    def _write(self, record: SubmissionRecord) -> None:
        self.record = record
        if self._records is not None:
            self._records.keep(record)


def _is_old(context: Mapping[str, Any]) -> bool:
    # Airflow sets the start of a run anew when a human clears it: no try of this decision can have begun before.
    started = getattr(context["dag_run"], "start_date", None) if "dag_run" in context else None
    return started is None or time.time() - started.timestamp() > SHORTEST_RETENTION


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
