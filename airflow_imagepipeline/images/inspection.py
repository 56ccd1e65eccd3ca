"""What a file of bytes is: its first bytes decide, never its name or label, and its structure must be whole."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from airflow_imagepipeline.images.structure import Damaged, gif_size, jpeg_size, png_size, webp_size

MOST_PIXELS: Final = 50_000_000
"""Pixels of one image at most, known before any of them is decoded."""
_MOST_DECODED: Final = 3_000_000
_MOST_DRAFTED: Final = 2**24
"""Above these an image is not decoded: what it would take is more than one result may."""
_ONE_COLOUR: Final = 2
_HEAD: Final = 16


class NotAnImage(ValueError):
    """The bytes are no image of a known format."""


class DamagedImage(NotAnImage):
    """The bytes begin as an image of a known format, and are not a whole one."""


class TooManyPixels(NotAnImage):
    """The image is larger than this provider takes."""


@dataclass(frozen=True)
class ImageFacts:
    """
    What a file is.

    :param format: ``PNG``, ``JPEG``, ``WEBP`` or ``GIF``.
    :param extension: of a file name, without the dot.
    :param width: pixels.
    :param height: pixels.
    """

    format: str
    extension: str
    content_type: str
    width: int
    height: int


@dataclass(frozen=True)
class _Format:
    name: str
    extension: str
    is_start: Callable[[bytes], bool]
    size_of: Callable[[BinaryIO], tuple[int, int]]


_FORMATS: Final = (
    _Format("PNG", "png", lambda head: head.startswith(b"\x89PNG\r\n\x1a\n"), png_size),
    _Format("JPEG", "jpg", lambda head: head.startswith(b"\xff\xd8\xff"), jpeg_size),
    _Format("WEBP", "webp", lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP", webp_size),
    _Format("GIF", "gif", lambda head: head[:6] in {b"GIF87a", b"GIF89a"}, gif_size),
)

FORMAT_OF_EXTENSION: Final[Mapping[str, str]] = {known.extension: known.name for known in _FORMATS}
"""The extensions that stored images have, and the format that each stands for."""


def inspect_file(path: Path) -> ImageFacts:
    """
    Return what the file is, without decoding a pixel.

    :raises NotAnImage: when it is no image of a known format.
    :raises DamagedImage: when it is cut short, has a damaged head, or is followed by other bytes.
    :raises TooManyPixels: when it has more than :data:`MOST_PIXELS`.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
        known = next((candidate for candidate in _FORMATS if candidate.is_start(head)), None)
        if known is None:
            msg = f"{path.stat().st_size} bytes that are no PNG, JPEG, WEBP or GIF"
            raise NotAnImage(msg)
        file.seek(0)
        try:
            width, height = known.size_of(file)
        except Damaged as exc:
            msg = f"a {known.name} file that is damaged: {exc} ({path.stat().st_size} bytes)"
            raise DamagedImage(msg) from exc
    if not width * height:
        msg = f"a {known.name} file that is damaged: it has no size"
        raise DamagedImage(msg)
    if width * height > MOST_PIXELS:
        msg = f"{width}x{height} pixels, more than {MOST_PIXELS}"
        raise TooManyPixels(msg)
    return ImageFacts(known.name, known.extension, f"image/{known.name.lower()}", width, height)


def is_blank(path: Path) -> bool:
    """
    Tell whether an inspected image is of one colour, as far as its first frame goes.

    It is decoded for that: an image that passed the inspection and cannot be decoded is found here. Images of more than
    2**24 pixels are not decoded and count as not blank, except JPEGs, which can be decoded at a smaller scale.

    :raises DamagedImage: when it cannot be decoded.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            # Our own limit is smaller than that of Pillow's warnings, and a remark on metadata is no damage.
            warnings.simplefilter("ignore")
            with Image.open(path, formats=list(FORMAT_OF_EXTENSION.values())) as image:
                if image.width * image.height > _MOST_DRAFTED:
                    return False
                # A quarter of the sides is plenty for one colour, and only JPEG does it.
                image.draft(None, (max(1, image.width // 4), max(1, image.height // 4)))
                if image.width * image.height > _MOST_DECODED:
                    return False
                plain = image.convert("RGB") if image.mode == "P" else image
                extrema = plain.getextrema()
    except Exception as exc:  # on foreign bytes a decoder fails in any way it likes
        msg = f"a file that cannot be decoded ({type(exc).__name__})"
        raise DamagedImage(msg) from exc
    bands = extrema if isinstance(extrema[0], tuple) else (extrema,)
    return all(band[1] - band[0] <= _ONE_COLOUR for band in bands)
