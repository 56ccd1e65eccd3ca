"""Write a drawn picture as a file that a mail or a chat takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from PIL import Image

EXTENSION_OF: Final[Mapping[str, str]] = {"jpeg": "jpg", "png": "png", "webp": "webp"}
"""What a picture can be written as, and how its file's name ends."""
LARGEST_FILE: Final = 2 * 1000 * 1000
"""Bytes that the file should stay below."""
_OPTIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "jpeg": {"quality": 85, "optimize": True, "progressive": True},
    "png": {"optimize": True},
    "webp": {"quality": 85, "method": 4},
}
_SCALES: Final = (1.0, 0.85, 0.7, 0.6, 0.5)


def save_small(image: Image.Image, path: Path, form: str, *, largest: int = LARGEST_FILE) -> tuple[int, int]:
    """
    Write the picture below ``largest`` bytes: at its own size if that is small enough, else at half of it at least.

    :param form: ``jpeg``, ``png`` (of 256 colours) or ``webp``.
    :return: width and height of what was written, pixels.
    """
    from PIL import Image

    size = image.size
    for scale in _SCALES:
        size = (round(image.width * scale), round(image.height * scale))
        scaled = image if scale == 1 else image.resize(size, Image.Resampling.LANCZOS)
        # Photos make a PNG of all their colours four times as large as need be.
        scaled = scaled.quantize(256) if form == "png" else scaled
        scaled.save(path, form.upper(), **_OPTIONS[form])
        if path.stat().st_size <= largest:
            break
    return size
