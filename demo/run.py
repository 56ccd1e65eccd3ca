"""`python -m demo.run`: a photo and a catalogue through a real Airflow, from the bucket to the message about them.

Airflow, its DAG and the provider are the real ones; ImagePipeline.io is played by the emulator and AWS by moto, so that
nothing is billed and nothing leaves this machine.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from demo import services
from demo.airflow_api import AirflowApi, ApiError, TaskChange
from demo.local_airflow import ADMIN, LocalAirflow
from demo.picture import before_after, sample
from demo.store import BUCKET, CATALOGUE, Message, Store
from demo.timing import SOURCE, Spent, time_spent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

PROJECT = Path(__file__).resolve().parent.parent
HOME = PROJECT / ".demo"
OUTPUT = PROJECT / "demo-output"
DAG_ID = "example_submit_sense_store_notify"
BATCH_ID = "example_nightly_catalogue"
PROMPT = "watercolor painting of a cup of coffee, autumn light"
JOB_SECONDS = 12.0  # long enough for a person to see that the sensor waits without a worker
_RUN_SECONDS = 240.0
_REMARKS = {"deferred": " (no worker is held)", "running": " (in a worker)"}


class DemoFailed(Exception):
    """The demo did not show what it has to show; the message says what is missing."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo.

    :param arguments: the command line without the program's name; ``None`` takes the process's own.
    :return: the exit status: 0 when everything was shown, 1 when something is missing, 130 after Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]  # a profile or address of the reader's own account has no say here
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with it ignored
    signal.signal(signal.SIGTERM, _end_by_signal)
    try:
        # "No copyright restrictions. CC0 by the photographer (Rachel Michetti)", courtesy of Pikolo Espresso Bar; the
        # words are those of `skimage.data.coffee`.
        _show(options.photo or sample("coffee.png"), ui=options.ui)
    except KeyboardInterrupt:
        print("\nInterrupted; everything is stopped.")
        return 130
    except (DemoFailed, RuntimeError, TimeoutError) as error:
        print(f"\nThe demo failed: {error}\nLogs are in {HOME / 'logs'}.", file=sys.stderr)
        return 1
    if not options.keep:
        shutil.rmtree(HOME)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m demo.run", description=__doc__)
    parser.add_argument("--photo", type=_existing_file, help="the photo to edit (default: a cup of coffee)")
    parser.add_argument("--ui", action="store_true", help="leave Airflow running afterwards, until Ctrl-C")
    parser.add_argument("--keep", action="store_true", help=f"keep logs and database in {HOME.name}/ after a success")
    return parser


def _existing_file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        message = f"{text} is not a file"
        raise argparse.ArgumentTypeError(message)
    return path


def _end_by_signal(_number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(143)  # unwinds through every `with`, which ends what was started


def _show(photo: Path, *, ui: bool) -> None:
    for folder in (HOME, OUTPUT):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    progress = Progress()
    api_key = secrets.token_hex(16)
    with contextlib.ExitStack() as stack:
        progress.say("starting the emulator of ImagePipeline.io, moto in the part of AWS, and Airflow")
        emulator = stack.enter_context(services.emulator(HOME / "logs", api_key=api_key, job_seconds=JOB_SECONDS))
        moto = stack.enter_context(services.moto(HOME / "logs"))
        store = Store(moto.url)
        connections = {
            "imagepipeline_default": services.imagepipeline_connection(emulator, api_key),
            "aws_default": services.aws_connection(moto),
        }
        # Nothing runs by its schedule: a nightly example would, as soon as it is no longer paused.
        config = {("scheduler", "use_job_schedule"): False}
        airflow = stack.enter_context(LocalAirflow(HOME, PROJECT / "dags", connections=connections, config=config))
        progress.say(f"Airflow is up at {airflow.url}")
        conf = {
            "init_image": store.upload(photo),
            "prompt": PROMPT,
            "destination": f"s3://{BUCKET}/edited",
            "topic_arn": store.topic_arn,
        }
        _report(airflow, store, _run_dag(airflow, DAG_ID, conf, progress), photo)
        _report_bill(services.emulator_stats(emulator), 1)
        _report_batch(airflow, store, _run_dag(airflow, BATCH_ID, {}, progress))
        _report_bill(services.emulator_stats(emulator), 1 + len(CATALOGUE))
        if ui:
            print(f"\nAirflow: {airflow.url}  login {ADMIN} / {airflow.passwords[ADMIN]}")
            print("Every example there runs as it is. Ctrl-C stops everything.")
            _wait_for_ctrl_c(airflow)
        progress.say("stopping everything")
    progress.say("stopped")


class Progress:
    """Prints what happens, with the seconds since the start."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """Print one line."""
        print(f"{time.monotonic() - self._began:6.1f} s  {text}", flush=True)

    def task(self, change: TaskChange) -> None:
        """Print that a task is in another state than before."""
        if change.state not in (None, "scheduled", "queued"):
            self.say(f"{change.task_id}: {change.state}{_REMARKS.get(change.state, '')}")


def _run_dag(airflow: AirflowApi, dag_id: str, conf: dict[str, str], progress: Progress) -> str:
    run_id = airflow.trigger(dag_id, conf)
    progress.say(f"{dag_id} is triggered with {conf.get('init_image', 'the defaults of its params')}")

    def watch(change: TaskChange) -> None:
        progress.task(change)
        if change.state == "up_for_retry":  # nothing on this stage excuses one, and Airflow waits minutes before it
            message = f"{change.task_id} failed once\n{_ends_of_logs(airflow, dag_id, run_id)}"
            raise DemoFailed(message)

    state = airflow.wait_for_run(dag_id, run_id, _RUN_SECONDS, watch)
    ends = _ends_of_logs(airflow, dag_id, run_id)
    if ends or state != "success":
        message = f"the run ended as {state}\n{ends}"
        raise DemoFailed(message)
    return run_id


def _ends_of_logs(airflow: AirflowApi, dag_id: str, run_id: str) -> str:
    """Return the ends of the failed tasks' logs; empty when no task has failed."""
    tasks = airflow.task_instances(dag_id, run_id)
    return "\n".join(_end_of_log(airflow, task) for task in tasks if task["state"] in ("failed", "up_for_retry"))


def _end_of_log(airflow: AirflowApi, task: dict[str, Any]) -> str:
    options = {"try_number": task["try_number"], "map_index": task["map_index"]}
    try:
        log = airflow.task_log(task["dag_id"], task["dag_run_id"], task["task_id"], **options)
    except ApiError as error:
        log = str(error)
    return f"--- {task['task_id']} ---\n" + "\n".join(
        [line for line in log.splitlines() if "group::" not in line][-25:]
    )


def _report(airflow: AirflowApi, store: Store, run_id: str, photo: Path) -> None:
    job = airflow.xcom(DAG_ID, run_id, "submit")
    images = airflow.xcom(DAG_ID, run_id, "store")["images"]
    if not images:
        message = "no image was stored"
        raise DemoFailed(message)
    files = [store.fetch(image, OUTPUT) for image in images]
    comparison = before_after(photo, files[0], PROMPT, OUTPUT / "before_after.png")
    print(f"\njob        {job['job_id']}")
    _report_time(time_spent(airflow, DAG_ID, run_id))
    for image, file in zip(images, files, strict=True):
        print(f"image      {image['uri']} ({image['width']}x{image['height']}, {image['bytes']} bytes)")
        print(f"           copied to {file}")
    print(f"compare    {comparison}")
    _report_message(store.message())


def _report_batch(airflow: AirflowApi, store: Store, run_id: str) -> None:
    summary, sheet = (airflow.xcom(BATCH_ID, run_id, task_id) for task_id in ("merge", "sheet"))
    print(f"\nmanifest   {summary['manifest']}")
    print("rows       " + ", ".join(f"{count} {outcome}" for outcome, count in summary["counts"].items() if count))
    print(f"sheet      {store.fetch(sheet, OUTPUT)}")
    _report_message(store.message())


def _report_time(spent: dict[str, Spent]) -> None:
    sensor = spent.get("wait", Spent())
    total = sum(one.worker for one in spent.values())
    print(f"waiting    {sensor.deferred:.1f} s deferred, {sensor.worker:.2f} s in a worker (the sensor)")
    print(f"workers    {total:.2f} s for all tasks together, counted from {SOURCE}")
    if not sensor.deferred:
        message = "the sensor was never deferred"
        raise DemoFailed(message)


def _report_message(message: Message) -> None:
    print(f"message    {message.subject or '(no subject)'}")
    for line in message.text.splitlines():
        print(f"           {line}")


def _report_bill(stats: dict[str, Any], photos: int) -> None:
    print(f"emulator   submits {stats['submits']}, accepted and paid for {stats['accepted']}, polls {stats['polls']}")
    if stats["accepted"] != photos:
        message = f"{stats['accepted']} jobs were accepted where {photos} were to be paid for"
        raise DemoFailed(message)


def _wait_for_ctrl_c(airflow: LocalAirflow) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            airflow.check_parts()
            time.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
