from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.operators.nights import Nights, Vendor
from tests.running import KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def mode() -> str:
    """Return how a task waits, where a test does not run in all modes."""
    return "worker"


@pytest.fixture(scope="module")
def _vendor_of_nights() -> Iterator[Vendor]:
    from airflow_imagepipeline.emulator import Emulator

    with Emulator(api_key=KEY, canned=True, job_seconds=0.05) as emulator:
        yield Vendor(emulator)


@pytest.fixture
def nights(
    _vendor_of_nights: Vendor,
    mode: str,
    tmp_path: Path,
    connection: Callable[..., None],
    logs: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> Nights:
    """Return a batch that runs every night, with a vendor that begins anew; what is logged is looked through."""
    assert logs() is not None
    # Only a power failure would show that nobody has waited for the disk.
    monkeypatch.setattr("os.fsync", lambda _: None)
    monkeypatch.setattr("airflow_imagepipeline.records.grouped_writer._GATHERING", 0.005)
    # Where no process goes on after it was superseded, nobody need wait for it.
    monkeypatch.setattr("airflow_imagepipeline.batch.lease_keeping.NOTICED_AFTER", 0.0)
    monkeypatch.setattr("airflow_imagepipeline.batch.engine.REDO_PAUSE", 0.05)
    _vendor_of_nights.begin_anew()
    connection(_vendor_of_nights.url)
    return Nights(_vendor_of_nights, tmp_path / "images", mode)
