"""What differs between the versions of Airflow that the tests run on."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

try:
    from airflow.sdk.exceptions import AirflowRescheduleException, TaskDeferralTimeout, TaskDeferred
except ImportError:  # Airflow 3.1
    from airflow.exceptions import (  # type: ignore[no-redef]
        AirflowRescheduleException,
        TaskDeferralTimeout,
        TaskDeferred,
    )

__all__ = ["AIRFLOW", "HAS_TASK_STATE_STORE", "AirflowRescheduleException", "TaskDeferralTimeout", "TaskDeferred"]

AIRFLOW: Final = tuple(map(int, version("apache-airflow").split(".")[:2]))
HAS_TASK_STATE_STORE: Final = AIRFLOW >= (3, 3)
