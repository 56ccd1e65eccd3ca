"""One entry of a batch's ledger: what is known of one piece of work at one moment. The newest of a key counts."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from typing import Any, Final, Self, TypeGuard

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
    """Rejected or failed, and to be submitted once more in the same run."""
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
    :param failed: how many of them failed at the vendor and were followed by another one in the same plan.
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
    failed: int = 0
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

    @property
    def last_end(self) -> RowPhase:
        """The phase, or how the last job ended of work that is to be submitted again."""
        if self.phase is not RowPhase.AGAIN:
            return self.phase
        return RowPhase.REJECTED if self.images else RowPhase.FAILED

    def answers(self, newest: Mapping[str, Any] | None) -> bool:
        """Tell whether this is about the very request of which the newest entry of the work knows no answer."""
        known = newest or {}
        request = (RowPhase.SUBMITTING.value, self.submitted_at, self.seed)
        return (known.get("phase"), known.get("submitted_at"), known.get("seed")) == request

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
        known = {name: value for name, value in values.items() if name in _VALID}
        wrong = [name for name, value in known.items() if not _VALID[name](value)]
        try:
            return cls(**{**known, "phase": RowPhase("" if wrong else known["phase"])})
        except (TypeError, KeyError, ValueError) as exc:
            # A value may be a number that is too long to be shown.
            msg = f"not an entry of a ledger ({'its ' + ', '.join(wrong) if wrong else cleaned(exc, 80)})"
            raise ValueError(msg) from exc


def _is_text(value: object) -> bool:
    # Half a surrogate, which JSON can hold, is no text for a database or a file name.
    return isinstance(value, str) and (value.isascii() or _SURROGATE.search(value) is None)


def is_count(value: object) -> TypeGuard[int]:
    """Tell whether a value is a whole number from 0 on that a database can hold; a boolean is none."""
    return type(value) is int and 0 <= value < _LONG


def is_number(value: object) -> TypeGuard[float]:
    """Tell whether a value is a number that a float can hold; a boolean is none."""
    # Compared, not converted: float() raises OverflowError for a very long int, and NaN is below nothing.
    return type(value) in {int, float} and abs(value) <= sys.float_info.max  # type: ignore[arg-type]


def _is_named(value: object, is_valid: Callable[[Any], bool]) -> bool:
    return isinstance(value, dict) and all(isinstance(name, str) and is_valid(value[name]) for name in value)


def _is_image(value: object) -> bool:
    return isinstance(value, dict) and _is_text(value.get("uri")) and is_count(value.get("bytes", 0))


def _is_spent(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(is_number, value)) and value[0] >= 0  # noqa: PLR2004


_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_LONG: Final = 1 << 63
_OF_TYPE: Final[Mapping[str, Callable[[Any], bool]]] = {
    "str": _is_text,
    "RowPhase": lambda value: isinstance(value, str),
    "int": is_count,
    "int | None": lambda value: value is None or (type(value) is int and abs(value) < _LONG),
    "str | None": lambda value: value is None or _is_text(value),
    "float | None": lambda value: value is None or is_number(value),
    "bool | None": lambda value: value is None or isinstance(value, bool),
    "Sequence[Mapping[str, Any]]": lambda value: isinstance(value, list | tuple) and all(map(_is_image, value)),
    "Mapping[str, str]": lambda value: _is_named(value, _is_text),
    "Mapping[str, Any]": lambda value: _is_named(value, lambda _: True),
    "Mapping[str, float | bool]": lambda value: _is_named(value, lambda one: isinstance(one, bool) or is_number(one)),
    "Mapping[str, Sequence[float]]": lambda value: _is_named(value, _is_spent),
}
_VALID: Final[Mapping[str, Callable[[Any], bool]]] = {
    **{one.name: _OF_TYPE[str(one.type)] for one in fields(LedgerEntry)},
    # It is shown and nothing else: version 0.1.0 took any text for it.
    "reason": lambda value: isinstance(value, str),
}
"""What a field may hold; an entry is read back from where others can write."""
_DEFAULTS: Final[Mapping[str, Any]] = {
    one.name: {} if one.default is MISSING else one.default
    for one in fields(LedgerEntry)
    if one.default is not MISSING or one.default_factory is not MISSING
}
