from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from airflow_imagepipeline.records.object_storage import Ledger, Owner
from airflow_imagepipeline.storage.folder import Folder, open_folder

ME = Owner("photos", "manual__1", "edit", -1)
SOMEBODY = Owner("photos", "manual__2", "edit", 3)


@dataclass
class Clock:
    """A clock that stands until it is moved; whoever sets it leaves the steady one alone."""

    now: float = 1_000_000.0
    set_by: float = 0.0

    def __call__(self) -> float:
        return self.now + self.set_by

    def steady(self) -> float:
        return self.now


@dataclass
class World:
    """A ledger's folder, and processes that take it."""

    folder: Folder
    clock: Clock

    def take(self, owner: Owner = ME, seconds: float = 60) -> Ledger:
        return Ledger.take(self.folder, owner, lease_seconds=seconds, clock=self.clock, monotonic=self.clock.steady)

    def names(self, prefix: str = "") -> list[str]:
        return [found.name for found in self.folder.listing(prefix)]


@pytest.fixture(params=["file", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """Return a folder that does not exist yet, on a disk and in S3."""
    if request.param == "s3":
        return open_folder(f"s3://{request.getfixturevalue('bucket')}/ledger", "aws_default")
    return open_folder(f"file://{tmp_path}/ledger", None)


@pytest.fixture
def world(folder: Folder) -> World:
    return World(folder, Clock())
