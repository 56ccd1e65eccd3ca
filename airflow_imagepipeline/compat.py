"""The one place that asks for what only some versions of Airflow have, or do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Protocol


class TaskStateStore(Protocol):
    """Airflow's task state store, as ``airflow.sdk.execution_time.context.TaskStateStoreAccessor`` has it (3.3+)."""

    def get(self, key: str) -> Any:
        """Return the value, or None."""

    def set(self, key: str, value: Any, *, retention: timedelta | None = None) -> None:
        """Write the value; it is committed when this returns."""

    def delete(self, key: str) -> None:
        """Remove the value, if there is one."""


def task_state_store(context: Mapping[str, Any]) -> TaskStateStore | None:
    """Return the task instance's state store, or None before Airflow 3.3."""
    # A context is no plain mapping: `get` of an unknown key would warn in some versions.
    return context["task_state_store"] if "task_state_store" in context else None  # noqa: SIM401


class RowsStayData:
    """
    A base of operators that may be mapped over rows: what another task returns is data, and no template.

    Airflow leaves alone what ``expand`` takes from a task, but renders what ``expand_kwargs`` takes from one
    (``ListOfDictsExpandInput.resolve`` in its ``expandinput.py``): a row could read connections. Rows that are written
    in the DAG's own file are templates, as everywhere in Airflow.
    """

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Any, jinja_env: Any, seen_oids: set[int]
    ) -> None:
        is_own, operator = parent is self, parent
        if is_own and (partial := _beside_rows(operator.task_id, context)) is not None:
            template_fields = [name for name in template_fields if name in partial]
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)  # type: ignore[misc]


def _beside_rows(task_id: str, context: Any) -> Mapping[str, Any] | None:
    """Return the arguments that the DAG's file gives beside rows of another task; None where there are no such rows."""
    from airflow.sdk import XComArg

    dag = context["dag"] if "dag" in context else None  # noqa: SIM401 - as above
    task = dag.get_task(task_id) if dag is not None and dag.has_task(task_id) else None
    rows = getattr(getattr(task, "expand_input", None), "value", None)
    rows = rows[context["ti"].map_index] if isinstance(rows, list | tuple) else rows
    return getattr(task, "partial_kwargs", None) if isinstance(rows, XComArg) else None


def longest_retention() -> timedelta:
    """Return the retention of a value that lives as long as its DAG run; Airflow compares it by identity."""
    import airflow.sdk

    never: timedelta = getattr(airflow.sdk, "NEVER_EXPIRE", timedelta.max)  # before Airflow 3.3 there is no store
    return never
