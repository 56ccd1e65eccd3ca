"""The API as data: what may be an id, which paths it makes, which statuses are known."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imagepipeline.contract.api import APIS, SDXL_IMAGE_TO_IMAGE, JobStatus, api_named, checked_job_id
from airflow_imagepipeline.contract.errors import Malformed
from tests.contract.answered import json_values


@pytest.mark.parametrize(
    ("given_id", "text"),
    [
        pytest.param("job_a1b2c3", "job_a1b2c3", id="letters, digits and a low line"),
        pytest.param("0f8fad5b-d9cb-469f-a165-70867728950e", "0f8fad5b-d9cb-469f-a165-70867728950e", id="a UUID"),
        pytest.param("a.b~c:d", "a.b~c:d", id="every other character allowed"),
        pytest.param("a" * 200, "a" * 200, id="200 characters"),
        pytest.param(12345, "12345", id="a whole number"),
        pytest.param(0, "0", id="zero"),
    ],
)
def test_takes_an_id(given_id: object, text: str) -> None:
    assert checked_job_id(given_id) == text
    assert SDXL_IMAGE_TO_IMAGE.status_path(text) == f"/sdxl/image2image/v1/status/{text}"


@pytest.mark.parametrize(
    "given_id",
    [
        pytest.param("", id="nothing"),
        pytest.param("a" * 201, id="201 characters"),
        pytest.param("..", id="the folder above"),
        pytest.param(".hidden", id="a point in front"),
        pytest.param("-rf", id="a hyphen in front"),
        pytest.param("a/b", id="a slash"),
        pytest.param("a\\b", id="a backslash"),
        pytest.param("a?b", id="a question mark"),
        pytest.param("a#b", id="a hash"),
        pytest.param("a%2Fb", id="a quoted slash"),
        pytest.param("a b", id="a space"),
        pytest.param("a\n", id="a line feed at the end"),
        pytest.param("a\x00", id="a NUL"),
        pytest.param("\u0661", id="a digit of another script"),
        pytest.param("\ud800", id="a lone surrogate"),
        pytest.param(None, id="none"),
        pytest.param(True, id="a boolean"),
        pytest.param(1.0, id="a fraction"),
        pytest.param(-1, id="a negative number"),
        pytest.param(10**200, id="a number of 201 digits"),
        pytest.param({"id": "a"}, id="an object"),
        pytest.param(["a"], id="a list"),
    ],
)
def test_refuses_an_id_before_a_path_is_built(given_id: object) -> None:
    with pytest.raises(Malformed, match=r"^not a job id: ") as caught:
        checked_job_id(given_id)
    assert len(str(caught.value)) <= len("not a job id: ") + 80
    assert str(caught.value).isascii()


@given(st.text(st.characters(), max_size=12) | json_values)
def test_an_id_is_either_refused_or_one_plain_part_of_a_path(given_id: object) -> None:
    try:
        path = SDXL_IMAGE_TO_IMAGE.status_path(checked_job_id(given_id))
    except Malformed:
        return
    assert re.fullmatch(r"/sdxl/image2image/v1/status/[A-Za-z0-9][A-Za-z0-9._~:-]{0,199}", path)


def test_the_vendors_page_is_kept_to() -> None:
    api = SDXL_IMAGE_TO_IMAGE
    assert api.submit_path == "/sdxl/image2image/v1"
    assert api.key_header == "API-Key"
    assert api.links_field == "download_urls"
    assert api.id_fields[0] == "id"


@pytest.mark.parametrize(
    ("word", "status", "is_terminal"),
    [
        ("PENDING", JobStatus.PENDING, False),
        ("PROCESSING", JobStatus.PENDING, False),
        ("SUCCESS", JobStatus.SUCCESS, True),
        ("FAILURE", JobStatus.FAILURE, True),
        ("FAILED", JobStatus.FAILURE, True),
        ("ERROR", JobStatus.FAILURE, True),
        ("CANCELLED", JobStatus.FAILURE, True),
    ],
)
def test_a_known_word_has_one_meaning(word: str, status: JobStatus, *, is_terminal: bool) -> None:
    assert SDXL_IMAGE_TO_IMAGE.statuses[word] is status
    assert status.is_terminal is is_terminal


def test_no_word_is_known_that_is_not_tested() -> None:
    assert set(SDXL_IMAGE_TO_IMAGE.statuses) == {
        "PENDING",
        "PROCESSING",
        "SUCCESS",
        "FAILURE",
        "FAILED",
        "ERROR",
        "CANCELLED",
    }


@pytest.mark.parametrize("name", APIS)
def test_an_api_is_found_by_its_name(name: str) -> None:
    assert api_named(name).name == name


@pytest.mark.parametrize("name", ["", "sdxl/image2image/v2", None, 1, ["sdxl/image2image/v1"], {}])
def test_an_unknown_api_is_refused_with_the_known_ones(name: object) -> None:
    with pytest.raises(ValueError, match=r"^unknown API .*; known are \['edit/image/v1', 'sdxl/image2image/v1'\]$"):
        api_named(name)
