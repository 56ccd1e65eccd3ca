"""Names of Airflow that moved between the versions the tests run on."""

from __future__ import annotations

try:
    from airflow.sdk.exceptions import AirflowRescheduleException, TaskDeferralTimeout, TaskDeferred
except ImportError:  # Airflow 3.1
    from airflow.exceptions import (  # type: ignore[no-redef]
        AirflowRescheduleException,
        TaskDeferralTimeout,
        TaskDeferred,
    )

__all__ = ["AirflowRescheduleException", "TaskDeferralTimeout", "TaskDeferred"]
