"""What the arguments of a batch operator must be: checked when it runs, since they may be templates before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from airflow_imagepipeline.batch.options import BatchOptions
from airflow_imagepipeline.contract.errors import InvalidParameters

if TYPE_CHECKING:
    from airflow_imagepipeline.operators.batch import ImagePipelineBatchOperator

_PAIR: Final = 2
_TO_END: Final = 120.0
"""Seconds that a batch is given to end by itself before Airflow ends it."""


def checked_options(task: ImagePipelineBatchOperator, *, may_defer: bool) -> BatchOptions:
    """
    Return how the batch is run.

    :param may_defer: whether the worker may be given up, if the task asks for it.
    :raises InvalidParameters: naming the argument.
    """
    _check_words(task)
    return BatchOptions.checked(
        {
            "max_in_flight": task.max_in_flight,
            "submit_concurrency": task.submit_concurrency,
            "landing_concurrency": BatchOptions.landing_concurrency,
            "max_jobs": task.max_jobs,
            "max_cost": task.max_cost,
            "price_per_job": task.price_per_job,
            "poll_interval": task.poll_interval,
            "job_timeout": task.job_timeout,
            "defer_after": task.defer_after if task.deferrable and may_defer else None,
            "overwrite": task.overwrite,
            "redo_failed": task.redo_failed,
            "redo_rejected": task.redo_rejected,
        }
    )


def _check_words(task: ImagePipelineBatchOperator) -> None:
    choices = {"reuse": ("same_request", "never"), "on_invalid_row": ("fail", "skip")}
    for name, words in choices.items():
        if (value := getattr(task, name)) not in words:
            msg = f"{name}: {value!r} is neither {words[0]!r} nor {words[1]!r}"
            raise InvalidParameters(msg)
    ratio = task.min_success_ratio
    if not isinstance(ratio, int | float) or not 0 <= ratio <= 1:
        msg = f"min_success_ratio: {ratio!r} is not a number from 0 to 1"
        raise InvalidParameters(msg)
    if not isinstance(task.request, Mapping):
        msg = f"request: it is of type {type(task.request).__name__}, not a dict of fields"
        raise InvalidParameters(msg)
    unknown = sorted(set(task.request) - set(task.parameters_class.model_fields))
    if unknown:
        msg = f"request: {', '.join(unknown)} is no field of {task.parameters_class.api.name}; see extra_parameters"
        raise InvalidParameters(msg)


def seconds_allowed(task: ImagePipelineBatchOperator) -> float:
    """
    Return the seconds from the start of a try in which the whole batch must be done.

    :raises InvalidParameters: naming the argument.
    """
    # Airflow does not count the time in the triggerer against execution_timeout: the deadline does. It comes first, so
    # that the batch ends by itself and not with submissions that are cut off.
    seconds = task.timeout
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not seconds > 0:
        msg = f"timeout: {seconds!r} is not seconds above 0"
        raise InvalidParameters(msg)
    if task.execution_timeout is None:
        return seconds
    limit = task.execution_timeout.total_seconds()
    return min(seconds, limit - min(max(_TO_END, limit / 20), limit / 2))


def checked_shard(value: Any) -> tuple[int, int] | None:
    """
    Return the part ``i`` of ``n`` to take; None takes all.

    :raises InvalidParameters: naming the argument.
    """
    if value is None:
        return None
    if isinstance(value, list | tuple) and len(value) == _PAIR and all(type(number) is int for number in value):
        first, count = value
        if 0 <= first < count:
            return first, count
    msg = f"shard: {value!r} is not [i, n] with 0 <= i < n"
    raise InvalidParameters(msg)
