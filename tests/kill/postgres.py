"""A PostgreSQL of the suite's own: a cluster in a temporary folder, that can be stopped at once and started again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from demo.processes import clean_environment, end, free_port, start, tail, wait_until

if TYPE_CHECKING:
    from types import TracebackType

_USER = "postgres"
_ROOT = 0
_START_SECONDS = 60.0
# Durability costs seconds and is not what is tested: the machine itself stays up.
_OPTIONS = ["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"]


class Postgres:
    """A cluster without passwords on the loopback, up between ``with`` and its end."""

    def __init__(self) -> None:
        self._bin = _programs()
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        # Not below pytest's own folders: the unprivileged user may not enter those, and a socket's path is short.
        self._folder = Path(tempfile.mkdtemp(prefix="kill-postgres-"))
        self.log = self._folder / "postgres.log"

    @property
    def url(self) -> str:
        """The database as SQLAlchemy spells it."""
        return f"postgresql+psycopg2://{_USER}@127.0.0.1:{self._port}/postgres"

    def __enter__(self) -> Self:
        """Make the cluster and start it."""
        try:
            if os.geteuid() == _ROOT:
                shutil.chown(self._folder, _USER, _USER)
            self._run("initdb", "-A", "trust", "-U", _USER, "-D", str(self._data))
            self.start()
        except BaseException:  # Ctrl-C included: nothing may be left running
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it and remove its folder."""
        self.stop_at_once()
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Start the server, also after :meth:`stop_at_once`, and wait until it answers."""
        command = [*_as_unprivileged(), str(self._bin / "postgres"), "-D", str(self._data), *_OPTIONS]
        command += ["-p", str(self._port), "-k", str(self._folder)]
        self._process = start(command, log=self.log, env=clean_environment({}), cwd=self._folder)
        wait_until(self._answers, seconds=_START_SECONDS, what=f"PostgreSQL: {tail(self.log)}")

    def stop_at_once(self) -> None:
        """End the server as `pg_ctl stop -m immediate` does: clients are cut off, and it recovers when it starts."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            end([self._process])
        self._process = None

    def dump(self) -> bytes:
        """Return everything in the database as text."""
        return self._run("pg_dump", *self._where, "postgres")

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def _where(self) -> list[str]:
        return ["-h", "127.0.0.1", "-p", str(self._port), "-U", _USER]

    def _answers(self) -> bool | None:
        if self._process is None or self._process.poll() is not None:
            message = f"PostgreSQL has ended:\n{tail(self.log)}"
            raise RuntimeError(message)
        asked = subprocess.run([self._bin / "pg_isready", "-q", *self._where], check=False)  # noqa: S603 - its own program
        return True if asked.returncode == 0 else None

    def _run(self, program: str, *arguments: str) -> bytes:
        command = [*_as_unprivileged(), str(self._bin / program), *arguments]
        done = subprocess.run(command, check=True, capture_output=True, cwd=self._folder, timeout=120)  # noqa: S603
        return done.stdout


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        message = "no PostgreSQL here: run tests/kill/install_postgres.sh"
        raise RuntimeError(message)
    return found[-1].parent


def _as_unprivileged() -> list[str]:
    """PostgreSQL refuses to run as root; setpriv, unlike su, becomes the program instead of watching over it."""
    if os.geteuid() != _ROOT:
        return []
    return ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups", "--"]
