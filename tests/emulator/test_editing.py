"""The pictures themselves: sized as asked, repeatable, and moved by every parameter."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from airflow_imagepipeline.emulator.editing import edit
from airflow_imagepipeline.emulator.order import EditOrder

from .api import EDIT, SDXL, Dialect, distance, only_sdxl, picture

if TYPE_CHECKING:
    from airflow_imagepipeline.emulator import Emulator

_PROMPTS = (
    "a watercolor", "a pencil sketch", "a poster", "an oil painting", "neon city", "sepia photograph", "at night",
    "autumn", "a castle made of sugar",
)  # fmt: skip

_CHANGES: list[dict[str, Any]] = [
    {},
    {"negative_prompt": "blurry"},
    {"guidance_scale": 12},
    {"num_inference_steps": 60},
]
_OWN_CHANGES: dict[str, list[dict[str, Any]]] = {
    "sdxl": [{"refiner": True}, {"model_id": "another-model"}],
    "edit": [
        {"faster_inference": False},
        {"refine_strength": 0.3},
        {"cfg_norm_strength": 0.8},
        {"product_saturation": 0.2},
        {"palette": ["#0044ff"]},
    ],
}


@pytest.mark.parametrize("size", [(768, 768), (96, 160), (1, 1), (3, 200)])
def test_an_image_has_exactly_the_asked_size(
    api: Dialect, shared: Emulator, body: dict[str, Any], size: tuple[int, int]
) -> None:
    (raw,) = api.edited(shared, {**body, "width": size[0], "height": size[1]})
    assert picture(raw).size == size


@pytest.mark.parametrize(
    ("api", "name", "size"),
    [
        (SDXL, "photo.png", (120, 80)),
        (SDXL, "large.png", (1024, 256)),
        (EDIT, "photo.png", (120, 80)),
        (EDIT, "large.png", (1600, 400)),
        (EDIT, "wide.png", (2048, 32)),
    ],
    indirect=["api"],
    scope="session",
    ids=str,
)
def test_without_a_size_the_inputs_own_is_kept_up_to_a_limit(
    api: Dialect, shared: Emulator, body: dict[str, Any], name: str, size: tuple[int, int]
) -> None:
    (raw,) = api.edited(shared, {**body, api.image_field: body[api.image_field].replace("photo.png", name)})
    assert picture(raw).size == size


@pytest.mark.parametrize(
    ("api", "asked", "size"),
    [
        (SDXL, {"width": 60}, (60, 40)),
        (SDXL, {"height": 160}, (240, 160)),
        (EDIT, {"width": 60}, (60, 80)),
        (EDIT, {"height": 160}, (120, 160)),
    ],
    indirect=["api"],
    scope="session",
    ids=str,
)
def test_a_missing_side_comes_from_the_inputs_shape_or_its_side(
    api: Dialect, shared: Emulator, body: dict[str, Any], asked: dict[str, int], size: tuple[int, int]
) -> None:
    (raw,) = api.edited(shared, {**body, **asked})
    assert picture(raw).size == size


@pytest.mark.parametrize("prompt", _PROMPTS)
def test_the_same_request_gives_the_same_bytes(
    api: Dialect, shared: Emulator, body: dict[str, Any], prompt: str
) -> None:
    request = {**body, "prompt": prompt, **({"samples": 2} if api is SDXL else {})}
    assert api.edited(shared, request) == api.edited(shared, request)


@pytest.mark.parametrize("prompt", _PROMPTS)
def test_another_seed_gives_another_picture(api: Dialect, shared: Emulator, body: dict[str, Any], prompt: str) -> None:
    one, other = (picture(api.edited(shared, {**body, "prompt": prompt, "seed": seed})[0]) for seed in (1, 2))
    assert distance(one, other) > 1


def test_without_a_seed_two_requests_differ(api: Dialect, shared: Emulator, body: dict[str, Any]) -> None:
    unseeded = {name: value for name, value in body.items() if name != "seed"}
    assert api.edited(shared, unseeded) != api.edited(shared, unseeded)


def test_all_prompts_give_different_pictures(api: Dialect, shared: Emulator, body: dict[str, Any]) -> None:
    pictures = [picture(api.edited(shared, {**body, "prompt": prompt, "strength": 1})[0]) for prompt in _PROMPTS]
    assert all(distance(one, other) > 4 for one, other in itertools.combinations(pictures, 2))


@only_sdxl
def test_samples_differ_and_continue_the_seed(api: Dialect, shared: Emulator, body: dict[str, Any]) -> None:
    four = api.edited(shared, {**body, "samples": 4, "seed": 5})
    assert len(set(four)) == 4
    assert api.edited(shared, {**body, "seed": 7}) == [four[2]]


@pytest.mark.parametrize("prompt", _PROMPTS)
def test_every_parameter_moves_the_picture(api: Dialect, shared: Emulator, body: dict[str, Any], prompt: str) -> None:
    usual = {**body, "prompt": prompt, "num_inference_steps": 30, "guidance_scale": 7.5}
    changes = [*_CHANGES, *_OWN_CHANGES[api.name]]
    assert len({api.edited(shared, {**usual, **change})[0] for change in changes}) == len(changes)


@pytest.mark.parametrize(("name", "few", "many"), [("num_inference_steps", 2, 90), ("guidance_scale", 1, 20)])
def test_a_large_change_is_visible(
    api: Dialect, shared: Emulator, body: dict[str, Any], *, name: str, few: int, many: int
) -> None:
    one, other = (picture(api.edited(shared, {**body, name: value})[0]) for value in (few, many))
    assert distance(one, other) > 1


@only_sdxl
@pytest.mark.parametrize("prompt", _PROMPTS)
def test_distance_from_the_input_grows_with_strength(
    api: Dialect, shared: Emulator, body: dict[str, Any], photo: Image.Image, prompt: str
) -> None:
    distances = [
        distance(photo, picture(api.edited(shared, {**body, "prompt": prompt, "strength": strength})[0]))
        for strength in (0, 0.25, 0.5, 0.75, 1)
    ]
    assert distances[0] < 0.5
    assert all(after > before + 1 for before, after in itertools.pairwise(distances))


@only_sdxl
@pytest.mark.parametrize("prompt", ["NSFW beach", "a nude", "something explicit, oil"])
def test_a_filtered_picture_is_black_and_a_success(
    api: Dialect, shared: Emulator, body: dict[str, Any], prompt: str
) -> None:
    (raw,) = api.edited(shared, {**body, "prompt": prompt, "safety_checker": True})
    assert picture(raw).size == (120, 80)
    assert picture(raw).getextrema() == ((0, 0), (0, 0), (0, 0))


@only_sdxl
@pytest.mark.parametrize("changed", [{"prompt": "a nude"}, {"safety_checker": True}, {"prompt": "explicitly kind"}])
def test_nothing_is_filtered_without_both_the_checker_and_the_words(
    api: Dialect, shared: Emulator, body: dict[str, Any], changed: dict[str, Any]
) -> None:
    (raw,) = api.edited(shared, {**body, **changed})
    assert picture(raw).getextrema() != ((0, 0), (0, 0), (0, 0))


def test_words_beyond_the_75th_have_no_effect(api: Dialect, shared: Emulator, body: dict[str, Any]) -> None:
    full = " ".join(["boat"] * 75)
    assert api.edited(shared, {**body, "prompt": full}) == api.edited(shared, {**body, "prompt": full + " at night"})


_ORDERS = st.builds(
    EditOrder,
    model_id=st.just("sdxl"),
    init_image=st.just(""),
    prompt=st.text(max_size=20) | st.sampled_from(_PROMPTS),
    negative_prompt=st.text(max_size=8),
    seed=st.integers(),
    num_inference_steps=st.integers(1, 100),
    guidance_scale=st.floats(1, 20),
    strength=st.floats(0, 1),
    refiner=st.booleans(),
    model=st.sampled_from(("v1", "v2")),
    technique=st.none() | st.just("poster"),
    palette=st.lists(st.from_regex(r"[0-9a-f]{6}", fullmatch=True), max_size=7).map(tuple),
    calm=st.floats(0, 1),
    refine_strength=st.floats(0, 1),
    output_format=st.sampled_from(("png", "jpeg", "webp")),
    is_signed=st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(size=st.tuples(st.integers(1, 40), st.integers(1, 40)), order=_ORDERS)
def test_any_order_can_be_made_and_repeated(size: tuple[int, int], order: EditOrder) -> None:
    base = Image.linear_gradient("L").resize(size).convert("RGB")
    raw = edit(base, order, 3)
    assert picture(raw).size == size
    assert edit(base, order, 3) == raw
