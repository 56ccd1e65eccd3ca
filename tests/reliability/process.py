"""A try of the task in a process of its own, which may be killed: ``python -m tests.reliability.process '{...}'``."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_imagepipeline.hooks import transport
from tests.generations import BOTH, Spoken
from tests.reliability.task import Clock, Store, Task, called


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_points(point: str, store: Store) -> None:
    # Each is the moment before the named step.
    sends = transport.send_with_requests

    def send(access: Any, request: Any) -> Any:
        if point == "before the request leaves" and request.method == "POST":
            _die()
        answer = sends(access, request)
        if point == "before the id is stored" and request.method == "POST":
            store.before = _die
        return answer

    if point == "before the intent is stored":
        store.before = lambda operation, key: _die() if (operation, key[-6:]) == ("set", "latest") else None
    mock.patch.object(transport, "send_with_requests", send).start()


def main(told: dict[str, Any]) -> None:
    """Run one try as told, and print how it ended."""
    (Spoken.generation,) = (one for one in BOTH if one.name == told["generation"])
    clock = Clock()
    store = Store(Path(told["store"]))
    task = Task(clock, deferrable=told["deferrable"], store=store, poll_interval=0.05)
    task.try_number = told["try_number"] - 1
    _kill_points(told["kill"], store)
    if told["sigterm"]:
        operator = task.operator()
        # What Airflow's task runner does with the signal: the process goes on until it is killed.
        signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())
        task.try_number += 1
        print(json.dumps(called(operator, "execute", task.context(operator))))  # noqa: T201 - the parent reads it
        return
    try:
        result = task.start() if told["event"] is None else task.resume(told["event"])
        print(json.dumps({"result": result}))  # noqa: T201
    except TaskDeferred as deferred:
        print(json.dumps({"trigger": deferred.trigger.serialize()[1]}))  # noqa: T201
        if told["kill"] == "before the deferral is reported":
            sys.stdout.flush()
            _die()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
