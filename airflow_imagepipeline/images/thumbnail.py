"""A picture as small as a frame wants it, decoded with bounded memory whatever the file says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from airflow_imagepipeline.images.inspection import TooManyPixels, decoded, inspect_file, orientation

if TYPE_CHECKING:
    from PIL import Image

MOST_DECODED: Final = 2**24
"""Pixels that are decoded at most; a JPEG of more is decoded at a smaller scale, unless it is progressive."""
_ENOUGH: Final = 2
"""Twice the wanted size is reduced well; four times that would only cost memory."""
_REDUCED: Final = frozenset({"L", "RGB", "RGBA", "CMYK"})


def thumbnail(path: Path, size: tuple[int, int], paper: str) -> Image.Image:
    """
    Return the picture, upright and whole within ``size``, never enlarged.

    :param size: width and height of the frame, pixels.
    :param paper: colour behind what is transparent.
    :raises NotAnImage: when it is no whole image of a known format.
    :raises TooManyPixels: when decoding it would take too much memory.
    """
    inspect_file(path)
    return decoded(path, lambda image: _small(image, size, paper))[0]


def _small(image: Image.Image, size: tuple[int, int], paper: str) -> Image.Image:
    from PIL import Image

    frame = (max(size), max(size))  # the metadata may turn it by a quarter
    if not image.info.get("progressive"):
        image.draft("RGB", (frame[0] * _ENOUGH, frame[1] * _ENOUGH))
    if image.width * image.height > MOST_DECODED:
        msg = f"{image.width}x{image.height} pixels, more than are decoded for a thumbnail"
        raise TooManyPixels(msg)
    step = min(image.width // (frame[0] * _ENOUGH), image.height // (frame[1] * _ENOUGH))
    small = image.reduce(step) if step > 1 and image.mode in _REDUCED else image
    upright = _flat(turned(small, orientation(image)[0]), paper)
    upright.thumbnail(size, Image.Resampling.LANCZOS)
    return upright


def turned(image: Image.Image, way: int) -> Image.Image:
    """
    Return an image as it is to be seen.

    :param way: how it is turned, see :func:`orientation`.
    """
    from PIL.Image import Transpose

    # https://exiftool.org/TagNames/EXIF.html, Orientation
    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(turns[way]) if way in turns else image


def plain(image: Image.Image) -> Image.Image:
    """Return the pixels as something that can be made smaller: not a palette, not 16 bits."""
    if image.mode.startswith("I"):
        return image.point(lambda value: value * (1 / 256)).convert("L")
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode in {"L", "RGB"} else image.convert("RGB")


def _flat(image: Image.Image, paper: str) -> Image.Image:
    from PIL import Image

    clear = plain(image)
    if clear.mode != "RGBA":
        return clear.convert("RGB")
    ground = Image.new("RGB", clear.size, paper)
    ground.paste(clear, mask=clear.getchannel("A"))
    return ground
