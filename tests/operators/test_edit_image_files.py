"""A landed file is the served one, byte for byte: the note of provenance that the vendor writes into it stays."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest

from airflow_imagepipeline.contract.job import JobHandle
from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
from airflow_imagepipeline.transfers.object_storage import ImagePipelineToObjectStorageOperator
from tests.running import FakeStore, context, edit_image, in_task_modes, run_to_end

if TYPE_CHECKING:
    from pathlib import Path

    from tests.doubles.moto_server import Moto
    from tests.vendor import Vendor

pytestmark = pytest.mark.usefixtures("quick", "logs")

# Asked for: the extension, the format and the content type of what comes, and where in it the note of provenance is.
FORMATS: Final[dict[str | None, tuple[str, str, str, bytes]]] = {
    "png": ("png", "PNG", "image/png", b"caBX"),
    "jpeg": ("jpg", "JPEG", "image/jpeg", b"\xff\xeb"),
    "webp": ("webp", "WEBP", "image/webp", b"C2PA"),
    None: ("webp", "WEBP", "image/webp", b"C2PA"),
}
in_formats = pytest.mark.parametrize("form", FORMATS, ids=str)


def served(result: dict[str, Any]) -> bytes:
    """Fetch a job's image as anybody may who has the link."""
    (link,) = ImagePipelineHook().get_job(JobHandle.from_payload(result)).download_urls
    # Not with the libraries of the provider, whose log is searched for links.
    answer = httpx.get(link, timeout=30)
    assert answer.status_code == 200
    return answer.content


def check(image: dict[str, Any], landed: bytes, result: dict[str, Any], form: str | None) -> None:
    """Compare what was landed with what is served."""
    extension, name, _, note = FORMATS[form]
    assert landed == served(result)
    assert note in landed
    assert b"c2pa.edited" in landed
    assert image["uri"].endswith(f"/{result['job_id']}-00.{extension}")
    assert (image["format"], image["bytes"]) == (name, len(landed))
    assert image["sha256"] == hashlib.sha256(landed).hexdigest()
    assert "blank" not in image


@in_task_modes
@in_formats
def test_in_a_folder(vendor: Vendor, photos: str, tmp_path: Path, *, form: str | None, mode: str) -> None:
    make = edit_image(f"{photos}/a.png", output_format=form, destination=f"file://{tmp_path}")

    result = run_to_end(make, context(FakeStore()), mode)

    (image,) = result["images"]
    check(image, (tmp_path / image["uri"].rpartition("/")[2]).read_bytes(), result, form)
    assert vendor.count("downloads_with_key") == 0


@pytest.mark.usefixtures("vendor")
@in_task_modes
@in_formats
def test_on_s3(photos: str, moto: Moto, bucket: str, *, form: str | None, mode: str) -> None:
    make = edit_image(f"{photos}/a.png", output_format=form, destination=f"s3://{bucket}/edited")

    result = run_to_end(make, context(FakeStore()), mode)

    (image,) = result["images"]
    key = image["uri"].removeprefix(f"s3://{bucket}/")
    check(image, moto.body(bucket, key), result, form)
    assert moto.s3.head_object(Bucket=bucket, Key=key)["ContentType"] == FORMATS[form][2]


@pytest.mark.usefixtures("vendor")
@in_formats
def test_by_the_transfer(photos: str, tmp_path: Path, form: str | None) -> None:
    make = edit_image(f"{photos}/a.png", output_format=form, wait_for_completion=False)
    job = run_to_end(make, context(FakeStore()), "worker")

    def transfer(**_: Any) -> ImagePipelineToObjectStorageOperator:
        return ImagePipelineToObjectStorageOperator(task_id="store", job=job, destination=f"file://{tmp_path}")

    result = run_to_end(transfer, context(), "plain")

    (image,) = result["images"]
    check(image, (tmp_path / image["uri"].rpartition("/")[2]).read_bytes(), result, form)


@pytest.mark.usefixtures("vendor")
@in_task_modes
def test_the_same_seed_lands_the_same_bytes(photos: str, tmp_path: Path, mode: str) -> None:
    def landed(**arguments: Any) -> Any:
        make = edit_image(f"{photos}/a.png", destination=f"file://{tmp_path}", **arguments)
        return run_to_end(make, context(FakeStore()), mode)

    first = landed()
    again = landed(seed=first["seed"])
    other = landed(seed=first["seed"] + 1)

    digests = [result["images"][0]["sha256"] for result in (first, again, other)]
    assert digests[0] == digests[1] != digests[2]
