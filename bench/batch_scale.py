"""
Measure how one task carries thousands of images: time, loop, memory, ledger, processor, and whether the books balance.

``python -m bench.batch_scale [--images 10000] [--in-flight 200] [--job-seconds 10] [--table] [--deferrable]``

The vendor is the emulator in a process of its own (every job takes the same time and yields a ready-made image; its
processor time is not counted). Without ``--deferrable``, the batch operator runs in a process of its own for each size,
as Airflow's task runner calls it, on a ``.jsonl`` table: *wall* is the time in ``execute``, *ideal* is images / in
flight * job seconds, *lag* by how much ``asyncio.sleep(0.01)`` overruns in the operator's own loop, *peak* the
process's ``VmHWM``, *requests* those that the ledger makes of its storage. Memory per input is the slope between two
further runs with few and short jobs in flight: of the peak of what Python holds (tracemalloc), with garbage collected
every second, as both what waits for a collection and what the C library keeps vary by megabytes. With ``--deferrable``
the task runs in a real Airflow; its worker starts and the time without a worker are read from Airflow's audit log.

Ends with 1 when a bound is missed. Everything listens on the loopback; needs Linux, for ``/proc``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from bench._airflow import Stage, task_starts
from demo.processes import clean_environment
from demo.services import Service, emulator_stats
from demo.timing import time_spent

KEY: Final = "the-key-of-the-bench"
SIZES: Final = (1_000, 2_500, 5_000, 10_000)
TRACED: Final = (4_000, 9_000)
"""Sizes whose memory is compared: the smaller one fills what depends on the jobs in flight, and has the interpreter's
own table of names (pathlib's) grow to the size that it keeps."""
TRACED_IN_FLIGHT: Final = 60
TRACED_SECONDS: Final = 0.2
MOST_OVER_IDEAL: Final = 1.25
MOST_LAG_MS: Final = 50.0
MOST_BYTES: Final = 300.0
_PATIENCE: Final = 5
"""So many times the ideal time, and some minutes, may a run take before it is ended."""
_SLACK: Final = 180.0

DAG: Final = """
from airflow.sdk import dag
from airflow_imagepipeline.operators.batch import ImageToImageBatchOperator

@dag(schedule=None)
def scale():
    ImageToImageBatchOperator(task_id="edit", deferrable=True, **{arguments!r})

scale()
"""


@contextmanager
def vendor(scratch: Path, job_seconds: float) -> Iterator[Service]:
    """Run an emulator whose counts begin at zero."""
    command = [sys.executable, "-m", "airflow_imagepipeline.emulator", "--canned", "--port", "0", "--api-key", KEY]
    with Service("emulator", [*command, "--job-seconds", str(job_seconds)], scratch) as service:
        yield service


def arguments(scratch: Path, url: str, images: int, in_flight: int) -> dict[str, Any]:
    """Return the operator's; the inputs are put into a table."""
    table = scratch / "inputs.jsonl"
    with table.open("w") as file:
        for number in range(images):
            row = {"init_image": f"{url}/photos/{number:06d}.png", "sku": f"sku-{number:06d}"}
            file.write(json.dumps(row) + "\n")
    return {
        "inputs": table.as_uri(),
        "request": {"prompt": "{sku} on a white table", "strength": 0.6},
        "destination": (scratch / "landed").as_uri(),
        "file_stem": "{sku}",
        "max_in_flight": in_flight,
    }


def connection(url: str) -> dict[str, Any]:
    """Return the Airflow connection to the emulator."""
    return {"conn_type": "imagepipeline", "host": url, "password": KEY}


def manifest_rows(summary: Mapping[str, Any]) -> int:
    """Count the rows of a manifest."""
    with Path(unquote(urlsplit(summary["manifest"]).path)).open() as file:
        return sum(1 for _ in file)


def on_a_worker(images: int, in_flight: int, job_seconds: float, *flags: str) -> dict[str, Any]:
    """Measure one batch that keeps its worker; ``--trace`` has Python's memory measured, which takes its time."""
    ideal = images / in_flight * job_seconds
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, vendor(Path(folder), job_seconds) as service:
        scratch = Path(folder)
        environment = clean_environment(
            {
                "AIRFLOW_HOME": str(scratch / "airflow"),
                "AIRFLOW_CONN_IMAGEPIPELINE_DEFAULT": json.dumps(connection(service.url)),
            }
        )
        given = arguments(scratch, service.url, images, in_flight) | {"deferrable": False}
        # Looks more seldom than jobs end would leave a batch of short jobs waiting.
        given["poll_interval"] = min(5.0, job_seconds)
        log = scratch / "batch.log"
        with log.open("w") as errors:
            ended = subprocess.run(
                [sys.executable, "-m", "bench._one_batch", json.dumps(given), *flags],
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                timeout=max(ideal, images / 20) * _PATIENCE + _SLACK,
                check=False,
            )
        if ended.returncode:
            sys.exit(f"the batch ended with {ended.returncode}:\n{log.read_text()[-4000:]}")
        found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
        stats = emulator_stats(service)
        books = {"rows": manifest_rows(found["summary"]), "accepted": stats["accepted"], "looks": stats["polls"]}
        return found | books | {"images": images, "ideal": ideal, "landed": found["summary"]["counts"]["landed"]}


def told(found: Mapping[str, Any]) -> str:
    """Return the line of one size."""
    lag, images = found["lag_ms"], found["images"]
    return (
        f"{images:7,} {found['wall']:8.1f} {found['wall'] / found['ideal']:7.3f} {found['accepted']:8,} "
        f"{found['rows']:7,} {found['landed']:7,} {found['looks'] / images:6.2f} "
        f"{lag['p50']:6.1f} {lag['p99']:6.1f} {lag['max']:7.1f} {found['peak'] / 2**20:8.1f} "
        f"{found['requests'] / images:9.3f} {found['cpu'] / images * 1000:9.2f}"
    )


HEAD: Final = (
    f"{'images':>7} {'wall s':>8} {'/ideal':>7} {'accepted':>8} {'rows':>7} {'landed':>7} {'looks':>6} "
    f"{'lag50':>6} {'lag99':>6} {'lagmax':>7} {'peak MiB':>8} {'ledger rq':>9} {'CPU ms':>9}\n"
    f"{'/image':>54} {'ms':>6} {'ms':>6} {'ms':>7} {'':8} {'/image':>9} {'/image':>9}"
)


def verdicts(checks: Mapping[str, bool]) -> int:
    """Print a line for each bound; return the exit status."""
    for name, holds in checks.items():
        print(f"{'PASS' if holds else 'FAIL'}  {name}")
    return 0 if all(checks.values()) else 1


def slope(small: Mapping[str, Any], large: Mapping[str, Any]) -> float:
    """Return the bytes of peak memory that one more input takes."""
    return float((large["traced"] - small["traced"]) / (large["images"] - small["images"]))


def worker_mode(options: argparse.Namespace) -> int:
    """Measure all sizes that are asked for, and judge."""
    sizes = SIZES if options.table else (options.images,)
    print(
        f"one task, {options.in_flight} in flight, jobs of {options.job_seconds:g} s, 2 looks' interval as by default"
    )
    print(HEAD, flush=True)
    found = []
    for images in sizes:
        found.append(on_a_worker(images, options.in_flight, options.job_seconds))
        print(told(found[-1]), flush=True)
    taken = slope(*(on_a_worker(images, TRACED_IN_FLIGHT, TRACED_SECONDS, "--trace") for images in TRACED))
    last = found[-1]
    over, lag = last["wall"] / last["ideal"], max(one["lag_ms"]["p99"] for one in found)
    return verdicts(
        {
            "one row in the manifest for each input": all(one["rows"] == one["images"] for one in found),
            "accepted submissions = images": all(one["accepted"] == one["images"] for one in found),
            f"wall {over:.3f} of ideal, at most {MOST_OVER_IDEAL}": over <= MOST_OVER_IDEAL,
            f"loop lag p99 {lag:.1f} ms, at most {MOST_LAG_MS:g}": lag <= MOST_LAG_MS,
            f"memory {taken:.0f} bytes an input plus a constant, at most {MOST_BYTES:g}": taken <= MOST_BYTES,
        }
    )


def deferrable_mode(options: argparse.Namespace) -> int:
    """Measure one batch that gives up its worker while it waits, in a real Airflow."""
    images, ideal = options.images, options.images / options.in_flight * options.job_seconds
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        vendor(Path(folder), options.job_seconds) as service,
    ):
        given = arguments(Path(folder), service.url, images, options.in_flight)
        sources = {"scale": DAG.format(arguments=given)}
        with Stage(Path(folder), {"imagepipeline_default": connection(service.url)}, sources) as stage:
            run = stage.played("scale", seconds=ideal * _PATIENCE + _SLACK)
            starts = task_starts(stage.airflow, "scale", run.run_id)
            spent = time_spent(stage.airflow, "scale", run.run_id)["edit"]
            instances = len(stage.airflow.task_instances("scale", run.run_id))
            summary = stage.airflow.xcom("scale", run.run_id, "edit") or {}
        stats = emulator_stats(service)
        rows = manifest_rows(summary)
    print(
        f"one deferrable task in Airflow, {images:,} images, {options.in_flight} in flight, {options.job_seconds:g} s"
    )
    print(f"{run.state}: {run.wall:.1f} s, {run.wall / ideal:.3f} of ideal; {starts} worker starts")
    print(f"worker held {spent.worker:.1f} s, no worker held {spent.deferred:.1f} s")
    print(f"accepted {stats['accepted']:,}, rows {rows:,}, looks {stats['polls'] / images:.2f} an image")
    print(f"processor of all of Airflow, above idle: {run.cpu / images * 1000:.1f} ms an image")
    return verdicts(
        {
            "one task instance": instances == 1,
            "one row in the manifest for each input": rows == images,
            "accepted submissions = images": stats["accepted"] == images,
            f"wall {run.wall / ideal:.3f} of ideal, at most {MOST_OVER_IDEAL}": run.wall / ideal <= MOST_OVER_IDEAL,
            "most of the time no worker is held": spent.deferred > spent.worker,
        }
    )


def prepare_process() -> None:
    """Keep the reader's proxy out of it, and end what was started when this process is asked to end."""
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--in-flight", type=int, default=200)
    parser.add_argument("--job-seconds", type=float, default=10.0)
    parser.add_argument("--table", action="store_true", help=f"measure {', '.join(map(str, SIZES))} images")
    parser.add_argument("--deferrable", action="store_true", help="in a real Airflow, without holding a worker")
    options = parser.parse_args()
    prepare_process()
    sys.exit(deferrable_mode(options) if options.deferrable else worker_mode(options))


if __name__ == "__main__":
    main()
