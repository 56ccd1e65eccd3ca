"""
The same faults for ``HttpOperator`` and ``HttpSensor`` (retries 3) and for this provider: who pays how often?

Each way runs against a server of its own that plays the same script and counts: ``python -m bench.faults_vs_stock``.
Tries are executed in this process as Airflow would: again after every error that allows a retry. A killed worker is an
error after which nothing of the process goes on. Pauses are skipped; the network is real.
"""

from __future__ import annotations

import contextvars
import json
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="airflow-bench-"))

import structlog
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException
from airflow.providers.http.operators.http import HttpOperator
from airflow.providers.http.sensors.http import HttpSensor
from airflow.sdk.bases.operator import ExecutorSafeguard

from airflow_imagepipeline.contract.calls import RequestKind
from airflow_imagepipeline.hooks import imagepipeline, transport
from tests.faults import (
    STATUS,
    SUBMIT,
    Instruction,
    ScriptedServer,
    answer,
    cut_after,
    failure,
    pending,
    redirect,
    refused,
    reset_after_request,
    silent,
    success,
)
from tests.reliability.task import LINK, Clock, Task

PATH = "/sdxl/image2image/v1"
RETRIES = 3
PATIENCE = 1.0
MANY = 50


class Killed(BaseException):
    """The worker was killed."""


@dataclass
class Fault:
    """
    One thing that goes wrong.

    :param posts: what the server does with the first submissions, and whether it starts (and bills) a job; all later
        ones are taken.
    :param looks: what it answers to the first looks; later ones find the job done.
    :param killed: ``"answered"``: the first worker dies when the answer has come, before it is kept anywhere;
        ``"waiting"``: at its first look.
    """

    name: str
    posts: Sequence[tuple[Instruction, bool]] = ()
    looks: Sequence[Instruction] = ()
    killed: str = ""


@dataclass
class World:
    """A server that plays a fault, and what was paid and asked."""

    fault: Fault
    charged: int = 0
    server: ScriptedServer = field(init=False)

    def __post_init__(self) -> None:
        """Make the server; it runs from ``with`` on."""
        posts, looks = iter(self.fault.posts), iter(self.fault.looks)

        def submit(_: object) -> Instruction:
            instruction, accepts = next(posts, (pending(f"job-{self.charged + 1}"), True))
            self.charged += accepts
            return instruction

        self.server = ScriptedServer(
            {SUBMIT: submit, STATUS: lambda _: next(looks, success([LINK])), "* /elsewhere": lambda _: answer(200)}
        )


def _taken(instruction: Instruction, times: int = 1) -> list[tuple[Instruction, bool]]:
    return [(instruction, True)] * times


def _not_taken(instruction: Instruction, times: int = 1) -> list[tuple[Instruction, bool]]:
    return [(instruction, False)] * times


BODY = '{"id": "job-1", "status": "PENDING"}'
FAULTS = (
    Fault("nothing goes wrong", looks=[pending()] * 2),
    Fault("submission: the answer is lost (reset)", _taken(reset_after_request())),
    Fault("submission: the answer is lost, three times", _taken(reset_after_request(), 3)),
    Fault("submission: the request is lost on its way", _not_taken(reset_after_request())),
    Fault("submission: no answer in time", _taken(silent())),
    Fault("submission: a gateway says 502, the job was taken", _taken(answer(502, "<html>"))),
    Fault("submission: a gateway says 504, four times", _taken(answer(504, "<html>"), 4)),
    Fault("submission: 500, the job was not taken", _not_taken(refused(500))),
    Fault("submission: the answer is cut", _taken(cut_after(20, BODY))),
    Fault("submission: html with status 200", _taken(answer(200, "<html>hello</html>"))),
    Fault("submission: 429 twice", _not_taken(refused(429, headers={"Retry-After": "1"}), 2)),
    Fault("submission: 422", _not_taken(refused(422), MANY)),
    Fault("submission: 402, no credits", _not_taken(refused(402), MANY)),
    Fault("submission: redirected (307) with key and body", _not_taken(redirect(307, "/elsewhere"), MANY)),
    Fault("worker killed between answer and id", killed="answered"),
    Fault("worker killed while it waits", looks=[pending()] * 2, killed="waiting"),
    Fault("wait: 500 six times", looks=[pending(), *[refused(500)] * 6]),
    Fault("wait: connection reset six times", looks=[pending(), *[reset_after_request()] * 6]),
    Fault("wait: html six times", looks=[pending(), *[answer(200, "<html>")] * 6]),
    Fault("wait: the job fails", looks=[pending(), *[failure()] * MANY]),
)


def tried(attempt: Callable[[int], Any]) -> Any:
    """Run a task as Airflow does: again after what allows a retry, ``RETRIES`` times at most."""
    for try_number in range(1, RETRIES + 2):
        try:
            return attempt(try_number)
        except AirflowFailException:
            raise
        except (Exception, Killed):
            if try_number > RETRIES:
                raise
    return None


def stock(world: World) -> None:
    """Submit with ``HttpOperator``, wait with ``HttpSensor``: two tasks."""
    headers = {"API-Key": "key", "Content-Type": "application/json"}
    patience = {"timeout": PATIENCE}
    os.environ["AIRFLOW_CONN_HTTP_DEFAULT"] = json.dumps({"conn_type": "http", "host": world.server.origin})

    def submitted(try_number: int) -> str:
        submit = HttpOperator(
            task_id="submit",
            endpoint=PATH,
            method="POST",
            data=json.dumps({"init_image": "https://img.example/in.png", "prompt": "a lighthouse"}),
            headers=headers,
            extra_options=patience,
            response_filter=lambda response: response.json()["id"],
            retries=RETRIES,
        )
        job_id: str = in_task_runner(submit, {})
        if world.fault.killed == "answered" and try_number == 1:
            raise Killed
        return job_id

    job_id = tried(submitted)

    def is_done(response: Any) -> bool:
        status = response.json()["status"]
        if status == "FAILURE":
            message = "the job failed"
            raise AirflowException(message)
        if world.fault.killed == "waiting" and world.server.hits(STATUS) == 1:
            raise Killed
        return bool(status == "SUCCESS")

    def waited(_: int) -> None:
        wait = HttpSensor(
            task_id="wait",
            endpoint=f"{PATH}/status/{job_id}",
            headers=headers,
            extra_options=patience,
            response_check=is_done,
            poke_interval=0.01,
            retries=RETRIES,
        )
        in_task_runner(wait, {"ti": mock.Mock(try_number=1)})

    tried(waited)


def ours(world: World) -> None:
    """Submit and wait with ``ImageToImageOperator``: one task."""
    os.environ["AIRFLOW_CONN_IMAGEPIPELINE_DEFAULT"] = json.dumps(
        {"conn_type": "imagepipeline", "host": world.server.origin, "password": "key"}
    )
    clock = Clock()
    task = Task(clock, deferrable=False, retries=RETRIES)

    def before(*_: object) -> None:
        if world.fault.killed == "answered" and world.server.hits(SUBMIT) == 1 and task.try_number == 1:
            raise Killed

    def on_sleep(_: int) -> None:
        if world.fault.killed == "waiting" and task.try_number == 1:
            raise Killed

    assert task.store is not None  # noqa: S101 - for the reader of types
    task.store.before, clock.on_sleep = before, on_sleep
    with mock.patch.object(imagepipeline, "time", clock):
        tried(lambda _: task.run())


def in_task_runner(task: Any, context: Any) -> Any:
    """Call ``execute`` as Airflow's task runner does."""

    def call() -> Any:
        ExecutorSafeguard.tracker.set(task)
        return task.execute(context)

    return contextvars.copy_context().run(call)


def measured(way: Callable[[World], None], fault: Fault) -> tuple[int, int, str]:
    """Return how many jobs were charged, how many requests were sent, and how it ended."""
    world = World(fault)
    with world.server:
        try:
            way(world)
            outcome = "success"
        except (Exception, Killed) as error:  # noqa: BLE001 - how a way ends is what is measured
            outcome = type(error).__name__
        with suppress(AssertionError):
            world.server.settle(timeout=PATIENCE)
        return world.charged, world.server.count(), outcome


def main() -> None:
    """Print the table."""
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    read = {**transport.READ_SECONDS, RequestKind.SUBMIT: PATIENCE}
    totals = [0] * 8
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(transport, "READ_SECONDS", read))
        print(f"{'':52}| {'HttpOperator + HttpSensor, retries 3':42}| ImageToImageOperator, retries 3")
        head = f"{'charged':>7} {'requests':>8}  {'ends with':23}"
        print(f"{'fault':52}| {head} | {head}")
        print("-" * 137)
        for fault in FAULTS:
            a, b = measured(stock, fault), measured(ours, fault)
            print(
                f"{fault.name:52}| {a[0]:7} {a[1]:8}  {a[2]:23} | {b[0]:7} {b[1]:8}  {b[2]}",
                flush=True,
            )
            row = (a[0], a[1], a[2] == "success", a[0] > 1, b[0], b[1], b[2] == "success", b[0] > 1)
            totals = [x + y for x, y in zip(totals, row, strict=True)]
    print("-" * 137)
    ways = (totals[:4], totals[4:])
    sums = [f"{charged:7} {sent:8}  {f'{succeeded} succeed':23}" for charged, sent, succeeded, _ in ways]
    print(f"{f'{len(FAULTS)} faults':52}| {sums[0]} | {sums[1].rstrip()}")
    print(f"{'faults that were paid for more than once':52}| {ways[0][3]:7} {'':33} | {ways[1][3]:7}")


if __name__ == "__main__":
    main()
