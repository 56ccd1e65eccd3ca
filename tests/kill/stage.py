"""The stage of the kill suite: Airflow, its database, the vendor, and the signals that end or stop their processes."""

from __future__ import annotations

import re
import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil

from demo.airflow_api import ApiError, PartDied
from demo.local_airflow import LocalAirflow
from demo.processes import end, signal_session, wait_until
from tests.kill.run import TASK, Run
from tests.kill.vendor import Order, Vendor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kill.postgres import Postgres

DAGS = Path(__file__).parent / "dags"
# Nobody could type it by accident; characters that URLs and JSON spell differently are in it on purpose.
API_KEY = 'canary-7Qz"P/4m+Xw=Jd&y'
CONFIG: dict[tuple[str, str], object] = {
    # A lost worker, triggerer or scheduler is noticed after seconds instead of minutes.
    ("scheduler", "task_instance_heartbeat_timeout"): 12,
    ("scheduler", "task_instance_heartbeat_timeout_detection_interval"): 3,
    ("scheduler", "orphaned_tasks_check_interval"): 10,
    ("scheduler", "scheduler_health_check_threshold"): 12,
    ("triggerer", "job_heartbeat_sec"): 2,
    ("triggerer", "triggerer_health_check_threshold"): 10,
    ("logging", "logging_level"): "DEBUG",  # the canary is looked for in all that Airflow can be made to say
}


@dataclass
class Stage:
    """Everything that a scenario needs.

    :param postgres: the database; None where Airflow runs on SQLite.
    :param landed: folder below which pictures land.
    """

    airflow: LocalAirflow
    vendor: Vendor
    landed: Path
    postgres: Postgres | None
    _used: dict[str, int] = field(default_factory=dict)

    @classmethod
    def built(cls, home: Path, vendor: Vendor, postgres: Postgres | None) -> Stage:
        """Return the stage, with Airflow still to be started."""
        connection = {"conn_type": "imagepipeline", "host": vendor.server.url, "password": API_KEY}
        airflow = LocalAirflow(
            home,
            DAGS,
            connections={"vendor": connection},
            config=CONFIG,
            triggerers=2 if postgres else 1,
            database_url=postgres.url if postgres else None,
        )
        return cls(airflow, vendor, home / "landed", postgres)

    def order(self, prompt: str) -> Order:
        """Return an order to arrange before its run is started."""
        return self.vendor.expect(prompt)

    def start(self, dag_id: str, order: Order) -> Run:
        """Start a DAG run that orders one picture."""
        destination = self.landed / re.sub(r"\W+", "-", order.prompt)
        conf = {"prompt": order.prompt, "destination": destination.as_uri()}
        run_id = self.airflow.trigger(dag_id, conf)
        return Run(self.airflow, self.vendor, dag_id, run_id, order, destination)

    def start_five(self) -> list[Run]:
        """Start the run that orders five pictures, and return its five parts."""
        orders = [self.order(f"five images: {number}") for number in range(5)]
        first = self.start("five_images", orders[0])
        return [replace(first, order=order, map_index=index) for index, order in enumerate(orders)]

    def looked_at(self, runs: list[Run], count: int) -> list[Run]:
        """Wait until the jobs of so many runs are looked at, and return these runs."""

        def look() -> list[Run] | None:
            found = [run for run in runs if run.order.looks]
            return found if len(found) >= count else None

        return wait_until(look, seconds=120, what=f"looks at {count} jobs")

    def start_deferred(self, prompt: str, dag_id: str = "image_deferred") -> Run:
        """Start a run and wait until its job is looked at by a triggerer."""
        run = self.start(dag_id, self.order(prompt))
        run.wait_for_task("deferred")
        run.order.wait_for_looks()
        return run

    def start_in_worker(self, prompt: str) -> Run:
        """Start a run and wait until its job is looked at by a worker."""
        run = self.start("image_in_worker", self.order(prompt))
        run.order.wait_for_looks()
        return run

    def lose_worker(self, run: Run) -> None:
        """Kill the process that runs the task and the one that watches it, as if their machine had died."""
        task, watcher = self.worker_of(run)
        watcher.suspend()  # it must not report what happens to the task
        task.kill()
        watcher.kill()

    def worker_of(self, run: Run) -> tuple[psutil.Process, psutil.Process]:
        """Return the process that runs the task, and the one that watches it."""
        task = psutil.Process(run.wait_for_task("running")["pid"])
        return task, task.parent()

    def signal(self, part: str, number: signal.Signals) -> None:
        """Send a signal to all processes of a part of Airflow."""
        signal_session(self.airflow.processes[part], number)

    def kill(self, part: str) -> None:
        """Kill a part of Airflow with all that it has forked."""
        self.signal(part, signal.SIGKILL)
        end([self.airflow.processes[part]])

    @contextmanager
    def standstill(self, part: str, seconds: float = 20) -> Iterator[None]:
        """Stop all processes of a part, do what is inside, and wake them after so many seconds."""
        self.signal(part, signal.SIGSTOP)
        try:
            yield
            time.sleep(seconds)
        finally:
            self.signal(part, signal.SIGCONT)

    def triggerers(self) -> list[str]:
        """Return the names of the triggerers."""
        return [name for name in self.airflow.processes if name.startswith("triggerer")]

    def watchers(self) -> list[str]:
        """Return the triggerers that hold a connection to the vendor: those that look at a job."""
        port = self.vendor.server.port
        pids = {one.pid for one in psutil.net_connections("tcp") if one.raddr and one.raddr.port == port}
        return [name for name in self.triggerers() if pids & self._pids(name)]

    def watcher(self) -> str:
        """Wait until exactly one triggerer looks at jobs, and return its name."""

        def look() -> str | None:
            found = self.watchers()
            return found[0] if len(found) == 1 else None

        return wait_until(look, seconds=120, what="one triggerer that looks at the job")

    def _pids(self, part: str) -> set[int]:
        leader = self.airflow.processes[part]
        if leader.poll() is not None:
            return set()
        return {leader.pid, *(child.pid for child in psutil.Process(leader.pid).children(recursive=True))}

    def revive(self) -> None:
        """Wake what is stopped, start what has died or dies meanwhile, and wait until Airflow is well."""
        for name in self.airflow.processes:
            self.signal(name, signal.SIGCONT)
        wait_until(self._well, seconds=180, what="a healthy Airflow")

    def _well(self) -> bool | None:
        self._start_what_has_ended()
        try:
            self.airflow.wait_until_healthy(10)
        except (TimeoutError, ApiError, PartDied, httpx.TransportError):
            return None
        return True

    def _start_what_has_ended(self) -> None:
        for name, process in list(self.airflow.processes.items()):
            if process.poll() is not None:
                self.airflow.start_part(name)

    @contextmanager
    def supervised(self) -> Iterator[None]:
        """Start again whatever ends meanwhile, as a supervisor of services does."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(1):
                self._start_what_has_ended()

        thread = threading.Thread(target=watch, name="supervisor of services")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def mark_failed(self, run: Run) -> None:
        """Mark the task as failed, as a person does."""
        path = f"/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/{TASK}"
        self.airflow.patch(path, {"new_state": "failed"})
