"""What a result must be is said once, checked before anything is submitted, and stored as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imagepipeline.contract.acceptance import Acceptance
from airflow_imagepipeline.contract.errors import InvalidParameters
from tests.contract.answered import any_text

checked = Acceptance.checked


@pytest.mark.parametrize("accept", [None, {}, {"format": None, "width": "", "checks": [], "aspect": "None"}])
def test_nothing_given_means_the_defaults(accept: dict[str, Any] | None) -> None:
    assert checked(accept) == Acceptance()
    assert checked(accept).to_payload() == {}


@pytest.mark.parametrize(
    ("given", "understood"),
    [
        ({"format": "png"}, {"format": ["PNG"]}),
        ({"format": ["webp", "Jpg", "JPEG"]}, {"format": ["WEBP", "JPEG"]}),
        ({"width": "512", "min_height": 1}, {"width": 512, "min_height": 1}),
        ({"aspect": " Input "}, {"aspect": "input"}),
        ({"aspect": "1.5"}, {"aspect": 1.5}),
        ({"aspect": 1}, {"aspect": 1.0}),
        ({"blank": "true", "identical": True, "filtered": 1}, {"blank": True, "identical": True, "filtered": True}),
        ({"min_sharpness": 0, "min_difference": 0}, {"min_sharpness": 0.0, "min_difference": 0.0}),
        ({"min_difference": 0.1, "max_difference": "0.5"}, {"min_difference": 0.1, "max_difference": 0.5}),
        ({"checks": "shop.checks.has_logo"}, {"checks": ["shop.checks.has_logo"]}),
        ({"checks": ["a.b", " c.d ", "a.b"]}, {"checks": ["a.b", "c.d"]}),
        ({"min_width": 5, "width": 5}, {"min_width": 5, "width": 5}),
    ],
)
def test_what_is_given_is_understood_and_stored_as_json(given: dict[str, Any], understood: dict[str, Any]) -> None:
    found = checked(given)
    assert json.loads(json.dumps(found.to_payload())) == understood
    assert checked(found.to_payload()) == found


PIXELS = "a whole number of pixels from 1 to 50000"
FORMATS = "one of PNG, JPEG, WEBP, GIF, or a list of some of them"
ASPECT = "'input' or a number from 0.01 to 100 (width through height)"
CHECKS = "a dotted name like 'my_package.checks.has_logo', or a list of them"


@pytest.mark.parametrize(
    ("field", "value", "range_"),
    [
        ("format", "BMP", FORMATS),
        ("format", ["PNG", 3], FORMATS),
        ("width", 0, PIXELS),
        ("height", 50_001, PIXELS),
        ("min_width", True, PIXELS),
        ("min_height", 10.5, PIXELS),
        ("aspect", "square", ASPECT),
        ("aspect", 0, ASPECT),
        ("aspect", 101, ASPECT),
        ("aspect", float("nan"), ASPECT),
        ("aspect", True, ASPECT),
        ("aspect", [1], ASPECT),
        ("blank", "perhaps", "a boolean"),
        ("min_sharpness", -0.1, "a number from 0 to 5"),
        ("min_sharpness", float("inf"), "a number from 0 to 5"),
        ("min_difference", 1.1, "a number from 0 to 1"),
        ("max_difference", True, "a number from 0 to 1"),
        ("identical", 2, "a boolean"),
        ("filtered", [True], "a boolean"),
        ("checks", "has_logo", CHECKS),
        ("checks", ["shop.checks.has_logo", "os.system('ls')"], CHECKS),
        ("checks", [len], CHECKS),
        ("checks", {"shop.checks": 1}, CHECKS),
    ],
)
def test_a_wrong_value_is_named_with_its_field_and_range(field: str, value: object, range_: str) -> None:
    with pytest.raises(InvalidParameters) as caught:
        checked({field: value})
    message = str(caught.value)
    assert message.startswith(f"accept: {field}: ")
    assert message.endswith(f" is not {range_}")
    assert repr(value)[:10] in message


def test_every_wrong_field_is_named() -> None:
    with pytest.raises(InvalidParameters, match=r"accept: width: 0 is not .*; accept: blank: 7 is not a boolean"):
        checked({"width": 0, "blank": 7})


def test_a_field_of_another_name_is_refused_with_the_names_that_there_are() -> None:
    with pytest.raises(InvalidParameters, match=r"accept: min_size, 3: the fields are format, width, .*, checks$"):
        checked({"min_size": 5, "3": 3})


@pytest.mark.parametrize("accept", ["strict", ["blank"], True, 3])
def test_what_is_no_mapping_is_refused(accept: Any) -> None:
    with pytest.raises(InvalidParameters, match="is not a mapping of fields to values"):
        checked(accept)


@pytest.mark.parametrize(
    ("accept", "message"),
    [
        ({"min_width": 9, "width": 8}, "min_width: 9 is more than width (8), so nothing could pass"),
        ({"min_height": 9, "height": 8}, "min_height: 9 is more than height (8), so nothing could pass"),
        (
            {"min_difference": 0.5, "max_difference": 0.4},
            "min_difference: 0.5 is more than max_difference (0.4), so nothing could pass",
        ),
        (
            {"identical": True, "min_difference": 0.1},
            "min_difference: 0.1 refuses what identical=True takes",
        ),
    ],
)
def test_bounds_that_nothing_could_meet_are_refused(accept: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameters) as caught:
        checked(accept)
    assert str(caught.value) == f"accept: {message}"


NOTHING_OF_INPUT = {"min_sharpness": 0.5, "identical": True, "max_difference": 1}


@pytest.mark.parametrize(
    ("accept", "asks", "needs"),
    [
        ({}, False, True),
        ({"width": 512}, False, True),
        (NOTHING_OF_INPUT, False, False),
        ({"min_sharpness": 0, "min_difference": 0, "max_difference": 1}, False, False),
        ({**NOTHING_OF_INPUT, "checks": "shop.checks.has_logo"}, False, True),
        ({**NOTHING_OF_INPUT, "aspect": "input"}, True, True),
        ({**NOTHING_OF_INPUT, "aspect": 1.5}, False, False),
        ({**NOTHING_OF_INPUT, "max_difference": 0}, True, True),
        ({"min_difference": 0.1}, True, True),
        ({"max_difference": 0.9}, True, True),
        ({"identical": True, "max_difference": 1}, False, True),
        ({"identical": True, "min_sharpness": 1}, False, True),
        ({"min_sharpness": 1, "max_difference": 1}, False, True),
    ],
)
def test_the_input_is_read_only_where_something_needs_it(accept: dict[str, Any], asks: bool, needs: bool) -> None:  # noqa: FBT001
    found = checked(accept)
    assert (found.asks_for_input, found.needs_input) == (asks, needs)


@given(st.dictionaries(st.sampled_from(sorted(Acceptance.model_fields)) | any_text, st.none() | st.booleans() | any_text
       | st.integers() | st.floats() | st.lists(any_text, max_size=3), max_size=4))  # fmt: skip
def test_anything_is_understood_or_refused_in_words(accept: dict[str, Any]) -> None:
    try:
        found = checked(accept)
    except InvalidParameters as error:
        assert str(error).startswith("accept: ")  # noqa: PT017 - either end is right
    else:
        assert checked(found.to_payload()) == found
