"""What the service takes, and how it refuses the rest."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import requests

from .api import EDIT, KEY, SDXL, Dialect, only_sdxl, picture

if TYPE_CHECKING:
    from airflow_imagepipeline.emulator import Emulator

_NODE = """
const [url, key, body] = process.argv.slice(1);
const answer = await fetch(url, {
  method: 'POST', headers: {'API-Key': key, 'Content-Type': 'application/json'}, body });
console.log(JSON.stringify({status: answer.status, body: await answer.json()}));
"""


@only_sdxl
def test_sdxl_answers_an_accepted_job_202_with_its_id_and_pending(
    api: Dialect, shared: Emulator, body: dict[str, Any]
) -> None:
    answer = api.submit(shared, body)
    assert answer.status_code == 202
    assert answer.headers["Content-Type"] == "application/json"
    assert "Date" in answer.headers
    assert answer.json() == {"id": answer.json()["id"], "status": "PENDING"}
    assert isinstance(answer.json()["id"], str)


@only_sdxl
def test_the_python_sample_without_a_content_type_is_taken(
    api: Dialect, shared: Emulator, body: dict[str, Any]
) -> None:
    url = shared.url + api.path
    headers = {api.key_header: KEY}
    data = {
        **body,
        "negative_prompt": "blurry, low quality",
        "num_inference_steps": 45,
        "refiner": True,
        "samples": 1,
        "guidance_scale": 10,
        "width": 96,
        "height": 96,
        "safety_checker": True,
    }
    answer = requests.post(url, headers=headers, data=json.dumps(data), timeout=60)
    assert "Content-Type" not in answer.request.headers
    assert answer.status_code == 202
    assert api.outcome(shared, answer.json()["id"])["status"] == api.done


def test_a_form_content_type_on_json_text_is_taken(api: Dialect, shared: Emulator, body: dict[str, Any]) -> None:
    headers = {api.key_header: KEY, "Content-Type": "application/x-www-form-urlencoded"}
    assert httpx.post(shared.url + api.path, content=json.dumps(body), headers=headers).status_code == api.accepted


@only_sdxl
@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_javascript_sample_is_taken(api: Dialect, shared: Emulator, body: dict[str, Any]) -> None:
    command = ["node", "--input-type=module", "-e", _NODE, shared.url + api.path, KEY, json.dumps(body)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)  # noqa: S603 - our own lines
    answer = json.loads(ran.stdout)
    assert answer["status"] == 202
    assert api.outcome(shared, answer["body"]["id"])["status"] == api.done


@only_sdxl
def test_scalars_may_come_as_strings(api: Dialect, shared: Emulator, body: dict[str, Any]) -> None:
    texts = {
        "width": "64", "height": "48", "samples": "2", "seed": "7", "num_inference_steps": "20",
        "strength": "0.5", "guidance_scale": "7.5", "safety_checker": "true", "refiner": "false",
    }  # fmt: skip
    links = api.links(api.run(shared, {**body, **texts}))
    assert [picture(requests.get(link, timeout=60).content).size for link in links] == [(64, 48), (64, 48)]


def test_unknown_fields_are_ignored(api: Dialect, shared: Emulator, body: dict[str, Any]) -> None:
    assert (
        api.submit(shared, {**body, "scheduler": "Euler", "lora_models": ["x"], "webhook": None}).status_code
        == api.accepted
    )


def test_null_means_not_sent(api: Dialect, shared: Emulator, body: dict[str, Any]) -> None:
    optional = (
        "negative_prompt", "num_inference_steps", "strength", "samples", "guidance_scale", "width", "height", "seed",
        "refiner", "mode", "refine_strength", "faster_inference", "cfg_norm_strength", "product_saturation", "palette",
        "output_format", "profile_id", "callback_url", "server_id", "mask_segment",
    )  # fmt: skip
    assert api.run(shared, {**body, **dict.fromkeys(optional)})["status"] == api.done


def test_a_missing_key_is_401(api: Dialect, shared: Emulator, body: dict[str, Any]) -> None:
    answer = requests.post(shared.url + api.path, json=body, timeout=60)
    assert (answer.status_code, answer.json()) == (401, {"detail": f"Missing header {api.key_header}"})


@pytest.mark.parametrize("key", ["", "wrong", KEY + "x", "schlüssel".encode().decode("latin-1")])
def test_a_wrong_key_is_401_before_the_body_is_looked_at(api: Dialect, shared: Emulator, key: str) -> None:
    headers = {api.key_header: key.encode("latin-1")}
    answer = requests.post(shared.url + api.path, data="no json", headers=headers, timeout=60)
    assert (answer.status_code, answer.json()) == (401, {"detail": "Invalid API key"})


def test_the_other_generations_header_is_no_key(api: Dialect, shared: Emulator, body: dict[str, Any]) -> None:
    header = (EDIT if api is SDXL else SDXL).key_header
    assert requests.post(shared.url + api.path, json=body, headers={header: KEY}, timeout=60).status_code == 401


def test_the_other_generation_does_not_know_a_jobs_id(api: Dialect, shared: Emulator, body: dict[str, Any]) -> None:
    other = EDIT if api is SDXL else SDXL
    assert other.look(shared, api.begin(shared, body)).status_code == 404


def test_the_status_needs_the_key_too(api: Dialect, shared: Emulator, body: dict[str, Any]) -> None:
    assert api.look(shared, api.begin(shared, body), key="wrong").status_code == 401


def test_no_credits_left_is_402_and_takes_nothing(api: Dialect, emulator: Emulator, body: dict[str, Any]) -> None:
    emulator.settings.credits, emulator.settings.error_envelope = 1, "detail"
    assert api.submit(emulator, {**body, "num_inference_steps": 101}).status_code == 422
    assert api.submit(emulator, body).status_code == api.accepted
    answer = api.submit(emulator, body)
    assert (answer.status_code, answer.json()) == (402, {"detail": "No credits left"})
    emulator.settings.credits = None
    assert api.submit(emulator, body).status_code == api.accepted


@only_sdxl
def test_an_unknown_path_is_404(api: Dialect, shared: Emulator) -> None:
    answer = requests.post(shared.url + "/sdxl/elsewhere/v1", json={}, headers={api.key_header: KEY}, timeout=60)
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


def test_a_get_of_the_submit_path_is_405(api: Dialect, shared: Emulator) -> None:
    answer = requests.get(shared.url + api.path, headers={api.key_header: KEY}, timeout=60)
    assert (answer.status_code, answer.json()) == (405, {"detail": "Method Not Allowed"})


@pytest.mark.parametrize("job_id", ["unknown", "00000000-0000-0000-0000-000000000000", "%2e%2e"])
def test_an_unknown_job_is_404(api: Dialect, shared: Emulator, job_id: str) -> None:
    answer = api.look(shared, job_id)
    assert (answer.status_code, answer.json()) == (404, {"detail": "Job not found"})
