from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imagepipeline.contract.errors import InvalidParameters
from airflow_imagepipeline.storage.folder import DestinationUnusable, checked_stem, open_folder, stem_of

if TYPE_CHECKING:
    from pathlib import Path

JOB_IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:~\-]{0,199}", fullmatch=True)


@pytest.mark.parametrize(
    "stem",
    ["portrait", "2026/11/22/portrait", "run=7/a.b_c-d", "a" * 200, "..a", "a/" * 119 + "aa"],
    ids=lambda stem: stem[:24],
)
def test_a_harmless_stem_is_taken_as_it_is(stem: str) -> None:
    assert checked_stem(stem) == stem


@pytest.mark.parametrize(
    "stem",
    [
        "", ".", "..", "a/../b", "../a", "/a", "a/", "a//b", "s3://other/key", "file:///x", "ab/" * 80 + "a", "\ud800",
    ],
    ids=ascii,
)  # fmt: skip
def test_a_stem_that_could_leave_its_folder_is_refused(stem: str) -> None:
    with pytest.raises(InvalidParameters, match="file_stem"):
        checked_stem(stem)


@given(stem=st.text(max_size=260) | st.text("ab./=_-\\~:", max_size=260))
def test_whatever_the_stem_every_part_of_a_name_is_plain(stem: str) -> None:
    try:
        taken = checked_stem(stem)
    except InvalidParameters:
        return
    for part in taken.split("/"):
        assert not re.search(r"[\x00-\x1f\x7f\\:*?\"<>|\u202e]", part)
        assert part not in {"", ".", ".."}
        assert len(f"{part}-00.webp.json".encode()) <= 255


@given(job_id=JOB_IDS)
def test_the_stem_of_a_job_is_a_harmless_stem(job_id: str) -> None:
    stem = stem_of(job_id)
    assert re.fullmatch(r"[A-Za-z0-9._=-]+", stem)
    assert stem not in {".", ".."}


@given(one=JOB_IDS, other=JOB_IDS)
def test_no_two_jobs_have_the_same_stem(one: str, other: str) -> None:
    assert (stem_of(one) == stem_of(other)) is (one == other)


@pytest.mark.parametrize(("one", "other"), [("a:b", "a~b"), ("a:b", "a_b"), ("a:b", "a.b")])
def test_ids_that_differ_in_an_odd_character_have_different_stems(one: str, other: str) -> None:
    assert stem_of(one) != stem_of(other)


@pytest.mark.fault(119)
@pytest.mark.parametrize(
    "job_id",
    [
        "a:" * 60 + "b", "~" * 200, "x" * 1024, "\u6771\u4eac" * 100, "\U0001f600", "\ud800", ".", "..", "../../etc",
        "a/b", "urn:uuid:0b5e" * 20, "%2e%2e", " ", "a\nb",
    ],
    ids=lambda job_id: ascii(job_id)[:20],
)  # fmt: skip
def test_whatever_the_vendor_calls_a_job_its_files_fit_into_a_folder(job_id: str, tmp_path: Path) -> None:
    stem = stem_of(job_id)
    assert re.fullmatch(r"[A-Za-z0-9._=-]{1,220}", stem)
    assert stem not in {".", ".."}
    # As long as a name becomes: of a sidecar that is being written.
    (tmp_path / f".{stem}-00.webp.json.12345678.unfinished").touch()
    assert stem == stem_of(job_id)


@pytest.mark.fault(119)
def test_ids_that_are_shortened_or_escaped_are_still_told_apart() -> None:
    ids = ["x" * 1024, "x" * 1023, "x" * 1023 + "y", "\u01f600", "\U0001f600", "=", "=3D", ":" * 200, ":" * 199]
    ids += [stem_of(job_id) for job_id in ids[:3]]
    assert len({stem_of(job_id) for job_id in ids}) == len(ids)


@pytest.mark.fault(119)
@pytest.mark.parametrize(
    ("job_id", "stem"), [("0b5e-a_b.c", "0b5e-a_b.c"), ("job:1", "job=3A1"), ("a~b", "a=7Eb"), ("x" * 200, "x" * 200)]
)
def test_an_id_has_the_stem_that_it_always_had(job_id: str, stem: str) -> None:
    assert stem_of(job_id) == stem


@pytest.mark.parametrize(
    "uri",
    [
        "", "bucket/prefix", "s3://", "s3:///", "file://", "s3://bucket/../other", "s3://bucket/./a",
        "s3://bucket/s3://other/key", "s3://bucket/a\\b", "s3://bucket/a\nb", "s3://bucket/\u202egnp",
        "s3://b/" + "a" * 640, "s3://b/" + "\u00e4" * 330, "nonsense://x/y",
    ],
    ids=lambda uri: ascii(uri)[:40],
)  # fmt: skip
def test_a_destination_that_makes_no_sense_is_refused(uri: str) -> None:
    with pytest.raises(DestinationUnusable, match="destination"):
        open_folder(uri, None)


@pytest.mark.parametrize(
    ("uri", "clean"),
    [
        ("s3://bucket", "s3://bucket"),
        ("/data/images", "file:///data/images"),
        (" s3://bucket/prefix/ ", "s3://bucket/prefix"),
        ("s3://bucket/a b/\u00e4", "s3://bucket/a b/\u00e4"),
        ("file:///data/images/", "file:///data/images"),
    ],
)
def test_a_destination_is_a_folder_without_its_last_slash(uri: str, clean: str) -> None:
    folder = open_folder(uri, None)
    assert folder.uri == clean
    assert folder.uri_of("x-00.png") == f"{clean}/x-00.png"


@given(prefix=st.integers(0, 700), stem=st.integers(1, 300))
def test_no_key_is_longer_than_nine_hundred_bytes(prefix: int, stem: int) -> None:
    try:
        folder = open_folder("s3://bucket/" + "p" * prefix, None)
        name = checked_stem("/".join(["s" * 100] * (stem // 101) + ["s" * (stem % 101 or 1)]))
    except (DestinationUnusable, InvalidParameters):
        return
    assert len(folder.uri_of(f"{name}-00.webp").removeprefix("s3://bucket/").encode()) <= 900
