"""A real Airflow for benchmarks: play one DAG after the other, and count what its processes use."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import psutil

from demo.airflow_api import AirflowApi
from demo.local_airflow import LocalAirflow
from demo.processes import wait_until

IDLE_SECONDS: Final = 30.0
_SETTLE_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Played:
    """
    What a run took.

    :param wall: seconds from the request to run it until its end was seen, at most a second late.
    :param cpu: processor seconds of all of Airflow, above those of an idle one.
    """

    run_id: str
    state: str
    wall: float
    cpu: float


class Stage:
    """
    An Airflow on which DAGs are played one after the other. Use it as a context manager.

    :param sources: DAG ids to the text of their files. All are there from the start: reading them again and again is
        part of idling.
    :param idle_seconds: for so long Airflow is watched while it has nothing to do; what it uses then is taken off.
    """

    def __init__(
        self,
        home: Path,
        connections: Mapping[str, Mapping[str, Any]],
        sources: Mapping[str, str],
        *,
        parallelism: int = 8,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        dags = home / "dags"
        dags.mkdir()
        self._sources = {"warm_up": _WARM_UP, **sources}
        for dag_id, source in self._sources.items():
            (dags / f"{dag_id}.py").write_text(source)
        self.airflow = LocalAirflow(home / "home", dags, connections=connections, parallelism=parallelism)
        self._idle_seconds = idle_seconds
        self.idle = 0.0
        """Processor seconds that each second takes while nothing runs."""

    def __enter__(self) -> Self:
        """Start Airflow, warm it up, and watch it idle."""
        self.airflow.__enter__()
        try:
            wait_until(self._knows_all, seconds=120, what="all DAGs", every=0.5)
            self.played("warm_up", seconds=120)
            time.sleep(_SETTLE_SECONDS)
            began, cpu = time.monotonic(), self.cpu()
            time.sleep(self._idle_seconds)
            self.idle = (self.cpu() - cpu) / max(time.monotonic() - began, 1.0)
        except BaseException:
            self.airflow.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End Airflow."""
        self.airflow.__exit__(kind, error, trace)

    def played(self, dag_id: str, *, seconds: float) -> Played:
        """
        Run a DAG once, and wait for its end.

        :raises TimeoutError: when it has not ended in time.
        """
        began, cpu = time.monotonic(), self.cpu()
        run_id = self.airflow.trigger(dag_id)
        state = self.airflow.wait_for_run(dag_id, run_id, seconds, interval=1.0)
        wall = time.monotonic() - began
        # What has ended counts once its parent has waited for it.
        time.sleep(2.0)
        cpu = self.cpu() - cpu - self.idle * (time.monotonic() - began)
        return Played(run_id, state, wall, cpu)

    def _knows_all(self) -> bool | None:
        self.airflow.check_parts()
        known = {one["dag_id"] for one in self.airflow.get("/dags", limit=100)["dags"]}
        broken = self.airflow.get("/importErrors")["import_errors"]
        if broken:
            message = f"{broken[0]['filename']} cannot be imported:\n{broken[0]['stack_trace'][-300:]}"
            raise RuntimeError(message)
        return known >= self._sources.keys() or None

    def cpu(self) -> float:
        """Return the processor seconds of all processes of Airflow, and of their children that have ended."""
        leaders, total = {process.pid for process in self.airflow.processes.values()}, 0.0
        for process in psutil.process_iter():
            with contextlib.suppress(ProcessLookupError, PermissionError, psutil.Error):
                if os.getsid(process.pid) in leaders:
                    times = process.cpu_times()
                    total += times.user + times.system + times.children_user + times.children_system
        return total


_WARM_UP: Final = """
from airflow.sdk import dag, task

@dag(schedule=None)
def warm_up():
    @task
    def nothing(): ...
    nothing()

warm_up()
"""


def task_starts(airflow: AirflowApi, dag_id: str, run_id: str) -> int:
    """Count how often a worker has started a task of a run, from Airflow's audit log."""
    rows = airflow.pages("/eventLogs", "event_logs", dag_id=dag_id, run_id=run_id, order_by="event_log_id")
    return sum(row["event"] == "running" for row in rows)
