"""What a user asks of a batch besides its rows, as values that were checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_imagepipeline.contract.errors import InvalidParameters


@dataclass(frozen=True)
class BatchOptions:
    """
    How a batch is run.

    :param max_in_flight: jobs that may be running at once, 1 or more.
    :param submit_concurrency: submissions that may be under way at once; as many may be uncertain after a crash.
    :param landing_concurrency: jobs whose images are landed at once.
    :param max_jobs: jobs that one DAG run pays for at most, retries and clears included; None for no bound.
    :param max_cost: what they may cost, in the currency of ``price_per_job``; None for no bound.
    :param price_per_job: what a job is taken to cost until the vendor says.
    :param poll_interval: seconds, see :class:`LookSchedule`.
    :param job_timeout: seconds from its submission in which a job must be done.
    :param defer_after: seconds; with nothing to do for longer than this, the worker is given up. None never does.
    :param overwrite: whether an existing file of another content may be replaced.
    :param redo_failed: how often a job that the vendor calls worth another try, and has not charged, is submitted again
        inside the budget.
    :param redo_rejected: how often a rejected row is submitted again, with another seed and inside the budget.
    :param link_identity: what of a link names its image, see :func:`link_identity`.
    """

    max_in_flight: int = 50
    submit_concurrency: int = 8
    landing_concurrency: int = 8
    max_jobs: int | None = None
    max_cost: float | None = None
    price_per_job: float | None = None
    poll_interval: float = 5.0
    job_timeout: float = 3600.0
    defer_after: float | None = None
    overwrite: bool = False
    redo_failed: int = 1
    redo_rejected: int = 0
    link_identity: str | tuple[str, ...] | None = None

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> BatchOptions:
        """
        Return the options.

        :raises InvalidParameters: naming what is wrong, and its range.
        """
        counts = ("max_in_flight", "submit_concurrency", "landing_concurrency")
        seconds = ("poll_interval", "job_timeout")
        for name in counts:
            _check(name, values[name], is_right=_is_count(values[name], 1), what="a whole number of 1 or more")
        for name in seconds:
            _check(name, values[name], is_right=_is_number(values[name]) and values[name] > 0, what="seconds above 0")
        for name in ("max_cost", "price_per_job", "defer_after"):
            value = values[name]
            _check(name, value, is_right=value is None or (_is_number(value) and value >= 0), what="a number from 0")
        for name in ("max_jobs", "redo_failed", "redo_rejected"):
            value = values[name]
            is_right = _is_count(value, 0) or (value is None and name == "max_jobs")
            _check(name, value, is_right=is_right, what="a whole number from 0")
        if values["max_cost"] is not None and values["price_per_job"] is None:
            msg = "max_cost: give price_per_job, too: what a job costs is not known before it is done"
            raise InvalidParameters(msg)
        return cls(**values)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _check(name: str, value: object, *, is_right: bool, what: str) -> None:
    if not is_right:
        msg = f"{name}: {value!r} is not {what}"
        raise InvalidParameters(msg)
