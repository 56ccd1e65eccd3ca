"""The example of the current generation imports and runs to its end against the emulator and S3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.running import PROMPT, assert_discreet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.models.dagrun import DagRun

    from tests.doubles.moto_server import Moto
    from tests.vendor import Vendor

pytestmark = pytest.mark.usefixtures("quick")

COST = {"cost_usd": 0.04, "credits_charged": True, "credits_amount": 1, "balance_remaining_usd": 0.36}


@pytest.fixture(autouse=True)
def _discreet(vendor: Vendor, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    vendor.settings.job_seconds, vendor.settings.credits = 0.0, 10
    yield
    assert_discreet("".join(capfd.readouterr()))


def run_edit(run_dag: Callable[..., DagRun], bucket: str, **params: Any) -> tuple[str, Any]:
    """Run the example; its task's state and result."""
    run = run_dag("example_edit_image", prompt=PROMPT, destination=f"s3://{bucket}/edited", **params)
    (instance,) = run.get_task_instances()
    assert (instance.task_id, run.state) == ("edit", instance.state)
    return str(instance.state), instance.xcom_pull(task_ids="edit")


def test_it_lands_one_image_and_tells_its_cost(
    run_dag: Callable[..., DagRun], vendor: Vendor, moto: Moto, *, bucket: str, photo: bytes
) -> None:
    moto.s3.put_object(Bucket=bucket, Key="photos/cup.png", Body=photo)

    state, result = run_edit(run_dag, bucket, input_image=f"s3://{bucket}/photos/cup.png")

    assert (state, result["api"], result["cost"]) == ("success", "edit/image/v1", COST)
    (image,) = result["images"]
    assert image["uri"] == f"s3://{bucket}/edited/{result['job_id']}-00.webp"
    assert len(moto.body(bucket, image["uri"].removeprefix(f"s3://{bucket}/"))) == image["bytes"]
    assert (vendor.count("accepted"), vendor.count("uploads"), vendor.settings.credits) == (1, 0, 9)


def test_a_photo_that_the_vendor_cannot_fetch_fails_it_and_costs_nothing(
    run_dag: Callable[..., DagRun], vendor: Vendor, bucket: str, photos: str
) -> None:
    state, result = run_edit(run_dag, bucket, input_image=f"{photos}/missing.jpg")

    assert (state, result) == ("failed", None)
    assert (vendor.count("accepted"), vendor.settings.credits) == (1, 10)
