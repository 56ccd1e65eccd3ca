"""The operator takes what other tasks return and puts one picture into storage."""

from __future__ import annotations

import functools
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from PIL import Image

from airflow_imagepipeline.contract.manifest import BatchSummary, ManifestRow, RowOutcome
from airflow_imagepipeline.operators.contact_sheet import ContactSheetOperator
from airflow_imagepipeline.storage.folder import AlreadyThere, DestinationUnusable, StorageFailed
from tests.doubles.pictures import picture
from tests.running import context, fails_with, image_to_image, run_to_end

if TYPE_CHECKING:
    from pathlib import Path

    from tests.doubles.moto_server import Moto
    from tests.vendor import Vendor

pytestmark = pytest.mark.usefixtures("quick", "logs")
ROWS = [
    ManifestRow(0, "https://example.org/cup.png", RowOutcome.LANDED, seed=7),
    ManifestRow(1, "https://example.org/cat.png", RowOutcome.FAILED, reason="It failed."),
]


def sheet(manifest: Any, destination: str, **arguments: Any) -> functools.partial[ContactSheetOperator]:
    return functools.partial(
        ContactSheetOperator, **{"task_id": "sheet", "manifest": manifest, "destination": destination, **arguments}
    )


def made(manifest: Any, folder: Path, **arguments: Any) -> Any:
    return run_to_end(sheet(manifest, f"file://{folder}", **arguments), context(), "plain")


@pytest.fixture
def manifest(tmp_path: Path) -> str:
    (tmp_path / "manifest.jsonl").write_text("".join(f"{row.to_line()}\n" for row in ROWS))
    return f"file://{tmp_path}/manifest.jsonl"


@pytest.fixture
def summary(manifest: str) -> dict[str, Any]:
    return BatchSummary(manifest, "file:///ledger", 2, {"landed": 1, "failed": 1}, 2, None, 0, 1.0).to_payload()


def result(folder: Path, name: str = "after.png", **fields: Any) -> dict[str, Any]:
    data = picture()
    (folder / name).write_bytes(data)
    image = {"uri": f"file://{folder}/{name}", "sha256": "0" * 64, "bytes": len(data), "format": "PNG"}
    images = [{**image, "width": 40, "height": 30, **fields}]
    return {"v": 1, "api": "edit/image/v1", "job_id": "job-1", "seed": 7, "status": "SUCCESS", "images": images}


@pytest.mark.parametrize("given", ["a summary", "an address", "summaries"])
def test_what_a_batch_returned_becomes_a_sheet(summary: dict[str, Any], tmp_path: Path, given: str) -> None:
    value: Any = {"a summary": summary, "an address": summary["manifest"], "summaries": [summary, summary]}[given]
    times = 2 if given == "summaries" else 1

    found = made(value, tmp_path, title="The night")

    assert found.keys() == {"uri", "bytes", "pairs", "counts"}
    assert (found["uri"], found["pairs"]) == (f"file://{tmp_path}/contact-sheet.jpg", 2 * times)
    assert {name: count for name, count in found["counts"].items() if count} == {"landed": times, "failed": times}
    assert (tmp_path / "contact-sheet.jpg").stat().st_size == found["bytes"]


@pytest.mark.parametrize(("form", "end"), [("jpeg", "jpg"), ("png", "png"), ("webp", "webp")])
def test_the_format_is_the_one_that_was_asked_for(manifest: str, tmp_path: Path, form: str, end: str) -> None:
    found = made(manifest, tmp_path, format=form, file_stem="night/sheet", pairs=1)
    assert (found["uri"], found["pairs"]) == (f"file://{tmp_path}/night/sheet.{end}", 1)
    with Image.open(tmp_path / f"night/sheet.{end}") as image:
        assert image.format == form.upper()


def test_it_reads_and_writes_s3_by_templates(moto: Moto, bucket: str) -> None:
    moto.s3.put_object(Bucket=bucket, Key="photos/cup.png", Body=picture())
    row = ManifestRow(0, f"s3://{bucket}/photos/cup.png", RowOutcome.REJECTED, reason="It is another picture.")
    moto.s3.put_object(Bucket=bucket, Key="runs/manifest.jsonl", Body=row.to_line().encode())
    make = sheet(
        "s3://{{ params.bucket }}/runs/manifest.jsonl",
        "s3://{{ params.bucket }}/sheets",
        file_stem="{{ params.stem }}",
        title="{{ params.stem }}",
    )

    found = run_to_end(make, context(bucket=bucket, stem="night"), "plain")

    assert (found["uri"], found["counts"]["rejected"]) == (f"s3://{bucket}/sheets/night.jpg", 1)
    with Image.open(io.BytesIO(moto.body(bucket, "sheets/night.jpg"))) as image:
        # The photo is seen: there is more than grey, green and red.
        assert len(image.convert("RGB").getcolors(2**24) or []) > 1000


def test_results_of_single_jobs_become_a_sheet(vendor: Vendor, photos: str, tmp_path: Path) -> None:
    vendor.settings.job_seconds = 0.0
    make = image_to_image(f"{photos}/cup.png", destination=f"file://{tmp_path}/edited")
    results = [run_to_end(make, context(), "worker") for _ in range(2)]

    found = made(results, tmp_path)

    assert (found["pairs"], found["counts"]["landed"], vendor.count("accepted")) == (2, 2, 2)


def test_a_blank_result_counts_as_filtered(tmp_path: Path) -> None:
    found = made([result(tmp_path), result(tmp_path, blank=True)], tmp_path)
    assert (found["counts"]["landed"], found["counts"]["filtered"]) == (1, 1)
    assert made(result(tmp_path), tmp_path)["pairs"] == 1


def test_nothing_to_show_makes_an_empty_sheet(tmp_path: Path) -> None:
    assert made([], tmp_path)["pairs"] == 0


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "what a batch or image operator returned"),
        ([None], "what a batch or image operator returned"),
        ("{'manifest': 's3://bucket/manifest.jsonl'}", "not a text like this one"),
        ("https://example.org/manifest.jsonl", "not a text like this one"),
        ({"job_id": "job-1", "status": "PENDING"}, "result 0 names no image in storage"),
        ([{"images": [{"uri": 1}]}], "result 0 names no image in storage"),
    ],
)
def test_what_is_no_result_is_refused(value: Any, words: str, tmp_path: Path) -> None:
    with fails_with(AirflowFailException, "The contact sheet cannot be made: ", words):
        made(value, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"format": "gif"}, "format: 'gif' is none of jpeg, png, webp"),
        ({"pairs": 0}, "pairs: 0 is not a number from 1 to 60"),
        ({"pairs": "12"}, "pairs: '12' is not a number"),
        ({"file_stem": "../up"}, "file_stem"),
    ],
)
def test_an_argument_that_makes_no_sense_is_refused(
    arguments: dict[str, Any], words: str, manifest: str, tmp_path: Path
) -> None:
    with fails_with(AirflowFailException, words):
        made(manifest, tmp_path, **arguments)


def test_a_line_that_is_no_row_fails_it_for_good(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text(json.dumps({"index": 0}))
    with fails_with(AirflowFailException, "line 1 of ", "is no row of a manifest"):
        made(f"file://{tmp_path}/manifest.jsonl", tmp_path)


def test_a_manifest_that_cannot_be_read_may_be_tried_again(tmp_path: Path) -> None:
    with fails_with(StorageFailed, "none.jsonl could not be read"):
        made(f"file://{tmp_path}/none.jsonl", tmp_path)


def test_a_destination_that_is_no_folder_is_refused(manifest: str) -> None:
    with fails_with(DestinationUnusable, "is no folder"):
        run_to_end(sheet(manifest, "nowhere"), context(), "plain")


def test_an_earlier_sheet_is_replaced_unless_that_is_refused(manifest: str, tmp_path: Path) -> None:
    made(manifest, tmp_path, pairs=1)
    first = (tmp_path / "contact-sheet.jpg").read_bytes()
    with fails_with(AlreadyThere, "exists with other bytes"):
        made(manifest, tmp_path, overwrite=False)
    made(manifest, tmp_path)
    assert (tmp_path / "contact-sheet.jpg").read_bytes() != first
