"""SIGKILL at every moment of a large batch: what is paid, what is uncertain, and that nothing is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_imagepipeline.emulator import Emulator
from tests.batch.killed import killed_and_retried
from tests.batch.process import POINTS
from tests.operators.nights import Nights, Vendor
from tests.running import KEY, TASK_MODES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.kill, pytest.mark.timeout(600), pytest.mark.usefixtures("generation")]


@pytest.mark.parametrize("mode", TASK_MODES)
@pytest.mark.parametrize(
    "moment",
    [pytest.param(moment, marks=pytest.mark.kill(short=moment == "before the ids are stored")) for moment in POINTS],
)
def test_a_batch_of_five_hundred_survives_the_death_of_its_worker(
    mode: str, moment: str, tmp_path: Path, connection: Callable[..., None]
) -> None:
    with Emulator(api_key=KEY, canned=True, job_seconds=0.3, spread=0.5) as emulator:
        connection(emulator.url)
        killed_and_retried(Nights(Vendor(emulator), tmp_path / "images", mode), moment, 500)
