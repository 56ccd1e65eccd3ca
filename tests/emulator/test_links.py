# Licensed under the Apache License, Version 2.0; see the file LICENSE.
"""Links to results: open without a key, to whoever holds them, for a while."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest
import requests

from .api import outcome, run, submit

if TYPE_CHECKING:
    from airflow_imagepipeline.emulator import Emulator


def test_a_link_gives_a_png_of_a_known_length_without_a_key(shared: Emulator, body: dict[str, Any]) -> None:
    (link,) = run(shared, body)["download_urls"]
    answer = httpx.get(link)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "image/png"
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    assert answer.content.startswith(b"\x89PNG\r\n\x1a\n")


def test_a_link_leads_to_the_host_that_was_asked_and_carries_its_authorization(
    shared: Emulator, body: dict[str, Any]
) -> None:
    (link,) = run(shared, body)["download_urls"]
    assert link.startswith(shared.url + "/_emulator/files/")
    assert urlsplit(link).path.endswith("/0.png")
    assert "Authorization=" in urlsplit(link).query


def test_a_head_of_a_link_is_no_download(emulator: Emulator, body: dict[str, Any]) -> None:
    (link,) = run(emulator, body)["download_urls"]
    assert requests.head(link, timeout=60).headers["Content-Type"] == "image/png"
    assert emulator.stats()["downloads"] == 0


def test_each_look_gives_fresh_links_to_the_same_image(shared: Emulator, body: dict[str, Any]) -> None:
    job_id = submit(shared, body).json()["id"]
    (first,) = outcome(shared, job_id)["download_urls"]
    (second,) = outcome(shared, job_id)["download_urls"]
    assert first != second
    assert requests.get(first, timeout=60).content == requests.get(second, timeout=60).content


def test_an_open_link_closes_after_its_time(emulator: Emulator, body: dict[str, Any]) -> None:
    emulator.settings.link_seconds = 1.5
    job_id = submit(emulator, body).json()["id"]
    (link,) = outcome(emulator, job_id)["download_urls"]
    assert requests.get(link, timeout=60).status_code == 200
    deadline = time.monotonic() + 60
    while (answer := requests.get(link, timeout=60)).status_code == 200 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (answer.status_code, answer.json()) == (403, {"detail": "This link is not valid or has expired"})


def test_a_fresh_look_replaces_dead_links(emulator: Emulator, body: dict[str, Any]) -> None:
    emulator.settings.link_seconds = 0
    job_id = submit(emulator, body).json()["id"]
    (dead,) = outcome(emulator, job_id)["download_urls"]
    assert requests.get(dead, timeout=60).status_code == 403
    emulator.settings.link_seconds = 3600
    (fresh,) = outcome(emulator, job_id)["download_urls"]
    assert requests.get(fresh, timeout=60).status_code == 200
    assert requests.get(dead, timeout=60).status_code == 403


@pytest.mark.parametrize("token", ["", "3_abc_99999999999999_abc_dnld", "nonsense", "3_a_b_c", "_____", "3_é_1_ü_dnld"])
def test_a_foreign_token_is_403(shared: Emulator, body: dict[str, Any], token: str) -> None:
    (link,) = run(shared, body)["download_urls"]
    assert requests.get(link.split("?")[0], params={"Authorization": token}, timeout=60).status_code == 403


def test_one_images_token_does_not_open_another(shared: Emulator, body: dict[str, Any]) -> None:
    first, second = run(shared, {**body, "samples": 2})["download_urls"]
    crossed = first.split("?")[0] + "?" + second.split("?")[1]
    assert requests.get(crossed, timeout=60).status_code == 403
