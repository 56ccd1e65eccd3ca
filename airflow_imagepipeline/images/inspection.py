"""
What a file of bytes is: its first bytes decide, never its name or label, and the image must be whole.

What follows the image in its file, and notes on it that cannot be read, are counted and named: they are no damage.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, TypeVar

from airflow_imagepipeline.contract.text import cleaned
from airflow_imagepipeline.images.structure import Damaged, gif_size, jpeg_size, png_size, webp_size

if TYPE_CHECKING:
    from PIL import Image

T = TypeVar("T")

MOST_PIXELS: Final = 50_000_000
"""Pixels of one image at most, known before any of them is decoded."""
_MOST_DECODED: Final = 3_000_000
_MOST_DRAFTED: Final = 2**24
"""Above these an image is not decoded: what it would take is more than one result may."""
_ONE_COLOUR: Final = 2
_HEAD: Final = 16
_ORIENTATION: Final = 0x0112


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
    :param trailing_bytes: that follow the end of the image: padding, a second picture, a video.
    """

    format: str
    extension: str
    content_type: str
    width: int
    height: int
    trailing_bytes: int = 0


@dataclass(frozen=True)
class Glance:
    """
    What a first look at an image's pixels found.

    :param blank: whether it is of one colour, as far as its first frame goes.
    :param unread: why notes on the pixels (text, profile, EXIF) cannot be read; empty where nothing is wrong.
    """

    blank: bool
    unread: str = ""


@dataclass(frozen=True)
class _Format:
    name: str
    extension: str
    is_start: Callable[[bytes], bool]
    size_of: Callable[[BinaryIO, BinaryIO | None], tuple[int, int]]


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
    :raises DamagedImage: when it is cut short, or has a damaged head.
    :raises TooManyPixels: when it has more than :data:`MOST_PIXELS`.
    """
    with path.open("rb") as file:
        whole = path.stat().st_size
        known = _format_of(file)
        if known is None:
            msg = f"{whole} bytes that are no PNG, JPEG, WEBP or GIF"
            raise NotAnImage(msg)
        try:
            width, height = known.size_of(file, None)
        except Damaged as exc:
            msg = f"a {known.name} file that is damaged: {exc} ({whole} bytes)"
            raise DamagedImage(msg) from exc
        trailing = whole - file.tell()
    if not width * height:
        msg = f"a {known.name} file that is damaged: it has no size"
        raise DamagedImage(msg)
    if width * height > MOST_PIXELS:
        msg = f"{width}x{height} pixels, more than {MOST_PIXELS}"
        raise TooManyPixels(msg)
    return ImageFacts(known.name, known.extension, f"image/{known.name.lower()}", width, height, trailing)


def _format_of(file: BinaryIO) -> _Format | None:
    head = file.read(_HEAD)
    file.seek(0)
    return next((candidate for candidate in _FORMATS if candidate.is_start(head)), None)


def glanced(path: Path) -> Glance:
    """
    Look at the pixels of an inspected image: an image that passed the inspection and cannot be decoded is found here.

    Images of more than 2**24 pixels are not decoded and count as not blank, except JPEGs, which can be decoded at a
    smaller scale.

    :raises DamagedImage: when it cannot be decoded.
    """
    (blank, unread), unopened = decoded(path, _glanced)
    return Glance(blank, unopened or unread)


def _glanced(image: Image.Image) -> tuple[bool, str]:
    if image.width * image.height > _MOST_DRAFTED:
        return False, ""
    # A quarter of the sides is plenty for one colour, and only JPEG does it.
    image.draft(None, (max(1, image.width // 4), max(1, image.height // 4)))
    if image.width * image.height > _MOST_DECODED:
        return False, ""
    plain = image.convert("RGB") if image.mode == "P" else image
    extrema = plain.getextrema()
    bands = extrema if isinstance(extrema[0], tuple) else (extrema,)
    return all(band[1] - band[0] <= _ONE_COLOUR for band in bands), orientation(image)[1]


def decoded(path: Path, use: Callable[[Image.Image], T]) -> tuple[T, str]:
    """
    Open an inspected image, and return what is made of it, and why notes on its pixels were left out; empty for none.

    An image is judged by its pixels: one that cannot be used as it is, is tried once more without what only describes
    them. That a text or a profile is broken, or larger than a decoder likes, says nothing of the picture.

    :param use: is given the opened image, whose pixels are not loaded yet.
    :raises DamagedImage: when it cannot be decoded either way.
    :raises TooManyPixels: as ``use`` does.
    """
    try:
        with path.open("rb") as file:
            return _used(file, use), ""
    except TooManyPixels:
        raise
    except Exception as exc:  # noqa: BLE001 - on foreign bytes a decoder fails in any way it likes
        why = _why(exc)
    try:
        with path.open("rb") as file, tempfile.TemporaryFile() as copy:
            known = _format_of(file)
            if known is not None:
                known.size_of(file, copy)
            copy.seek(0)
            return _used(copy, use), why
    except TooManyPixels:
        raise
    except Exception as exc:  # the same
        msg = f"a file that cannot be decoded ({why})"
        raise DamagedImage(msg) from exc


def _used(file: BinaryIO, use: Callable[[Image.Image], T]) -> T:
    from PIL import Image

    with warnings.catch_warnings():
        # Our own limits are smaller than those of Pillow's warnings, and a remark on metadata is no damage.
        warnings.simplefilter("ignore")
        with Image.open(file, formats=list(FORMAT_OF_EXTENSION.values())) as image:
            return use(image)


def orientation(image: Image.Image) -> tuple[int, str]:
    """
    Return how an image is turned, 1 (upright) to 8 as EXIF numbers it, and why that cannot be read; empty when it can.

    A PNG is decoded for that, as its EXIF may stand behind the pixels.
    """
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except Exception as exc:  # noqa: BLE001 - on foreign bytes a parser fails in any way it likes
        return 1, _why(exc)
    return (found, "") if found in range(1, 9) else (1, "")


def _why(error: Exception) -> str:
    name = type(error).__name__
    # Pillow's words for what it does not know hold the path of the file.
    return name if name == "UnidentifiedImageError" or not str(error) else cleaned(f"{name}: {error}", 120)
