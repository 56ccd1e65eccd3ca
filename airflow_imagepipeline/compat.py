"""The one place that asks for what only later versions of Airflow have."""

from __future__ import annotations

from collections.abc import Mapping
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


def longest_retention() -> timedelta:
    """Return the retention of a value that lives as long as its DAG run; Airflow compares it by identity."""
    import airflow.sdk

    never: timedelta = getattr(airflow.sdk, "NEVER_EXPIRE", timedelta.max)  # before Airflow 3.3 there is no store
    return never
