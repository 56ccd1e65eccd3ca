"""The life of a job: pending, then success or failure; and what is counted and kept."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from airflow_imagepipeline.emulator import Emulator, worker

from .api import KEY, Dialect, only_sdxl


def test_a_job_is_pending_while_its_time_runs(api: Dialect, emulator: Emulator, body: dict[str, Any]) -> None:
    emulator.settings.job_seconds = 3600
    job_id = api.begin(emulator, body)
    answer = api.look(emulator, job_id)
    assert answer.status_code == 200
    assert (answer.json()[api.id_field], answer.json()["status"] in api.running) == (job_id, True)


def test_a_failure_too_waits_for_the_jobs_time(
    api: Dialect, emulator: Emulator, body: dict[str, Any], files: str
) -> None:
    broken = {**body, api.image_field: f"{files}/missing.png"}
    assert api.run(emulator, broken)["status"] == api.failed
    emulator.settings.job_seconds = 3600
    assert api.is_running(emulator, api.begin(emulator, broken))


@only_sdxl
def test_sdxls_answers_have_nothing_more(api: Dialect, emulator: Emulator, body: dict[str, Any]) -> None:
    emulator.settings.job_seconds = 3600
    job_id = api.begin(emulator, body)
    assert api.look(emulator, job_id).json() == {"id": job_id, "status": "PENDING"}


@only_sdxl
def test_success_has_links_and_no_id(api: Dialect, shared: Emulator, body: dict[str, Any]) -> None:
    answer = api.run(shared, body)
    assert set(answer) == {"download_urls", "status"}
    assert answer["status"] == api.done


@only_sdxl
@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_success_has_one_link_for_each_sample(
    api: Dialect, shared: Emulator, body: dict[str, Any], samples: int
) -> None:
    assert len(set(api.links(api.run(shared, {**body, "samples": samples})))) == samples


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("missing.png", "could not be downloaded: HTTP 404"),
        ("too-many-bytes.png", "could not be downloaded: more than 20971520 bytes"),
        ("too-many-pixels.png", "is not a usable image: 10000 x 5001 pixels are too many"),
        ("page.html", "is not a usable image: its format is unknown or the file is damaged"),
        ("empty.png", "is not a usable image: its format is unknown or the file is damaged"),
        ("cut.png", "is not a usable image: its format is unknown or the file is damaged"),
    ],
)
def test_an_input_that_is_no_image_fails_the_job(
    api: Dialect, shared: Emulator, body: dict[str, Any], files: str, *, name: str, sentence: str
) -> None:
    answer = api.run(shared, {**body, api.image_field: f"{files}/{name}"})
    assert (answer["status"], answer["error"]) == (api.failed, f"{api.image_field} {sentence}")


@pytest.mark.parametrize(
    "link",
    ["http://127.0.0.1:9/x.png", "file:///etc/hostname", "not a link", "", "http://", "http://a..b/", "http://[x"],
)
def test_an_input_that_cannot_be_fetched_fails_the_job(
    api: Dialect, shared: Emulator, body: dict[str, Any], link: str
) -> None:
    answer = api.run(shared, {**body, api.image_field: link})
    assert answer["status"] == api.failed
    assert answer["error"].startswith(f"{api.image_field} could not be downloaded: ")


def test_an_input_that_comes_too_slowly_fails_the_job(
    api: Dialect, body: dict[str, Any], files: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "FETCH_SECONDS", 0.5)
    with Emulator(api_key=KEY, job_seconds=0) as emulator:
        answer = api.run(emulator, {**body, api.image_field: f"{files}/drip.png"})
    sentence = f"{api.image_field} could not be downloaded: not complete within 0.5 seconds"
    assert (answer["status"], answer["error"]) == (api.failed, sentence)


@pytest.mark.parametrize("name", ["photo.jpg", "palette.gif", "transparent.png", "moved.png"])
def test_other_formats_and_redirects_are_taken(
    api: Dialect, shared: Emulator, body: dict[str, Any], files: str, name: str
) -> None:
    assert api.run(shared, {**body, api.image_field: f"{files}/{name}"})["status"] == api.done


def test_a_result_can_be_the_next_jobs_input(api: Dialect, shared: Emulator, body: dict[str, Any]) -> None:
    (link,) = api.links(api.run(shared, body))
    assert api.run(shared, {**body, api.image_field: link})["status"] == api.done


@pytest.mark.slow
@pytest.mark.xdist_group("clock")
def test_polls_are_answered_while_images_are_made(
    api: Dialect, emulator: Emulator, body: dict[str, Any], files: str
) -> None:
    heavy = {**body, api.image_field: f"{files}/large.png", "width": 1536, "height": 1152, "samples": 2}
    job_id = api.begin(emulator, heavy)
    pending = 0
    while api.is_running(emulator, job_id):
        pending += 1
    # A server that edits on its event loop answers a handful of polls before it starts and none until it is done.
    assert pending > 8


def test_the_counts_tell_what_was_asked(api: Dialect, emulator: Emulator, body: dict[str, Any]) -> None:
    job_id = api.begin(emulator, body)
    api.submit(emulator, body, key="wrong")
    api.submit(emulator, {})
    polls = 0
    while (seen := api.look(emulator, job_id).json())["status"] in api.running:
        polls += 1
    api.look(emulator, "unknown")
    (link,) = api.links(seen)
    requests.get(link, timeout=60)
    requests.get(link, headers={api.key_header: KEY}, timeout=60)
    requests.get(link.replace("Authorization=3", "Authorization=4x"), timeout=60)
    assert emulator.stats() == {
        "submits": 3,
        "accepted": 1,
        "polls": polls + 2,
        "downloads": 2,
        "downloads_refused": 1,
        "downloads_with_key": 1,
        "uploads": 0,
        "refused": 3,
        "refused_by_status": {"401": 1, "422": 1, "404": 1},
    }
    assert requests.get(emulator.url + "/_emulator/stats", timeout=60).json() == emulator.stats()


def test_the_oldest_results_are_forgotten_beyond_the_limit(api: Dialect, body: dict[str, Any]) -> None:
    emulator = Emulator(api_key=KEY, job_seconds=0)
    emulator.settings.keep_bytes = 1
    with emulator:
        first = api.begin(emulator, body)
        (link,) = api.links(api.outcome(emulator, first))
        second = api.begin(emulator, body)
        assert api.outcome(emulator, second)["status"] == api.done
        assert api.look(emulator, first).status_code == 404
        assert requests.get(link, timeout=60).status_code == 404


def test_a_job_whose_time_runs_is_not_forgotten(api: Dialect, body: dict[str, Any]) -> None:
    emulator = Emulator(api_key=KEY, job_seconds=3600)
    emulator.settings.keep_bytes = 1
    with emulator:
        emulator.settings.canned = True  # it is settled at once, before the next job is
        running = api.begin(emulator, body)
        emulator.settings.canned = False
        emulator.settings.job_seconds = 0
        assert len(api.edited(emulator, body)) == 1
        assert api.is_running(emulator, running)
