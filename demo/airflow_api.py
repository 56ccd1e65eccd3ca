"""Airflow's REST API, as much of it as a demo, a kill suite and a benchmark need.

Queries never go through the command line: one call of it costs four seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from demo.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PAGE = 100  # Airflow's own upper limit, [api] maximum_page_limit
_FINISHED = frozenset({"success", "failed"})


class ApiError(RuntimeError):
    """Airflow answered with an error; ``status`` is the HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class PartDied(RuntimeError):
    """A process of Airflow has ended that nobody asked to end; the message holds the end of its log."""


@dataclass(frozen=True)
class TaskChange:
    """A task instance was seen in a state in which it was not seen before."""

    task_id: str
    map_index: int
    try_number: int
    state: str | None


class AirflowApi:
    """A logged-in client of one Airflow.

    :param url: the address of the API server, without a path.
    :param username: a user of the simple auth manager.
    :param password: its password.
    """

    def __init__(self, url: str, username: str, password: str) -> None:
        self.url = url
        self._login = {"username": username, "password": password}
        # trust_env off: a proxy of the reader's shell has no business on the loopback.
        self._client = httpx.Client(base_url=url, timeout=20, trust_env=False)

    def get(self, path: str, **params: str | float | bool) -> Any:
        """GET ``/api/v2{path}`` and return the decoded answer."""
        return self._request("GET", path, params=params)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """POST ``body`` to ``/api/v2{path}`` and return the decoded answer."""
        return self._request("POST", path, json=dict(body))

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """PATCH ``/api/v2{path}`` with ``body`` and return the decoded answer."""
        return self._request("PATCH", path, json=dict(body))

    def delete(self, path: str) -> None:
        """DELETE ``/api/v2{path}``."""
        self._request("DELETE", path)

    def _request(self, method: str, path: str, **options: Any) -> Any:
        if "Authorization" not in self._client.headers:
            self._log_in()
        answer = self._client.request(method, f"/api/v2{path}", **options)
        if answer.status_code == httpx.codes.UNAUTHORIZED:  # the token is older than a day
            self._log_in()
            answer = self._client.request(method, f"/api/v2{path}", **options)
        return _decoded(answer)

    def _log_in(self) -> None:
        self._client.headers.pop("Authorization", None)
        token = _decoded(self._client.post("/auth/token", json=self._login))["access_token"]
        self._client.headers["Authorization"] = f"Bearer {token}"

    def pages(self, path: str, field: str, **params: str | float | bool) -> list[dict[str, Any]]:
        """GET every page of a collection and return the items under ``field``."""
        items: list[dict[str, Any]] = []
        while True:
            page = self.get(path, limit=_PAGE, offset=len(items), **params)[field]
            items += page
            if len(page) < _PAGE:
                return items

    def check_parts(self) -> None:
        """Raise when Airflow itself is known to be broken; a plain client knows nothing about that."""

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None, *, timeout: float = 60) -> str:
        """Wait until the DAG is known, unpause it, start a run and return the run's id.

        :raises RuntimeError: when a DAG file cannot be imported.
        :raises TimeoutError: when the DAG has not turned up within ``timeout`` seconds.
        """
        wait_until(lambda: self._known(dag_id), seconds=timeout, what=f"the DAG {dag_id}", every=0.3)
        self.patch(f"/dags/{dag_id}", {"is_paused": False})
        run = self.post(f"/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": dict(conf or {})})
        return str(run["dag_run_id"])

    def _known(self, dag_id: str) -> bool | None:
        self.check_parts()
        try:
            self.get(f"/dags/{dag_id}")
        except ApiError as error:
            if error.status != httpx.codes.NOT_FOUND:
                raise
            broken = self.get("/importErrors")["import_errors"]
            if broken:
                message = f"{broken[0]['filename']} cannot be imported:\n{broken[0]['stack_trace']}"
                raise RuntimeError(message) from error
            return None
        return True

    def wait_for_run(
        self,
        dag_id: str,
        run_id: str,
        timeout: float,
        on_change: Callable[[TaskChange], None] | None = None,
        *,
        interval: float = 0.3,
        parts_may_die: bool = False,
    ) -> str:
        """Wait until the run has ended and return its state, ``success`` or ``failed``.

        :param timeout: give up after so many seconds.
        :param on_change: called when a look shows a task instance in another state or try than the look before.
        :param interval: seconds between two looks; a state that is shorter may go unseen.
        :param parts_may_die: for suites that kill parts of Airflow on purpose: neither a dead part nor an API server
            that does not answer ends the wait. Otherwise both are errors at once.
        :raises TimeoutError: when the run has not ended in time.
        """
        report = _only_news(on_change) if on_change else None

        def look() -> str | None:
            if not parts_may_die:
                self.check_parts()
                return self._look_at_run(dag_id, run_id, report)
            try:
                return self._look_at_run(dag_id, run_id, report)
            except (httpx.TransportError, ApiError):
                return None

        return wait_until(look, seconds=timeout, what=f"the end of {dag_id} {run_id}", every=interval)

    def _look_at_run(self, dag_id: str, run_id: str, report: Callable[[TaskChange], None] | None) -> str | None:
        state = str(self.get(f"/dags/{dag_id}/dagRuns/{run_id}")["state"])
        if report:
            for task in self.task_instances(dag_id, run_id):
                report(TaskChange(task["task_id"], task["map_index"], task["try_number"], task["state"]))
        return state if state in _FINISHED else None

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return every task instance of a run, mapped ones included, as the API describes them."""
        return self.pages(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", "task_instances", order_by="id")

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", *, map_index: int = -1) -> Any:
        """Return the value that a task pushed under ``key``.

        :raises ApiError: with status 404 when there is none.
        """
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        return self.get(path, map_index=map_index)["value"]

    def task_log(self, dag_id: str, run_id: str, task_id: str, *, try_number: int = 1, map_index: int = -1) -> str:
        """Return the log of one try of a task as text."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        content = self.get(path, map_index=map_index, full_content=True)["content"]
        return "\n".join(_log_line(entry) for entry in content)

    def clear(self, dag_id: str, run_id: str, task_ids: list[str], *, downstream: bool = True) -> None:
        """Clear tasks of a run as a person does in the UI: they run again, and so does the run."""
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": task_ids,
            "only_failed": False,
            "include_downstream": downstream,
        }
        self.post(f"/dags/{dag_id}/clearTaskInstances", body)


def _only_news(on_change: Callable[[TaskChange], None]) -> Callable[[TaskChange], None]:
    seen: dict[tuple[str, int], TaskChange] = {}

    def report(change: TaskChange) -> None:
        if seen.get((change.task_id, change.map_index)) != change:
            seen[change.task_id, change.map_index] = change
            on_change(change)

    return report


def _decoded(answer: httpx.Response) -> Any:
    if answer.is_error:
        message = f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text[:300]}"
        raise ApiError(message, answer.status_code)
    return answer.json() if answer.content else None


def _log_line(entry: str | dict[str, Any]) -> str:
    if isinstance(entry, str):
        return entry
    problems = "".join(_traceback(problem) for problem in entry.get("error_detail") or [])
    return f"{entry.get('timestamp') or '':27} {entry.get('level', ''):8} {entry['event']}{problems}"


def _traceback(problem: dict[str, Any]) -> str:
    last = (problem.get("frames") or [])[-3:]  # enough to find the place
    frames = [f"\n    {frame['filename']}:{frame['lineno']} {frame['name']}" for frame in last]
    return "".join(frames) + f"\n    {problem.get('exc_type')}: {problem.get('exc_value')}"
