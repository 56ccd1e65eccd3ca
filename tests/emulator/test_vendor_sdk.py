"""The vendor's own SDK, unmodified, with nothing changed but its base URL."""

from __future__ import annotations

import io
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import requests
from imagepipeline import ImagePipeline, _transport
from imagepipeline.exceptions import APIError, AuthenticationError, JobFailedError, RateLimitError
from imagepipeline.models import JobStatus
from PIL import Image

from .api import KEY, PATIENCE

if TYPE_CHECKING:
    from airflow_imagepipeline.emulator import Emulator


@pytest.fixture
def sdk(tunable: Emulator, monkeypatch: pytest.MonkeyPatch) -> ImagePipeline:
    """Point the SDK at the emulator; its pause of three seconds between two looks has no public knob."""
    monkeypatch.setattr(_transport, "time", SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: time.sleep(0.02)))
    return ImagePipeline(KEY, base_url=tunable.url)


@pytest.fixture
def photo_link(files: str) -> str:
    return f"{files}/photo.png"


def test_an_edit_is_made_and_downloaded(sdk: ImagePipeline, tunable: Emulator, photo_link: str) -> None:
    tunable.settings.job_seconds = 0.2
    job = sdk.edit.image(prompt="a watercolor", input_image=photo_link, palette=["#FF5733"], negative_prompt="blurry")
    assert (job.status, job.progress, job.result_mime_type) == (JobStatus.COMPLETED, 100, "image/webp")
    assert (job.cost_usd, job.endpoint, job.error) == (0.04, "edit/image/v1", None)
    assert job.url is not None
    image = Image.open(io.BytesIO(requests.get(job.url, timeout=PATIENCE).content))
    assert (image.format, image.size) == ("WEBP", (120, 80))


def test_an_edit_need_not_be_waited_for(sdk: ImagePipeline, tunable: Emulator, photo_link: str) -> None:
    tunable.settings.job_seconds = 3600
    job = sdk.edit.image(prompt="a watercolor", input_image=[photo_link, photo_link], wait=False)
    assert (job.status, job.endpoint) == (JobStatus.QUEUED, "edit/image/v1")


def test_a_wrong_key_is_an_authentication_error(tunable: Emulator, photo_link: str) -> None:
    with pytest.raises(AuthenticationError, match="Invalid API key"):
        ImagePipeline("wrong", base_url=tunable.url).edit.image(prompt="a", input_image=photo_link)


def test_a_rate_limit_says_how_long_to_wait(sdk: ImagePipeline, tunable: Emulator, photo_link: str) -> None:
    tunable.settings.refuse_next = ["RATE_LIMIT_EXCEEDED"]
    tunable.settings.retry_after = 17
    with pytest.raises(RateLimitError) as caught:
        sdk.edit.image(prompt="a", input_image=photo_link)
    assert caught.value.retry_after == 17


def test_no_balance_has_its_code(sdk: ImagePipeline, tunable: Emulator, photo_link: str) -> None:
    tunable.settings.credits = 0
    with pytest.raises(APIError) as caught:
        sdk.edit.image(prompt="a", input_image=photo_link)
    assert (caught.value.status_code, caught.value.error_code) == (402, "INSUFFICIENT_BALANCE")


def test_a_parameter_out_of_range_is_told(sdk: ImagePipeline, photo_link: str) -> None:
    with pytest.raises(APIError, match="width: Input should be less than or equal to 2048") as caught:
        sdk.edit.image(prompt="a", input_image=photo_link, width=4096)
    assert (caught.value.status_code, caught.value.error_code) == (422, "INVALID_PARAMETERS")


def test_a_failed_job_is_a_job_failed_error(sdk: ImagePipeline, tunable: Emulator, photo_link: str) -> None:
    tunable.settings.fail_next = ["MODEL_ERROR"]
    with pytest.raises(JobFailedError) as caught:
        sdk.edit.image(prompt="a", input_image=photo_link)
    assert caught.value.reason == "The model failed"
    assert caught.value.job_id


def test_the_account_is_told(sdk: ImagePipeline) -> None:
    assert sdk.account()["plan"] == "pro"


def test_its_upload_goes_out_mislabelled_and_is_refused_clearly(sdk: ImagePipeline, tunable: Emulator) -> None:
    # The session's Content-Type: application/json wins over the multipart one, so no server can find the part.
    uploads = tunable.stats()["uploads"]
    with pytest.raises(APIError, match="labelled application/json, not multipart/form-data") as caught:
        sdk.upload.image(io.BytesIO(b"\x89PNG"), filename="a.png")
    assert (caught.value.status_code, caught.value.error_code) == (422, "INVALID_PARAMETERS")
    assert tunable.stats()["uploads"] == uploads
