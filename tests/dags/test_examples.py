"""Each example imports and runs to its end against the emulator, S3 and SNS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.running import PROMPT, assert_discreet

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.models.dagrun import DagRun

    from tests.dags.conftest import Topic
    from tests.doubles.moto_server import Moto
    from tests.vendor import Vendor

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(autouse=True)
def _at_once(vendor: Vendor) -> None:
    vendor.settings.job_seconds = 0.0


@pytest.fixture(autouse=True)
def _discreet(capfd: pytest.CaptureFixture[str]) -> Any:
    yield
    assert_discreet("".join(capfd.readouterr()))


@pytest.fixture
def cup(moto: Moto, bucket: str, photo: bytes) -> str:
    moto.s3.put_object(Bucket=bucket, Key="photos/cup.png", Body=photo)
    return f"s3://{bucket}/photos/cup.png"


def states(run: DagRun) -> dict[str, str]:
    return {ti.task_id: str(ti.state) for ti in run.get_task_instances()}


def result(run: DagRun, task_id: str) -> Any:
    (instance,) = (ti for ti in run.get_task_instances() if ti.task_id == task_id)
    return instance.xcom_pull(task_ids=task_id)


def landed(moto: Moto, bucket: str) -> list[str]:
    return [key for key in moto.keys(bucket) if key.startswith("edited/") and key.endswith(".png")]


def test_the_smallest_use_lands_one_image(
    run_dag: Callable[..., DagRun], vendor: Vendor, moto: Moto, bucket: str, cup: str
) -> None:
    run = run_dag("example_image_to_image", init_image=cup, prompt=PROMPT, destination=f"s3://{bucket}/edited")

    assert (run.state, states(run)) == ("success", {"restyle": "success"})
    (image,) = result(run, "restyle")["images"]
    assert landed(moto, bucket) == [image["uri"].removeprefix(f"s3://{bucket}/")]
    assert vendor.count("accepted") == 1


@pytest.mark.slow
def test_the_link_of_a_task_that_landed_leads_to_the_console(
    run_dag: Callable[..., DagRun], bucket: str, cup: str
) -> None:
    run = run_dag("example_image_to_image", init_image=cup, prompt=PROMPT, destination=f"s3://{bucket}/edited")

    (instance,) = run.get_task_instances()
    page = instance.xcom_pull(task_ids="restyle", key="_link_LandedImageLink")
    assert page.startswith(f"https://s3.console.aws.amazon.com/s3/object/{bucket}?prefix=edited/")


@pytest.mark.slow
def test_one_thing_a_task_submits_waits_stores_and_notifies(
    run_dag: Callable[..., DagRun], vendor: Vendor, moto: Moto, topic: Topic, *, bucket: str, cup: str
) -> None:
    run = run_dag(
        "example_submit_sense_store_notify",
        init_image=cup,
        prompt=PROMPT,
        destination=f"s3://{bucket}/edited",
        topic_arn=topic.arn,
    )

    assert states(run) == {
        **dict.fromkeys(("submit", "wait", "store", "notify"), "success"),
        "notify_failure": "skipped",
    }
    assert run.state == "success"
    (key,) = landed(moto, bucket)
    assert topic.messages() == [("Photo edited", f"s3://{bucket}/{key}")]
    assert vendor.count("accepted") == 1
    # No link has travelled through XCom.
    assert "download_urls" not in {**result(run, "submit"), **result(run, "wait"), **result(run, "store")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("init_image", "failed", "accepted"),
    [("{photos}/missing.jpg", "wait", 1), ("cup.png", "submit", 0)],
    ids=["a photo that the vendor cannot fetch", "a photo that is no link"],
)
def test_a_failure_is_notified(
    run_dag: Callable[..., DagRun],
    vendor: Vendor,
    topic: Topic,
    bucket: str,
    photos: str,
    *,
    init_image: str,
    failed: str,
    accepted: int,
) -> None:
    link = init_image.format(photos=photos)
    run = run_dag(
        "example_submit_sense_store_notify",
        init_image=link,
        prompt=PROMPT,
        destination=f"s3://{bucket}/edited",
        topic_arn=topic.arn,
    )

    found = states(run)
    assert run.state == "failed"
    assert (found[failed], found["notify"], found["notify_failure"]) == ("failed", "upstream_failed", "success")
    ((subject, text),) = topic.messages()
    assert subject == "Photo not edited"
    assert link in text
    assert vendor.count("accepted") == accepted


@pytest.mark.slow
def test_mapped_photos_land_each_under_a_readable_name(
    run_dag: Callable[..., DagRun], vendor: Vendor, moto: Moto, *, bucket: str, cup: str, photo: bytes
) -> None:
    moto.s3.put_object(Bucket=bucket, Key="photos/cat.png", Body=photo)
    run = run_dag(
        "example_mapped_images",
        photos=[cup, f"s3://{bucket}/photos/cat.png"],
        prompt=PROMPT,
        destination=f"s3://{bucket}/edited",
    )

    mapped = {ti.map_index: ti for ti in run.get_task_instances() if ti.task_id == "restyle"}
    assert run.state == "success"
    assert {index: ti.rendered_map_index for index, ti in mapped.items()} == {0: "cup.png", 1: "cat.png"}
    assert len(landed(moto, bucket)) == 2
    assert vendor.count("accepted") == 2
