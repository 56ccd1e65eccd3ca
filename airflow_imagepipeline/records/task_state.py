"""Where submission records live: Airflow's task state store, one JSON value for each request of a task instance."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from airflow_imagepipeline.compat import TaskStateStore, longest_retention, task_state_store
from airflow_imagepipeline.contract.job import JobHandle
from airflow_imagepipeline.policy.submission import Phase, SubmissionRecord

log: Final = logging.getLogger(__name__)

_PREFIX: Final = "imagepipeline:"
_LATEST: Final = _PREFIX + "latest"
_TAKEN_UP: Final = _PREFIX + "taken-up"
_CLAIM: Final = _PREFIX + "claim"
_DELIVERED: Final = frozenset({Phase.HANDED_OVER, Phase.STORED})


class TaskStateRecords:
    """
    The records of one task instance. They live as long as its DAG run: no retry, however late, may miss them.

    :param store: Airflow's store; a value is committed when ``set`` returns, and survives retries and clears.
    """

    def __init__(self, store: TaskStateStore) -> None:
        self._store = store
        self._newest = ""

    def claim(self, claim: str) -> None:
        """Take the right to submit from whichever try has it."""
        self._set(_CLAIM, claim)

    def holds(self, claim: str, record: SubmissionRecord | None = None) -> bool:
        """Tell whether no other try has claimed the right to submit since, nor has written over this record."""
        is_written = record is None or self.get(record.fingerprint) == record
        return is_written and bool(self._store.get(_CLAIM) == claim)

    def is_superseded(self, try_number: int) -> bool:
        """Tell whether a later try has claimed the right to submit, or has told a human that it cannot know."""
        claimed = str(self._store.get(_CLAIM) or "").partition(":")[0]
        return claimed.isdecimal() and int(claimed) > try_number

    def has_claim(self) -> bool:
        """Tell whether any try has claimed the right to submit."""
        return self._store.get(_CLAIM) is not None

    def get(self, fingerprint: str) -> SubmissionRecord | None:
        """Return the record of a request, or None."""
        return self._read(_key(fingerprint))

    def latest(self) -> SubmissionRecord | None:
        """Return the newest record of the task instance, or None."""
        return self._pointed_to(_LATEST)

    def of_job(self, handle: JobHandle) -> SubmissionRecord | None:
        """Return the record of the job that this try submitted or took up, or None."""
        records = (self._pointed_to(pointer) for pointer in (_LATEST, _TAKEN_UP))
        return next((record for record in records if record is not None and _is_of(handle, record)), None)

    def begin(self, record: SubmissionRecord) -> None:
        """Remember a request as the newest, then write its record: from here on it may have been sent."""
        key = _key(record.fingerprint)
        if self._newest != key:
            self._set(_LATEST, key)
            self._newest = key
        self.put(record)

    def take_up(self, record: SubmissionRecord) -> None:
        """Remember a record that is not the newest: a mapped task's index may stand for an earlier item again."""
        try:
            self._set(_TAKEN_UP, _key(record.fingerprint))
        except Exception as exc:  # noqa: BLE001 - as in keep
            log.warning("That job %s is taken up cannot be written (%s).", record.job_id, type(exc).__name__)

    def put(self, record: SubmissionRecord) -> None:
        """Write a record whole: it is one value, so a crash leaves the old one or the new one."""
        self._set(_key(record.fingerprint), record.to_payload())

    def keep(self, record: SubmissionRecord) -> None:
        """Write the record of a job that exists: a store that cannot be reached costs a warning, never the job."""
        try:
            self.put(record)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the job must not be lost with its record
            where = f"Job {record.job_id} is {record.phase}"
            log.warning("%s, but its record cannot be written (%s).", where, type(exc).__name__)

    def restore(self, fingerprint: str, earlier: SubmissionRecord | None) -> None:
        """Forget a request that was certainly not taken: what was recorded before it holds again."""
        if earlier is None:
            self._store.delete(_key(fingerprint))
        else:
            self.put(earlier)

    def _set(self, key: str, value: Any) -> None:
        self._store.set(key, value, retention=longest_retention())

    def _pointed_to(self, pointer: str) -> SubmissionRecord | None:
        key = self._store.get(pointer)
        return self._read(key) if isinstance(key, str) else None

    def _read(self, key: str) -> SubmissionRecord | None:
        value = self._store.get(key)
        return None if value is None else SubmissionRecord.from_payload(value)


def records_of(context: Mapping[str, Any]) -> TaskStateRecords | None:
    """Return the records of a task instance, or None where Airflow has no store for them."""
    store = task_state_store(context)
    return None if store is None else TaskStateRecords(store)


def record_of(context: Mapping[str, Any], handle: JobHandle) -> SubmissionRecord | None:
    """Return the record of a job that this task instance submitted or took up, or None; a store may be out of reach."""
    records = records_of(context)
    try:
        return None if records is None else records.of_job(handle)
    except Exception as exc:  # noqa: BLE001 - as in keep
        log.warning("The record of job %s cannot be read (%s).", handle.job_id, type(exc).__name__)
        return None


def mark(context: Mapping[str, Any], handle: JobHandle, phase: Phase) -> None:
    """
    Record what became of a job; a store that cannot be reached costs a warning, never the result.

    The result of a try that was superseded reaches nobody: its job stays one that the next try re-attaches to.
    """
    records, record = records_of(context), record_of(context, handle)
    if records is not None and record is not None:
        # How a job ended belongs to the decision of the try that saw it, even if an earlier decision submitted it.
        ti = context["ti"]
        phase = Phase.SUBMITTED if phase in _DELIVERED and _is_superseded(records, ti.try_number) else phase
        records.keep(replace(record, phase=phase, job_id=handle.job_id, max_tries=ti.max_tries))


def _is_superseded(records: TaskStateRecords, try_number: int) -> bool:
    try:
        return records.is_superseded(try_number)
    except Exception:  # noqa: BLE001 - as in keep
        return False


def _key(fingerprint: str) -> str:
    return _PREFIX + fingerprint[:12]


def _is_of(handle: JobHandle, record: SubmissionRecord) -> bool:
    # The job's id may not have reached the store: then the seed tells that this is its submission.
    is_unanswered = record.phase is Phase.SUBMITTING and record.job_id is None
    return record.job_id == handle.job_id or (is_unanswered and record.seed == handle.seed)
