from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.operators.nights import Nights
from tests.running import KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def mode() -> str:
    """Return how a task waits, where a test does not run in all modes."""
    return "worker"


@pytest.fixture
def nights(mode: str, tmp_path: Path, connection: Callable[..., None], logs: Callable[[], str]) -> Iterator[Nights]:
    """Return a batch that runs every night, with a vendor of its own; what is logged is looked through."""
    from airflow_imagepipeline.emulator import Emulator

    assert logs() is not None
    with Emulator(api_key=KEY, canned=True, job_seconds=0.1) as emulator:
        connection(emulator.url)
        yield Nights(emulator, tmp_path / "images", mode)
