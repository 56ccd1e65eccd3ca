"""An Airflow whose runs have images to look at, without a job being paid for or awaited.

A DAG returns prepared results as the operators would. For screenshots, and for the tests of the Images tab.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Final, Self

from demo import services
from demo.local_airflow import LocalAirflow
from demo.studio import Studio

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

DAG_ID: Final = "summer_catalogue"
_CONN_ID: Final = "aws_studio"
ROWS: Final = 240

_DAG: Final = '''
import json
from pathlib import Path

from airflow.sdk import BaseOperator, dag, task

PREPARED = json.loads(Path(__file__).with_name("prepared.json").read_text())


class Prepared(BaseOperator):
    """Returns what an operator of ImagePipeline would have returned."""

    template_fields = ("aws_conn_id", "destination", "input_image")

    def __init__(self, *, aws_conn_id="aws_studio", destination=None, input_image=None, **kwargs):
        super().__init__(**kwargs)
        self.aws_conn_id = aws_conn_id
        self.destination = destination
        self.input_image = input_image

    def execute(self, context):
        name = self.task_id if context["ti"].map_index < 0 else self.task_id + "-" + self.input_image
        return PREPARED[name]


@dag(dag_id="summer_catalogue", schedule=None)
def summer_catalogue():
    @task
    def count_photos():
        return 6

    photos = count_photos()
    ends = [Prepared(task_id=name) for name in ("edit_cover", "edit_catalogue", "edit_from_web", "submit_only")]
    photos >> ends
    ends[0] >> Prepared.partial(task_id="edit_each").expand(input_image=["0", "1", "2", "3", "4", "5"])


summer_catalogue()
'''


class Gallery:
    """S3, Airflow and a run of the DAG; a context manager.

    :param home: an empty folder for all of it.
    :param rows: images of the batch.
    """

    def __init__(self, home: Path, rows: int = ROWS) -> None:
        self._home = home
        self._rows = rows
        self._stack = contextlib.ExitStack()
        self.run_id = ""
        self.airflow: LocalAirflow

    def __enter__(self) -> Self:
        """Start everything and run the DAG once."""
        try:
            moto = self._stack.enter_context(services.moto(self._home / "logs"))
            prepared = Studio(moto.url).results(self._rows)
            dags = self._home / "dags"
            dags.mkdir(parents=True, exist_ok=True)
            (dags / "prepared.json").write_text(json.dumps(prepared))
            (dags / "summer_catalogue.py").write_text(_DAG)
            self.airflow = self._stack.enter_context(LocalAirflow(self._home, dags))
            # In Airflow's database, as a person makes one: the tab must find it there, by the task's rendered field.
            fields = services.aws_connection(moto)
            self.airflow.post(
                "/connections", {**fields, "connection_id": _CONN_ID, "extra": json.dumps(fields["extra"])}
            )
            self.run_id = self.airflow.trigger(DAG_ID)
            self.airflow.wait_for_run(DAG_ID, self.run_id, timeout=180)
        except BaseException:  # Ctrl-C included: nothing may be left running
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything."""
        self._stack.close()

    def page(self, task_id: str = "", map_index: int = -1) -> str:
        """Return the address of a page of the tab by itself: of a task instance, or of the run."""
        if not task_id:
            return f"{self.airflow.url}/imagepipeline/run/{DAG_ID}/{self.run_id}"
        return f"{self.airflow.url}/imagepipeline/task/{DAG_ID}/{self.run_id}/{task_id}/{map_index}"

    def tab(self, task_id: str = "") -> str:
        """Return the address of the tab in Airflow's UI."""
        run = f"{self.airflow.url}/dags/{DAG_ID}/runs/{self.run_id}"
        if not task_id:
            return f"{run}/plugin/imagepipeline-run-images"
        return f"{run}/tasks/{task_id}/plugin/imagepipeline-images"
