# Licensed under the Apache License, Version 2.0; see the file LICENSE.
"""What the service takes, and how it refuses the rest."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from .api import KEY, PATH, look, outcome, picture, run, submit

if TYPE_CHECKING:
    from airflow_imagepipeline.emulator import Emulator

_NODE = """
const [url, key, body] = process.argv.slice(1);
const answer = await fetch(url, {
  method: 'POST', headers: {'API-Key': key, 'Content-Type': 'application/json'}, body });
console.log(JSON.stringify({status: answer.status, body: await answer.json()}));
"""


def _faults(answer: requests.Response) -> dict[str, str]:
    assert answer.status_code == 422
    return {".".join(map(str, fault["loc"])): fault["type"] for fault in answer.json()["detail"]}


def test_an_accepted_job_is_answered_202_with_its_id_and_pending(shared: Emulator, body: dict[str, Any]) -> None:
    answer = submit(shared, body)
    assert answer.status_code == 202
    assert answer.headers["Content-Type"] == "application/json"
    assert "Date" in answer.headers
    assert answer.json() == {"id": answer.json()["id"], "status": "PENDING"}
    assert isinstance(answer.json()["id"], str)


def test_the_python_sample_without_a_content_type_is_taken(shared: Emulator, body: dict[str, Any]) -> None:
    url = shared.url + PATH
    headers = {"API-Key": KEY}
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
    assert outcome(shared, answer.json()["id"])["status"] == "SUCCESS"


def test_a_form_content_type_on_json_text_is_taken(shared: Emulator, body: dict[str, Any]) -> None:
    headers = {"API-Key": KEY, "Content-Type": "application/x-www-form-urlencoded"}
    assert httpx.post(shared.url + PATH, content=json.dumps(body), headers=headers).status_code == 202


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_javascript_sample_is_taken(shared: Emulator, body: dict[str, Any]) -> None:
    command = ["node", "--input-type=module", "-e", _NODE, shared.url + PATH, KEY, json.dumps(body)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)  # noqa: S603 - our own lines
    answer = json.loads(ran.stdout)
    assert answer["status"] == 202
    assert outcome(shared, answer["body"]["id"])["status"] == "SUCCESS"


def test_scalars_may_come_as_strings(shared: Emulator, body: dict[str, Any]) -> None:
    texts = {
        "width": "64", "height": "48", "samples": "2", "seed": "7", "num_inference_steps": "20",
        "strength": "0.5", "guidance_scale": "7.5", "safety_checker": "true", "refiner": "false",
    }  # fmt: skip
    links = run(shared, {**body, **texts})["download_urls"]
    assert [picture(requests.get(link, timeout=60).content).size for link in links] == [(64, 48), (64, 48)]


def test_unknown_fields_are_ignored(shared: Emulator, body: dict[str, Any]) -> None:
    assert submit(shared, {**body, "scheduler": "Euler", "lora_models": ["x"], "webhook": None}).status_code == 202


def test_null_means_not_sent(shared: Emulator, body: dict[str, Any]) -> None:
    optional = ("negative_prompt", "num_inference_steps", "strength", "samples", "guidance_scale", "width", "height")
    assert run(shared, {**body, **dict.fromkeys((*optional, "seed", "refiner"))})["status"] == "SUCCESS"


def test_a_missing_key_is_401(shared: Emulator, body: dict[str, Any]) -> None:
    answer = requests.post(shared.url + PATH, json=body, timeout=60)
    assert (answer.status_code, answer.json()) == (401, {"detail": "Missing header API-Key"})


@pytest.mark.parametrize("key", ["", "wrong", KEY + "x", "schlüssel".encode().decode("latin-1")])
def test_a_wrong_key_is_401_before_the_body_is_looked_at(shared: Emulator, key: str) -> None:
    headers = {"API-Key": key.encode("latin-1")}
    answer = requests.post(shared.url + PATH, data="no json", headers=headers, timeout=60)
    assert (answer.status_code, answer.json()) == (401, {"detail": "Invalid API key"})


def test_the_other_generations_header_is_no_key(shared: Emulator, body: dict[str, Any]) -> None:
    assert requests.post(shared.url + PATH, json=body, headers={"X-API-Key": KEY}, timeout=60).status_code == 401


def test_the_status_needs_the_key_too(shared: Emulator, body: dict[str, Any]) -> None:
    assert look(shared, submit(shared, body).json()["id"], key="wrong").status_code == 401


def test_no_credits_left_is_402_and_takes_nothing(emulator: Emulator, body: dict[str, Any]) -> None:
    emulator.settings.credits = 1
    assert submit(emulator, {**body, "samples": 9}).status_code == 422
    assert submit(emulator, body).status_code == 202
    answer = submit(emulator, body)
    assert (answer.status_code, answer.json()) == (402, {"detail": "No credits left"})
    emulator.settings.credits = None
    assert submit(emulator, body).status_code == 202


def test_an_unknown_path_is_404(shared: Emulator) -> None:
    answer = requests.post(shared.url + "/sdxl/elsewhere/v1", json={}, headers={"API-Key": KEY}, timeout=60)
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


def test_a_get_of_the_submit_path_is_405(shared: Emulator) -> None:
    answer = requests.get(shared.url + PATH, headers={"API-Key": KEY}, timeout=60)
    assert (answer.status_code, answer.json()) == (405, {"detail": "Method Not Allowed"})


@pytest.mark.parametrize("job_id", ["unknown", "00000000-0000-0000-0000-000000000000", "%2e%2e"])
def test_an_unknown_job_is_404(shared: Emulator, job_id: str) -> None:
    answer = look(shared, job_id)
    assert (answer.status_code, answer.json()) == (404, {"detail": "Job not found"})


def test_all_missing_fields_are_named_at_once(shared: Emulator) -> None:
    assert _faults(submit(shared, {})) == {
        "body.model_id": "missing",
        "body.init_image": "missing",
        "body.prompt": "missing",
    }


def test_all_invalid_fields_are_named_at_once(shared: Emulator, body: dict[str, Any]) -> None:
    wrong = {"samples": 5, "strength": 1.5, "guidance_scale": "much", "prompt": 12, "safety_checker": "perhaps"}
    assert _faults(submit(shared, {**body, **wrong})) == {
        "body.samples": "less_than_equal",
        "body.strength": "less_than_equal",
        "body.guidance_scale": "float_parsing",
        "body.prompt": "string_type",
        "body.safety_checker": "bool_parsing",
    }


def test_a_fault_has_a_place_a_sentence_and_a_type(shared: Emulator, body: dict[str, Any]) -> None:
    (fault,) = submit(shared, {**body, "samples": 5}).json()["detail"]
    assert fault == {
        "loc": ["body", "samples"],
        "msg": "Input should be less than or equal to 4",
        "type": "less_than_equal",
    }


@pytest.mark.parametrize(
    ("field", "low", "high"),
    [
        ("num_inference_steps", 1, 100),
        ("strength", 0, 1),
        ("samples", 1, 4),
        ("guidance_scale", 1, 20),
        ("width", 1, 2048),
        ("height", 1, 2048),
    ],
)
def test_the_ends_of_a_range_are_inside_and_their_neighbours_outside(
    shared: Emulator, body: dict[str, Any], field: str, low: int, high: int
) -> None:
    small = {**body, "width": 8, "height": 8}
    assert submit(shared, {**small, field: low}).status_code == 202
    assert _faults(submit(shared, {**small, field: low - 1})) == {f"body.{field}": "greater_than_equal"}
    assert submit(shared, {**small, field: high}).status_code == 202
    assert _faults(submit(shared, {**small, field: high + 1})) == {f"body.{field}": "less_than_equal"}


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"", "missing"),
        (b"  ", "missing"),
        (b"{", "json_invalid"),
        (b"\xff\xfe\xfd", "json_invalid"),
        (b"[" * 100_000, "json_invalid"),
        (b"[]", "dict_type"),
        (b'"text"', "dict_type"),
        (b"null", "dict_type"),
    ],
)
def test_a_body_that_is_no_json_object_is_422(shared: Emulator, raw: bytes, kind: str) -> None:
    answer = requests.post(shared.url + PATH, data=raw, headers={"API-Key": KEY}, timeout=60)
    assert answer.status_code == 422
    assert [fault["type"] for fault in answer.json()["detail"]] == [kind]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_numbers_that_are_none_are_422(shared: Emulator, body: dict[str, Any], number: str) -> None:
    raw = json.dumps(body)[:-1] + f', "strength": {number}}}'
    answer = requests.post(shared.url + PATH, data=raw, headers={"API-Key": KEY}, timeout=60)
    assert _faults(answer) == {"body.strength": "finite_number"}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_NAMES = ("model_id", "prompt", "samples", "strength", "seed", "width", "refiner", "negative_prompt", "guidance_scale")


@settings(max_examples=60, deadline=None)
@given(values=st.dictionaries(st.sampled_from(_NAMES), _JSON))
def test_no_body_of_any_kind_breaks_the_server(shared: Emulator, values: dict[str, Any]) -> None:
    raw = json.dumps({"init_image": "http://127.0.0.1:9/none.png", **values})
    answer = requests.post(shared.url + PATH, data=raw, headers={"API-Key": KEY}, timeout=60)
    if answer.status_code == 202:
        assert outcome(shared, answer.json()["id"])["status"] == "FAILURE"
    else:
        assert all(fault["loc"][0] == "body" for fault in answer.json()["detail"])
        assert answer.status_code == 422


@settings(max_examples=40, deadline=None)
@given(raw=st.binary(max_size=60))
def test_no_bytes_of_any_kind_break_the_server(shared: Emulator, raw: bytes) -> None:
    assert requests.post(shared.url + PATH, data=raw, headers={"API-Key": KEY}, timeout=60).status_code == 422
