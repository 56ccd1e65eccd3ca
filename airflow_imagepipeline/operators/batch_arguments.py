"""
What the arguments of a batch operator must be: checked when the DAG is parsed, but for those that hold a template, and
again when the task runs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow_imagepipeline.batch.options import BatchOptions
from airflow_imagepipeline.contract.acceptance import Acceptance
from airflow_imagepipeline.contract.errors import InvalidParameters
from airflow_imagepipeline.contract.job_parameters import is_unset
from airflow_imagepipeline.contract.links import checked_identity

if TYPE_CHECKING:
    from airflow_imagepipeline.operators.batch import ImagePipelineBatchOperator

_PAIR: Final = 2
_TO_END: Final = 120.0
"""Seconds that a batch is given to end by itself before Airflow ends it."""
_LONGEST: Final = timedelta(days=3650).total_seconds()
_CHOICES: Final[Mapping[str, tuple[str, str]]] = {
    "reuse": ("same_request", "never"),
    "on_invalid_row": ("fail", "skip"),
    "on_empty": ("fail", "succeed"),
}
_OPTIONS: Final = (
    *("max_in_flight", "submit_concurrency", "max_jobs", "max_cost", "price_per_job", "poll_interval", "job_timeout"),
    *("defer_after", "overwrite", "redo_failed", "redo_rejected", "link_identity"),
)
_FLAGS: Final = ("plan_only", "overwrite", "provenance", "contact_sheet", "deferrable", "upload_inputs")
_WORDS: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


def as_text(value: Any) -> Any:
    """Return a path as the text that it stands for, and anything else as it is."""
    return str(value) if isinstance(value, os.PathLike) else value


def holds_template(value: object) -> bool:
    """Tell whether a value is known only when the task runs: a template, or the output of a task."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, Mapping | list | tuple):
        return any(map(holds_template, value.values() if isinstance(value, Mapping) else value))
    return not isinstance(value, int | float | None)


def check_constants(task: ImagePipelineBatchOperator) -> None:
    """
    Check the arguments of which the value is known when the DAG is parsed.

    :raises InvalidParameters: naming the argument.
    """
    defaults = {"max_cost": None, **{name: getattr(BatchOptions, name) for name in _OPTIONS}}
    if not holds_template(task.max_cost) and holds_template(task.price_per_job):
        defaults["price_per_job"] = 0.0
    values = {name: getattr(task, name) for name in _OPTIONS}
    _checked({name: defaults[name] if holds_template(value) else value for name, value in values.items()})
    for name in _CHOICES:
        if not holds_template(getattr(task, name)):
            _check_choice(task, name)
    if not holds_template(task.min_success_ratio):
        _check_ratio(task)
    if not holds_template(task.timeout):
        seconds_allowed(task)
    for name in _FLAGS:
        if not holds_template(value := getattr(task, name)):
            checked_flag(name, value, is_text=name == "plan_only")
    if not holds_template(task.shard):
        checked_shard(task.shard)
    if task.accept is not None and not holds_template(task.accept):
        Acceptance.checked(task.accept)


def checked_options(task: ImagePipelineBatchOperator, *, may_defer: bool) -> BatchOptions:
    """
    Return how the batch is run.

    :param may_defer: whether the worker may be given up, if the task asks for it.
    :raises InvalidParameters: naming the argument.
    """
    for name in _CHOICES:
        _check_choice(task, name)
    _check_ratio(task)
    _check_request(task)
    options = _checked({name: getattr(task, name) for name in _OPTIONS})
    return options if task.deferrable and may_defer else replace(options, defer_after=None)


def _checked(values: Mapping[str, Any]) -> BatchOptions:
    numbers = {"max_jobs": int, "redo_failed": int, "redo_rejected": int, "max_cost": float}
    read = {name: _read(values[name], kind) for name, kind in numbers.items()}
    # A template that was rendered to nothing asks for what is usual.
    read |= {name: getattr(BatchOptions, name) for name in ("redo_failed", "redo_rejected") if read[name] is None}
    identity = checked_identity(values["link_identity"])
    return BatchOptions.checked(
        {**values, **read, "link_identity": identity, "landing_concurrency": BatchOptions.landing_concurrency}
    )


def _read(value: Any, kind: type[int | float]) -> Any:
    """Return the number that a rendered template stands for; what is none comes back as it is, to be refused."""
    if isinstance(value, str):
        if is_unset(value):
            return None
        try:
            return kind(value)
        except ValueError:
            return value
    return value


def checked_flag(name: str, value: object, *, is_text: bool = True) -> bool:
    """
    Return whether something is asked for.

    :param is_text: whether the text is read, too, that a template was rendered to.
    :raises InvalidParameters: naming the argument.
    """
    found = _WORDS.get(value.strip().lower()) if isinstance(value, str) and is_text else value
    if isinstance(found, bool):
        return found
    msg = f"{name}: {value!r} is neither true nor false"
    raise InvalidParameters(msg)


def _check_choice(task: ImagePipelineBatchOperator, name: str) -> None:
    words = _CHOICES[name]
    if (value := getattr(task, name)) not in words:
        msg = f"{name}: {value!r} is neither {words[0]!r} nor {words[1]!r}"
        raise InvalidParameters(msg)


def _check_ratio(task: ImagePipelineBatchOperator) -> None:
    ratio = task.min_success_ratio
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 <= ratio <= 1:
        msg = f"min_success_ratio: {ratio!r} is not a number from 0 to 1"
        raise InvalidParameters(msg)


def _check_request(task: ImagePipelineBatchOperator) -> None:
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
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 < seconds <= _LONGEST:
        msg = f"timeout: {seconds!r} is not seconds above 0, of ten years at most"
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
