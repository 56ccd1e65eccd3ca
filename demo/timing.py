"""How long each task held a worker, and how long it waited without one.

The source is Airflow's audit log: its API server writes a row, with the time, whenever a worker reports that a task
is running and whenever it reports how that ended (deferred, success, failed, …). Between `running` and the next row a
worker is held; between `deferred` and the next `running` none is. Not counted: the milliseconds in which a worker
process forks before it reports, and in which it leaves afterwards.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from demo.airflow_api import AirflowApi

SOURCE = "Airflow's audit log"
_ENDS_OF_WORK = frozenset({"deferred", "success", "failed", "skipped", "up_for_retry", "up_for_reschedule", "removed"})


@dataclass
class Spent:
    """Seconds of one task of a run, all its tries and map indexes together."""

    worker: float = 0.0
    deferred: float = 0.0


def time_spent(airflow: AirflowApi, dag_id: str, run_id: str) -> dict[str, Spent]:
    """Return what each task of a run spent, by task id; tasks that never ran are missing."""
    rows = airflow.pages("/eventLogs", "event_logs", dag_id=dag_id, run_id=run_id, order_by="event_log_id")
    spent: dict[str, Spent] = defaultdict(Spent)
    since: dict[tuple[str, int], tuple[str, datetime]] = {}
    for row in rows:
        if row["event"] != "running" and row["event"] not in _ENDS_OF_WORK:
            continue
        now = datetime.fromisoformat(row["when"])
        instance = (row["task_id"], row["map_index"])
        before, then = since.get(instance, ("", now))
        if before == "running":
            spent[row["task_id"]].worker += (now - then).total_seconds()
        elif before == "deferred":
            spent[row["task_id"]].deferred += (now - then).total_seconds()
        since[instance] = (row["event"], now)
    return dict(spent)
