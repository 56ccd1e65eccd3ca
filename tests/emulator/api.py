"""The few calls that every test of the emulator makes, as a client of either documented API would make them."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import requests
from PIL import Image, ImageChops, ImageStat

if TYPE_CHECKING:
    from airflow_imagepipeline.emulator import Emulator

KEY = "key of a test"
PATIENCE = 60.0


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """One generation of the API, as its page words it."""

    name: str
    path: str
    key_header: str
    accepted: int
    id_field: str
    image_field: str
    running: frozenset[str]
    done: str
    failed: str

    def __str__(self) -> str:
        return self.name

    def submit(self, emulator: Emulator, body: dict[str, Any], key: str = KEY) -> requests.Response:
        """Post a job."""
        return requests.post(emulator.url + self.path, json=body, headers={self.key_header: key}, timeout=PATIENCE)

    def begin(self, emulator: Emulator, body: dict[str, Any]) -> str:
        """Post a job that must be accepted; its id."""
        answer = self.submit(emulator, body)
        assert answer.status_code == self.accepted, answer.text
        job_id: str = answer.json()[self.id_field]
        return job_id

    def look(self, emulator: Emulator, job_id: str, key: str = KEY) -> requests.Response:
        """Ask for a job's status once."""
        url = f"{emulator.url}{self.path}/status/{job_id}"
        return requests.get(url, headers={self.key_header: key}, timeout=PATIENCE)

    def is_running(self, emulator: Emulator, job_id: str) -> bool:
        """Ask whether a job still runs."""
        return self.look(emulator, job_id).json()["status"] in self.running

    def outcome(self, emulator: Emulator, job_id: str) -> dict[str, Any]:
        """Ask for a job's status until it has ended."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            answer: dict[str, Any] = self.look(emulator, job_id).json()
            if answer["status"] not in self.running:
                return answer
            time.sleep(0.01)
        message = f"job {job_id} did not end within {PATIENCE} seconds"
        raise AssertionError(message)

    def run(self, emulator: Emulator, body: dict[str, Any]) -> dict[str, Any]:
        """Post a job and wait for its end."""
        return self.outcome(emulator, self.begin(emulator, body))

    def links(self, answer: dict[str, Any]) -> list[str]:
        """Read the links out of a success."""
        assert answer["status"] == self.done, answer
        return answer["download_urls"] if self is SDXL else [answer["result_url"]]

    def edited(self, emulator: Emulator, body: dict[str, Any]) -> list[bytes]:
        """Post a job, wait for it and download its images."""
        answers = [requests.get(link, timeout=PATIENCE) for link in self.links(self.run(emulator, body))]
        assert [answer.status_code for answer in answers] == [200] * len(answers)
        return [answer.content for answer in answers]


SDXL = Dialect(
    name="sdxl",
    path="/sdxl/image2image/v1",
    key_header="API-Key",
    accepted=202,
    id_field="id",
    image_field="init_image",
    running=frozenset({"PENDING"}),
    done="SUCCESS",
    failed="FAILURE",
)
EDIT = Dialect(
    name="edit",
    path="/edit/image/v1",
    key_header="X-API-Key",
    accepted=200,
    id_field="job_id",
    image_field="input_image",
    running=frozenset({"queued", "pending", "processing"}),
    done="completed",
    failed="failed",
)
only_sdxl = pytest.mark.parametrize("api", [SDXL], ids=str, indirect=True, scope="session")
only_edit = pytest.mark.parametrize("api", [EDIT], ids=str, indirect=True, scope="session")


def faults(answer: requests.Response) -> dict[str, str]:
    """Read where and what is wrong with a body, out of FastAPI's envelope."""
    assert answer.status_code == 422
    return {".".join(map(str, fault["loc"])): fault["type"] for fault in answer.json()["detail"]}


def picture(raw: bytes) -> Image.Image:
    """Decode an image file completely."""
    with Image.open(io.BytesIO(raw)) as image:
        return image.convert("RGB")


def distance(one: Image.Image, other: Image.Image) -> float:
    """Average the absolute difference of all channels, 0 to 255."""
    return sum(ImageStat.Stat(ImageChops.difference(one, other)).mean) / 3
