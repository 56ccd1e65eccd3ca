from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_imagepipeline.images.inspection import (
    DamagedImage,
    ImageFacts,
    NotAnImage,
    TooManyPixels,
    glanced,
    inspect_file,
)
from tests.doubles.pictures import painted, pictures, png, saved, written
from tests.memory import peak_of

if TYPE_CHECKING:
    from pathlib import Path

KINDS = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP", "gif": "GIF"}
EXTENSIONS = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp", "GIF": "gif"}
every_picture = pytest.mark.parametrize("name", pictures())
each_example = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


def kind_of(name: str) -> str:
    return next(kind for word, kind in KINDS.items() if word in name.split())


@every_picture
def test_a_whole_file_is_known_by_its_bytes(name: str, tmp_path: Path) -> None:
    facts = inspect_file(written(tmp_path, pictures()[name], "looks-like.html"))
    kind = kind_of(name)
    wide = (120, 90) if name in {"progressive jpeg", "jpeg with restart marks"} else (40, 30)
    assert facts == ImageFacts(kind, EXTENSIONS[kind], f"image/{kind.lower()}", *wide)


@every_picture
def test_a_file_cut_at_any_byte_is_refused(name: str, tmp_path: Path) -> None:
    whole = pictures()[name]
    step = max(1, len(whole) // 400)
    for length in {*range(0, len(whole), step), *range(max(0, len(whole) - 40), len(whole))}:
        with pytest.raises(NotAnImage):
            inspect_file(written(tmp_path, whole[:length]))


@each_example
@given(data=st.data())
def test_a_cut_never_passes_for_a_whole_file(data: st.DataObject, tmp_path: Path) -> None:
    whole = pictures()[data.draw(st.sampled_from(sorted(pictures())))]
    with pytest.raises(NotAnImage):
        inspect_file(written(tmp_path, whole[: data.draw(st.integers(0, len(whole) - 1))]))


@pytest.mark.real_input("D1")
@each_example
@given(name=st.sampled_from(sorted(pictures())), more=st.binary(min_size=1, max_size=40))
def test_bytes_behind_the_end_are_counted(name: str, more: bytes, tmp_path: Path) -> None:
    whole = pictures()[name]
    facts = inspect_file(written(tmp_path, whole + more))
    assert (facts.format, facts.trailing_bytes) == (kind_of(name), len(more))


@pytest.mark.parametrize(
    "more",
    [b"\x00", b"\xff\xd9", b"\x3b", b"<script>alert(1)</script>", b"PK\x05\x06" + bytes(18), png(3, 3)],
    ids=["a zero", "the end mark of a JPEG", "the end mark of a GIF", "a web page", "a ZIP", "another image"],
)
@every_picture
def test_what_follows_an_image_says_nothing_of_its_type(name: str, more: bytes, tmp_path: Path) -> None:
    alone = inspect_file(written(tmp_path, pictures()[name]))
    assert inspect_file(written(tmp_path, pictures()[name] + more)) == replace(alone, trailing_bytes=len(more))


@each_example
@given(place=st.integers(0, 10_000), bit=st.integers(0, 7), name=st.sampled_from(["png", "png of many chunks"]))
def test_every_flipped_bit_in_a_png_is_found(place: int, bit: int, name: str, tmp_path: Path) -> None:
    data = bytearray(pictures()[name])
    data[place % len(data)] ^= 1 << bit
    with pytest.raises(NotAnImage):
        inspect_file(written(tmp_path, bytes(data)))


@each_example
@given(data=st.data())
def test_bytes_of_any_kind_are_an_image_or_refused_and_nothing_else(data: st.DataObject, tmp_path: Path) -> None:
    start = data.draw(st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\x40\0\0\0WEBP", b"GIF89a", b""]))
    path = written(tmp_path, start + data.draw(st.binary(max_size=300)))
    try:
        inspect_file(path)
    except NotAnImage:
        return
    glanced(path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<!DOCTYPE html><html><body>502</body></html>",
        b'{"error": "not found"}',
        b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
        b"<svg/>" + pictures()["png"],
        b"\n" + pictures()["png"],
        b"BM" + bytes(60),
        b"II*\0" + bytes(60),
        b"%PDF-1.7\n",
        b"PK\x03\x04" + bytes(60),
        b"RIFF\x24\0\0\0WAVE" + bytes(40),
        b"GIF88a" + bytes(40),
    ],
    ids=[
        "0 bytes",
        "HTML",
        "JSON",
        "SVG",
        "SVG then PNG",
        "newline then PNG",
        "BMP",
        "TIFF",
        "PDF",
        "ZIP",
        "WAV",
        "GIF88a",
    ],
)
def test_what_is_no_image_is_refused_as_such(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(NotAnImage, match=f"{len(data)} bytes that are no PNG, JPEG, WEBP or GIF") as caught:
        inspect_file(written(tmp_path, data))
    assert type(caught.value) is NotAnImage


def png_without(kind: bytes) -> bytes:
    whole = png(4, 4)
    at = whole.index(kind) - 4
    length = struct.unpack(">I", whole[at : at + 4])[0]
    return whole[:at] + whole[at + 12 + length :]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (png_without(b"IHDR"), "its first chunk is no IHDR"),
        (png_without(b"IDAT"), "it holds no pixels"),
        (png_without(b"IEND"), "it ends too early"),
        (png(0, 9), "it has no size"),
        (b"\xff\xd8\xff\xd9", "it holds no pixels"),
        (b"\xff\xd8\xff\xda\0\2\xff\xd9", "its pixels come before its size"),
        (b"\xff\xd8\xff\xe0\0\2\x12\xff\xd9", "it holds no pixels"),
        (b"\xff\xd8\xff\xe0\0\2\x12\x12\x12", "it ends too early"),
        (b"RIFF\x04\0\0\0WEBP", "it holds no pixels"),
        (b"RIFF\x0c\0\0\0WEBPVP8 \xff\0\0\0", "it ends too early"),
        (b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(10), "it holds no pixels"),
        (b"GIF89a\1\0\1\0\0\0\0\x3b", "it holds no pixels"),
        (b"GIF89a\1\0\1\0\0\0\0\x99\x3b", "a block is of no known kind"),
    ],
)
def test_a_damaged_structure_is_refused_with_its_reason(data: bytes, why: str, tmp_path: Path) -> None:
    with pytest.raises(DamagedImage, match=why):
        inspect_file(written(tmp_path, data))


@pytest.mark.parametrize(
    "data",
    [
        pictures()["jpeg"][:2] + b"\xff\x01\xff\xff" + pictures()["jpeg"][2:],
        b"RIFF" + struct.pack("<I", len(pictures()["lossy webp"]) + 2) + b"WEBPNEWS\1\0\0\0x\0"
        + pictures()["lossy webp"][12:],
    ],
    ids=["a bare marker and filling bytes in a JPEG", "an unknown chunk of odd length in a WEBP"],
)  # fmt: skip
def test_a_rare_but_valid_structure_is_taken(data: bytes, tmp_path: Path) -> None:
    assert inspect_file(written(tmp_path, data)).width == 40


def webp_of(width: int, height: int) -> bytes:
    canvas = b"VP8X\x0a\0\0\0\0\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBP" + canvas + saved(painted(), "WEBP")[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg_of(width: int, height: int) -> bytes:
    data = bytearray(saved(painted(), "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def gif_of(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + saved(painted().convert("P"), "GIF")[10:]


def gif_reaching(width: int, height: int) -> bytes:
    picture = b"\x2c" + struct.pack("<HHHH", 0, 0, width, height) + b"\0\2\2\x4c\1\0"
    return b"GIF89a\1\0\1\0\0\0\0" + picture + b"\x3b"


@pytest.mark.parametrize(
    "bomb",
    [
        png(60_000, 60_000, honest=False),
        jpeg_of(60_000, 60_000),
        webp_of(16_000, 16_000),
        gif_of(60_000, 60_000),
        gif_reaching(60_000, 60_000),
    ],
    ids=["PNG", "JPEG", "WEBP", "GIF by its screen", "GIF by a frame beyond its screen"],
)
def test_an_image_bomb_is_refused_before_a_pixel_is_decoded(bomb: bytes, tmp_path: Path) -> None:
    path = written(tmp_path, bomb)

    def refused() -> None:
        with pytest.raises(TooManyPixels, match="more than 50000000"):
            inspect_file(path)

    assert peak_of(refused) < 1024 * 1024


def test_fifty_million_pixels_are_still_taken(tmp_path: Path) -> None:
    assert inspect_file(written(tmp_path, png(10_000, 5_000, honest=False))).width == 10_000
    with pytest.raises(TooManyPixels):
        inspect_file(written(tmp_path, png(10_001, 5_000, honest=False)))


@pytest.mark.parametrize("more", range(-2, 3))
def test_the_end_of_a_jpeg_is_found_where_two_pieces_of_the_file_meet(more: int, tmp_path: Path) -> None:
    whole = saved(painted(), "JPEG")
    start = whole.index(b"\xff\xda")
    coded = len(whole) - 2 - start - 2 - int.from_bytes(whole[start + 2 : start + 4], "big")
    filled = whole[:-2] + b"\x12" * (65536 + more - coded) + whole[-2:]
    assert inspect_file(written(tmp_path, filled)).width == 40
    with pytest.raises(DamagedImage):
        inspect_file(written(tmp_path, filled[:-1]))


def big_png() -> bytes:
    return png(2, 2, damage=zlib.compress(b"\0") + bytes(24 * 1024 * 1024))


def big_jpeg() -> bytes:
    whole = saved(painted(), "JPEG")
    return whole[:-2] + b"\x12\xff\x00" * (8 * 1024 * 1024) + whole[-2:]


def big_gif() -> bytes:
    return gif_of(9, 9)[:-2] + (b"\xff" + bytes(255)) * 98_304 + b"\0\x3b"


@pytest.mark.parametrize("make", [big_png, big_jpeg, big_gif], ids=["PNG", "JPEG", "GIF"])
def test_a_large_file_is_never_held_in_memory(make: object, tmp_path: Path) -> None:
    assert callable(make)
    path = written(tmp_path, make())
    assert peak_of(lambda: inspect_file(path)) < 1024 * 1024
