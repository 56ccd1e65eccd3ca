"""Uploading an image, and what the account and the health page say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_imagepipeline.emulator import Emulator
from airflow_imagepipeline.emulator.uploads import UPLOAD_BYTES

from .api import KEY, PATIENCE, Dialect

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEY = {"X-API-Key": KEY}
_PNG = b"\x89PNG\r\n\x1a\n and so on"


def _upload(
    emulator: Emulator, content: bytes = _PNG, label: str | None = "image/png", headers: Mapping[str, str] = _KEY
) -> requests.Response:
    url = emulator.url + "/upload/image/v1"
    part = ("my photo.png", content, label) if label else ("my photo.png", content)
    return requests.post(url, files={"file": part}, headers=dict(headers), timeout=PATIENCE)


@pytest.mark.parametrize("label", ["image/png", "image/jpeg", "image/webp", "image/gif", "Image/PNG"])
def test_an_upload_is_answered_with_a_link(emulator: Emulator, label: str) -> None:
    answer = _upload(emulator, label=label).json()
    link = answer.pop("url")
    assert answer == {"filename": "my photo.png", "content_type": label.lower(), "size_bytes": len(_PNG)}
    file = requests.get(link, timeout=PATIENCE)
    assert (file.status_code, file.content, file.headers["Content-Type"]) == (200, _PNG, label.lower())
    assert emulator.stats()["uploads"] == 1
    assert emulator.stats()["downloads"] == 0


def test_an_upload_can_be_edited(tunable: Emulator, api: Dialect, body: dict[str, Any]) -> None:
    photo = requests.get(body[api.image_field], timeout=PATIENCE).content
    link = _upload(tunable, photo).json()["url"]
    assert api.edited(tunable, {**body, api.image_field: link}) == api.edited(tunable, body)


def test_a_key_at_an_uploads_link_is_counted(emulator: Emulator) -> None:
    link = _upload(emulator).json()["url"]
    requests.get(link, headers=_KEY, timeout=PATIENCE)
    assert emulator.stats()["downloads_with_key"] == 1


def test_an_unknown_upload_is_404(shared: Emulator) -> None:
    assert requests.get(shared.url + "/_emulator/uploads/none.png", timeout=PATIENCE).status_code == 404


def test_the_oldest_uploads_are_forgotten_beyond_the_limit() -> None:
    with Emulator(api_key=KEY, keep_bytes=2 * len(_PNG)) as emulator:
        links = [_upload(emulator).json()["url"] for _ in range(3)]
        assert [requests.get(link, timeout=PATIENCE).status_code for link in links] == [404, 200, 200]


@pytest.mark.parametrize("label", ["application/octet-stream", "image/svg+xml", "text/plain", None])
def test_a_part_that_is_no_image_by_its_label_is_refused(tunable: Emulator, label: str | None) -> None:
    uploads = tunable.stats()["uploads"]
    answer = _upload(tunable, label=label)
    assert (answer.status_code, answer.json()["error_code"]) == (422, "INVALID_PARAMETERS")
    assert (label or "application/octet-stream") in answer.json()["message"]
    assert tunable.stats()["uploads"] == uploads


def test_the_largest_image_is_taken_and_a_larger_one_is_413(tunable: Emulator) -> None:
    assert _upload(tunable, bytes(UPLOAD_BYTES)).json()["size_bytes"] == UPLOAD_BYTES
    answer = _upload(tunable, bytes(UPLOAD_BYTES + 1))
    assert (answer.status_code, answer.json()["error_code"]) == (413, "PAYLOAD_TOO_LARGE")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"files": {"image": ("a.png", _PNG, "image/png")}}, 422),
        ({"data": {"file": "text"}}, 422),
        ({"files": {"file": (None, "text")}}, 422),
        ({"json": {"file": "text"}}, 422),
        ({"data": b""}, 422),
        ({"data": b"--x", "headers": {**_KEY, "Content-Type": "multipart/form-data"}}, 400),
        ({"data": b"nonsense", "headers": {**_KEY, "Content-Type": "multipart/form-data; boundary=x"}}, 400),
    ],
)
def test_a_body_without_the_part_is_refused(shared: Emulator, sent: dict[str, Any], status: int) -> None:
    answer = requests.post(shared.url + "/upload/image/v1", **{"headers": _KEY, **sent}, timeout=PATIENCE)
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["detail"]


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "wrong"}, {"API-Key": KEY}])
def test_upload_and_account_need_the_key(emulator: Emulator, headers: dict[str, str]) -> None:
    assert _upload(emulator, headers=headers).status_code == 401
    for path in ("/v1/user/me", "/v1/user/details"):
        answer = requests.get(emulator.url + path, headers=headers, timeout=PATIENCE)
        assert (answer.status_code, answer.json()["error_code"]) == (401, "UNAUTHORIZED")
    assert emulator.stats()["refused_by_status"] == {"401": 3}


def test_the_account_tells_plan_balance_and_the_key_in_clear(tunable: Emulator) -> None:
    tunable.settings.credits = 50
    me, details = (
        requests.get(f"{tunable.url}/v1/user/{path}", headers=_KEY, timeout=PATIENCE).json()
        for path in ("me", "details")
    )
    assert set(me) == {
        "user_id", "email", "plan", "tokens_remaining", "model_trainings_remaining", "private_model_loads_remaining",
        "plan_expiry_date", "api_key",
    }  # fmt: skip
    assert (me["api_key"], me["plan"], me["tokens_remaining"]) == (KEY, "pro", 50)
    assert me.items() <= details.items()
    assert details["balance_remaining_usd"] == 2.0
    assert "edit/image/v1" in details["allowed_operations"]


def test_each_job_lowers_the_balance(tunable: Emulator, api: Dialect, body: dict[str, Any]) -> None:
    def balance() -> float:
        answer = requests.get(tunable.url + "/v1/user/details", headers=_KEY, timeout=PATIENCE).json()
        return float(answer["balance_remaining_usd"])

    before = balance()
    api.run(tunable, body)
    assert balance() == pytest.approx(before - 0.04)


def test_health_needs_no_key(shared: Emulator) -> None:
    answer = requests.get(shared.url + "/health", timeout=PATIENCE)
    assert (answer.status_code, answer.json()) == (200, {"status": "healthy"})
