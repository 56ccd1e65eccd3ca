"""Where submission records live: Airflow's task state store, one JSON value for each request of a task instance."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from airflow_imagepipeline.compat import TaskStateStore, task_state_store
from airflow_imagepipeline.contract.job import JobHandle
from airflow_imagepipeline.policy.submission import Phase, SubmissionRecord

log: Final = logging.getLogger(__name__)

_PREFIX: Final = "imagepipeline:"
_LATEST: Final = _PREFIX + "latest"
_TAKEN_UP: Final = _PREFIX + "taken-up"
_SHORTEST_RETENTION: Final = 7 * 86400.0


class TaskStateRecords:
    """
    The records of one task instance.

    :param store: Airflow's store; a value is committed when ``set`` returns, and survives retries and clears.
    :param timeout: seconds a job may take; records live four times as long, a week at least.
    """

    def __init__(self, store: TaskStateStore, timeout: float) -> None:
        self._store = store
        self._retention = timedelta(seconds=max(_SHORTEST_RETENTION, 4 * timeout))

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
        """Write the record of a request that is about to leave, and remember it as the newest."""
        self.put(record)
        self._store.set(_LATEST, _key(record.fingerprint), retention=self._retention)

    def take_up(self, record: SubmissionRecord) -> None:
        """Remember a record that is not the newest: a mapped task's index may stand for an earlier item again."""
        try:
            self._store.set(_TAKEN_UP, _key(record.fingerprint), retention=self._retention)
        except Exception as exc:  # noqa: BLE001 - as in keep
            log.warning("That job %s is taken up cannot be written (%s).", record.job_id, type(exc).__name__)

    def put(self, record: SubmissionRecord) -> None:
        """Write a record whole: it is one value, so a crash leaves the old one or the new one."""
        self._store.set(_key(record.fingerprint), record.to_payload(), retention=self._retention)

    def keep(self, record: SubmissionRecord) -> None:
        """Write the record of a job that exists: a store that cannot be reached costs a warning, never the job."""
        try:
            self.put(record)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the job must not be lost with its record
            where = f"Job {record.job_id} is {record.phase}"
            log.warning("%s, but its record cannot be written (%s).", where, type(exc).__name__)

    def remove(self, record: SubmissionRecord) -> None:
        """Forget a request that was certainly not taken."""
        self._store.delete(_key(record.fingerprint))

    def _pointed_to(self, pointer: str) -> SubmissionRecord | None:
        key = self._store.get(pointer)
        return self._read(key) if isinstance(key, str) else None

    def _read(self, key: str) -> SubmissionRecord | None:
        value = self._store.get(key)
        return None if value is None else SubmissionRecord.from_payload(value)


def records_of(context: Mapping[str, Any], timeout: float) -> TaskStateRecords | None:
    """Return the records of a task instance, or None where Airflow has no store for them."""
    store = task_state_store(context)
    return None if store is None else TaskStateRecords(store, timeout)


def record_of(context: Mapping[str, Any], handle: JobHandle) -> SubmissionRecord | None:
    """Return the record of a job that this task instance submitted or took up, or None; a store may be out of reach."""
    # How long a record is to live matters to who writes one.
    records = records_of(context, 0.0)
    try:
        return None if records is None else records.of_job(handle)
    except Exception as exc:  # noqa: BLE001 - as in keep
        log.warning("The record of job %s cannot be read (%s).", handle.job_id, type(exc).__name__)
        return None


def mark(context: Mapping[str, Any], handle: JobHandle, phase: Phase, timeout: float) -> None:
    """Record what became of a job; a store that cannot be reached costs a warning, never the result."""
    records, record = records_of(context, timeout), record_of(context, handle)
    if records is not None and record is not None:
        # How a job ended belongs to the decision of the try that saw it, even if an earlier decision submitted it.
        records.keep(replace(record, phase=phase, job_id=handle.job_id, max_tries=context["ti"].max_tries))


def _key(fingerprint: str) -> str:
    return _PREFIX + fingerprint[:12]


def _is_of(handle: JobHandle, record: SubmissionRecord) -> bool:
    # The job's id may not have reached the store: then the seed tells that this is its submission.
    is_unanswered = record.phase is Phase.SUBMITTING and record.job_id is None
    return record.job_id == handle.job_id or (is_unanswered and record.seed == handle.seed)
