"""The API as data: what may be an id, which paths it makes, which statuses are known."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imagepipeline.contract.api import (
    APIS,
    EDIT_IMAGE,
    SDXL_IMAGE_TO_IMAGE,
    Api,
    JobStatus,
    api_named,
    checked_job_id,
    is_same_job_id,
)
from airflow_imagepipeline.contract.errors import Malformed
from tests.contract.answered import json_values


@pytest.mark.parametrize(
    ("given_id", "text"),
    [
        pytest.param("job_a1b2c3", "job_a1b2c3", id="letters, digits and a low line"),
        pytest.param("0f8fad5b-d9cb-469f-a165-70867728950e", "0f8fad5b-d9cb-469f-a165-70867728950e", id="a UUID"),
        pytest.param("a" * 1024, "a" * 1024, id="1024 characters"),
        pytest.param("_V1StGXR8", "_V1StGXR8", id="a low line in front"),
        pytest.param("-1.~", "-1.~", id="a hyphen in front"),
        pytest.param(".hidden", ".hidden", id="a point in front"),
        pytest.param(12345, "12345", id="a whole number"),
        pytest.param(0, "0", id="zero"),
    ],
)
def test_takes_an_id(given_id: object, text: str) -> None:
    assert checked_job_id(given_id) == text
    assert SDXL_IMAGE_TO_IMAGE.status_path(text) == f"/sdxl/image2image/v1/status/{text}"


@pytest.mark.real_input("D5")
@pytest.mark.parametrize(
    ("job_id", "quoted"),
    [
        ("abc=", "abc%3D"),
        ("a:b", "a%3Ab"),
        ("a/b\\c", "a%2Fb%5Cc"),
        ("a?b#c", "a%3Fb%23c"),
        ("a%2Fb", "a%252Fb"),
        ("a b", "a%20b"),
        ("{Größe}", "%7BGr%C3%B6%C3%9Fe%7D"),
        ("a..b", "a..b"),
        ("...", "..."),
    ],
)
def test_an_id_is_opaque_and_quoted_into_the_path(job_id: str, quoted: str) -> None:
    assert SDXL_IMAGE_TO_IMAGE.status_path(checked_job_id(job_id)) == f"/sdxl/image2image/v1/status/{quoted}"


@pytest.mark.real_input("D5")
@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("job-1", "JOB-1", True),
        ("job-1", " job-1\n", True),
        ("0f8fad5b-d9cb-469f-a165-70867728950e", "0F8FAD5B-D9CB-469F-A165-70867728950E", True),
        ("0f8fad5b-d9cb-469f-a165-70867728950e", "{0f8fad5bd9cb469fa16570867728950e}", True),
        ("job-1", "job-2", False),
        ("abc=", "abc", False),
        ("0f8fad5b-d9cb-469f-a165-70867728950e", "0f8fad5b-d9cb-469f-a165-70867728950f", False),
    ],
)
def test_two_spellings_of_an_id_name_one_job(one: str, other: str, *, same: bool) -> None:
    assert is_same_job_id(one, other) is same


@pytest.mark.parametrize(
    "given_id",
    [
        pytest.param("", id="nothing"),
        pytest.param("a" * 1025, id="1025 characters"),
        pytest.param("..", id="the folder above"),
        pytest.param("a\n", id="a line feed at the end"),
        pytest.param("a\x00", id="a NUL"),
        pytest.param("\ud800", id="a lone surrogate"),
        pytest.param(None, id="none"),
        pytest.param(True, id="a boolean"),
        pytest.param(1.0, id="a fraction"),
        pytest.param(".", id="this folder"),
        pytest.param("../x", id="a path"),
        pytest.param("a%2F..", id="a quoted path"),
        pytest.param("%2e%2E", id="the folder above, quoted"),
        pytest.param("a/../b", id="the folder above inside"),
        pytest.param("a\\..", id="the folder above behind a backslash"),
        pytest.param(" ", id="a space"),
        pytest.param("a\u202eb", id="what turns the line around"),
        pytest.param("a\u2028b", id="a line separator"),
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
    assert re.fullmatch(r"/sdxl/image2image/v1/status/(?!\.{1,2}$)(?:[A-Za-z0-9._~-]|%[0-9A-F]{2})+", path)
    last = unquote(path.removeprefix("/sdxl/image2image/v1/status/"))
    assert not {".", ".."} & set(re.split(r"[/\\]", last))


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


SUCCESSES = ["success", "Succeeded", "SUCCESSFUL", "complete", "completed", "done", "finished", "ready"]
FAILURES = ["failure", "failed", "fail", "error", "errored", "cancelled", "canceled", "aborted", "rejected"]
FAILURES += ["timeout", "timed_out", "Timed Out", "time-out", "expired", "terminated"]


@pytest.mark.real_input("D9")
@pytest.mark.parametrize("api", APIS.values(), ids=list(APIS))
def test_synonyms_end_a_job_in_both_generations(api: Api) -> None:
    assert {api.status_of(word) for word in SUCCESSES} == {JobStatus.SUCCESS}
    assert {api.status_of(word) for word in FAILURES} == {JobStatus.FAILURE}
    assert {api.status_of(word) for word in ("pending", "Processing")} == {JobStatus.PENDING}
    assert {api.status_of(word) for word in ("", "step 1/2", "nearly done", "SUC\0CESS")} == {None}


def test_no_word_is_known_that_is_not_tested() -> None:
    tested = {re.sub(r"[\s_-]", "", word).upper() for word in SUCCESSES + FAILURES}
    assert {*SDXL_IMAGE_TO_IMAGE.statuses} == {"PENDING", "PROCESSING", *tested}
    assert {*EDIT_IMAGE.statuses} == {"QUEUED", "PENDING", "PROCESSING", *tested}


@pytest.mark.parametrize("name", APIS)
def test_an_api_is_found_by_its_name(name: str) -> None:
    assert api_named(name).name == name


@pytest.mark.parametrize("name", ["", "sdxl/image2image/v2", None, 1, ["sdxl/image2image/v1"], {}])
def test_an_unknown_api_is_refused_with_the_known_ones(name: object) -> None:
    with pytest.raises(ValueError, match=r"^unknown API .*; known are \['edit/image/v1', 'sdxl/image2image/v1'\]$"):
        api_named(name)
