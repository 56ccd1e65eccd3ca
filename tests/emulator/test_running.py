"""Starting and ending the emulator: in a test, and from the command line."""

from __future__ import annotations

import ast
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

import airflow_imagepipeline.emulator
from airflow_imagepipeline.emulator import Emulator

from .api import KEY, Dialect, only_edit, only_sdxl

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOM = Path(airflow_imagepipeline.emulator.__file__).parent
_LINE = re.compile(
    r"ImagePipeline\.io emulator \(not the real service, nothing is billed\) "
    r"listening on (http://127\.0\.0\.1:\d+)\n"
)


@contextmanager
def _command(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(  # noqa: S603 - the package under test
        [sys.executable, "-m", "airflow_imagepipeline.emulator", *arguments],
        cwd=_ROOM.parent.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def _threads_of_emulators() -> int:
    return sum(thread.name == "imagepipeline-emulator" for thread in threading.enumerate())


@only_edit
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_the_command_says_where_it_listens_and_ends_on_a_signal(
    api: Dialect, body: dict[str, Any], end: signal.Signals
) -> None:
    with _command("--port", "0", "--api-key", KEY, "--job-seconds", "3600", "--credits", "1") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        match = _LINE.fullmatch(process.stdout.readline())
        assert match is not None
        headers = {api.key_header: KEY}
        answers = [requests.post(match[1] + api.path, json=body, headers=headers, timeout=60) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [api.accepted, 402]
        process.send_signal(end)
        assert process.wait(60) == 0
        assert (process.stdout.read(), process.stderr.read()) == ("", "")


def test_the_command_says_that_a_port_is_taken(shared: Emulator) -> None:
    port = shared.url.rpartition(":")[2]
    with _command("--port", port) as process:
        _out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.startswith(f"cannot listen on 127.0.0.1:{port}: ")


def test_it_listens_on_127_0_0_1_only(shared: Emulator) -> None:
    port = int(shared.url.rpartition(":")[2])
    socket.create_connection(("127.0.0.1", port), timeout=60).close()
    # Every address of 127.0.0.0/8 is this machine's: a server that listens on all interfaces would answer here.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=60)


def test_leaving_the_block_frees_the_port_and_ends_the_thread(api: Dialect, body: dict[str, Any]) -> None:
    threads = _threads_of_emulators()
    with Emulator(api_key=KEY, job_seconds=3600) as emulator:
        url = emulator.url
        api.submit(emulator, body)
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=60)
    assert _threads_of_emulators() == threads
    assert emulator.stats()["accepted"] == 1
    with pytest.raises(RuntimeError, match="does not run"):
        emulator.url  # noqa: B018


def test_leaving_the_block_does_not_wait_for_a_slow_input(api: Dialect, body: dict[str, Any], files: str) -> None:
    with Emulator(api_key=KEY) as emulator:
        job_id = api.begin(emulator, {**body, api.image_field: f"{files}/drip.png"})
        assert api.is_running(emulator, job_id)
    assert emulator.stats()["accepted"] == 1


@only_edit
def test_it_can_be_stopped_twice_and_started_again_on_its_port(api: Dialect, body: dict[str, Any]) -> None:
    emulator = Emulator(api_key=KEY, job_seconds=0)
    url = emulator.start().url
    with pytest.raises(RuntimeError, match="runs already"):
        emulator.start()
    emulator.stop()
    emulator.stop()
    with emulator:
        assert emulator.url == url
        assert api.outcome(emulator, api.begin(emulator, body))["status"] == api.done


@only_sdxl
def test_two_emulators_know_nothing_of_each_other(
    api: Dialect, shared: Emulator, emulator: Emulator, body: dict[str, Any]
) -> None:
    before = shared.stats()
    api.submit(emulator, body)
    assert emulator.stats()["accepted"] == 1
    assert shared.stats() == before


def test_signal_handlers_of_the_process_are_left_alone() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Emulator(api_key=KEY):
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_it_shares_no_code_with_the_provider() -> None:
    for file in _ROOM.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level <= 1, file
                names = [] if node.level else [node.module or ""]
            assert not [name for name in names if name.startswith(("airflow", "airflow_imagepipeline"))], file
