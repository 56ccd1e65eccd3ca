"""Request bodies that are refused, and that none breaks the server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from .api import EDIT, KEY, SDXL, Dialect, faults, only_sdxl

if TYPE_CHECKING:
    from airflow_imagepipeline.emulator import Emulator


def test_all_missing_fields_are_named_at_once(api: Dialect, shared: Emulator) -> None:
    missing = ("model_id", "init_image", "prompt") if api is SDXL else ("prompt",)
    assert faults(api.submit(shared, {})) == {f"body.{name}": "missing" for name in missing}


@only_sdxl
def test_all_invalid_fields_are_named_at_once(api: Dialect, shared: Emulator, body: dict[str, Any]) -> None:
    wrong = {"samples": 5, "strength": 1.5, "guidance_scale": "much", "prompt": 12, "safety_checker": "perhaps"}
    assert faults(api.submit(shared, {**body, **wrong})) == {
        "body.samples": "less_than_equal",
        "body.strength": "less_than_equal",
        "body.guidance_scale": "float_parsing",
        "body.prompt": "string_type",
        "body.safety_checker": "bool_parsing",
    }


def test_a_fault_has_a_place_a_sentence_and_a_type(api: Dialect, shared: Emulator, body: dict[str, Any]) -> None:
    (fault,) = api.submit(shared, {**body, "width": 2049}).json()["detail"]
    assert fault == {
        "loc": ["body", "width"],
        "msg": "Input should be less than or equal to 2048",
        "type": "less_than_equal",
    }


@pytest.mark.parametrize(
    ("api", "field", "low", "high"),
    [
        (SDXL, "num_inference_steps", 1, 100),
        (SDXL, "strength", 0, 1),
        (SDXL, "samples", 1, 4),
        (SDXL, "guidance_scale", 1, 20),
        (SDXL, "width", 1, 2048),
        (SDXL, "height", 1, 2048),
        (EDIT, "num_inference_steps", 1, 100),
        (EDIT, "guidance_scale", 0, 20),
        (EDIT, "refine_strength", 0, 1),
        (EDIT, "cfg_norm_strength", 0, 1),
        (EDIT, "product_saturation", 0, 2),
        (EDIT, "mask_feather_px", 0, 64),
        (EDIT, "width", 1, 2048),
        (EDIT, "height", 1, 2048),
    ],
    indirect=["api"],
    scope="session",
    ids=str,
)
def test_the_ends_of_a_range_are_inside_and_their_neighbours_outside(
    api: Dialect, shared: Emulator, body: dict[str, Any], *, field: str, low: int, high: int
) -> None:
    small = {**body, "width": 8, "height": 8}
    assert api.submit(shared, {**small, field: low}).status_code == api.accepted
    assert faults(api.submit(shared, {**small, field: low - 1})) == {f"body.{field}": "greater_than_equal"}
    assert api.submit(shared, {**small, field: high}).status_code == api.accepted
    assert faults(api.submit(shared, {**small, field: high + 1})) == {f"body.{field}": "less_than_equal"}


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
def test_a_body_that_is_no_json_object_is_422(api: Dialect, shared: Emulator, raw: bytes, kind: str) -> None:
    answer = requests.post(shared.url + api.path, data=raw, headers={api.key_header: KEY}, timeout=60)
    assert answer.status_code == 422
    assert [fault["type"] for fault in answer.json()["detail"]] == [kind]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_numbers_that_are_none_are_422(api: Dialect, shared: Emulator, body: dict[str, Any], number: str) -> None:
    raw = json.dumps(body)[:-1] + f', "guidance_scale": {number}}}'
    answer = requests.post(shared.url + api.path, data=raw, headers={api.key_header: KEY}, timeout=60)
    assert faults(answer) == {"body.guidance_scale": "finite_number"}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_NAMES = (
    "model_id", "prompt", "samples", "strength", "seed", "width", "refiner", "negative_prompt", "guidance_scale",
    "palette", "mode", "output_format", "faster_inference", "callback_url", "refine_strength",
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(values=st.dictionaries(st.sampled_from(_NAMES), _JSON))
def test_no_body_of_any_kind_breaks_the_server(api: Dialect, shared: Emulator, values: dict[str, Any]) -> None:
    raw = json.dumps({api.image_field: "http://127.0.0.1:9/none.png", **values})
    answer = requests.post(shared.url + api.path, data=raw, headers={api.key_header: KEY}, timeout=60)
    if answer.status_code == api.accepted:
        assert api.outcome(shared, answer.json()[api.id_field])["status"] == api.failed
    else:
        assert all(fault["loc"][0] == "body" for fault in answer.json()["detail"])
        assert answer.status_code == 422


@settings(max_examples=40, deadline=None)
@given(raw=st.binary(max_size=60))
def test_no_bytes_of_any_kind_break_the_server(api: Dialect, shared: Emulator, raw: bytes) -> None:
    assert requests.post(shared.url + api.path, data=raw, headers={api.key_header: KEY}, timeout=60).status_code == 422
