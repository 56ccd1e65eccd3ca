"""Start a real Airflow on the loopback in seconds, and end it without leftovers.

The four parts are started one by one, each as its own session: `airflow standalone` leaves its children behind when it
is ended, and the log servers of scheduler and triggerer listen on every interface unless they are skipped. Everything
that Airflow writes stays in `home`.
"""

from __future__ import annotations

import base64
import json
import secrets
import sys
import time
from typing import TYPE_CHECKING, Any, Self

import httpx

from demo.airflow_api import AirflowApi, PartDied
from demo.processes import clean_environment, end, free_port, start, tail, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

ADMIN = "admin"
VIEWER = "viewer"
_MIGRATION_SECONDS = 120.0
_HEALTHY_SECONDS = 120.0


class LocalAirflow(AirflowApi):
    """A running Airflow: its REST API, and the processes behind it. Use it as a context manager.

    :param home: folder for database, logs, secrets and AIRFLOW_HOME. A folder that was used before is taken up again
        with its database.
    :param dags_folder: the only place DAGs come from; Airflow's examples are off.
    :param connections: connection id to its fields, or to an Airflow connection URI. Served from the environment,
        stored nowhere.
    :param config: ``(section, key)`` to value, on top of the settings chosen here.
    :param triggerers: how many triggerers to start; the first is called ``triggerer``, the next ``triggerer-2``.
    :param database_url: SQLAlchemy URL of an existing empty or migrated database; ``None`` means SQLite in ``home``.
    :param parallelism: how many tasks may run at once.

    ``processes`` maps the name of each part to its process, for suites that signal them; its id is also the id of its
    session and process group. ``timings`` holds the seconds of ``migrate``, ``healthy`` (from the start of the parts)
    and ``stop``. ``passwords`` maps the users ``admin`` and ``viewer`` to their passwords.
    """

    def __init__(
        self,
        home: Path,
        dags_folder: Path,
        *,
        connections: Mapping[str, Mapping[str, Any] | str] | None = None,
        config: Mapping[tuple[str, str], object] | None = None,
        triggerers: int = 1,
        database_url: str | None = None,
        parallelism: int = 8,
    ) -> None:
        self.home = home.resolve()
        self.logs = self.home / "logs"
        self._airflow_home = self.home / "airflow"
        self._airflow_home.mkdir(parents=True, exist_ok=True)
        self._secrets = _kept_secrets(self.home / "secrets.json")
        self.passwords = {user: self._secrets[user] for user in (ADMIN, VIEWER)}
        super().__init__(f"http://127.0.0.1:{free_port()}", ADMIN, self.passwords[ADMIN])
        settings = self._settings(dags_folder.resolve(), database_url, parallelism) | dict(config or {})
        self.environment = clean_environment(
            _as_environment(settings, connections or {}) | {"AIRFLOW_HOME": str(self._airflow_home)}
        )
        self.commands = _commands(triggerers)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.timings: dict[str, float] = {}

    def __enter__(self) -> Self:
        """Start everything; what has been started is ended when that does not work out."""
        try:
            self.start()
        except BaseException:  # Ctrl-C included: nothing may be left running
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything, whatever happened."""
        self.stop()
        self._client.close()

    def start(self) -> None:
        """Migrate the database, start every part and wait until all are healthy."""
        began = time.monotonic()
        self._migrate()
        self.timings["migrate"] = time.monotonic() - began
        began = time.monotonic()
        for name in self.commands:
            self.start_part(name)
        self.wait_until_healthy()
        self.timings["healthy"] = time.monotonic() - began

    def start_part(self, name: str) -> subprocess.Popen[bytes]:
        """Start one part, for example again after it was killed; returns at once.

        What an earlier process of that name left behind is ended first.
        """
        if name in self.processes:
            end([self.processes[name]])
        self.processes[name] = self._run(self.commands[name], name)
        return self.processes[name]

    def stop(self) -> None:
        """End every part with all that it has forked: SIGTERM, after a few seconds SIGKILL."""
        began = time.monotonic()
        end(self.processes.values())
        self.processes.clear()  # their ids may belong to strangers from now on
        self.timings["stop"] = time.monotonic() - began

    def check_parts(self) -> None:
        """Raise with the end of its log when a part is not running.

        :raises PartDied: naming the part.
        """
        for name, process in self.processes.items():
            if (code := process.poll()) is not None:
                message = f"{name} ended with {code}; the end of its log:\n{tail(self.logs / f'{name}.log')}"
                raise PartDied(message)

    def wait_until_healthy(self, seconds: float = _HEALTHY_SECONDS) -> None:
        """Wait until the health page calls every part healthy and every triggerer has reported itself.

        Airflow believes in a part for 30 s after its last heartbeat: soon after a kill this says little about the part
        that was killed.

        :raises PartDied: as soon as a part has ended.
        :raises TimeoutError: after ``seconds``.
        """
        wait_until(self._healthy, seconds=seconds, what=f"a healthy Airflow (logs in {self.logs})")

    def _healthy(self) -> bool | None:
        self.check_parts()
        try:
            health = self.get("/monitor/health")
            if any(part["status"] != "healthy" for part in health.values()):
                return None
            triggerers = self.get("/jobs", job_type="TriggererJob", is_alive=True)["jobs"]
        except httpx.TransportError:
            return None
        wanted = sum(name.startswith("triggerer") for name in self.processes)
        return True if len(triggerers) >= wanted else None

    def _migrate(self) -> None:
        process = self._run(["db", "migrate"], "migrate")
        try:
            code = process.wait(_MIGRATION_SECONDS)
        finally:
            end([process])
        if code:
            message = f"`airflow db migrate` ended with {code}:\n{tail(self.logs / 'migrate.log')}"
            raise RuntimeError(message)

    def _run(self, arguments: list[str], log: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "airflow", *arguments]
        return start(command, log=self.logs / f"{log}.log", env=self.environment, cwd=self.home)

    def _settings(self, dags_folder: Path, database_url: str | None, parallelism: int) -> dict[tuple[str, str], object]:
        passwords = self._airflow_home / "passwords.json"
        passwords.write_text(json.dumps(self.passwords))
        return {
            ("core", "executor"): "LocalExecutor",
            ("core", "parallelism"): parallelism,
            ("core", "dags_folder"): dags_folder,
            ("core", "load_examples"): False,
            ("core", "fernet_key"): self._secrets["fernet_key"],
            ("core", "execution_api_server_url"): f"{self.url}/execution/",
            ("core", "simple_auth_manager_users"): f"{ADMIN}:admin,{VIEWER}:viewer",
            ("core", "simple_auth_manager_passwords_file"): passwords,
            ("database", "sql_alchemy_conn"): database_url or f"sqlite:///{self.home / 'airflow.db'}",
            ("api", "host"): "127.0.0.1",
            ("api", "port"): httpx.URL(self.url).port,
            ("api", "base_url"): self.url,
            ("api", "secret_key"): self._secrets["secret_key"],
            ("api_auth", "jwt_secret"): self._secrets["jwt_secret"],
            # Every 5 s, not 300: a DAG file that a suite writes while Airflow runs is seen soon.
            ("dag_processor", "refresh_interval"): 5,
            ("dag_processor", "dag_bundle_storage_path"): self.home
            / "bundles",  # otherwise the machine's temporary folder
            # With the default of 5 s, workers sit idle for seconds after each task.
            ("workers", "min_heartbeat_interval"): 1,
            ("usage_data_collection", "enabled"): False,
        }


def _commands(triggerers: int) -> dict[str, list[str]]:
    parts = {
        "api-server": ["api-server"],
        "scheduler": ["scheduler", "--skip-serve-logs"],
        "dag-processor": ["dag-processor"],
    }
    for number in range(1, triggerers + 1):
        parts["triggerer" if number == 1 else f"triggerer-{number}"] = ["triggerer", "--skip-serve-logs"]
    return parts


def _as_environment(
    settings: Mapping[tuple[str, str], object], connections: Mapping[str, Mapping[str, Any] | str]
) -> dict[str, str]:
    environment = {f"AIRFLOW__{section}__{key}".upper(): str(value) for (section, key), value in settings.items()}
    for conn_id, fields in connections.items():
        environment[f"AIRFLOW_CONN_{conn_id.upper()}"] = fields if isinstance(fields, str) else json.dumps(fields)
    return environment | {"SCARF_ANALYTICS": "false", "DO_NOT_TRACK": "1"}


def _kept_secrets(path: Path) -> dict[str, str]:
    """Read the secrets that the parts share, or make them up.

    They are kept because a home that is started again must be able to read what its own database has encrypted.
    """
    if not path.exists():
        fresh = {name: secrets.token_hex(32) for name in ("jwt_secret", "secret_key")}
        fresh |= {user: secrets.token_hex(8) for user in (ADMIN, VIEWER)}
        fresh["fernet_key"] = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        path.touch(mode=0o600)
        path.write_text(json.dumps(fresh))
    kept: dict[str, str] = json.loads(path.read_text())
    return kept
