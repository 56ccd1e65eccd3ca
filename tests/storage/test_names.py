"""Names that people give, and the one address of a place."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imagepipeline.contract.errors import InvalidParameters
from airflow_imagepipeline.storage.disk import one_address
from airflow_imagepipeline.storage.folder import checked_stem, folded_name, open_folder


@pytest.mark.real_input("A1", "A5")
@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Größe XL", "Größe XL"),
        ("Обувь 5", "Обувь 5"),
        ("红色杯子", "红色杯子"),
        ("कप", "कप"),
        ("Sofa A\u0308", "Sofa Ä"),
        ("Größe/XL 5", "Größe/XL 5"),
        ("a=b", "a=b"),
        ("50% off #1 & more", "50% off #1 & more"),
        ("a:b?c*d", "a=3Ab=3Fc=2Ad"),
        ("x=3Ay", "x=3D3Ay"),
        ("gpj.\u202eeman", "gpj.=E2=80=AEeman"),
        ("back\\slash", "back=5Cslash"),
        ("line\nbreak\x85", "line=0Abreak=C2=85"),
        ("dots./end ", "dots=2E/end "),
    ],
)
def test_letters_of_every_script_stay_and_what_no_store_holds_is_escaped(text: str, name: str) -> None:
    assert checked_stem(text) == name


@pytest.mark.real_input("A5")
@pytest.mark.parametrize("text", ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "half \ud800"])
def test_a_name_that_would_leave_the_folder_or_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameters, match="file_stem: "):
        checked_stem(text)


@given(text=st.text(max_size=30))
def test_an_escaped_name_leads_back(text: str) -> None:
    try:
        name = checked_stem(text, 10_000)
    except InvalidParameters:
        return
    read = re.sub("(?:=[0-9A-F]{2})+", lambda found: unquote(found[0].replace("=", "%")), name)
    assert read == unicodedata.normalize("NFC", text)


@pytest.mark.real_input("A5")
@pytest.mark.parametrize("letter", ["x", "ä", "杯", "😀"])
def test_a_part_that_no_disk_holds_ends_in_a_digest(tmp_path: Path, letter: str) -> None:
    first, second = checked_stem(letter * 300, 2000), checked_stem(letter * 301, 2000)
    assert first != second
    (tmp_path / f".{first}-00.webp.json.01234567.unfinished").touch()


def test_a_name_longer_than_its_room_is_refused() -> None:
    with pytest.raises(InvalidParameters, match="has more than 240 bytes"):
        checked_stem("/".join(["ä" * 100] * 2))


@pytest.mark.fault(125)
@pytest.mark.real_input("A6")
@pytest.mark.parametrize(
    ("one", "other"), [("Cup", "cUP"), ("Ä", "A\u0308"), ("STRASSE", "straße"), ("ÄB", "a\u0308b")]
)
def test_names_that_differ_in_case_or_form_only_are_one(one: str, other: str) -> None:
    assert folded_name(one) == folded_name(other)
    assert folded_name(one) != folded_name(f"{one}x")


@pytest.mark.real_input("A7", "C7")
def test_a_place_has_one_address(tmp_path: Path) -> None:
    plain = tmp_path / "mit Leer ü"
    plain.mkdir()
    path = str(plain)
    spellings = [
        *(path, f"file://{path}", f"file://localhost{path}", f"file:{path}", plain.as_uri()),
        *(path.replace("/mit", "//mit"), f"{tmp_path}/./mit Leer ü", f"FILE://{path}"),
    ]
    assert {one_address(spelling) for spelling in spellings} == {f"file://{path}"}
    assert {open_folder(f"{spelling}/", None).uri for spelling in spellings} == {f"file://{path}"}
    assert one_address(f"{plain.as_uri()}/") == f"file://{path}/"


@pytest.mark.real_input("A7")
def test_a_folder_of_the_literal_name_wins_and_only_urls_of_files_are_decoded(tmp_path: Path) -> None:
    (tmp_path / "a%20b").mkdir()
    assert one_address(f"file://{tmp_path}/a%20b/c%20d") == f"file://{tmp_path}/a%20b/c d"
    assert one_address(f"{tmp_path}/c%20d") == f"file://{tmp_path}/c%20d"
    for address in ("s3://bucket/a%20b//./c", "gs://bucket/a%20b", "https://a.test/a%20b", "file://server/x", "a/b"):
        assert one_address(address) == address
