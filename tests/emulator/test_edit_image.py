"""What the current generation adds: the life of a job in its own words, formats, palettes and lists of images."""

from __future__ import annotations

import hashlib
import io
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import requests
from PIL import Image, ImageStat

from airflow_imagepipeline.emulator.edit_image import EDIT_IMAGE, read_order
from airflow_imagepipeline.emulator.generation import JobView

from .api import EDIT, KEY, PATIENCE, Dialect, distance, faults, only_edit, picture

if TYPE_CHECKING:
    from airflow_imagepipeline.emulator import Emulator

pytestmark = only_edit

_PROMPT_HASH = hashlib.sha256(b"a watercolor of a boat").hexdigest()


def test_an_accepted_job_is_queued(tunable: Emulator, api: Dialect, body: dict[str, Any]) -> None:
    tunable.settings.job_seconds = 6.6
    answer = api.submit(tunable, body)
    content = answer.json()
    assert answer.status_code == 200
    assert abs(datetime.now(UTC) - datetime.fromisoformat(content.pop("queued_at"))).total_seconds() < PATIENCE
    assert isinstance(content.pop("job_id"), str)
    assert content == {"status": "queued", "endpoint": "edit/image/v1", "estimated_time_seconds": 7}


@pytest.mark.parametrize(
    ("age", "status", "progress", "position"),
    [
        (0, "queued", 0, 2),
        (9.9, "queued", 0, 2),
        (10, "pending", 0, 1),
        (24.9, "pending", 0, 1),
        (25, "processing", 0, None),
        (62.5, "processing", 50, None),
        (100, "processing", 99, None),
        (500, "processing", 99, None),
    ],
)
def test_a_job_is_queued_then_pending_then_processing(
    api: Dialect, *, age: float, status: str, progress: int, position: int | None
) -> None:
    order = read_order(b'{"prompt": "a boat"}')
    view = JobView(
        job_id=api.name, order=order, queued_at=datetime.now(UTC), age=age, seconds=100, price_usd=1, balance_usd=1
    )
    answer = EDIT_IMAGE.describe(view)
    assert (answer["status"], answer["progress"], answer["queue_position"]) == (status, progress, position)
    assert (answer["started_at"] is not None) == (status == "processing")


def test_a_jobs_life_goes_forward(tunable: Emulator, api: Dialect, body: dict[str, Any]) -> None:
    tunable.settings.job_seconds = 0.5
    job_id = api.begin(tunable, body)
    life = ["queued", "pending", "processing", "completed"]
    seen: list[dict[str, Any]] = []
    while not seen or seen[-1]["status"] in api.running:
        seen.append(api.look(tunable, job_id).json())
    places = [(life.index(answer["status"]), answer["progress"]) for answer in seen]
    assert places == sorted(places)
    assert places[-1] == (3, 100)


def test_a_completed_job_says_what_it_took_and_cost(tunable: Emulator, api: Dialect, body: dict[str, Any]) -> None:
    tunable.settings.credits = 10
    tunable.settings.job_seconds = 0.4
    answer = api.run(tunable, body)
    times = [datetime.fromisoformat(answer[name]) for name in ("queued_at", "started_at", "completed_at")]
    assert times == sorted(times)
    assert answer["queue_wait_seconds"] == 0.1
    assert answer["total_elapsed_seconds"] >= 0.4
    total = answer["queue_wait_seconds"] + answer["inference_time_seconds"]
    assert math.isclose(total, answer["total_elapsed_seconds"], abs_tol=0.002)
    billing = {"credits_charged": True, "credits_amount": 1, "cost_usd": 0.04, "balance_remaining_usd": 0.36}
    assert {name: answer[name] for name in billing} == billing
    assert (answer["prompt_hash"], answer["warnings"]) == (_PROMPT_HASH, [])
    assert [answer[name] for name in ("error", "failure_reason_code", "retryable")] == [None] * 3


def test_a_second_look_tells_the_same_but_for_the_link(shared: Emulator, api: Dialect, body: dict[str, Any]) -> None:
    job_id = api.begin(shared, body)
    first, second = (api.outcome(shared, job_id) for _ in range(2))
    assert first.pop("result_url") != second.pop("result_url")
    assert first == second


@pytest.mark.parametrize("status", ["queued", "completed", "failed"])
def test_every_documented_member_is_there(tunable: Emulator, api: Dialect, body: dict[str, Any], status: str) -> None:
    tunable.settings.job_seconds = 3600 if status == "queued" else 0
    tunable.settings.fail_next = ["MODEL_ERROR"] if status == "failed" else []
    job_id = api.begin(tunable, body)
    answer = api.look(tunable, job_id).json() if status == "queued" else api.outcome(tunable, job_id)
    documented = {
        "job_id", "status", "endpoint", "progress", "queue_position", "result_url", "result_mime_type", "queued_at",
        "started_at", "completed_at", "queue_wait_seconds", "inference_time_seconds", "total_elapsed_seconds", "error",
        "failure_reason_code", "retryable", "warnings", "prompt_hash", "credits_charged", "credits_amount",
        "charged_at", "balance_remaining_usd", "processing_time_seconds", "cost_usd",
    }  # fmt: skip
    assert (answer["status"], answer["job_id"], set(answer)) == (status, job_id, documented)


@pytest.mark.parametrize(
    ("asked", "kind", "media_type"),
    [
        ({}, "WEBP", "image/webp"),
        ({"output_format": "webp"}, "WEBP", "image/webp"),
        ({"output_format": "jpeg"}, "JPEG", "image/jpeg"),
        ({"output_format": "png"}, "PNG", "image/png"),
    ],
)
def test_the_result_has_the_asked_format(
    shared: Emulator, api: Dialect, body: dict[str, Any], *, asked: dict[str, str], kind: str, media_type: str
) -> None:
    request = {name: value for name, value in body.items() if name != "output_format"}
    answer = api.run(shared, {**request, **asked})
    assert answer["result_mime_type"] == media_type
    file = requests.get(answer["result_url"], timeout=PATIENCE)
    assert file.headers["Content-Type"] == media_type
    assert Image.open(io.BytesIO(file.content)).format == kind
    assert api.edited(shared, {**request, **asked}) == [file.content]


@pytest.mark.parametrize("seed", [-1, None])
def test_minus_one_draws_a_seed(shared: Emulator, api: Dialect, body: dict[str, Any], seed: int | None) -> None:
    assert api.edited(shared, {**body, "seed": seed}) != api.edited(shared, {**body, "seed": seed})


@pytest.mark.parametrize("palette", [["#00ff00"], ["00aa00", "#00FF40"], [f"#00{green}00" for green in range(40, 50)]])
def test_a_palette_is_used(shared: Emulator, api: Dialect, body: dict[str, Any], palette: list[str]) -> None:
    (plain,), (green,) = (api.edited(shared, {**body, **more}) for more in ({}, {"palette": palette}))
    before, after = (ImageStat.Stat(picture(raw)).mean for raw in (plain, green))
    assert after[1] - max(after[0], after[2]) > before[1] - max(before[0], before[2]) + 15


def test_anime_is_a_look_of_its_own(shared: Emulator, api: Dialect, body: dict[str, Any]) -> None:
    plain, anime = (picture(api.edited(shared, {**body, "mode": mode})[0]) for mode in (None, "anime"))
    assert distance(plain, anime) > 4


def test_further_images_shine_through_a_little(
    shared: Emulator, api: Dialect, body: dict[str, Any], files: str
) -> None:
    links = [f"{files}/photo.png", f"{files}/large.png"]
    alone, one, both = (
        picture(api.edited(shared, {**body, "input_image": images})[0]) for images in (links[0], links[:1], links)
    )
    assert distance(alone, one) == 0
    assert 0.3 < distance(alone, both) < 25
    assert both.size == alone.size


@pytest.mark.parametrize("images", [None, []])
def test_without_an_image_there_is_nothing_to_edit(
    shared: Emulator, api: Dialect, body: dict[str, Any], images: list[str] | None
) -> None:
    answer = api.run(shared, {**body, "input_image": images})
    assert (answer["status"], answer["failure_reason_code"]) == ("failed", "INPUT_INVALID")
    assert answer["error"] == "input_image is missing: there is nothing to edit"


def test_one_bad_image_of_a_list_fails_the_job(
    shared: Emulator, api: Dialect, body: dict[str, Any], files: str
) -> None:
    answer = api.run(shared, {**body, "input_image": [f"{files}/photo.png", f"{files}/missing.png"]})
    assert (answer["error"], answer["retryable"]) == ("input_image could not be downloaded: HTTP 404", False)


def test_explicit_words_fail_the_job_as_invalid_input(shared: Emulator, api: Dialect, body: dict[str, Any]) -> None:
    answer = api.run(shared, {**body, "prompt": "a nude"})
    assert (answer["status"], answer["failure_reason_code"]) == ("failed", "INPUT_INVALID")
    assert "content policy" in answer["error"]


def test_what_is_ignored_is_said(shared: Emulator, api: Dialect, body: dict[str, Any]) -> None:
    more = {"callback_url": "https://hook.example", "profile_id": "p", "mask_segment": "hair", "server_id": "s"}
    said = [warning.split()[0] for warning in api.run(shared, {**body, **more})["warnings"]]
    assert sorted(said) == ["callback_url", "mask_segment", "profile_id"]


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"mode": "cubist"}, "mode"),
        ({"output_format": "gif"}, "output_format"),
        ({"palette": ["red"]}, "palette.0"),
        ({"palette": "#ff0000"}, "palette"),
        ({"faster_inference": "perhaps"}, "faster_inference"),
        ({"input_image": ["x"] * 9}, "input_image.list[str]"),
    ],
)
def test_what_a_field_does_not_allow_is_422(
    shared: Emulator, api: Dialect, body: dict[str, Any], wrong: dict[str, Any], place: str
) -> None:
    assert f"body.{place}" in faults(api.submit(shared, {**body, **wrong}))


def test_the_other_endpoints_are_not_there(shared: Emulator, body: dict[str, Any]) -> None:
    url = shared.url + "/generate/image/v1"
    assert requests.post(url, json=body, headers={EDIT.key_header: KEY}, timeout=PATIENCE).status_code == 404
