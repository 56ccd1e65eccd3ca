"""What the engine of a batch asks of the rest of the house."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_imagepipeline.batch.options import BatchOptions
    from airflow_imagepipeline.contract.api import Api
    from airflow_imagepipeline.contract.job import Job
    from airflow_imagepipeline.contract.job_parameters import JobParameters
    from airflow_imagepipeline.contract.planned_row import PlannedRow
    from airflow_imagepipeline.policy.ledger_entry import RowPhase


@dataclass(frozen=True)
class Work:
    """
    What the engine asks of the rest of the house, so that it knows of rows and jobs only.

    :param parameters: the checked parameters of a row.
    :param links: for inputs that the vendor cannot fetch as they are, the link to send instead; called in a thread.
    :param land: brings a job's images home and says what became of the row: a phase and the changes of its entry;
        called in a thread, raises nothing.
    """

    parameters: Callable[[PlannedRow], JobParameters]
    links: Callable[[JobParameters], dict[str, str]]
    land: Callable[[PlannedRow, Job], tuple[RowPhase, dict[str, Any]]]


@dataclass(frozen=True)
class Assignment:
    """
    What one worker's turn at a batch is about.

    :param name: of the plan.
    :param run: names the DAG run's task, see :class:`LedgerEntry`.
    :param deadline: of the whole batch, seconds since the epoch.
    """

    name: str
    run: str
    api: Api
    work: Work
    options: BatchOptions
    deadline: float
