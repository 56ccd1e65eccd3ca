"""A job and the handle that finds it again in another process."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self, TypeGuard

from airflow_imagepipeline.contract.api import SDXL_IMAGE_TO_IMAGE, Api, JobStatus, api_named, checked_job_id
from airflow_imagepipeline.contract.errors import Malformed

_log: Final = logging.getLogger(__name__)

COST_UNUSABLE: Final = "cost_unusable"
"""Stands in what is kept of an answer's words on money, where :attr:`Job.has_odd_price` is true."""
_COST_FIELDS: Final = ("cost_usd", "credits_charged", "credits_amount", "balance_remaining_usd", COST_UNUSABLE)
_MOST_MONEY: Final = 1_000_000.0
"""Dollars or credits that one job can cost at most; what is more is no price."""
_DAY: Final = 86_400.0


@dataclass(frozen=True)
class JobHandle:
    """
    What finds a job again: the API it was posted to and its id.

    :param api: the endpoint that took the job.
    :param job_id: the vendor's id; None only for a job that was finished in the submit answer without an id.
    :param submitted_at: seconds since the epoch; None when the job was started elsewhere.
    :param seed: what makes the picture again; None when it is not known.
    """

    api: Api
    job_id: str | None
    submitted_at: float | None = None
    seed: int | None = None

    def to_payload(self) -> dict[str, Any]:
        """Return the handle as JSON values, free of key and links."""
        return {
            "v": 1,
            "api": self.api.name,
            "job_id": self.job_id,
            "seed": self.seed,
            "submitted_at": self.submitted_at,
        }

    @classmethod
    def from_payload(cls, payload: object, api: str = SDXL_IMAGE_TO_IMAGE.name) -> Self:
        """
        Read a handle from a job id or from anything that names one: a handle's payload or an operator's result.

        :param payload: an id, or a mapping with ``job_id`` and ``api``.
        :param api: the API that is meant where the payload does not name one.
        :raises ValueError: when it names no job.
        """
        named = payload if isinstance(payload, Mapping) else {"job_id": payload}
        job_id, seed, submitted_at = (named.get(name) for name in ("job_id", "seed", "submitted_at"))
        if job_id is None or job_id == "":
            msg = f"names no job: {ascii(payload)[:80]}; give a job id, or what an ImagePipeline operator returned"
            raise ValueError(msg)
        if isinstance(payload, str) and payload.lstrip().startswith(("{", "[")):
            msg = f"not a job id: {ascii(payload)[:80]}; a template made text of it: hand over the task's output itself"
            raise ValueError(msg)
        try:
            return cls(
                api_named(named.get("api", api)),
                checked_job_id(job_id),
                float(submitted_at) if _is_number(submitted_at) else None,
                int(seed) if _is_number(seed) else None,
            )
        except Malformed as exc:
            raise ValueError(str(exc)) from exc


def amount_of(value: object) -> float | None:
    """Return a number from outside that steers money: from 0 to a million, and no boolean; None when it is none."""
    return value if _is_number(value) and 0 <= value <= _MOST_MONEY else None


def cost_in(payload: Mapping[str, Any]) -> dict[str, float | bool]:
    """Return what an answer, or a payload of ours, says of money, by the vendor's names, if it can be meant."""
    return {name: payload[name] for name in _COST_FIELDS if _is_of_money(name, payload.get(name))}


def has_odd_price(payload: Mapping[str, Any]) -> bool:
    """Tell whether an answer names a price that can be none: below 0, a text, 1e308."""
    return payload.get("cost_usd") is not None and amount_of(payload["cost_usd"]) is None


def _is_of_money(name: str, value: object) -> bool:
    if name == "balance_remaining_usd":
        return _is_number(value)
    return isinstance(value, bool) if name in {"credits_charged", COST_UNUSABLE} else amount_of(value) is not None


def estimate_in(payload: Mapping[str, Any]) -> float | None:
    """Return the seconds that an answer says the job takes; None when it says nothing that can be meant."""
    seconds = payload.get("estimated_time_seconds")
    return float(seconds) if _is_number(seconds) and 0 < seconds < _DAY else None


def _is_number(value: object) -> TypeGuard[int | float]:
    # Compared, not converted: float() and math.isfinite raise OverflowError for a very long int.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


@dataclass(frozen=True)
class Job:
    """
    A job as the API described it at one moment.

    :param download_urls: links to the images, one per sample, in order; kept out of ``repr``.
    :param error: the vendor's reason for a failure, cleaned; empty when none was given.
    :param status_word: the vendor's own word where it is not one that is known; else empty.
    :param reason_code: the vendor's code for a failure; empty when none was given.
    :param retryable: whether the vendor says that the same request may succeed; None when that is not known.
    :param cost: what the answer says of money, by the vendor's names (``cost_usd``, ``credits_amount``, ...).
    :param has_odd_price: whether the answer names a price that can be none, which ``cost`` lacks.
    :param retry_after: seconds in which the API asked not to be looked at again; 0 when it did not ask.
    :param estimated_seconds: how long the vendor says that the job takes in all; None when it does not say.
    """

    handle: JobHandle
    status: JobStatus
    download_urls: tuple[str, ...] = field(default=(), repr=False)
    error: str = ""
    status_word: str = ""
    reason_code: str = ""
    retryable: bool | None = None
    cost: Mapping[str, float | bool] = field(default_factory=dict)
    has_odd_price: bool = False
    retry_after: float = 0.0
    estimated_seconds: float | None = None

    @property
    def kept_cost(self) -> dict[str, float | bool]:
        """What is kept of the cost where money is counted by it."""
        return {**self.cost, **({COST_UNUSABLE: True} if self.has_odd_price else {})}

    def first(self, asked_for: int | None) -> Job:
        """
        Return the job with as many links as images were asked for: what an answer holds beyond them was not.

        :param asked_for: None or 0 when that is not known.
        """
        count = len(self.download_urls)
        if not asked_for or count <= asked_for:
            return self
        _log.warning("Job %s gave %d links for %d images: the first are taken.", self.handle.job_id, count, asked_for)
        return replace(self, download_urls=self.download_urls[:asked_for])
