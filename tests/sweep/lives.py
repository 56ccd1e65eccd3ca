"""The life of one task instance: tries in forked children, retries as Airflow's, clears as a human's."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from tests.generations import CURRENT, Spoken
from tests.operators.nights import Nights, TaskInstance
from tests.running import edit_image, run_to_end
from tests.sweep.faults import Counter, Fault, FileStore, faulty, hurry

RETRIES: Final = 2
LONGEST_TRY: Final = 40
"""Seconds; a try that takes longer is stuck, and its process is ended."""
ROWS: Final = 4


@dataclass
class End:
    """
    How a try ended.

    :param kind: ``success``, ``killed``, ``stuck``, or the name of an exception.
    :param is_final: no automatic retry follows.
    :param outcomes: of a batch: image to outcome.
    """

    kind: str
    is_final: bool = False
    message: str = ""
    outcomes: dict[str, str] = field(default_factory=dict)
    lines: int = 0
    calls: dict[str, int] = field(default_factory=dict)
    modules: list[str] = field(default_factory=list)


class Life:
    """
    One task instance.

    :param what: ``single`` or ``batch``.
    :param mode: ``worker`` or ``triggerer``.
    :param url: of the vendor.
    :param folder: of this life alone; its name is in the links of its images.
    """

    def __init__(self, what: str, mode: str, url: str, folder: Path) -> None:
        self.what, self.mode, self.folder = what, mode, folder
        self.images = [f"{url}/{folder.name}/{row}.png" for row in range(ROWS if what == "batch" else 1)]
        self.destination = folder / "images"
        self.destination.mkdir(parents=True)
        self.state = folder / "state"
        self.state.mkdir()
        self.run_id, self.try_number, self.max_tries = "n1", 1, RETRIES
        self.is_alone = True
        """Whether no process of an earlier try lives on."""
        self._started = datetime.now(UTC)

    def next_try(self) -> None:
        """Go on as Airflow does."""
        self.try_number += 1

    def clear(self) -> None:
        """Go on as a human does."""
        self.max_tries = self.try_number + RETRIES
        self.try_number += 1

    def next_night(self, run_id: str) -> None:
        """Begin another DAG run; its task state is its own."""
        self.run_id, self.try_number, self.max_tries = run_id, 1, RETRIES

    def start(self, fault: Fault) -> Child:
        """Start the current try in a child."""
        return Child(lambda: self._try(fault))

    def known(self, job: str) -> bool:
        """Tell whether the id of a job was written anywhere that outlives a process."""
        files = [file for place in (self.state, self.destination) for file in place.rglob("*") if file.is_file()]
        return any(job.encode() in file.read_bytes() for file in files if file.suffix != ".png")

    def leases(self) -> set[str]:
        """Return the names of the leases on the ledger: each process that takes it makes one of its own."""
        return {file.name for file in self.destination.rglob("lease/*.json")}

    def missing(self) -> list[str]:
        """Return the images that should be landed, and are not."""
        landed = [file.name for file in self.destination.glob("*.png")]
        if self.what == "single":
            return [] if landed else self.images
        return [image for row, image in enumerate(self.images) if f"s{row}-00.png" not in landed]

    def _try(self, fault: Fault) -> End:
        hurry(is_alone=self.is_alone)
        Spoken.generation = CURRENT
        logging.basicConfig(filename=self.folder / "log", level=logging.WARNING, force=True)
        counter = Counter(fault)
        store = FileStore(self.state / f"{self.run_id}.json", counter)
        ti = TaskInstance(self.run_id, self.try_number, self.max_tries)
        ti.states = {} if self.run_id == "n1" else {"n1": "success", "n2": "success"}
        context: dict[str, Any] = {"ti": ti, "params": {}, "run_id": self.run_id, "task_state_store": store}
        context["dag_run"] = SimpleNamespace(start_date=self._started, run_id=self.run_id)
        with faulty(counter, self.destination):
            end = self._ended(context)
        end.lines, end.calls, end.modules = counter.lines, counter.calls, sorted(sys.modules)
        summary = ti.pushed.get("return_value")
        if self.what == "batch" and not end.outcomes and isinstance(summary, dict):
            end.outcomes = self._outcomes(summary)
        return end

    def _ended(self, context: Any) -> End:
        from airflow.providers.common.compat.sdk import AirflowFailException

        try:
            result = run_to_end(self._operator(), context, self.mode)
        except AirflowFailException as error:
            return End(type(error).__name__, is_final=True, message=str(error))
        except Exception as error:  # noqa: BLE001 - whatever a task raises, Airflow may retry it
            (self.folder / "error").write_text(traceback.format_exc())
            return End(type(error).__name__, message=str(error))
        return End("success", outcomes=self._outcomes(result) if self.what == "batch" else {})

    def _operator(self) -> Callable[..., Any]:
        if self.what == "single":
            return edit_image(self.images[0], destination=f"file://{self.destination}")
        vendor: Any = SimpleNamespace(url="", settings=None)
        nights = Nights(vendor, self.destination, self.mode)
        rows = [{"input_image": image, "sku": f"s{row}", "word": "old"} for row, image in enumerate(self.images)]
        return lambda **mode: nights.operator(inputs=rows, **mode)

    def _outcomes(self, summary: dict[str, Any]) -> dict[str, str]:
        text = Path(summary["manifest"].removeprefix("file://")).read_text()
        return {self.images[row["index"]]: row["outcome"] for row in map(json.loads, text.splitlines())}


class Child:
    """A forked process that runs a function and sends back how it ended."""

    def __init__(self, run: Callable[[], End]) -> None:
        self._read, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._read)
            _be_child(run, write)
        os.close(write)
        self._until = time.monotonic() + LONGEST_TRY

    def paused(self) -> bool:
        """Wait until the process has stopped itself or ended; tell whether it stopped."""
        while time.monotonic() < self._until:
            pid, status = os.waitpid(self.pid, os.WUNTRACED | os.WNOHANG)
            if pid and os.WIFSTOPPED(status):
                return True
            if pid:
                self.pid = 0
                return False
            time.sleep(0.002)
        return False

    def work_until(self, is_so: Callable[[], bool]) -> None:
        """Let it go on until something is so, or it has ended."""
        while not is_so() and time.monotonic() < self._until and not select.select([self._read], [], [], 0.002)[0]:
            pass

    def proceed(self) -> None:
        """Let it go on."""
        self._until = time.monotonic() + LONGEST_TRY
        os.kill(self.pid, signal.SIGCONT)

    def end(self) -> End:
        """Return how it ended."""
        chunks = []
        while True:
            left = self._until - time.monotonic()
            if left <= 0 or not select.select([self._read], [], [], left)[0]:
                os.kill(self.pid, signal.SIGKILL)
                kind = "stuck"
                break
            chunk = os.read(self._read, 1 << 16)
            chunks.append(chunk)
            if not chunk:
                kind = "killed"
                break
        os.close(self._read)
        if self.pid:
            os.waitpid(self.pid, 0)
        text = b"".join(chunks)
        return End(kind) if kind == "stuck" or not text.endswith(b"\n") else End(**json.loads(text))


def _be_child(run: Callable[[], End], write: int) -> None:
    code = 1
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        end = run()
        text = json.dumps(vars(end)).encode() + b"\n"
        while text:
            text = text[os.write(write, text) :]
        code = 0
    finally:
        os._exit(code)
