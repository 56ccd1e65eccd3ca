"""What can be said of a batch that has not ended: where it stands, as its task tells Airflow now and then (3.3+)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from airflow.utils.session import create_session
from sqlalchemy import func, select

from airflow_imagepipeline.contract.manifest import PROGRESS_KEY
from airflow_imagepipeline.plugins import words
from airflow_imagepipeline.plugins.task_instances import ENDED, FoundTask, find_begun, is_at, plain

_LARGEST: Final = 4_000
_LONGEST_LINE: Final = 300
_FIELDS: Final = frozenset({"inputs", "request", "ledger"})
"""The rendered fields by which a batch is known."""
_MOST_OF_A_RUN: Final = 24


@dataclass(frozen=True)
class UnderWay:
    """
    A batch that has not ended.

    :param line: where it stood; empty when it has not told yet, or Airflow has no place to keep that.
    :param told_at: when it was told, in words.
    """

    line: str = ""
    told_at: str = ""


def batch_under_way(task: FoundTask) -> UnderWay | None:
    """Return where a batch stands; None when the task is none, or has ended."""
    if task.state in ENDED or task.started_at is None or not task.rendered.keys() >= _FIELDS:
        return None
    return _told(task) or UnderWay()


def batches_under_way(dag_id: str, run_id: str, task_id: str | None) -> list[tuple[FoundTask, UnderWay]]:
    """
    Return where the batches of a run stand that have not ended, the first 24 by name.

    :param task_id: None means those of every task.
    """
    begun = find_begun(dag_id, run_id, task_id, fields=_FIELDS, limit=_MOST_OF_A_RUN)
    return [(task, found) for task in begun if (found := batch_under_way(task)) is not None]


def _told(task: FoundTask) -> UnderWay | None:
    try:
        from airflow.models.task_state_store import TaskStateStoreModel as Kept
    except ImportError:  # before Airflow 3.3
        return None
    with create_session() as session:
        wanted = (*is_at(Kept, task.place), Kept.key == PROGRESS_KEY, func.length(Kept.value) <= _LARGEST)
        found = session.execute(select(Kept.value, Kept.updated_at).where(*wanted)).first()
    # What an earlier try has told stays where it is.
    if found is None or task.started_at is None or found[1] < task.started_at:
        return None
    line = _line(plain(found[0]))
    return UnderWay(line, words.moment(found[1].timestamp())) if line else None


def _line(value: Any) -> str:
    line = value.get("line") if isinstance(value, Mapping) else None
    return line[:_LONGEST_LINE] if isinstance(line, str) else ""
