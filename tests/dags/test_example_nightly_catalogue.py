"""The nightly example edits what is new, tells what became of everything, and pays for nothing twice."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.images.corpus import photo
from tests.running import PROMPT, assert_discreet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.models.dagrun import DagRun

    from tests.dags.conftest import Topic
    from tests.doubles.moto_server import Moto
    from tests.vendor import Vendor

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick")]

PHOTOS = ("coffee.png", "chelsea.png", "astronaut.png", "rocket.jpg")


@pytest.fixture(autouse=True)
def _discreet(vendor: Vendor, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    vendor.settings.job_seconds = 0.0
    yield
    vendor.settings.canned = False
    assert_discreet("".join(capfd.readouterr()))


@pytest.fixture
def catalogue(moto: Moto, bucket: str) -> str:
    """Fill a bucket with photos that are large enough for the gate; the glob of them."""
    for name in PHOTOS:
        put(moto, bucket, name.partition(".")[0], photo(name))
    return f"s3://{bucket}/catalog/*.jpg"


def put(moto: Moto, bucket: str, name: str, image: Any) -> None:
    target = io.BytesIO()
    image.convert("RGB").resize((240, 160)).save(target, "JPEG")
    moto.s3.put_object(Bucket=bucket, Key=f"catalog/{name}.jpg", Body=target.getvalue())


@pytest.fixture
def night(run_dag: Callable[..., DagRun], bucket: str, topic: Topic, catalogue: str) -> Callable[[], DagRun]:
    """Return what runs the example once."""

    def run() -> DagRun:
        return run_dag(
            "example_nightly_catalogue",
            catalogue=catalogue,
            prompt=PROMPT,
            destination=f"s3://{bucket}/edited",
            topic_arn=topic.arn,
        )

    return run


def states(run: DagRun) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for ti in run.get_task_instances():
        found.setdefault(ti.task_id, set()).add(str(ti.state))
    return found


def result(run: DagRun, task_id: str) -> Any:
    (instance,) = (ti for ti in run.get_task_instances() if ti.task_id == task_id)
    return instance.xcom_pull(task_ids=task_id)


def counted(summary: dict[str, Any]) -> dict[str, int]:
    return {outcome: count for outcome, count in summary["counts"].items() if count}


def test_a_night_pays_only_for_what_is_new(
    night: Callable[[], DagRun], vendor: Vendor, moto: Moto, topic: Topic, *, bucket: str
) -> None:
    first = night()
    assert (first.state, states(first)["notify_failure"]) == ("success", {"skipped"})
    assert vendor.count("accepted") == len(PHOTOS)
    told = result(first, "merge")
    assert (counted(told), told["submitted"], told["cost"]) == ({"landed": 4}, 4, 0.16)
    rows = moto.body(bucket, told["manifest"].removeprefix(f"s3://{bucket}/")).splitlines()
    assert [json.loads(row)["input"].rpartition("/")[2] for row in rows] == sorted(
        f"{name.partition('.')[0]}.jpg" for name in PHOTOS
    )
    ledgers = {key.split("/")[2] for key in moto.keys(bucket) if key.startswith("edited/_imagepipeline/")}
    assert {"shard-0-of-2", "shard-1-of-2"} <= ledgers
    sheet = result(first, "sheet")
    assert (sheet["pairs"], sheet["uri"].removeprefix(f"s3://{bucket}/") in moto.keys(bucket)) == (4, True)
    ((subject, text),) = topic.messages()
    assert subject == "Catalogue edited"
    assert "4 edited and 0 kept of 4 photos (4 jobs, $0.16)." in text
    assert told["manifest"] in text
    assert sheet["uri"] in text

    second = night()

    assert second.state == "success"
    assert vendor.count("accepted") == len(PHOTOS)
    assert counted(result(second, "merge")) == {"reused": 4}
    assert result(second, "merge")["manifest"] != told["manifest"]
    assert "0 edited and 4 kept of 4 photos (0 jobs, $0.00)." in topic.messages()[0][1]

    put(moto, bucket, "coffee", photo("motorcycle_left.png"))
    third = night()

    assert (third.state, counted(result(third, "merge"))) == ("success", {"landed": 1, "reused": 3})
    assert vendor.count("accepted") == len(PHOTOS) + 1
    assert "1 edited and 3 kept of 4 photos (1 jobs, $0.04)." in topic.messages()[0][1]


def test_a_night_of_bad_pictures_fails_and_is_told(
    night: Callable[[], DagRun], vendor: Vendor, moto: Moto, topic: Topic, *, bucket: str
) -> None:
    # One and the same picture for every photo.
    vendor.settings.canned = True

    run = night()

    found = states(run)
    # By their addresses, all photos may belong to one of the two shards; the other has nothing to fail with.
    assert "failed" in found["edit"]
    assert (run.state, found["notify"], found["notify_failure"]) == ("failed", {"upstream_failed"}, {"success"})
    assert [subject for subject, _ in topic.messages()] == ["Catalogue not edited"]
    assert vendor.count("accepted") == len(PHOTOS)
    images = [key for key in moto.keys(bucket) if key.endswith((".webp", ".png"))]
    assert len(images) == len(PHOTOS)
    assert all(key.startswith("edited/rejected/") for key in images)
