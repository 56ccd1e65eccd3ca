"""What goes wrong in one try: in the child process that runs it."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any, Final

import airflow_imagepipeline
from airflow_imagepipeline.records import object_storage
from tests.running import assert_discreet

_PACKAGE: Final = str(Path(airflow_imagepipeline.__file__).parent) + os.sep
_EMULATOR: Final = _PACKAGE + "emulator" + os.sep
STORAGE: Final = ("open", "link", "rename", "replace", "unlink", "remove", "mkdir", "scandir", "listdir", "stat")
"""The operations of the file system that are counted as requests to storage."""
PAUSES: Final = ("pause", "overlap")
"""The next try runs meanwhile: to its end, or until it has taken the ledger, so that both go on beside each other."""
_PART_OF_TRUST: Final = 0.25
"""Of the seconds for which a proof counts, and of those that a successor waits for it to count no more."""


class StoreDown(Exception):
    """Airflow's database cannot be reached."""


ERRORS: Final[dict[str, dict[str, Callable[[], Exception]]]] = {
    "store": {"down": lambda: StoreDown("away"), "slow": lambda: TimeoutError("timed out")},
    "storage": {
        "full": lambda: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        "broken": lambda: OSError(errno.EIO, os.strerror(errno.EIO)),
        "denied": lambda: PermissionError(errno.EACCES, os.strerror(errno.EACCES)),
    },
}


@dataclass(frozen=True)
class Fault:
    """
    What goes wrong, once or from then on.

    :param where: ``line`` (of the package), ``store`` (Airflow's state store), ``storage``; ``none`` counts only.
    :param at: the number of the line or call, from 1.
    :param how: ``kill`` or one of :data:`PAUSES` at a line, else one of :data:`ERRORS`.
    :param late: the call has its effect before it fails.
    :param lasting: all later calls of the try fail too.
    """

    where: str = "none"
    at: int = 0
    how: str = ""
    late: bool = False
    lasting: bool = False

    def __str__(self) -> str:
        """Return what a table and a reader call it."""
        if self.where == "line":
            return f"{self.how} before line {self.at}"
        when = "after" if self.late else "before"
        return f"{self.where} call {self.at} {self.how}, {when} its effect{', lasting' if self.lasting else ''}"


class Counter:
    """Counts lines and calls of this process, and strikes at the fault's."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.lines = 0
        self.calls = {"store": 0, "storage": 0}
        self._lock = threading.Lock()
        self._inside = threading.local()

    def trace(self, frame: FrameType, _event: str, _arg: Any) -> Any:
        """Count the lines of the package: the tracing function for every thread."""
        file = frame.f_code.co_filename
        return self._line if file.startswith(_PACKAGE) and not file.startswith(_EMULATOR) else None

    def _line(self, _frame: FrameType, event: str, _arg: Any) -> Any:
        if event == "line":
            self.lines += 1
            if self.lines == self.fault.at and self.fault.where == "line":
                os.kill(os.getpid(), signal.SIGKILL if self.fault.how == "kill" else signal.SIGSTOP)
        return self._line

    def call(self, where: str, effect: Callable[[], Any]) -> Any:
        """Do a call, unless the fault strikes; a call inside a call is part of it."""
        if getattr(self._inside, "busy", False):
            return effect()
        with self._lock:
            self.calls[where] += 1
            count = self.calls[where]
        fault = self.fault
        struck = fault.where == where and (count >= fault.at if fault.lasting else count == fault.at)
        if not struck:
            return self._done(effect)
        if fault.late:
            result = self._done(effect)
            if hasattr(result, "close"):
                result.close()
            elif isinstance(result, int):
                os.close(result)
        error = ERRORS[where][fault.how]()
        raise error

    def _done(self, effect: Callable[[], Any]) -> Any:
        self._inside.busy = True
        try:
            return effect()
        finally:
            self._inside.busy = False


class FileStore:
    """Airflow's task state store in a file, which processes share and no kill tears."""

    def __init__(self, file: Path, counter: Counter) -> None:
        self._file = file
        self._counter = counter

    def get(self, key: str) -> Any:
        text = self._counter.call("store", lambda: self._rows().get(key))
        return None if text is None else json.loads(text)

    def set(self, key: str, value: Any, *, retention: timedelta | None = None) -> None:
        assert retention is None or retention.days > 0
        row = json.dumps(value)
        assert_discreet(row, hide_links=True)
        self._counter.call("store", lambda: self._changed({key: row}))

    def delete(self, key: str) -> None:
        self._counter.call("store", lambda: self._changed({key: None}))

    def _rows(self) -> dict[str, str]:
        rows: dict[str, str] = json.loads(self._file.read_text()) if self._file.exists() else {}
        return rows

    def _changed(self, changes: dict[str, str | None]) -> None:
        with self._file.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            rows = {key: row for key, row in {**self._rows(), **changes}.items() if row is not None}
            fresh = self._file.with_suffix(f".{os.getpid()}")
            fresh.write_text(json.dumps(rows))
            fresh.replace(self._file)


@contextmanager
def faulty(counter: Counter, folder: Path) -> Iterator[None]:
    """Let the fault strike in this block; what happens in the folder is storage."""
    _wrap_storage(counter, str(folder))
    if counter.fault.where in {"line", "none"}:
        threading.settrace(counter.trace)
        sys.settrace(counter.trace)
    try:
        yield
    finally:
        sys.settrace(None)
        threading.settrace(None)


def _wrap_storage(counter: Counter, folder: str) -> None:
    import builtins

    def wrapped(usual: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *more: Any, **named: Any) -> Any:
            if not isinstance(path, str | os.PathLike) or not os.fspath(path).startswith(folder):
                return usual(path, *more, **named)
            return counter.call("storage", lambda: usual(path, *more, **named))

        return call

    for name in STORAGE:
        setattr(os, name, wrapped(getattr(os, name)))
    builtins.open = io.open = wrapped(io.open)


def hurry(*, is_alone: bool) -> None:
    """
    Shorten what is waited for where nothing is to come: pauses between attempts, and the disk.

    :param is_alone: no superseded process lives on, so that nobody need wait for it.
    """
    import importlib

    os.fsync = lambda fd: None  # noqa: ARG005 - as os names it
    # Only together: a successor waits for as long as a living process may trust its last proof, and a little longer.
    part = 0.0 if is_alone else _PART_OF_TRUST
    trusted, noticed = object_storage._TRUSTED_FOR, object_storage.NOTICED_AFTER
    for path, value in {
        "airflow_imagepipeline.policy.resending._SUBMIT_CAP": 0.02,
        "airflow_imagepipeline.policy.waiting._LONGEST_BACKOFF": 0.05,
        "airflow_imagepipeline.records.grouped_writer._GATHERING": 0.005,
        "airflow_imagepipeline.records.object_storage._TRUSTED_FOR": trusted * (part or 1.0),
        "airflow_imagepipeline.batch.lease_keeping.NOTICED_AFTER": noticed * part,
    }.items():
        module, _, name = path.rpartition(".")
        try:
            found = importlib.import_module(module)
        except ImportError:
            continue
        if hasattr(found, name):
            setattr(found, name, value)
    # A pause of a second tells no more than one of a hundredth.
    sleep = time.sleep
    if not is_alone:
        return
    time.sleep = lambda seconds: sleep(min(float(seconds), 0.05))
