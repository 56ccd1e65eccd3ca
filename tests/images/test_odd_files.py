"""Files that every browser shows, and that a strict reader would refuse: whole is whole, whatever stands around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PIL import Image

from airflow_imagepipeline.images.acceptance import measured
from airflow_imagepipeline.images.inspection import DamagedImage, glanced, inspect_file
from airflow_imagepipeline.images.seeing import seen
from airflow_imagepipeline.images.thumbnail import thumbnail
from tests.doubles.odd_pictures import (
    chunk,
    jpeg_with,
    of_odd_colours,
    of_odd_lengths,
    png_with,
    rotated_with_large_text,
    webp,
    with_odd_notes,
    with_something_behind,
)
from tests.doubles.pictures import painted, saved, written
from tests.memory import peak_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.real_input("D1")
@pytest.mark.parametrize("name", with_something_behind())
def test_what_follows_a_picture_is_counted_and_the_picture_judged(name: str, tmp_path: Path) -> None:
    data, more = with_something_behind()[name]
    path = written(tmp_path, data)
    assert inspect_file(path).trailing_bytes == more
    assert not glanced(path).blank
    assert (seen(path).width, seen(path).height) == (40, 30)
    assert thumbnail(path, (16, 16), "white").size == (16, 12)


@pytest.mark.real_input("D1")
@pytest.mark.parametrize("name", of_odd_lengths())
def test_a_webp_is_whole_although_its_lengths_are_not_right(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, of_odd_lengths()[name])
    facts = inspect_file(path)
    assert (facts.width, facts.height, facts.trailing_bytes) == (40, 30, 0)
    assert not glanced(path).blank
    assert seen(path).width == 40


@pytest.mark.real_input("D1")
@pytest.mark.parametrize(
    "data",
    [
        webp()[:-3],
        webp(pad=b"")[:-1],
        webp(odd=False)[:-14],
        webp(odd=False, off=9),
        saved(painted(), "JPEG")[:-1],
        saved(painted(), "JPEG")[:-2] + bytes(4096),
        jpeg_with(0xE1, saved(painted((8, 6)), "JPEG"))[:-400],
        png_with()[:-1],
        png_with()[:-12] + bytes(12),
        saved(painted().convert("P"), "GIF")[:-1] + b"\n",
    ],
    ids=[
        "WEBP in its last chunk",
        "WEBP in its last odd chunk",
        "WEBP without its last chunk",
        "WEBP that lacks a chunk",
        "JPEG in its end mark",
        "JPEG with zeros for its end",
        "JPEG with a whole thumbnail",
        "PNG in its end mark",
        "PNG with zeros for its end",
        "GIF with a newline for its end",
    ],
)
def test_what_is_cut_stays_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(DamagedImage):
        inspect_file(written(tmp_path, data))


@pytest.mark.real_input("D2")
@pytest.mark.parametrize("name", with_odd_notes())
def test_a_picture_is_judged_by_its_pixels_whatever_its_notes_are(name: str, tmp_path: Path) -> None:
    path, plain = written(tmp_path, with_odd_notes()[name]), written(tmp_path, saved(painted(), "PNG"), "plain")
    assert inspect_file(path).width == 40
    assert not glanced(path).blank
    assert measured(path, plain).difference == pytest.approx(0.0, abs=0.05)
    assert thumbnail(path, (16, 16), "white").size == (16, 12)


@pytest.mark.real_input("D2")
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("2 MB of zTXt", "ValueError: Decompressed data too large"),
        ("a broken EXIF", "SyntaxError: not a TIFF file"),
        ("short gAMA, pHYs, cHRM, tIME, sRGB", "Truncated"),
        ("a false CRC of a gAMA", "UnidentifiedImageError"),
        ("a JPEG with a short JFIF", "UnidentifiedImageError"),
    ],
)
def test_notes_that_cannot_be_read_are_named(name: str, why: str, tmp_path: Path) -> None:
    unread = glanced(written(tmp_path, with_odd_notes()[name])).unread
    assert why in unread
    assert str(tmp_path) not in unread


def test_of_a_tidy_picture_nothing_is_named(tmp_path: Path) -> None:
    assert glanced(written(tmp_path, saved(painted(), "PNG"))).unread == ""


@pytest.mark.real_input("D2")
def test_a_picture_on_its_side_is_seen_so_although_other_notes_cannot_be_read(tmp_path: Path) -> None:
    path = written(tmp_path, rotated_with_large_text())
    assert (seen(path).width, seen(path).height) == (30, 40)
    assert thumbnail(path, (16, 16), "white").size == (12, 16)


@pytest.mark.real_input("D2")
def test_a_false_checksum_of_pixels_stays_a_damage(tmp_path: Path) -> None:
    for kind in (b"IDAT", b"iDAT", b"PLTE"):
        with pytest.raises(DamagedImage, match="checksum"):
            inspect_file(written(tmp_path, png_with(chunk(kind, b"abc", sound=False))))


@pytest.mark.real_input("D2")
def test_a_picture_without_notes_takes_no_more_memory_than_with_them(tmp_path: Path) -> None:
    path = written(tmp_path, png_with(*[chunk(b"tEXt", b"a\0" + bytes(1_000_000))] * 24, chunk(b"pHYs", b"")))
    assert peak_of(lambda: inspect_file(path)) < 1024 * 1024
    assert peak_of(lambda: glanced(path)) < 40 * 1024 * 1024


@pytest.mark.real_input("D2")
@pytest.mark.parametrize("name", of_odd_colours())
def test_pixels_that_are_stored_in_a_rare_way_are_judged(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, of_odd_colours()[name])
    facts = inspect_file(path)
    assert (facts.width, facts.height, facts.trailing_bytes) == (40, 30, 0)
    assert not glanced(path).blank
    assert glanced(path).unread == ""
    picture = seen(path)
    assert (picture.width, picture.height) == (40, 30)
    assert picture.spread > 6
    assert thumbnail(path, (16, 16), "white").size == (16, 12)


@pytest.mark.parametrize("way", range(9))
def test_a_picture_is_turned_as_its_exif_says(way: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = way
    path = written(tmp_path, saved(painted(), "JPEG", exif=exif))
    with Image.open(path) as image:
        from PIL import ImageOps

        wanted = ImageOps.exif_transpose(image).convert("RGB")
    assert seen(path).copy.tobytes() == wanted.tobytes()
