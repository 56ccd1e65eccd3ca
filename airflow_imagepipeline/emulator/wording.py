"""How the current generation words its answers: the life of a job, for every endpoint alike."""

from __future__ import annotations

import functools
import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from .encoding import FORMATS
from .failures import Failure, kind_of
from .generation import Generation, JobView

if TYPE_CHECKING:
    from collections.abc import Callable

    from .order import EditOrder

_STARTS_AT = 0.25
_PHASES = ((0.1, "queued"), (_STARTS_AT, "pending"), (float("inf"), "processing"))
_UNKNOWN_YET = dict.fromkeys(
    (
        "job_id", "status", "endpoint", "progress", "queue_position", "result_url", "result_mime_type",
        "queued_at", "started_at", "completed_at", "queue_wait_seconds", "inference_time_seconds",
        "total_elapsed_seconds", "processing_time_seconds", "error", "failure_reason_code", "retryable", "warnings",
        "prompt_hash", "credits_charged", "credits_amount", "charged_at", "cost_usd", "balance_remaining_usd",
    )
)  # fmt: skip


def current_endpoint(
    path: str,
    read_order: Callable[[bytes], EditOrder],
    *,
    link_names: Callable[[EditOrder], tuple[str, ...]] | None = None,
) -> Generation:
    """Return an endpoint of the current generation.

    :param path: that jobs are posted to.
    :param read_order: turns a request body into an order.
    :param link_names: the members of a finished job that link to its files, in their order; ``result_url`` alone when
        None.
    :return: the endpoint.
    """
    return Generation(
        path=path,
        key_header="X-API-Key",
        accepted_status=200,
        image_field="input_image",
        read_order=read_order,
        describe_accepted=functools.partial(_describe_accepted, path),
        describe=functools.partial(_describe, path, link_names or (lambda _: ("result_url",))),
        has_newer_errors=True,
        refunds_failures=True,
    )


def _describe_accepted(path: str, job: JobView) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "status": "queued",
        "endpoint": path.lstrip("/"),
        "estimated_time_seconds": max(1, round(job.seconds)),
        "queued_at": job.queued_at.isoformat(),
    }


def _describe(path: str, link_names: Callable[[EditOrder], tuple[str, ...]], job: JobView) -> dict[str, Any]:
    known = {
        "job_id": job.job_id,
        "endpoint": path.lstrip("/"),
        "queued_at": job.queued_at.isoformat(),
        "warnings": list(job.order.warnings),
        "prompt_hash": hashlib.sha256(job.order.prompt.encode()).hexdigest(),
    }
    if job.failure is not None:
        return {**_UNKNOWN_YET, **known, **_times(job), **_failed(job.failure)}
    if job.links:
        return {
            **_UNKNOWN_YET,
            **known,
            **_times(job),
            **_completed(job),
            **dict(zip(link_names(job.order), job.links, strict=True)),
        }
    return {**_UNKNOWN_YET, **known, **_running(job)}


def _running(job: JobView) -> dict[str, Any]:
    part = min(1.0, job.age / job.seconds) if job.seconds else 1.0
    status = next(status for end, status in _PHASES if part < end)
    if status != "processing":
        return {"status": status, "progress": 0, "queue_position": 2 if status == "queued" else 1}
    started_at = job.queued_at + timedelta(seconds=_STARTS_AT * job.seconds)
    return {
        "status": status,
        "progress": min(99, round(100 * (part - _STARTS_AT) / (1 - _STARTS_AT))),
        "started_at": started_at.isoformat(),
    }


def _times(job: JobView) -> dict[str, Any]:
    waited = _STARTS_AT * job.seconds
    return {
        "started_at": (job.queued_at + timedelta(seconds=waited)).isoformat(),
        "completed_at": (job.queued_at + timedelta(seconds=job.age)).isoformat(),
        "queue_wait_seconds": round(waited, 3),
        "inference_time_seconds": round(job.age - waited, 3),
        "processing_time_seconds": round(job.age - waited, 3),
        "total_elapsed_seconds": round(job.age, 3),
    }


def _completed(job: JobView) -> dict[str, Any]:
    return {
        "status": "completed",
        "progress": 100,
        "result_mime_type": FORMATS[job.order.output_format].media_type,
        "credits_charged": True,
        "credits_amount": 1,
        "charged_at": (job.queued_at + timedelta(seconds=job.age)).isoformat(),
        "cost_usd": job.price_usd,
        "balance_remaining_usd": job.balance_usd,
    }


def _failed(failure: Failure) -> dict[str, Any]:
    return {
        "status": "cancelled" if failure.code == "CANCELLED" else "failed",
        "error": failure.sentence,
        "failure_reason_code": failure.code,
        "retryable": kind_of(failure.code).is_retryable,
        "credits_charged": False,
        "credits_amount": 0,
        "cost_usd": 0.0,
    }
