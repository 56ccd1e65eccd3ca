"""A real Airflow in which every operator has run once against the emulator and an S3 on the loopback."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import boto3
import skimage
from PIL import Image

from airflow_imagepipeline.contract.manifest import ManifestRow
from demo import services
from demo.local_airflow import LocalAirflow
from demo.processes import wait_until
from tests.airflow_versions import HAS_TASK_STATE_STORE

if TYPE_CHECKING:
    from types import TracebackType

DAG_ID: Final = "real_runs"
UNDER_WAY: Final = "under_way"
_BUCKET: Final = "evening"
_KEY: Final = "key-of-this-evening"
_LONGEST: Final = 512
_PHOTOS: Final = (
    "astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "hubble_deep_field.jpg",
    "ihc.png", "moon.png", "page.png", "retina.jpg", "rocket.jpg",
)  # fmt: skip
_UNLUCKY: Final = ("--fail-next", "INPUT_INVALID", "INPUT_INVALID")


@dataclass(frozen=True)
class Batch:
    """What a batch task has returned, and the rows of its manifest."""

    summary: dict[str, Any]
    rows: list[ManifestRow]

    def of(self, outcome: str) -> list[int]:
        """Return the places of the rows that ended like this."""
        return [place for place, row in enumerate(self.rows) if row.outcome == outcome]


class RealRuns:
    """S3, three emulators (a calm, an unlucky and a slow one), Airflow and one run of each DAG; a context manager.

    :param home: an empty folder for all of it.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._stack = contextlib.ExitStack()
        self.airflow: LocalAirflow
        self.runs: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Start everything, and wait until one DAG has ended and the other waits for its jobs."""
        try:
            moto = self._stack.enter_context(services.moto(self._home / "logs"))
            self._s3 = boto3.Session("testing", "testing", region_name="us-east-1").client("s3", endpoint_url=moto.url)
            self._put_photos()
            connections = {
                "aws_default": services.aws_connection(moto),
                "imagepipeline_default": self._vendor("calm", 0.5),
                "imagepipeline_unlucky": self._vendor("unlucky", 0.5, *_UNLUCKY),
                "imagepipeline_slow": self._vendor("slow", 3600),
            }
            dags = Path(__file__).with_name("dags")
            self.airflow = self._stack.enter_context(LocalAirflow(self._home, dags, connections=connections))
            for dag_id in (UNDER_WAY, DAG_ID):
                self.runs[dag_id] = self.airflow.trigger(dag_id)
            self.airflow.wait_for_run(DAG_ID, self.runs[DAG_ID], timeout=400)
            wait_until(self._is_deferred, seconds=120, what="a batch that waits for its jobs")
        except BaseException:  # Ctrl-C included: nothing may be left running
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything."""
        self._stack.close()

    def page(self, task_id: str = "", map_index: int = -1, *, dag_id: str = DAG_ID) -> str:
        """Return the address of a page of the tab by itself: of a task instance, or of the run."""
        run = f"{dag_id}/{self.runs[dag_id]}"
        end = f"task/{run}/{task_id}/{map_index}" if task_id else f"run/{run}"
        return f"{self.airflow.url}/imagepipeline/{end}"

    def tab(self, task_id: str = "", map_index: int = -1, *, dag_id: str = DAG_ID) -> str:
        """Return the address of the tab in Airflow's UI."""
        run = f"{self.airflow.url}/dags/{dag_id}/runs/{self.runs[dag_id]}"
        if not task_id:
            return f"{run}/plugin/imagepipeline-run-images"
        mapped = "" if map_index < 0 else f"/mapped/{map_index}"
        return f"{run}/tasks/{task_id}{mapped}/plugin/imagepipeline-images"

    def result(self, task_id: str, map_index: int = -1) -> dict[str, Any]:
        """Return what a task has returned, or pushed as if it had."""
        found: dict[str, Any] = self.airflow.xcom(DAG_ID, self.runs[DAG_ID], task_id, map_index=map_index)
        return found

    def batch(self, task_id: str, map_index: int = -1) -> Batch:
        """Return what a batch task has returned, and its manifest."""
        summary = self.result(task_id, map_index)
        key = summary["manifest"].removeprefix(f"s3://{_BUCKET}/")
        lines = self._s3.get_object(Bucket=_BUCKET, Key=key)["Body"].read().splitlines()
        return Batch(summary, [ManifestRow.from_payload(json.loads(line)) for line in lines])

    def states(self) -> dict[str, str | None]:
        """Return the states of the tasks by their names; of a mapped task the last one's."""
        tasks = self.airflow.task_instances(DAG_ID, self.runs[DAG_ID])
        return {task["task_id"]: task["state"] for task in tasks}

    @property
    def keeps_progress(self) -> bool:
        """Tell whether this Airflow has a task state store."""
        return HAS_TASK_STATE_STORE

    def _is_deferred(self) -> bool | None:
        (task,) = self.airflow.task_instances(UNDER_WAY, self.runs[UNDER_WAY])
        if task["state"] in ("failed", "success"):
            log = self.airflow.task_log(UNDER_WAY, self.runs[UNDER_WAY], task["task_id"])
            message = f"the slow batch has ended as {task['state']}:\n{log[-2_000:]}"
            raise RuntimeError(message)
        return True if task["state"] == "deferred" else None

    def _vendor(self, name: str, job_seconds: float, *options: str) -> dict[str, Any]:
        module = [sys.executable, "-m", "airflow_imagepipeline.emulator"]
        command = [*module, "--api-key", _KEY, "--job-seconds", str(job_seconds), *options]
        vendor = self._stack.enter_context(services.Service(f"emulator-{name}", command, self._home / "logs"))
        return services.imagepipeline_connection(vendor, _KEY)

    def _put_photos(self) -> None:
        self._s3.create_bucket(Bucket=_BUCKET)
        for name in _PHOTOS:
            with Image.open(Path(skimage.__file__).parent / "data" / name) as photo:
                plain, target = photo.convert("RGB"), io.BytesIO()
            plain.thumbnail((_LONGEST, _LONGEST))
            plain.save(target, "JPEG", quality=88)
            self._s3.put_object(Bucket=_BUCKET, Key=f"photos/{Path(name).stem}.jpg", Body=target.getvalue())
