# Licensed under the Apache License, Version 2.0; see the file LICENSE.
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

from .api import distance, edited, picture

if TYPE_CHECKING:
    from airflow_imagepipeline.emulator import Emulator

_PROMPTS = (
    "a watercolor", "a pencil sketch", "a poster", "an oil painting", "neon city", "sepia photograph", "at night",
    "autumn", "a castle made of sugar",
)  # fmt: skip


@pytest.mark.parametrize("size", [(768, 768), (96, 160), (1, 1), (3, 200)])
def test_an_image_has_exactly_the_asked_size(shared: Emulator, body: dict[str, Any], size: tuple[int, int]) -> None:
    (raw,) = edited(shared, {**body, "width": size[0], "height": size[1]})
    assert picture(raw).size == size


@pytest.mark.parametrize(
    ("name", "size"),
    [("photo.png", (120, 80)), ("large.png", (1024, 256))],
)
def test_without_a_size_the_inputs_own_is_kept_up_to_1024_pixels(
    shared: Emulator, body: dict[str, Any], name: str, size: tuple[int, int]
) -> None:
    (raw,) = edited(shared, {**body, "init_image": body["init_image"].replace("photo.png", name)})
    assert picture(raw).size == size


@pytest.mark.parametrize(("asked", "size"), [({"width": 60}, (60, 40)), ({"height": 160}, (240, 160))])
def test_with_one_side_the_inputs_shape_is_kept(
    shared: Emulator, body: dict[str, Any], asked: dict[str, int], size: tuple[int, int]
) -> None:
    (raw,) = edited(shared, {**body, **asked})
    assert picture(raw).size == size


@pytest.mark.parametrize("prompt", _PROMPTS)
def test_the_same_request_gives_the_same_bytes(shared: Emulator, body: dict[str, Any], prompt: str) -> None:
    request = {**body, "prompt": prompt, "samples": 2}
    assert edited(shared, request) == edited(shared, request)


@pytest.mark.parametrize("prompt", _PROMPTS)
def test_another_seed_gives_another_picture(shared: Emulator, body: dict[str, Any], prompt: str) -> None:
    one, other = (picture(edited(shared, {**body, "prompt": prompt, "seed": seed})[0]) for seed in (1, 2))
    assert distance(one, other) > 1


def test_without_a_seed_two_requests_differ(shared: Emulator, body: dict[str, Any]) -> None:
    unseeded = {name: value for name, value in body.items() if name != "seed"}
    assert edited(shared, unseeded) != edited(shared, unseeded)


def test_all_prompts_give_different_pictures(shared: Emulator, body: dict[str, Any]) -> None:
    pictures = [picture(edited(shared, {**body, "prompt": prompt, "strength": 1})[0]) for prompt in _PROMPTS]
    assert all(distance(one, other) > 4 for one, other in itertools.combinations(pictures, 2))


def test_samples_differ_and_continue_the_seed(shared: Emulator, body: dict[str, Any]) -> None:
    four = edited(shared, {**body, "samples": 4, "seed": 5})
    assert len(set(four)) == 4
    assert edited(shared, {**body, "seed": 7}) == [four[2]]


@pytest.mark.parametrize("prompt", _PROMPTS)
def test_every_parameter_moves_the_picture(shared: Emulator, body: dict[str, Any], prompt: str) -> None:
    usual = {**body, "prompt": prompt, "num_inference_steps": 30, "guidance_scale": 7.5}
    changes: tuple[dict[str, Any], ...] = (
        {},
        {"negative_prompt": "blurry"},
        {"guidance_scale": 12},
        {"num_inference_steps": 60},
        {"refiner": True},
        {"model_id": "another-model"},
    )
    assert len({edited(shared, {**usual, **change})[0] for change in changes}) == len(changes)


@pytest.mark.parametrize(("name", "few", "many"), [("num_inference_steps", 2, 90), ("guidance_scale", 1, 20)])
def test_a_large_change_is_visible(shared: Emulator, body: dict[str, Any], name: str, few: int, many: int) -> None:
    one, other = (picture(edited(shared, {**body, name: value})[0]) for value in (few, many))
    assert distance(one, other) > 1


@pytest.mark.parametrize("prompt", _PROMPTS)
def test_distance_from_the_input_grows_with_strength(
    shared: Emulator, body: dict[str, Any], photo: Image.Image, prompt: str
) -> None:
    distances = [
        distance(photo, picture(edited(shared, {**body, "prompt": prompt, "strength": strength})[0]))
        for strength in (0, 0.25, 0.5, 0.75, 1)
    ]
    assert distances[0] < 0.5
    assert all(after > before + 1 for before, after in itertools.pairwise(distances))


@pytest.mark.parametrize("prompt", ["NSFW beach", "a nude", "something explicit, oil"])
def test_a_filtered_picture_is_black_and_a_success(shared: Emulator, body: dict[str, Any], prompt: str) -> None:
    (raw,) = edited(shared, {**body, "prompt": prompt, "safety_checker": True})
    assert picture(raw).size == (120, 80)
    assert picture(raw).getextrema() == ((0, 0), (0, 0), (0, 0))


@pytest.mark.parametrize("changed", [{"prompt": "a nude"}, {"safety_checker": True}, {"prompt": "explicitly kind"}])
def test_nothing_is_filtered_without_both_the_checker_and_the_words(
    shared: Emulator, body: dict[str, Any], changed: dict[str, Any]
) -> None:
    (raw,) = edited(shared, {**body, **changed})
    assert picture(raw).getextrema() != ((0, 0), (0, 0), (0, 0))


def test_words_beyond_the_75th_have_no_effect(shared: Emulator, body: dict[str, Any]) -> None:
    full = " ".join(["boat"] * 75)
    assert edited(shared, {**body, "prompt": full}) == edited(shared, {**body, "prompt": full + " at night"})


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
)


@settings(max_examples=60, deadline=None)
@given(size=st.tuples(st.integers(1, 40), st.integers(1, 40)), order=_ORDERS)
def test_any_order_can_be_made_and_repeated(size: tuple[int, int], order: EditOrder) -> None:
    base = Image.linear_gradient("L").resize(size).convert("RGB")
    raw = edit(base, order, 3)
    assert picture(raw).size == size
    assert edit(base, order, 3) == raw
