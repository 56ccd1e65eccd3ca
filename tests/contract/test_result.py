"""The shape that tasks find in XCom."""

from __future__ import annotations

import json

import pytest

from airflow_imagepipeline.contract.api import JobStatus
from airflow_imagepipeline.contract.job import JobHandle
from airflow_imagepipeline.contract.result import JobResult, LandedImage
from tests.contract.answered import HANDLE

IMAGE = LandedImage("s3://bucket/job-1-00.png", "ab" * 32, 1234, "PNG", 768, 768)
SHOWN = {
    "uri": "s3://bucket/job-1-00.png",
    "sha256": "ab" * 32,
    "bytes": 1234,
    "format": "PNG",
    "width": 768,
    "height": 768,
}
NAMED = {"v": 1, "api": "sdxl/image2image/v1", "job_id": "job-1", "seed": 7, "submitted_at": 1_799_999_990.0}
LINK = "https://f.example/1.png?Authorization=SECRET"


@pytest.mark.parametrize(
    ("result", "rest"),
    [
        pytest.param(JobResult(HANDLE, JobStatus.PENDING), {"status": "PENDING"}, id="not waited for"),
        pytest.param(
            JobResult(HANDLE, JobStatus.SUCCESS, images=[IMAGE]),
            {"status": "SUCCESS", "images": [SHOWN]},
            id="landed",
        ),
        pytest.param(
            JobResult(HANDLE, JobStatus.SUCCESS, images=[]), {"status": "SUCCESS", "images": []}, id="nothing landed"
        ),
        pytest.param(
            JobResult(HANDLE, JobStatus.SUCCESS, download_urls=(LINK,)),
            {"status": "SUCCESS", "download_urls": [LINK]},
            id="links",
        ),
        pytest.param(
            JobResult(HANDLE, JobStatus.SUCCESS, images=[IMAGE], download_urls=(LINK,)),
            {"status": "SUCCESS", "images": [SHOWN]},
            id="landed, so without links",
        ),
    ],
)
def test_a_result_holds(result: JobResult, rest: dict[str, object]) -> None:
    payload = result.to_payload()
    assert payload == {**NAMED, **rest}
    assert json.loads(json.dumps(payload)) == payload
    assert JobHandle.from_payload(payload) == HANDLE


def test_a_blank_image_says_so() -> None:
    blank = LandedImage("s3://bucket/job-1-00.png", "ab" * 32, 1234, "PNG", 768, 768, blank=True)
    assert blank.to_payload() == {**SHOWN, "blank": True}


def test_links_stay_out_of_repr() -> None:
    assert "SECRET" not in repr(JobResult(HANDLE, JobStatus.SUCCESS, download_urls=(LINK,)))
