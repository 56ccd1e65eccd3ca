# Licensed under the Apache License, Version 2.0; see the file LICENSE.
"""The life of a job: pending, then success or failure; and what is counted and kept."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from airflow_imagepipeline.emulator import Emulator, worker

from .api import KEY, edited, look, outcome, run, submit


def test_a_job_is_pending_while_its_time_runs(emulator: Emulator, body: dict[str, Any]) -> None:
    emulator.settings.job_seconds = 3600
    job_id = submit(emulator, body).json()["id"]
    answer = look(emulator, job_id)
    assert answer.status_code == 200
    assert answer.json() == {"id": job_id, "status": "PENDING"}


def test_a_failure_too_waits_for_the_jobs_time(emulator: Emulator, body: dict[str, Any], files: str) -> None:
    broken = {**body, "init_image": f"{files}/missing.png"}
    assert run(emulator, broken)["status"] == "FAILURE"
    emulator.settings.job_seconds = 3600
    assert look(emulator, submit(emulator, broken).json()["id"]).json()["status"] == "PENDING"


def test_success_has_links_and_no_id(shared: Emulator, body: dict[str, Any]) -> None:
    answer = run(shared, body)
    assert set(answer) == {"download_urls", "status"}
    assert answer["status"] == "SUCCESS"


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_success_has_one_link_for_each_sample(shared: Emulator, body: dict[str, Any], samples: int) -> None:
    assert len(set(run(shared, {**body, "samples": samples})["download_urls"])) == samples


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("missing.png", "init_image could not be downloaded: HTTP 404"),
        ("too-many-bytes.png", "init_image could not be downloaded: more than 20971520 bytes"),
        ("too-many-pixels.png", "init_image is not a usable image: 10000 x 5001 pixels are too many"),
        ("page.html", "init_image is not a usable image: its format is unknown or the file is damaged"),
        ("empty.png", "init_image is not a usable image: its format is unknown or the file is damaged"),
        ("cut.png", "init_image is not a usable image: its format is unknown or the file is damaged"),
    ],
)
def test_an_input_that_is_no_image_fails_the_job(
    shared: Emulator, body: dict[str, Any], files: str, name: str, sentence: str
) -> None:
    answer = run(shared, {**body, "init_image": f"{files}/{name}"})
    assert answer == {"status": "FAILURE", "error": sentence}


@pytest.mark.parametrize(
    "link",
    ["http://127.0.0.1:9/x.png", "file:///etc/hostname", "not a link", "", "http://", "http://a..b/", "http://[x"],
)
def test_an_input_that_cannot_be_fetched_fails_the_job(shared: Emulator, body: dict[str, Any], link: str) -> None:
    answer = run(shared, {**body, "init_image": link})
    assert answer["status"] == "FAILURE"
    assert answer["error"].startswith("init_image could not be downloaded: ")


def test_an_input_that_comes_too_slowly_fails_the_job(
    body: dict[str, Any], files: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "FETCH_SECONDS", 0.5)
    with Emulator(api_key=KEY, job_seconds=0) as emulator:
        answer = run(emulator, {**body, "init_image": f"{files}/drip.png"})
    assert answer == {
        "status": "FAILURE",
        "error": "init_image could not be downloaded: not complete within 0.5 seconds",
    }


@pytest.mark.parametrize("name", ["photo.jpg", "palette.gif", "transparent.png", "moved.png"])
def test_other_formats_and_redirects_are_taken(shared: Emulator, body: dict[str, Any], files: str, name: str) -> None:
    assert run(shared, {**body, "init_image": f"{files}/{name}"})["status"] == "SUCCESS"


def test_a_result_can_be_the_next_jobs_input(shared: Emulator, body: dict[str, Any]) -> None:
    (link,) = run(shared, body)["download_urls"]
    assert run(shared, {**body, "init_image": link})["status"] == "SUCCESS"


def test_polls_are_answered_while_images_are_made(emulator: Emulator, body: dict[str, Any], files: str) -> None:
    heavy = {**body, "init_image": f"{files}/large.png", "width": 2048, "height": 1536, "samples": 2}
    job_id = submit(emulator, heavy).json()["id"]
    pending = 0
    while look(emulator, job_id).json()["status"] == "PENDING":
        pending += 1
    # A server that edits on its event loop answers a handful of polls before it starts and none until it is done.
    assert pending > 8


def test_the_counts_tell_what_was_asked(emulator: Emulator, body: dict[str, Any]) -> None:
    answer = submit(emulator, body).json()
    submit(emulator, body, key="wrong")
    submit(emulator, {})
    polls = 0
    while (seen := look(emulator, answer["id"]).json())["status"] == "PENDING":
        polls += 1
    look(emulator, "unknown")
    (link,) = seen["download_urls"]
    requests.get(link, timeout=60)
    requests.get(link, headers={"API-Key": KEY}, timeout=60)
    requests.get(link.replace("Authorization=3", "Authorization=4x"), timeout=60)
    assert emulator.stats() == {
        "submits": 3,
        "accepted": 1,
        "polls": polls + 2,
        "downloads": 2,
        "downloads_refused": 1,
        "downloads_with_key": 1,
        "refused": 3,
        "refused_by_status": {"401": 1, "422": 1, "404": 1},
    }
    assert requests.get(emulator.url + "/_emulator/stats", timeout=60).json() == emulator.stats()


def test_the_oldest_results_are_forgotten_beyond_the_limit(body: dict[str, Any]) -> None:
    emulator = Emulator(api_key=KEY, job_seconds=0)
    emulator.settings.keep_bytes = 1
    with emulator:
        first = submit(emulator, body).json()["id"]
        (link,) = outcome(emulator, first)["download_urls"]
        second = submit(emulator, body).json()["id"]
        assert outcome(emulator, second)["status"] == "SUCCESS"
        assert look(emulator, first).status_code == 404
        assert requests.get(link, timeout=60).status_code == 404


def test_a_job_whose_time_runs_is_not_forgotten(body: dict[str, Any]) -> None:
    emulator = Emulator(api_key=KEY, job_seconds=3600)
    emulator.settings.keep_bytes = 1
    with emulator:
        running = submit(emulator, body).json()["id"]
        emulator.settings.job_seconds = 0
        assert len(edited(emulator, body)) == 1
        assert look(emulator, running).json()["status"] == "PENDING"
