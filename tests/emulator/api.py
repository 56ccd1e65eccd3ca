# Licensed under the Apache License, Version 2.0; see the file LICENSE.
"""The few calls that every test of the emulator makes, as a client of the documented API would make them."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Any

import requests
from PIL import Image, ImageChops, ImageStat

if TYPE_CHECKING:
    from airflow_imagepipeline.emulator import Emulator

KEY = "key of a test"
PATH = "/sdxl/image2image/v1"
PATIENCE = 60.0


def submit(emulator: Emulator, body: dict[str, Any], key: str = KEY) -> requests.Response:
    """Post a job."""
    return requests.post(emulator.url + PATH, json=body, headers={"API-Key": key}, timeout=PATIENCE)


def look(emulator: Emulator, job_id: str, key: str = KEY) -> requests.Response:
    """Ask for a job's status once."""
    return requests.get(f"{emulator.url}{PATH}/status/{job_id}", headers={"API-Key": key}, timeout=PATIENCE)


def outcome(emulator: Emulator, job_id: str) -> dict[str, Any]:
    """Ask for a job's status until it has ended."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        answer: dict[str, Any] = look(emulator, job_id).json()
        if answer["status"] != "PENDING":
            return answer
        time.sleep(0.01)
    message = f"job {job_id} did not end within {PATIENCE} seconds"
    raise AssertionError(message)


def run(emulator: Emulator, body: dict[str, Any]) -> dict[str, Any]:
    """Post a job and wait for its end."""
    answer = submit(emulator, body)
    assert answer.status_code == 202, answer.text
    return outcome(emulator, answer.json()["id"])


def edited(emulator: Emulator, body: dict[str, Any]) -> list[bytes]:
    """Post a job, wait for it and download its images."""
    answers = [requests.get(link, timeout=PATIENCE) for link in run(emulator, body)["download_urls"]]
    assert [answer.status_code for answer in answers] == [200] * len(answers)
    return [answer.content for answer in answers]


def picture(raw: bytes) -> Image.Image:
    """Decode an image file completely."""
    with Image.open(io.BytesIO(raw)) as image:
        return image.convert("RGB")


def distance(one: Image.Image, other: Image.Image) -> float:
    """Average the absolute difference of all channels, 0 to 255."""
    return sum(ImageStat.Stat(ImageChops.difference(one, other)).mean) / 3
