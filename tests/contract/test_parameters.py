"""Parameters are checked before any request, and named by a fingerprint."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imagepipeline.contract.errors import InvalidParameters
from airflow_imagepipeline.contract.parameters import ImageToImageParameters
from tests.contract.answered import any_text

LINK = "https://images.example/cup.png"
EMPTY: list[object] = [None, "", " ", "None", " None\n", {}]


def checked(**arguments: Any) -> ImageToImageParameters:
    return ImageToImageParameters.checked({"init_image": LINK, "prompt": "a cup", **arguments})


def fingerprint(**arguments: Any) -> str:
    return checked(**arguments).fingerprint()


numbers = st.fixed_dictionaries(
    {},
    optional={
        "num_inference_steps": st.integers(1, 100),
        "strength": st.floats(0, 1),
        "samples": st.integers(1, 4),
        "guidance_scale": st.floats(1, 20),
        "width": st.integers(1, 4096),
        "height": st.integers(1, 4096),
        "seed": st.integers(-(2**63), 2**63),
        "safety_checker": st.booleans(),
        "refiner": st.booleans(),
    },
)
texts = st.fixed_dictionaries({}, optional={"model_id": st.just("juggernaut"), "negative_prompt": st.just("blurry")})
finite = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | any_text,
    lambda inner: st.lists(inner) | st.dictionaries(any_text, inner),
    max_leaves=8,
)
unlisted = st.dictionaries(
    any_text.filter(lambda name: name not in ImageToImageParameters.model_fields), finite, max_size=4
)
wishes = st.builds(lambda a, b: {**a, **b}, numbers, texts)


def test_only_what_was_set_is_sent() -> None:
    assert checked().to_payload({}) == {"init_image": LINK, "prompt": "a cup", "model_id": "sdxl"}


def test_zero_and_false_are_values() -> None:
    payload = checked(strength=0, seed=0, safety_checker=False, refiner="false").to_payload({})
    assert (payload["strength"], payload["seed"]) == (0, 0)
    assert payload["safety_checker"] is payload["refiner"] is False


@pytest.mark.parametrize("empty", EMPTY, ids=repr)
@pytest.mark.parametrize("name", sorted(set(ImageToImageParameters.model_fields) - {"init_image", "prompt"}))
def test_an_unset_field_is_as_good_as_none(name: str, empty: object) -> None:
    assert checked(**{name: empty}) == checked()
    assert fingerprint(**{name: empty}) == fingerprint()


@pytest.mark.parametrize("empty", EMPTY, ids=repr)
@pytest.mark.parametrize(
    ("unset", "said"),
    [
        (["init_image"], "init_image must be given"),
        (["prompt"], "prompt must be given"),
        (["init_image", "prompt"], "init_image and prompt must be given"),
    ],
)
def test_image_and_prompt_must_be_given(unset: list[str], said: str, empty: object) -> None:
    with pytest.raises(InvalidParameters) as caught:
        checked(**dict.fromkeys(unset, empty))
    assert str(caught.value) == said


@given(wishes)
def test_text_from_templates_means_what_values_mean(wish: dict[str, Any]) -> None:
    rendered = {name: str(value) for name, value in wish.items()}
    assert checked(**rendered) == checked(**wish)
    assert fingerprint(**rendered) == fingerprint(**wish)


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("num_inference_steps", [1, 100]),
        ("strength", [0, 1]),
        ("samples", [1, 4]),
        ("guidance_scale", [1, 20]),
        ("width", [1, 100_000]),
        ("height", [1, 100_000]),
        ("seed", [-1, 2**80]),
    ],
)
def test_both_ends_of_a_range_are_allowed(name: str, ends: list[float]) -> None:
    assert [checked(**{name: end}).to_payload({})[name] for end in ends] == ends


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("num_inference_steps", 0, "num_inference_steps: 0 is not a whole number from 1 to 100"),
        ("num_inference_steps", 101, "num_inference_steps: 101 is not a whole number from 1 to 100"),
        ("num_inference_steps", 1.5, "num_inference_steps: 1.5 is not a whole number from 1 to 100"),
        ("num_inference_steps", True, "num_inference_steps: True is not a whole number from 1 to 100"),
        ("num_inference_steps", "many", "num_inference_steps: 'many' is not a whole number from 1 to 100"),
        ("strength", -0.1, "strength: -0.1 is not a number from 0 to 1"),
        ("strength", 1.1, "strength: 1.1 is not a number from 0 to 1"),
        ("strength", "nan", "strength: 'nan' is not a number from 0 to 1"),
        ("strength", float("nan"), "strength: nan is not a number from 0 to 1"),
        ("strength", False, "strength: False is not a number from 0 to 1"),
        ("samples", 0, "samples: 0 is not a whole number from 1 to 4"),
        ("samples", 5, "samples: 5 is not a whole number from 1 to 4"),
        ("guidance_scale", 0.9, "guidance_scale: 0.9 is not a number from 1 to 20"),
        ("guidance_scale", 20.1, "guidance_scale: 20.1 is not a number from 1 to 20"),
        ("guidance_scale", "inf", "guidance_scale: 'inf' is not a number from 1 to 20"),
        ("width", 0, "width: 0 is not a whole number of pixels from 1"),
        ("height", -1, "height: -1 is not a whole number of pixels from 1"),
        ("seed", 0.5, "seed: 0.5 is not a whole number"),
        ("seed", True, "seed: True is not a whole number"),
        ("safety_checker", 2, "safety_checker: 2 is not a boolean"),
        ("refiner", "perhaps", "refiner: 'perhaps' is not a boolean"),
        ("prompt", 1, "prompt: 1 is not a text"),
        ("negative_prompt", ["x"], "negative_prompt: ['x'] is not a text"),
        ("model_id", 1, "model_id: 1 is not the name of a model"),
        ("extra_parameters", "x=1", "extra_parameters: input should be a valid dictionary"),
        ("extra_parameters", {"x": {1, 2}}, "extra_parameters: must hold JSON values only"),
        ("extra_parameters", {"x": float("nan")}, "extra_parameters: must hold JSON values only"),
        ("extra_parameters", {"seed": 1, "x": 2}, "extra_parameters: seed must be given as an argument of its own"),
        ("init_image", 1, "init_image: input should be a valid string"),
        ("init_image", "cup.png", "init_image: 'cup.png' is not an https link nor s3://bucket/key."),
        ("scheduler", "ddim", "scheduler: extra inputs are not permitted"),
    ],
)
def test_a_wrong_value_is_named_with_its_range(name: str, value: object, message: str) -> None:
    with pytest.raises(InvalidParameters) as caught:
        checked(**{name: value})
    assert str(caught.value).startswith(message)


def test_all_wrong_values_are_named_at_once() -> None:
    with pytest.raises(InvalidParameters) as caught:
        checked(samples=9, strength="x")
    assert (
        str(caught.value) == "strength: 'x' is not a number from 0 to 1; samples: 9 is not a whole number from 1 to 4"
    )


def test_a_wrong_value_is_shown_short_and_clean() -> None:
    with pytest.raises(InvalidParameters) as caught:
        checked(samples="\x1b" + "x" * 500)
    assert len(str(caught.value)) < 130
    assert "\x1b" not in str(caught.value)


def test_a_refused_link_shows_no_signature() -> None:
    with pytest.raises(InvalidParameters) as caught:
        checked(init_image="http://images.example/cup.png?sig=SECRET")
    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_ring_of_values_is_refused() -> None:
    ring: dict[str, Any] = {}
    ring["x"] = ring
    deep: list[Any] = []
    for _ in range(20_000):
        deep = [deep]
    for endless in (ring, {"x": deep}):
        with pytest.raises(InvalidParameters, match="must hold JSON values only"):
            checked(extra_parameters=endless)


def test_extra_parameters_are_sent_as_they_were_when_checked() -> None:
    loras = ["a"]
    parameters = checked(extra_parameters={"lora_models": loras, "weights": {1: 0.5, "b": (1, 2)}})
    loras.append("b")
    payload = parameters.to_payload({})
    assert payload["lora_models"] == ["a"]
    assert payload["weights"] == {"1": 0.5, "b": [1, 2]}


def test_inputs_are_replaced_by_the_links_that_the_vendor_can_open() -> None:
    parameters = checked(init_image="s3://bucket/cup.png")
    assert parameters.inputs() == ("s3://bucket/cup.png",)
    assert parameters.to_payload({"s3://bucket/cup.png": LINK})["init_image"] == LINK
    assert parameters.to_payload({"s3://bucket/other.png": LINK})["init_image"] == "s3://bucket/cup.png"


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        pytest.param({}, [], id="nothing to say"),
        pytest.param({"width": 768, "height": 768}, [], id="as large as advised"),
        pytest.param({"width": 767}, ["width: 767 pixels; the vendor advises 768 or more"], id="narrow"),
        pytest.param({"height": 1}, ["height: 1 pixels; the vendor advises 768 or more"], id="low"),
        pytest.param({"prompt": "word " * 56}, [], id="75 tokens"),
        pytest.param(
            {"prompt": "word " * 57},
            ["prompt: about 76 tokens (a rough count); the model reads about 75"],
            id="a long prompt",
        ),
        pytest.param(
            {"negative_prompt": "word " * 90},
            ["negative_prompt: about 120 tokens (a rough count); the model reads about 75"],
            id="a long negative prompt",
        ),
    ],
)
def test_advises(arguments: dict[str, Any], advice: list[str]) -> None:
    assert checked(**arguments).advice() == advice


@given(st.integers())
def test_a_seed_is_drawn_only_where_none_was_set(source: int) -> None:
    drawn = checked().with_seed(random.Random(source))
    assert drawn.seed is not None
    assert 0 <= drawn.seed < 2**31
    assert checked().with_seed(random.Random(source)) == drawn
    assert checked(seed=0).with_seed(random.Random(source)).seed == 0


def test_prompt_and_link_stay_out_of_repr() -> None:
    shown = repr(checked(negative_prompt="n-secret", prompt="p-secret", extra_parameters={"x": "e-secret"}))
    assert "secret" not in shown
    assert LINK not in shown


# The fingerprint.


@given(wish=wishes, order=st.randoms(use_true_random=False), extra=unlisted)
def test_the_order_of_fields_does_not_count(wish: dict[str, Any], order: random.Random, extra: dict[str, Any]) -> None:
    names = [*wish]
    order.shuffle(names)
    extra_names = [*extra]
    order.shuffle(extra_names)
    shuffled = {name: wish[name] for name in names}
    assert fingerprint(**wish, extra_parameters=extra) == fingerprint(
        **shuffled, extra_parameters={name: extra[name] for name in extra_names}
    )


@given(one=wishes, other=wishes)
def test_another_wish_has_another_fingerprint(one: dict[str, Any], other: dict[str, Any]) -> None:
    same = checked(**one).to_payload({}) == checked(**other).to_payload({})
    assert (fingerprint(**one) == fingerprint(**other)) is same


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"init_image": "https://images.example/cat.png"}, id="another image"),
        pytest.param({"init_image": LINK + "?page=2"}, id="another page of it"),
        pytest.param({"init_image": LINK + "?st=2"}, id="a short name without a signature"),
        pytest.param({"prompt": "a cat"}, id="another prompt"),
        pytest.param({"prompt": "a cup "}, id="a space behind the prompt"),
        pytest.param({"seed": 1}, id="a seed of one's own"),
        pytest.param({"safety_checker": False}, id="a switch that is off, not unset"),
        pytest.param({"strength": 0}, id="a zero, not unset"),
        pytest.param({"extra_parameters": {"clip_skip": 1}}, id="a field more"),
    ],
)
def test_a_change_of_the_wish_changes_the_fingerprint(change: dict[str, Any]) -> None:
    assert fingerprint(**change) != fingerprint()


def test_a_prompt_that_is_a_link_counts_to_its_last_character() -> None:
    assert fingerprint(prompt="https://h/x?sig=1#a") != fingerprint(prompt="https://h/x?sig=2#b")


@pytest.mark.parametrize(
    "signature",
    [
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date={n}&X-Amz-Expires=3600&X-Amz-Signature={n}",
        "X-Goog-Algorithm=GOOG4&X-Goog-Date={n}&X-Goog-Signature={n}",
        "Expires={n}&Signature={n}&Key-Pair-Id=K",
        "sv=2024&se={n}&sr=b&sp=r&sig={n}",
        "Authorization={n}",
    ],
)
def test_a_signature_is_no_part_of_the_wish(signature: str) -> None:
    def signed(n: int) -> str:
        return f"{LINK}?size=2&{signature.format(n=n)}"

    assert fingerprint(init_image=signed(1)) == fingerprint(init_image=signed(2))
    assert fingerprint(init_image=signed(1)) == fingerprint(init_image=LINK + "?size=2")
    assert fingerprint(extra_parameters={"masks": [{"link": signed(1)}]}) == fingerprint(
        extra_parameters={"masks": [{"link": signed(2)}]}
    )


def test_the_s3_address_is_the_wish_not_the_link_it_is_sent_as() -> None:
    assert fingerprint(init_image="s3://bucket/cup.png") != fingerprint(init_image="s3://bucket/cat.png")
    assert fingerprint(init_image="s3://bucket/k?sig=1") != fingerprint(init_image="s3://bucket/k?sig=2")


@given(st.integers())
def test_a_drawn_seed_is_no_part_of_the_wish_that_was_named_before(source: int) -> None:
    parameters = checked()
    drawn = parameters.with_seed(random.Random(source))
    assert parameters.fingerprint() == fingerprint()
    assert drawn.fingerprint() == fingerprint(seed=drawn.seed)


@given(extra=unlisted)
def test_any_extra_parameters_have_a_fingerprint(extra: dict[str, Any]) -> None:
    parameters = checked(extra_parameters=extra)
    assert len(parameters.fingerprint()) == 64
    assert set(parameters.field_digests()) == set(parameters.to_payload({}))


def test_a_link_that_cannot_be_parsed_has_a_fingerprint() -> None:
    assert fingerprint(extra_parameters={"webhook": "https://[bad"}) != fingerprint()


def test_the_fingerprint_is_the_same_tomorrow() -> None:
    # A record of an earlier version of this provider is found by it.
    assert fingerprint(seed=7, strength=0.5) == "30d78a8cd22387f2436326be725172590217c22e954f56b7ef9f2f74fcb21ce0"


def test_what_changed_can_be_named_without_being_shown() -> None:
    one, other = checked(prompt="a cup").field_digests(), checked(prompt="a cat").field_digests()
    assert [name for name in one if one[name] != other[name]] == ["prompt"]
    assert all(len(digest) == 8 for digest in one.values())
    assert checked(init_image=LINK + "?sig=1").field_digests() == checked(init_image=LINK + "?sig=2").field_digests()
