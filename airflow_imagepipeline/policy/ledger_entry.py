"""One entry of a batch's ledger: what is known of one piece of work at one moment. The newest of a key counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from typing import Any, Final, Self

from airflow_imagepipeline.contract.api import Api
from airflow_imagepipeline.contract.job import JobHandle
from airflow_imagepipeline.contract.text import cleaned


class RowPhase(StrEnum):
    """How far the work has come."""

    SUBMITTING = "submitting"
    """The request is about to leave, or has left; no answer is recorded."""
    SUBMITTED = "submitted"
    """The job has an id; its images are not landed (yet)."""
    WITHDRAWN = "withdrawn"
    """The request was certainly not taken."""
    REFUSED = "refused"
    """The API refused the request, and will refuse it again."""
    LANDED = "landed"
    FILTERED = "filtered"
    REJECTED = "rejected"
    AGAIN = "again"
    """Rejected, and to be submitted once more in the same run, with another seed."""
    FAILED = "failed"
    LOST = "lost"
    """The API does not know the job, or will not speak of it."""


NOT_CHARGED: Final = frozenset({RowPhase.WITHDRAWN, RowPhase.REFUSED})
"""Ends of a submission that was never accepted."""
_UNDER_WAY: Final = frozenset({RowPhase.SUBMITTING, RowPhase.SUBMITTED})


@dataclass(frozen=True)
class LedgerEntry:
    """
    What is known of one piece of work: JSON values, without key, links or prompt.

    :param key: names the work, see :class:`PlannedRow`.
    :param number: counts the entries of a plan, from 1.
    :param index: of the row, in the plan that wrote this.
    :param plan: name of the plan that wrote this.
    :param run: names the DAG run's task that wrote this, whatever the try.
    :param attempts: submissions of this run that were, or may have been, accepted.
    :param submitted_at: seconds since the epoch, as ``finished_at`` and ``landed_at``.
    :param images: payloads of :class:`LandedImage`.
    :param retryable: whether the vendor says that the same request may succeed; None when that is not known.
    :param checks: what the checks found.
    :param replaces: stem of the files that this very work has landed before, whose place its images may take; empty
        when there are none.
    :param owner: names the input whose picture the images are, see :class:`PlannedRow`; version 0.1.0 wrote none.
    :param query: what the queries of its links were, see :class:`PlannedRow`.
    :param spent: run to jobs and their price: what was paid for this work before the plan that wrote this was made.
    """

    key: str
    number: int
    index: int
    plan: str
    run: str
    phase: RowPhase
    attempts: int = 0
    seed: int | None = None
    job_id: str | None = None
    submitted_at: float | None = None
    finished_at: float | None = None
    landed_at: float | None = None
    images: Sequence[Mapping[str, Any]] = ()
    cost: Mapping[str, float | bool] = field(default_factory=dict)
    reason: str = ""
    reason_code: str = ""
    retryable: bool | None = None
    checks: Mapping[str, Any] = field(default_factory=dict)
    replaces: str = ""
    spent: Mapping[str, Sequence[float]] = field(default_factory=dict)
    owner: str = ""
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_under_way(self) -> bool:
        """Tell whether the work may still bring an image."""
        return self.phase in _UNDER_WAY

    def handle(self, api: Api) -> JobHandle:
        """
        Return the handle of its job.

        :raises ValueError: when it has none.
        """
        named = {"job_id": self.job_id, "seed": self.seed, "submitted_at": self.submitted_at}
        return JobHandle.from_payload(named, api.name)

    def to_payload(self) -> dict[str, Any]:
        """Return the entry as JSON values; what was left at its default is left out."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        # Not by truth: a seed of 0 and a useless retry (False) say something.
        kept = {name: value for name, value in values.items() if name not in _DEFAULTS or value != _DEFAULTS[name]}
        return {**kept, "phase": self.phase.value}

    @classmethod
    def from_payload(cls, payload: object) -> Self:
        """
        Read an entry.

        :raises ValueError: when it is none.
        """
        values = payload if isinstance(payload, Mapping) else {}
        try:
            known = {one.name: values[one.name] for one in fields(cls) if one.name in values}
            return cls(**{**known, "phase": RowPhase(known["phase"])})
        except (TypeError, KeyError, ValueError) as exc:
            msg = f"not an entry of a ledger: {cleaned(repr(payload), 80)}"
            raise ValueError(msg) from exc


_DEFAULTS: Final[Mapping[str, Any]] = {
    one.name: {} if one.default is MISSING else one.default
    for one in fields(LedgerEntry)
    if one.default is not MISSING or one.default_factory is not MISSING
}
