"""
Edit the same images in five ways, one after the other in one real Airflow: what does each take?

``python -m bench.batch_vs_mapped [--images 200] [--quick]``: ``--quick`` takes 20 images. The ways: the batch operator
(one task, with and without a worker while it waits), the single operator mapped over the images, the stock way (mapped
``HttpOperator``, ``HttpSensor`` and a ``@task`` that downloads), and one mapped ``@task`` that does everything with
``requests``. Airflow runs eight tasks at once (LocalExecutor, SQLite); the vendor is one emulator in a process of its
own, whose jobs take ten seconds each, any number at a time.

*Ideal* is the time of one job, as all may run at once. *CPU* is the processor time of all of Airflow's processes and
of their children that have ended (psutil), less what they take while nothing runs, watched for half a minute before
with all DAG files in place; the emulator's is not counted. *Starts* of tasks are read from Airflow's audit log,
*requests* and charged jobs are the emulator's own counts. Ends with 1 when the stock way does not take 20 times the
batch's CPU an image, or a way charges or lands another number of images. (With ``--quick`` the factor is only printed:
starting one task weighs more on 20 images.)
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bench._airflow import Played, Stage, task_starts
from bench.batch_scale import KEY, arguments, connection, prepare_process, vendor, verdicts
from demo.services import Service, emulator_stats

IMAGES: Final = 200
QUICK: Final = 20
JOB_SECONDS: Final = 10.0
LEAST_RATIO: Final = 20.0
_SECONDS_PER_IMAGE: Final = 8.0
_SLACK: Final = 240.0

WAYS: Final = {
    "batch_worker": "batch operator, on a worker",
    "batch_deferrable": "batch operator, deferrable",
    "mapped": "single operator, mapped, deferrable",
    "stock": "HttpOperator + HttpSensor + @task, mapped",
    "requests_task": "one @task with requests, mapped",
}

BATCH: Final = """
from airflow.sdk import dag
from airflow_imagepipeline.operators.batch import ImageToImageBatchOperator

@dag(schedule=None)
def {name}():
    ImageToImageBatchOperator(task_id="edit", **{batch!r})

{name}()
"""

MAPPED: Final = """
from airflow.sdk import dag
from airflow_imagepipeline.operators.imagepipeline import ImageToImageOperator

@dag(schedule=None)
def mapped():
    edit = ImageToImageOperator.partial(
        task_id="edit", prompt="on a white table", strength=0.6, destination={folder!r}, deferrable=True
    )
    edit.expand(init_image={photos})

mapped()
"""

STOCK: Final = """
import json
from pathlib import Path

from airflow.providers.http.operators.http import HttpOperator
from airflow.providers.http.sensors.http import HttpSensor
from airflow.sdk import dag, task

HEADERS = {{"API-Key": {key!r}, "Content-Type": "application/json"}}
PATH = "/sdxl/image2image/v1"
BODY = {{"model_id": "sdxl", "prompt": "on a white table", "strength": 0.6}}

@dag(schedule=None)
def stock():
    submit = HttpOperator.partial(
        task_id="submit", http_conn_id="vendor", endpoint=PATH, method="POST", headers=HEADERS,
        response_filter=lambda response: response.json()["id"],
    ).expand(data=[json.dumps({{**BODY, "init_image": photo}}) for photo in {photos}])
    wait = HttpSensor.partial(
        task_id="wait", http_conn_id="vendor", headers=HEADERS, poke_interval=5,
        response_check=lambda response: response.json()["status"] == "SUCCESS",
    ).expand(endpoint=submit.output.map(lambda job_id: f"/sdxl/image2image/v1/status/{{job_id}}"))

    @task
    def download(job_id):
        import requests

        found = requests.get({url!r} + f"{{PATH}}/status/{{job_id}}", headers=HEADERS, timeout=30).json()
        for number, link in enumerate(found["download_urls"]):
            Path({directory!r}, f"{{job_id}}-{{number:02d}}.png").write_bytes(requests.get(link, timeout=30).content)

    wait >> download.expand(job_id=submit.output)

stock()
"""

REQUESTS_TASK: Final = """
from airflow.sdk import dag, task

HEADERS = {{"API-Key": {key!r}}}
PATH = {url!r} + "/sdxl/image2image/v1"
BODY = {{"model_id": "sdxl", "prompt": "on a white table", "strength": 0.6}}

@dag(schedule=None)
def requests_task():
    @task
    def edit(photo):
        import time
        from pathlib import Path

        import requests

        answer = requests.post(PATH, json={{**BODY, "init_image": photo}}, headers=HEADERS, timeout=30)
        answer.raise_for_status()
        job_id = answer.json()["id"]
        while True:
            found = requests.get(f"{{PATH}}/status/{{job_id}}", headers=HEADERS, timeout=30).json()
            if found["status"] == "SUCCESS":
                break
            time.sleep(5)
        for number, link in enumerate(found["download_urls"]):
            Path({directory!r}, f"{{job_id}}-{{number:02d}}.png").write_bytes(requests.get(link, timeout=30).content)

    edit.expand(photo={photos})

requests_task()
"""


def sources(scratch: Path, url: str, images: int) -> dict[str, str]:
    """Return the DAG file of each way; results go into a folder of its own."""
    batch = arguments(scratch, url, images, images)
    photos = f"[f'{url}/photos/{{number:06d}}.png' for number in range({images})]"
    found = {}
    for name in WAYS:
        directory = scratch / "landed" / name
        directory.mkdir(parents=True)
        deferring = {"deferrable": True, "defer_after": 3.0} if name == "batch_deferrable" else {"deferrable": False}
        given = {
            "name": name,
            "batch": batch | deferring | {"destination": directory.as_uri()},
            "folder": directory.as_uri(),
            "directory": str(directory),
            "photos": photos,
            "url": url,
            "key": KEY,
        }
        texts = {"mapped": MAPPED, "stock": STOCK, "requests_task": REQUESTS_TASK}
        found[name] = texts.get(name, BATCH).format(**given)
    return found


def landed(directory: Path) -> int:
    """Count the images that lie in a folder."""
    return sum(1 for _ in directory.glob("*.png"))


def measured(stage: Stage, service: Service, name: str, scratch: Path, images: int) -> dict[str, Any]:
    """Play one way, and take stock."""
    before = emulator_stats(service)
    run: Played = stage.played(name, seconds=images * _SECONDS_PER_IMAGE + _SLACK)
    after = emulator_stats(service)
    asked = sum(after[kind] - before[kind] for kind in ("submits", "polls", "downloads"))
    return {
        "run": run,
        "starts": task_starts(stage.airflow, name, run.run_id),
        "requests": asked / images,
        "charged": after["accepted"] - before["accepted"],
        "landed": landed(scratch / "landed" / name),
    }


def told(name: str, found: Mapping[str, Any], images: int) -> str:
    """Return the line of one way."""
    run: Played = found["run"]
    return (
        f"{WAYS[name]:42} {run.state:8} {run.wall:8.1f} {run.wall / JOB_SECONDS:8.2f} {run.cpu / images:9.3f} "
        f"{found['starts']:7} {found['requests']:9.2f} {found['charged']:8} {found['landed']:7}"
    )


def compared(images: int, *, is_quick: bool) -> int:
    """Play all ways, print what each takes, and judge."""
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, vendor(Path(folder), JOB_SECONDS) as service:
        scratch = Path(folder)
        connections = {
            "imagepipeline_default": connection(service.url),
            "vendor": {"conn_type": "http", "host": service.url},
        }
        with Stage(scratch, connections, sources(scratch, service.url, images)) as stage:
            print(f"{images} images, jobs of {JOB_SECONDS:g} s; an idle Airflow takes {stage.idle:.3f} CPU-s a second")
            print(
                f"{'':42} {'ended':8} {'wall s':>8} {'/ideal':>8} {'CPU-s/img':>9} {'starts':>7} {'requests':>9} "
                f"{'charged':>8} {'landed':>7}",
                flush=True,
            )
            for name in WAYS:
                found[name] = measured(stage, service, name, scratch, images)
                print(told(name, found[name], images), flush=True)
    return judged(found, images, is_quick=is_quick)


def judged(found: Mapping[str, Mapping[str, Any]], images: int, *, is_quick: bool) -> int:
    """Print how the stock way compares with the batch, and what holds."""
    stock = found["stock"]
    ratios = {name: stock["run"].cpu / found[name]["run"].cpu for name in ("batch_worker", "batch_deferrable")}
    for name, ratio in ratios.items():
        walls = stock["run"].wall / found[name]["run"].wall
        print(f"stock / {WAYS[name]}: {ratio:.1f} times the CPU, {walls:.1f} times the wall time")
    ours = [found[name] for name in ("batch_worker", "batch_deferrable", "mapped")]
    checks = {
        "every image of the provider's three ways is landed": all(one["landed"] == images for one in ours),
        "and charged once": all(one["charged"] == images for one in ours),
    }
    if not is_quick:
        enough = (
            f"the stock way takes {ratios['batch_worker']:.1f} times the CPU of the batch, at least {LEAST_RATIO:g}"
        )
        checks[enough] = ratios["batch_worker"] >= LEAST_RATIO
    return verdicts(checks)


def main() -> None:
    """Read the command line and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} images, for CI")
    options = parser.parse_args()
    prepare_process()
    sys.exit(compared(QUICK if options.quick else options.images, is_quick=options.quick))


if __name__ == "__main__":
    main()
