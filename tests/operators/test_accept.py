"""The gate before the destination: what does not pass is put aside, explained, and may be made again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_imagepipeline.exceptions import ResultRejected, SubmissionRefused
from airflow_imagepipeline.transfers.object_storage import ImagePipelineToObjectStorageOperator
from tests.running import FakeStore, context, fails_with, image_to_image, in_task_modes, run_to_end

if TYPE_CHECKING:
    from tests.vendor import Vendor

pytestmark = pytest.mark.usefixtures("quick", "logs", "generation", "vendor")

NEVER: dict[str, Any] = {"min_width": 5000}
"""What no result of these tests is."""


def files(folder: Path) -> list[str]:
    """Return the images in a folder, wherever they lie in it."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))


@in_task_modes
def test_an_accepted_image_is_landed_with_what_was_measured(photos: str, tmp_path: Path, mode: str) -> None:
    make = image_to_image(
        f"{photos}/a.png", destination=f"file://{tmp_path}", file_stem="cup", accept={"format": "png"}
    )

    (image,) = run_to_end(make, context(FakeStore()), mode)["images"]

    assert files(tmp_path) == ["cup-00.png"]
    assert 0 < image["checks"]["difference"] < 1
    assert "reasons" not in image["checks"]
    assert json.loads((tmp_path / "cup-00.png.json").read_text())["checks"] == image["checks"]


@in_task_modes
def test_a_rejected_image_fails_the_task_and_is_put_aside_with_the_reason(
    vendor: Vendor, photos: str, tmp_path: Path, mode: str
) -> None:
    make = image_to_image(f"{photos}/a.png", destination=f"file://{tmp_path}", file_stem="cup", accept=NEVER)

    with fails_with(ResultRejected, "5000", "rejected/", "Clear the task"):
        run_to_end(make, context(FakeStore()), mode)

    (there,) = files(tmp_path)
    assert there.startswith("rejected/")
    assert there.endswith("/cup-00.png")
    (reason,) = json.loads((tmp_path / f"{there}.json").read_text())["checks"]["reasons"]
    assert "5000" in reason
    assert vendor.count("accepted") == 1


def test_a_wrong_bound_is_refused_before_anything_is_submitted(vendor: Vendor, photos: str, tmp_path: Path) -> None:
    make = image_to_image(f"{photos}/a.png", destination=f"file://{tmp_path}", accept={"min_sharpness": "much"})

    with fails_with(SubmissionRefused, "min_sharpness"):
        run_to_end(make, context(FakeStore()), "worker")

    assert vendor.count("submits") == 0


def test_a_check_of_ones_own_that_does_not_exist_is_found_before_anything_is_submitted(
    vendor: Vendor, photos: str, tmp_path: Path
) -> None:
    make = image_to_image(
        f"{photos}/a.png", destination=f"file://{tmp_path}", accept={"checks": ["nowhere.to_be_found"]}
    )

    with fails_with(SubmissionRefused, "nowhere"):
        run_to_end(make, context(FakeStore()), "worker")

    assert vendor.count("submits") == 0


def test_the_transfer_rejects_as_the_operator_does(photos: str, tmp_path: Path) -> None:
    submitted = run_to_end(image_to_image(f"{photos}/a.png", return_urls=False), context(FakeStore()), "worker")

    def make(**more: Any) -> ImagePipelineToObjectStorageOperator:
        return ImagePipelineToObjectStorageOperator(
            task_id="store", job=submitted, destination=f"file://{tmp_path}", accept=NEVER, **more
        )

    with fails_with(ResultRejected, "5000"):
        run_to_end(make, context(FakeStore()), "plain")

    assert all(name.startswith("rejected/") for name in files(tmp_path))
