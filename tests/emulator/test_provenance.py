"""The note of provenance in result files: where each format keeps it, and that the files stay whole."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from airflow_imagepipeline.emulator.encoding import encode

from .api import Dialect, only_edit, only_sdxl, picture

if TYPE_CHECKING:
    from airflow_imagepipeline.emulator import Emulator

_SIZES = [(1, 1), (33, 20), (301, 7)]


def _file(output_format: str, size: tuple[int, int], *, is_signed: bool = True) -> bytes:
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    return encode(image, output_format, is_signed=is_signed)


def _riff(raw: bytes) -> list[tuple[bytes, bytes]]:
    assert (raw[:4], raw[8:12], int.from_bytes(raw[4:8], "little")) == (b"RIFF", b"WEBP", len(raw) - 8)
    chunks, place = [], 12
    while place < len(raw):
        length = int.from_bytes(raw[place + 4 : place + 8], "little")
        chunks.append((raw[place : place + 4], raw[place + 8 : place + 8 + length]))
        place += 8 + length + length % 2
    assert place == len(raw)
    return chunks


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("size", _SIZES)
def test_a_signed_file_shows_the_same_picture_and_has_the_same_bytes_again(
    output_format: str, size: tuple[int, int]
) -> None:
    signed, plain = _file(output_format, size), _file(output_format, size, is_signed=False)
    assert picture(signed).tobytes() == picture(plain).tobytes()
    assert picture(signed).size == size
    assert signed == _file(output_format, size)
    assert (b"c2pa\0" in signed, b"c2pa\0" in plain) == (True, False)


def test_a_png_has_its_chunk_behind_the_head() -> None:
    raw = _file("png", (33, 20))
    length = int.from_bytes(raw[33:37], "big")
    assert raw[37:41] == b"caBX"
    assert int.from_bytes(raw[41:45], "big") == length
    assert int.from_bytes(raw[41 + length : 45 + length], "big") == zlib.crc32(raw[37 : 41 + length])


def test_a_jpeg_has_its_segment_behind_the_head() -> None:
    raw = _file("jpeg", (33, 20))
    place = 4 + int.from_bytes(raw[4:6], "big")
    length = int.from_bytes(raw[place + 2 : place + 4], "big")
    assert raw[place : place + 2] == b"\xff\xeb"
    assert raw[place + 4 : place + 6] == b"JP"
    assert int.from_bytes(raw[place + 12 : place + 16], "big") == length - 10
    assert raw[place + 2 + length] == 0xFF


@pytest.mark.parametrize("size", _SIZES)
def test_a_webp_is_an_extended_file_with_its_chunk_at_the_end(size: tuple[int, int]) -> None:
    (first, head), *_, (last, store) = _riff(_file("webp", size))
    assert (first, last, store[4:8]) == (b"VP8X", b"C2PA", b"jumb")
    assert tuple(1 + int.from_bytes(head[place : place + 3], "little") for place in (4, 7)) == size


@only_edit
@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_results_of_the_edit_endpoint_are_signed(
    shared: Emulator, api: Dialect, body: dict[str, Any], output_format: str
) -> None:
    (raw,) = api.edited(shared, {**body, "output_format": output_format})
    assert b"c2pa\0" in raw
    assert picture(raw).size == (120, 80)


@only_sdxl
def test_results_of_sdxl_are_not_signed(shared: Emulator, api: Dialect, body: dict[str, Any]) -> None:
    (raw,) = api.edited(shared, body)
    assert b"c2pa\0" not in raw
