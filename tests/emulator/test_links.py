"""Links to results: open without a key, to whoever holds them, for a while."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest
import requests

from .api import Dialect, only_sdxl

if TYPE_CHECKING:
    from airflow_imagepipeline.emulator import Emulator


def test_a_link_gives_a_png_of_a_known_length_without_a_key(
    api: Dialect, shared: Emulator, body: dict[str, Any]
) -> None:
    (link,) = api.links(api.run(shared, body))
    answer = httpx.get(link)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "image/png"
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    assert answer.content.startswith(b"\x89PNG\r\n\x1a\n")


def test_a_link_leads_to_the_host_that_was_asked_and_carries_its_authorization(
    api: Dialect, shared: Emulator, body: dict[str, Any]
) -> None:
    (link,) = api.links(api.run(shared, body))
    assert link.startswith(shared.url + "/_emulator/files/")
    assert urlsplit(link).path.endswith("/0.png")
    assert "Authorization=" in urlsplit(link).query


def test_a_head_of_a_link_is_no_download(api: Dialect, emulator: Emulator, body: dict[str, Any]) -> None:
    (link,) = api.links(api.run(emulator, body))
    assert requests.head(link, timeout=60).headers["Content-Type"] == "image/png"
    assert emulator.stats()["downloads"] == 0


def test_each_look_gives_fresh_links_to_the_same_image(api: Dialect, shared: Emulator, body: dict[str, Any]) -> None:
    job_id = api.begin(shared, body)
    (first,) = api.links(api.outcome(shared, job_id))
    (second,) = api.links(api.outcome(shared, job_id))
    assert first != second
    assert requests.get(first, timeout=60).content == requests.get(second, timeout=60).content


def test_an_open_link_closes_after_its_time(api: Dialect, emulator: Emulator, body: dict[str, Any]) -> None:
    emulator.settings.link_seconds = 1.5
    job_id = api.begin(emulator, body)
    (link,) = api.links(api.outcome(emulator, job_id))
    assert requests.get(link, timeout=60).status_code == 200
    deadline = time.monotonic() + 60
    while (answer := requests.get(link, timeout=60)).status_code == 200 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (answer.status_code, answer.json()) == (403, {"detail": "This link is not valid or has expired"})


def test_a_fresh_look_replaces_dead_links(api: Dialect, emulator: Emulator, body: dict[str, Any]) -> None:
    emulator.settings.link_seconds = 0
    job_id = api.begin(emulator, body)
    (dead,) = api.links(api.outcome(emulator, job_id))
    assert requests.get(dead, timeout=60).status_code == 403
    emulator.settings.link_seconds = 3600
    (fresh,) = api.links(api.outcome(emulator, job_id))
    assert requests.get(fresh, timeout=60).status_code == 200
    assert requests.get(dead, timeout=60).status_code == 403


@pytest.mark.parametrize("token", ["", "3_abc_99999999999999_abc_dnld", "nonsense", "3_a_b_c", "_____", "3_é_1_ü_dnld"])
def test_a_foreign_token_is_403(api: Dialect, shared: Emulator, body: dict[str, Any], token: str) -> None:
    (link,) = api.links(api.run(shared, body))
    assert requests.get(link.split("?")[0], params={"Authorization": token}, timeout=60).status_code == 403


@only_sdxl
def test_one_images_token_does_not_open_another(api: Dialect, shared: Emulator, body: dict[str, Any]) -> None:
    first, second = api.links(api.run(shared, {**body, "samples": 2}))
    crossed = first.split("?")[0] + "?" + second.split("?")[1]
    assert requests.get(crossed, timeout=60).status_code == 403
