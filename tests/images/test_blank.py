from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PIL import Image

from airflow_imagepipeline.images.inspection import DamagedImage, glanced, inspect_file
from tests.doubles.pictures import painted, pictures, png, saved, written

if TYPE_CHECKING:
    from pathlib import Path


def of_one_colour(mode: str, colour: object, form: str, size: tuple[int, int] = (64, 48)) -> bytes:
    return saved(Image.new(mode, size, colour), form)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", pictures())
def test_a_picture_is_not_blank(name: str, tmp_path: Path) -> None:
    assert not glanced(written(tmp_path, pictures()[name])).blank


@pytest.mark.parametrize(
    "data",
    [
        of_one_colour("RGB", (0, 0, 0), "PNG"),
        of_one_colour("RGB", (200, 30, 90), "PNG"),
        of_one_colour("RGBA", (0, 0, 0, 255), "PNG"),
        of_one_colour("L", 0, "PNG"),
        of_one_colour("1", 1, "PNG"),
        of_one_colour("P", 7, "PNG"),
        of_one_colour("I;16", 513, "PNG"),
        of_one_colour("RGB", (0, 0, 0), "JPEG"),
        of_one_colour("RGB", (17, 201, 88), "JPEG"),
        of_one_colour("RGB", (0, 0, 0), "WEBP"),
        of_one_colour("P", 0, "GIF"),
        of_one_colour("RGB", (0, 0, 0), "JPEG", (1, 1)),
        of_one_colour("RGB", (0, 0, 0), "JPEG", (4096, 4096)),
    ],
    ids=[
        "black", "red", "opaque black", "grey black", "one bit", "palette", "16 bit", "black JPEG", "green JPEG",
        "black WEBP", "black GIF", "a single pixel", "a large JPEG",
    ],
)  # fmt: skip
def test_one_colour_is_blank_in_every_format(data: bytes, tmp_path: Path) -> None:
    assert glanced(written(tmp_path, data)).blank


def test_a_shape_in_the_transparency_is_a_picture(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 30))
    image.putalpha(painted(mode="L"))
    assert not glanced(written(tmp_path, saved(image, "PNG"))).blank


def test_one_bright_spot_on_black_is_a_picture(tmp_path: Path) -> None:
    image = Image.new("RGB", (64, 64))
    image.putpixel((63, 63), (9, 9, 9))
    assert not glanced(written(tmp_path, saved(image, "PNG"))).blank


def test_an_image_too_large_to_be_decoded_cheaply_is_not_judged(tmp_path: Path) -> None:
    path = written(tmp_path, png(4097, 4096, honest=False))
    assert inspect_file(path).width == 4097
    assert not glanced(path).blank


@pytest.mark.parametrize(
    "data",
    [png(40, 30, honest=False), png(40, 30, damage=b"no zlib"), saved(painted(), "WEBP")[:20] + b"\0" * 40],
    ids=["fewer pixels than the head says", "pixels that are not compressed", "a WEBP of zeros"],
)
def test_what_cannot_be_decoded_is_damaged(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(DamagedImage, match="cannot be decoded"):
        glanced(written(tmp_path, data))
