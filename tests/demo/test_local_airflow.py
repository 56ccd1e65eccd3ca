"""A real Airflow, started and ended by the launcher: about half a minute."""

from __future__ import annotations

import os
import textwrap
from typing import TYPE_CHECKING

import psutil
import pytest
from airflow import __version__ as airflow_version

from demo.airflow_api import PartDied
from demo.local_airflow import LocalAirflow
from demo.timing import time_spent

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

DAG = textwrap.dedent(
    """
    from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync
    from airflow.sdk import BaseHook, dag, task


    @dag(schedule=None)
    def trivial():
        @task
        def greet(dag_run=None):
            host = BaseHook.get_connection("somewhere").host
            print(f"greeting {host}")
            return {"greeting": dag_run.conf["greeting"], "host": host}

        # Counted from the start of the task, and deferred however late: a slow machine changes nothing.
        later = "{{ (ti.start_date + macros.timedelta(seconds=10)).isoformat() }}"
        greet() >> DateTimeSensorAsync(task_id="pause", target_time=later)


    trivial()
    """
)


def test_an_airflow_runs_a_dag_on_the_loopback_and_leaves_nothing_behind(tmp_path: Path) -> None:
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "trivial.py").write_text(DAG)
    changes: list[tuple[str, str | None]] = []
    somewhere = {"conn_type": "generic", "host": "somewhere.test"}

    with LocalAirflow(tmp_path / "home", dags, connections={"somewhere": somewhere}) as airflow:
        sessions = {process.pid for process in airflow.processes.values()}
        run_id = airflow.trigger("trivial", {"greeting": "hello"})
        state = airflow.wait_for_run(
            "trivial", run_id, 90, lambda change: changes.append((change.task_id, change.state))
        )
        log = airflow.task_log("trivial", run_id, "greet")
        listening = addresses_listened_on(sessions)
        spent = time_spent(airflow, "trivial", run_id)
        greeting = airflow.xcom("trivial", run_id, "greet")

    assert state == "success", log
    assert greeting == {"greeting": "hello", "host": "somewhere.test"}
    assert "greeting somewhere.test" in log
    assert ("pause", "deferred") in changes
    assert changes[-1] == ("pause", "success")
    if not airflow_version.startswith("3.1."):  # its audit log has no rows for these changes
        assert spent["pause"].deferred > spent["pause"].worker > 0
    assert listening == {"127.0.0.1"}
    assert not living_members(sessions)
    assert set(airflow.timings) == {"migrate", "healthy", "stop"}


def test_a_part_that_dies_at_the_start_is_an_error_with_its_log(tmp_path: Path) -> None:
    airflow = LocalAirflow(tmp_path / "home", tmp_path)
    airflow.commands = {"scheduler": ["scheduler", "--no-such-option"]}

    with pytest.raises(PartDied, match=r"(?s)scheduler ended with 2.*no-such-option"), airflow:
        pass

    assert airflow.processes == {}


def addresses_listened_on(sessions: set[int]) -> set[str]:
    pids = living_members(sessions)
    sockets = psutil.net_connections(kind="tcp")
    return {one.laddr.ip for one in sockets if one.pid in pids and one.status == psutil.CONN_LISTEN}


def living_members(sessions: set[int]) -> set[int]:
    found = set()
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) in sessions and process.status() != psutil.STATUS_ZOMBIE:
                found.add(process.pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found
