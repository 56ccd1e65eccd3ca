"""Start and end servers as sessions of their own, and wait for things with a bound.

A server is started as the leader of a new session, so its id also names everything that it forks. Airflow's task
runners leave the process group of their worker but stay in the session: ending by the session reaches them, ending by
the group would not. What calls `setsid` itself (a shell that a DAG starts, for example) is out of reach and stays the
task's own business.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING, TypeVar

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

T = TypeVar("T")

# Settings of the reader's shell that must not leak in: another Airflow, a real AWS account, and the switch that makes
# each start of a task compile every module again.
_NOT_INHERITED = ("AIRFLOW", "AWS_", "PYTHONDONTWRITEBYTECODE")


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without foreign Airflow and AWS settings, with ``extra`` on top."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
    loopback = "127.0.0.1,localhost"
    fixed = {
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": loopback,
        "no_proxy": loopback,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    return inherited | fixed | dict(extra)


def start(
    command: Sequence[str], *, log: Path, env: Mapping[str, str], cwd: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start ``command`` as the leader of its own session; its output is appended to ``log``."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
        )


def end(processes: Iterable[subprocess.Popen[bytes]], *, patience: float = 5.0) -> None:
    """End the sessions of ``processes``, and return when nobody of them is left.

    First SIGTERM to the leaders, which end their own children in order (when the children get it too, the triggerer
    waits ten seconds for one that is gone). Who is left after ``patience`` seconds gets SIGKILL.
    A leader that is dead already is fine: what it left behind is ended all the same.
    """
    leaders = list(processes)
    with _undisturbed():
        alive = {leader.pid for leader in leaders if leader.poll() is None}
        orphans = set(_members(leader for leader in leaders if leader.pid not in alive))
        _signal(alive | orphans, signal.SIGTERM)
        if _gone(leaders, patience):
            return
        _signal(_members(leaders), signal.SIGKILL)
        if not _gone(leaders, patience):
            message = f"still alive after SIGKILL: {_members(leaders)}"
            raise RuntimeError(message)


def signal_session(leader: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to every living process of a leader's session at once, as the loss of a machine would."""
    _signal(_members([leader]), number)


def _gone(leaders: list[subprocess.Popen[bytes]], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    # A leader that has died between two looks is nobody's member any more, and still to be reaped.
    while _members(leaders) or any(leader.poll() is None for leader in leaders):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _members(leaders: Iterable[subprocess.Popen[bytes]]) -> list[int]:
    """Return the ids of the living processes in the leaders' sessions."""
    sessions = set()
    for leader in leaders:
        leader.poll()  # reaps a dead leader, which otherwise stays in the table as a zombie
        sessions.add(leader.pid)
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.Error):
            if os.getsid(process.pid) in sessions and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold back Ctrl-C and SIGTERM: a second, impatient Ctrl-C must not leave half of the servers running."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def wait_until(probe: Callable[[], T | None], *, seconds: float, what: str, every: float = 0.2) -> T:
    """Call ``probe`` every ``every`` seconds until it returns something other than None.

    :raises TimeoutError: when that has not happened within ``seconds``; ``what`` says what was waited for.
    """
    deadline = time.monotonic() + seconds
    while (found := probe()) is None:
        if time.monotonic() > deadline:
            message = f"waited {seconds:.0f} s for {what}"
            raise TimeoutError(message)
        time.sleep(every)
    return found


def tail(path: Path, lines: int = 30) -> str:
    """Return the last ``lines`` lines of a log, or a note that there is none."""
    if not path.exists():
        return f"({path} does not exist)"
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def free_port() -> int:
    """Return a port of the loopback that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
