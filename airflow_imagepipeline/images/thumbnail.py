"""A picture as small as a frame wants it, decoded with bounded memory whatever the file says of itself."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final

from airflow_imagepipeline.images.inspection import (
    FORMAT_OF_EXTENSION,
    DamagedImage,
    TooManyPixels,
    inspect_file,
)

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
    try:
        with warnings.catch_warnings():
            # Our own limits are smaller than those of Pillow's warnings, and a remark on metadata is no damage.
            warnings.simplefilter("ignore")
            return _decoded(path, size, paper)
    except TooManyPixels:
        raise
    except Exception as exc:  # on foreign bytes a decoder fails in any way it likes
        msg = f"a file that cannot be decoded ({type(exc).__name__})"
        raise DamagedImage(msg) from exc


def _decoded(path: Path, size: tuple[int, int], paper: str) -> Image.Image:
    from PIL import Image, ImageOps

    frame = (max(size), max(size))  # the metadata may turn it by a quarter
    with Image.open(path, formats=list(FORMAT_OF_EXTENSION.values())) as image:
        if not image.info.get("progressive"):
            image.draft("RGB", (frame[0] * _ENOUGH, frame[1] * _ENOUGH))
        if image.width * image.height > MOST_DECODED:
            msg = f"{image.width}x{image.height} pixels, more than are decoded for a thumbnail"
            raise TooManyPixels(msg)
        step = min(image.width // (frame[0] * _ENOUGH), image.height // (frame[1] * _ENOUGH))
        small = image.reduce(step) if step > 1 and image.mode in _REDUCED else image
        upright = _flat(ImageOps.exif_transpose(small), paper)
    upright.thumbnail(size, Image.Resampling.LANCZOS)
    return upright


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
