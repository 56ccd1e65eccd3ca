from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_imagepipeline.contract.api import SDXL_IMAGE_TO_IMAGE, JobStatus
from airflow_imagepipeline.contract.job import Job, JobHandle
from airflow_imagepipeline.hooks.download import Downloader
from airflow_imagepipeline.hooks.download_limits import DownloadLimits
from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
from airflow_imagepipeline.landing.landing import land_job
from airflow_imagepipeline.storage.folder import Folder, open_folder
from tests.doubles.moto_server import CONNECTION, Moto, aws_connection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults import ScriptedServer

KEY = "the-key-3f9a"
SIGNATURE = "canary-77c1"


@dataclass
class Store:
    """A place to land in, and what is there, seen without the package."""

    uri: str
    moto: Moto | None = None

    def folder(self) -> Folder:
        return open_folder(self.uri, "aws_test")

    @property
    def files(self) -> dict[str, bytes]:
        """Every file by its name."""
        if self.moto is None:
            root = Path(self.uri.removeprefix("file://"))
            return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        bucket, _, prefix = self.uri.removeprefix("s3://").partition("/")
        return {key.removeprefix(f"{prefix}/"): self.moto.body(bucket, key) for key in self.moto.keys(bucket)}

    def write(self, name: str, data: bytes) -> None:
        """Put a file there as somebody else would."""
        if self.moto is None:
            path = Path(self.uri.removeprefix("file://"), name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        else:
            bucket, _, prefix = self.uri.removeprefix("s3://").partition("/")
            self.moto.s3.put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=data)


@pytest.fixture
def on_disk(tmp_path: Path) -> Store:
    return Store(f"file://{tmp_path}/landed")


@pytest.fixture
def on_s3(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv(CONNECTION, aws_connection(moto.url))
    return Store(f"s3://{moto.bucket()}/landed", moto)


@pytest.fixture(params=["on_disk", "on_s3"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(request.param)
    return found


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the place for temporary files, and see to it that it is empty in the end, whatever happened."""
    place = tmp_path / "scratch"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    yield place
    assert list(place.glob("imagepipeline-*")) == []


class Lander:
    """Lands jobs whose API and whose files are on one scripted server."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.slept: list[float] = []

    def hook(self, url: str) -> ImagePipelineHook:
        connection = {"conn_type": "imagepipeline", "host": url, "password": KEY}
        self._monkeypatch.setenv("AIRFLOW_CONN_IMAGEPIPELINE_DEFAULT", json.dumps(connection))
        hook = ImagePipelineHook()
        self._monkeypatch.setattr(hook, "_sleep", self.slept.append)
        return hook

    def links(self, server: ScriptedServer, *names: str, url: str = "") -> tuple[str, ...]:
        return tuple(f"{url or server.url}/files/{name}?Authorization={SIGNATURE}" for name in names)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def land(
        self,
        server: ScriptedServer,
        store: Store,
        *names: str,
        job_id: str | None = "job-1",
        stem: str | None = None,
        overwrite: bool = False,
        url: str = "",
        **limits: Any,
    ) -> list[dict[str, Any]]:
        """Land files of a server and return the images of the result."""
        job = Job(
            JobHandle(SDXL_IMAGE_TO_IMAGE, job_id, seed=7), JobStatus.SUCCESS, self.links(server, *names, url=url)
        )
        downloader = Downloader(allow_loopback=True, limits=DownloadLimits(**limits), sleep=self.sleep)
        result = land_job(self.hook(server.url), job, store.folder(), stem, overwrite=overwrite, downloader=downloader)
        payload = result.to_payload()
        assert SIGNATURE not in json.dumps(payload)
        images: list[dict[str, Any]] = payload["images"]
        return images


@pytest.fixture
def lander(monkeypatch: pytest.MonkeyPatch) -> Lander:
    return Lander(monkeypatch)
