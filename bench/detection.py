"""
Print how many seconds pass between the end of a job and the look that sees it, against the looks a job takes.

``python -m bench.detection [--quick]``, about seven minutes, or one. Emulators run as processes of their own, clocks
and looks are real (``ImagePipelineHook.aget_job``), and every way of looking watches the same jobs: fixed beats, and
what is learned from the jobs before (``LookSchedule``) with the poll interval that makes about as many requests. The
first jobs teach and do not count, for neither way. Ends with 1 when a target is missed.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

import aiohttp
import structlog

from airflow_imagepipeline.contract import calls
from airflow_imagepipeline.contract.job import JobHandle
from airflow_imagepipeline.contract.parameters import EditImageParameters
from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
from airflow_imagepipeline.policy.looking import LookSchedule

KEY: Final = "emulator-key"
JOB_SECONDS: Final = 20.0
BEATS: Final = (1.0, 2.0, 5.0, 10.0)
PARAMETERS: Final = EditImageParameters(input_image="https://images.example/cup.png", prompt="a red cup")
MOST_REQUESTS: Final = 1.05

Figures = tuple[float, float, float, float]


class Row(NamedTuple):
    """One line of the table, and its ratios of requests and of median delays."""

    line: str
    requests: float
    median: float


@dataclass(frozen=True)
class Kind:
    """
    A way in which job times vary.

    :param options: of the emulator.
    :param interval: poll interval of ours in units of the beat, so that both make about as many requests.
    :param target: the part of the beat's median delay that ours must keep below.
    """

    name: str
    options: tuple[str, ...]
    interval: float
    target: float


KINDS: Final = (
    Kind("constant", (), 0.8, 0.5),
    Kind("spread 0.3", ("--spread", "0.3"), 0.97, 0.5),
    # It is the beat itself there: the medians of two samples of 180 jobs differ by a tenth, their mean over four beats
    # by a twentieth, so that two such deviations are allowed.
    Kind("heavy tail", ("--spread", "0.3", "--heavy-tail"), 1.0, 1.10),
)


@dataclass(frozen=True)
class Scale:
    """
    How long all of it takes.

    :param unit: seconds that a second of the table takes: 0.25 for a quick run.
    :param jobs: of each kind.
    :param teaching: the first jobs, which do not count.
    :param seconds: in which the jobs are submitted, evenly.
    """

    unit: float
    jobs: int
    teaching: int
    seconds: float


FULL: Final = Scale(1.0, 240, 60, 300.0)
QUICK: Final = Scale(0.25, 70, 25, 50.0)


@dataclass
class Way:
    """
    One way of looking at the jobs of one kind.

    :param pause: from a job's age to the seconds until the next look.
    :param learn: takes in the ages at the last look that saw it pending and at the one that saw it done.
    """

    pause: Callable[[float], float]
    learn: Callable[[float, float], None] = lambda *_: None
    looks: dict[str, int] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)

    async def watch(self, handle: JobHandle, hook: ImagePipelineHook, session: aiohttp.ClientSession) -> None:
        """Look at a job until it is done."""
        job_id, submitted_at = str(handle.job_id), handle.submitted_at or 0.0
        pending_at = age = 0.0
        while job_id not in self.seen:
            await asyncio.sleep(self.pause(age))
            job = await hook.aget_job(handle, session)
            self.looks[job_id] = self.looks.get(job_id, 0) + 1
            pending_at, age = age, time.time() - submitted_at
            if job.status.is_terminal:
                self.seen[job_id] = submitted_at + age
        self.learn(pending_at, age)


def beat(seconds: float, source: random.Random) -> Way:
    """Return the way of looking at a fixed beat, jittered like ours by a tenth."""
    return Way(lambda _: seconds * source.uniform(0.9, 1.1))


def learned(seconds: float, source: random.Random) -> Way:
    """Return the way of looking that learns."""
    schedule = LookSchedule(poll_interval=seconds, source=source)
    return Way(lambda age: schedule.pause(age=age), lambda *ages: schedule.learn(pending_at=ages[0], done_at=ages[1]))


@contextmanager
def emulator(kind: Kind, seconds: float) -> Iterator[str]:
    """Run an emulator as a process and yield its address."""
    program = [sys.executable, "-m", "airflow_imagepipeline.emulator", "--canned", "--seed", "1"]
    process = subprocess.Popen(
        [*program, "--job-seconds", str(seconds), *kind.options], stdout=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline() if process.stdout else ""
        yield line.split()[-1]
    finally:
        process.terminate()
        process.wait(20)


async def watched(scale: Scale, hook: ImagePipelineHook, session: aiohttp.ClientSession, ways: list[Way]) -> list[str]:
    """Submit the jobs of a kind one after the other, each watched in all ways; return their ids when all are done."""
    ids: list[str] = []
    async with asyncio.TaskGroup() as watching:
        start = time.monotonic()
        for number in range(scale.jobs):
            await asyncio.sleep(max(start + number * scale.seconds / scale.jobs - time.monotonic(), 0.0))
            job = await hook.asend(calls.submit_job(PARAMETERS, submitted_at=time.time()), session)
            ids.append(str(job.handle.job_id))
            for way in ways:
                watching.create_task(way.watch(job.handle, hook, session))
    return ids


async def measured(kind: Kind, url: str, scale: Scale) -> list[Row]:
    """Return the table's lines for a kind of job times."""
    conn_id = f"imagepipeline_{KINDS.index(kind)}"
    os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(
        {"conn_type": "imagepipeline", "host": url, "password": KEY}
    )
    hook, source = ImagePipelineHook(conn_id), random.Random(1)
    pairs = [
        (beat(seconds * scale.unit, source), learned(seconds * scale.unit * kind.interval, source)) for seconds in BEATS
    ]
    async with hook.asession() as session:
        ids = await watched(scale, hook, session, [way for pair in pairs for way in pair])
    done_at = {job_id: await ended(url, job_id) for job_id in ids[scale.teaching :]}
    return [
        compared(kind, seconds, summary(pair[0], done_at, scale), summary(pair[1], done_at, scale))
        for seconds, pair in zip(BEATS, pairs, strict=True)
    ]


async def ended(url: str, job_id: str) -> float:
    """Return when the emulator says that a job was done, in seconds since the epoch."""
    async with (
        aiohttp.ClientSession(headers={"X-API-Key": KEY}) as session,
        session.get(f"{url}/edit/image/v1/status/{job_id}") as answer,
    ):
        return datetime.fromisoformat((await answer.json())["completed_at"]).timestamp()


def summary(way: Way, done_at: dict[str, float], scale: Scale) -> Figures:
    """Return the requests a job, and the median, mean and 95th percentile of the delay in the table's seconds."""
    delays = [(way.seen[job_id] - done) / scale.unit for job_id, done in done_at.items()]
    requests = statistics.fmean(way.looks[job_id] for job_id in done_at)
    return requests, statistics.median(delays), statistics.fmean(delays), statistics.quantiles(delays, n=20)[-1]


def compared(kind: Kind, seconds: float, fixed: Figures, ours: Figures) -> Row:
    """Return one line of the table."""
    ratios = [own / other for own, other in zip(ours, fixed, strict=True)]
    line = f"{kind.name:10} {seconds:4.0f} s | {fixed[0]:8.2f} {fixed[1]:7.2f} {fixed[2]:6.2f} {fixed[3]:6.2f} | "
    line += f"{seconds * kind.interval:5.2f} s {ours[0]:8.2f} {ours[1]:7.2f} {ours[2]:6.2f} {ours[3]:6.2f} | "
    return Row(f"{line}{ratios[0]:8.2f} {ratios[1]:7.2f} {ratios[2]:6.2f}", ratios[0], ratios[1])


def verdict(kind: Kind, rows: list[Row]) -> tuple[str, bool]:
    """Return the sentence on a kind, and whether it shows what is to be shown; chance moves one row by a tenth."""
    requests, median = statistics.fmean(row.requests for row in rows), statistics.fmean(row.median for row in rows)
    is_reached = requests <= MOST_REQUESTS and median <= kind.target
    said = f"{kind.name}: over all beats {requests:.2f} of the requests and {median:.2f} of the median delay"
    return f"{said}; at most {MOST_REQUESTS} and {kind.target}: {'reached' if is_reached else 'MISSED'}", is_reached


async def all_measured(urls: list[str], scale: Scale) -> list[list[Row]]:
    """Measure all kinds at the same time."""
    return await asyncio.gather(*(measured(kind, url, scale) for kind, url in zip(KINDS, urls, strict=True)))


def main() -> int:
    """Print the table; return the exit status."""
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    scale = QUICK if "--quick" in sys.argv[1:] else FULL
    start = time.monotonic()
    with ExitStack() as stack:
        urls = [stack.enter_context(emulator(kind, JOB_SECONDS * scale.unit)) for kind in KINDS]
        tables = asyncio.run(all_measured(urls, scale))
    counted = scale.jobs - scale.teaching
    print(f"Seconds between done and seen; jobs of {JOB_SECONDS:.0f} s, {counted} of each kind after {scale.teaching}.")
    if scale.unit != 1.0:
        print(f"All times were run {1 / scale.unit:.0f} times as fast, and are shown in the scale of a full run.")
    print(f"{'':17} | {'fixed beat':30} | {'learned':38} | learned / fixed")
    head = f"{'requests':>8} {'median':>7} {'mean':>6} {'p95':>6}"
    print(f"{'job times':10} {'beat':>6} | {head} | {'poll':>7} {head} | {'requests':>8} {'median':>7} {'mean':>6}")
    print("-" * 117)
    for row in itertools.chain.from_iterable(tables):
        print(row.line)
    verdicts = [verdict(kind, rows) for kind, rows in zip(KINDS, tables, strict=True)]
    print("\n".join(sentence for sentence, _ in verdicts))
    print(f"Took {time.monotonic() - start:.0f} s.")
    return 0 if all(is_reached for _, is_reached in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
