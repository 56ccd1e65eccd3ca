"""What a file of bytes is: its first bytes decide, never its name or label. No pixel is decoded here."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

MOST_PIXELS: Final = 50_000_000
_HEAD: Final = 16
_TAIL: Final = 12


class NotAnImage(ValueError):
    """The bytes are no whole image of a known format."""


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
    is_whole: Callable[[bytes, bytes, int], bool]


def _riff_is_whole(head: bytes, _tail: bytes, size: int) -> bool:
    # The length counts from behind itself; an odd length is padded by a byte.
    length = int.from_bytes(head[4:8], "little")
    return size == 8 + length + length % 2


_FORMATS: Final = (
    _Format(
        "PNG",
        "png",
        lambda head: head.startswith(b"\x89PNG\r\n\x1a\n"),
        lambda _h, tail, _s: tail.endswith(b"IEND\xaeB`\x82"),
    ),
    _Format(
        "JPEG", "jpg", lambda head: head.startswith(b"\xff\xd8\xff"), lambda _h, tail, _s: tail.endswith(b"\xff\xd9")
    ),
    _Format("WEBP", "webp", lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP", _riff_is_whole),
    _Format("GIF", "gif", lambda head: head[:6] in {b"GIF87a", b"GIF89a"}, lambda _h, tail, _s: tail.endswith(b"\x3b")),
)


def inspect_file(path: Path) -> ImageFacts:
    """
    Return what the file is.

    :raises NotAnImage: when it is no image of a known format, cut short, followed by other bytes, or too large.
    """
    with path.open("rb") as file:
        head, size = file.read(_HEAD), path.stat().st_size
        file.seek(max(0, size - _TAIL))
        tail = file.read()
        known = next((candidate for candidate in _FORMATS if candidate.is_start(head)), None)
        if known is None:
            msg = f"{size} bytes that are no PNG, JPEG, WEBP or GIF"
            raise NotAnImage(msg)
        if not known.is_whole(head, tail, size):
            msg = f"a {known.name} file that was cut short, or has bytes behind its end ({size} bytes)"
            raise NotAnImage(msg)
        width, height = _size(file, known.name)
    return ImageFacts(known.name, known.extension, f"image/{known.name.lower()}", width, height)


def _size(file: BinaryIO, name: str) -> tuple[int, int]:
    from PIL import Image, UnidentifiedImageError

    try:
        file.seek(0)
        with warnings.catch_warnings():
            # Our own limit is smaller than that of Pillow's warning.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file, formats=[name]) as image:
                width, height = image.size
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError) as exc:
        msg = f"a {name} file with a damaged header ({type(exc).__name__})"
        raise NotAnImage(msg) from exc
    if width * height > MOST_PIXELS:
        msg = f"{width}x{height} pixels, more than {MOST_PIXELS}"
        raise NotAnImage(msg)
    return width, height
