"""The tab as Airflow mounts it, with Airflow's own database and auth manager, and an S3 on the loopback."""

from __future__ import annotations

import hashlib
import json
import uuid
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.doubles.pictures import painted, saved

if TYPE_CHECKING:
    from httpx import Response

    from tests.doubles.moto_server import Moto


class Tab:
    """
    The tab, its users, and task instances as they stand in Airflow's database.

    :param bucket: where the images lie.
    """

    def __init__(self, moto: Moto, bucket: str) -> None:
        self.moto = moto
        self.bucket = bucket

    @cached_property
    def client(self) -> Any:
        from fastapi import FastAPI
        from starlette.testclient import TestClient

        from airflow_imagepipeline.plugins.imagepipeline import ImagePipelinePlugin

        outer = FastAPI()
        for one in ImagePipelinePlugin.fastapi_apps:
            outer.mount(one["url_prefix"], one["app"])
        return TestClient(outer, raise_server_exceptions=True)

    def get(self, path: str, *, role: str | None = "viewer", **headers: str) -> Response:
        """Ask for a page as a user of a role of the simple auth manager; None is a user without any, "" nobody."""
        given = dict(headers)
        if role != "":
            given["Authorization"] = f"Bearer {_token(role)}"
        answer: Response = self.client.get(f"/imagepipeline/{path}", headers=given)
        return answer

    def task(self, result: Any = None, **more: Any) -> str:
        """
        Write a task instance into the database.

        :param result: its ``return_value``; None writes none.
        :param more: ``state``, ``rendered``, ``map_index``, ``label`` (of it), ``task_id``, ``dag_id``,
            ``started_at``.
        :return: the end of its address.
        """
        dag_id = more.get("dag_id") or f"dag_{uuid.uuid4().hex[:8]}"
        task_id, map_index = more.get("task_id", "edit"), more.get("map_index", -1)
        at = {"dag_id": dag_id, "run_id": RUN, "task_id": task_id, "map_index": map_index}
        of_task = {"start_date": more.get("started_at"), "rendered_map_index": more.get("label")}
        _write(at, result, more.get("rendered"), {"state": more.get("state", "success"), **of_task})
        return f"{dag_id}/{quote(RUN, safe='')}/{task_id}/{map_index}"

    def put(self, key: str, content: bytes) -> str:
        """Write an object and return its address."""
        self.moto.s3.put_object(Bucket=self.bucket, Key=key, Body=content)
        return f"s3://{self.bucket}/{key}"

    def image(self, key: str = "results/a-00.png", content: bytes | None = None, **more: Any) -> dict[str, Any]:
        """Write an image and return what a result says of it."""
        data = PICTURE if content is None else content
        uri = self.put(key, data)
        facts = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "format": "PNG"}
        return {"uri": uri, **facts, "width": 400, "height": 300, **more}

    def batch(self, rows: list[dict[str, Any]], key: str = "results/_manifests/m.jsonl") -> dict[str, Any]:
        """Write a manifest and return the summary that leads to it."""
        uri = self.put(key, "".join(json.dumps(row) + "\n" for row in rows).encode())
        return summary(uri, rows)


RUN = "manual__2026-11-22T10:00:00+00:00"
PICTURE = saved(painted((400, 300)), "PNG")


def job(*images: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return the result of a job."""
    handle = {"v": 1, "api": "edit/image/v1", "job_id": "job-1", "seed": 7, "submitted_at": 1_795_300_000.0}
    return {**handle, "status": "SUCCESS", "images": list(images), **more}


def row(index: int = 0, outcome: str = "landed", *images: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a row of a manifest."""
    return {"index": index, "input": f"s3://photos/{index}.png", "outcome": outcome, "images": list(images), **more}


def summary(manifest: str, rows: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Return the summary of a batch."""
    counts: dict[str, int] = {}
    for one in rows:
        counts[one["outcome"]] = counts.get(one["outcome"], 0) + 1
    numbers = {"total": len(rows), "submitted": len(rows), "cost": 1.5, "bytes": 1000, "seconds": 60.0}
    return {"v": 1, "manifest": manifest, "ledger": "s3://x/_ledger", "counts": counts, **numbers, **more}


@pytest.fixture
def tab(_database: None, moto: Moto, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Tab:
    """Return the tab with an empty bucket."""
    from airflow.api_fastapi.app import create_auth_manager

    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "of-these-tests-" * 8)
    create_auth_manager().init()
    return Tab(moto, bucket)


def _token(role: str | None) -> str:
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    token: str = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="somebody", role=role))
    return token


def keep_progress(path: str, value: str, updated_at: datetime) -> None:
    """Write what a batch tells of itself into Airflow's task state store."""
    from airflow.models.dagrun import DagRun
    from airflow.models.task_state_store import TaskStateStoreModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    dag_id, _, task_id, map_index = path.split("/")
    with create_session() as session:
        run = session.scalar(select(DagRun.id).where(DagRun.dag_id == dag_id))
        at = {"dag_run_id": run, "dag_id": dag_id, "run_id": RUN, "task_id": task_id, "map_index": int(map_index)}
        session.add(TaskStateStoreModel(**at, key="imagepipeline:progress", value=value, updated_at=updated_at))


def _write(at: dict[str, Any], result: Any, rendered: Any, of_task: dict[str, Any]) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState
    from sqlalchemy import insert, select

    dag_id = at["dag_id"]
    with create_session() as session:
        found = session.scalar(select(DagRun.id).where(DagRun.dag_id == dag_id))
        if found is None:
            run = DagRun(
                dag_id=dag_id, run_id=RUN, run_type="manual", state=DagRunState.SUCCESS, run_after=datetime.now(UTC)
            )
            session.add(run)
            session.flush()
            found = run.id
        wanted = {**of_task, "pool": "default_pool", "pool_slots": 1, "try_number": 1}
        session.execute(insert(TaskInstance.__table__).values(**at, **wanted, max_tries=0, executor_config={}))
        if result is not None:
            session.execute(insert(XComModel).values(**at, dag_run_id=found, key="return_value", value=result))
        if rendered is not None:
            session.execute(insert(RenderedTaskInstanceFields).values(**at, rendered_fields=rendered))
