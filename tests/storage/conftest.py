from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from airflow_imagepipeline.storage.folder import StoredFile
from tests.doubles.moto_server import CONNECTION, Moto, aws_connection, descriptions_read_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def no_account_of_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="session", autouse=True)
def _quick_clients() -> Iterator[None]:
    with descriptions_read_once():
        yield


@pytest.fixture
def bucket(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a bucket in moto, to which the connection aws_test leads."""
    monkeypatch.setenv(CONNECTION, aws_connection(moto.url))
    return moto.bucket()


@pytest.fixture
def file_of(tmp_path: Path) -> Callable[[bytes], StoredFile]:
    """Return a maker of files to be stored."""

    def make(data: bytes) -> StoredFile:
        sha256 = hashlib.sha256(data).hexdigest()
        path = tmp_path / f"source-{sha256[:8]}"
        path.write_bytes(data)
        return StoredFile(path, "image/png", sha256, {"width": "40", "height": "30"})

    return make
