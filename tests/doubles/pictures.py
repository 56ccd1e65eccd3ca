"""Small pictures of every format that is taken, made on the spot."""

from __future__ import annotations

import io
import struct
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

SIDE = (40, 30)


def painted(size: tuple[int, int] = SIDE, mode: str = "RGB") -> Image.Image:
    """Paint something that is not of one colour."""
    image = Image.radial_gradient("L").resize(size)
    return Image.merge("RGB", (image, image.rotate(90), image.transpose(Image.Transpose.ROTATE_180))).convert(mode)


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    """Return an image as the bytes of a file."""
    target = io.BytesIO()
    image.save(target, form, **options)
    return target.getvalue()


@lru_cache
def pictures() -> dict[str, bytes]:
    """Return one file a kind of encoding, by a name for the test's report."""
    thumbnail = saved(painted((8, 6)), "JPEG")
    frames = [painted().rotate(angle).convert("P") for angle in (0, 45, 90)]
    exif = Image.Exif()
    exif[0x010E] = "\xff\xd9 a comment that holds the end mark of a JPEG"
    return {
        "png": saved(painted(), "PNG"),
        "png with alpha": saved(painted(mode="RGBA"), "PNG"),
        "png of many chunks": png(40, 30, pieces=7),
        "jpeg": saved(painted(), "JPEG"),
        "progressive jpeg": saved(painted((120, 90)), "JPEG", progressive=True, quality=95),
        "jpeg with restart marks": saved(painted((120, 90)), "JPEG", restart_marker_blocks=2),
        "jpeg with a whole jpeg in a segment": saved(painted(), "JPEG", exif=exif, comment=thumbnail),
        "lossy webp": saved(painted(), "WEBP"),
        "lossless webp": saved(painted(), "WEBP", lossless=True),
        "webp with alpha and metadata": saved(painted(mode="RGBA"), "WEBP", exif=exif),
        "animated webp": saved(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        "gif": saved(frames[0], "GIF"),
        "animated gif": saved(frames[0], "GIF", save_all=True, append_images=frames[1:], comment=b"; not the end"),
    }


def picture(number: int = 0) -> bytes:
    """Return a PNG; each number gives other bytes."""
    return png(40 + number, 30)


def png(width: int, height: int, *, pieces: int = 1, honest: bool = True, damage: bytes = b"") -> bytes:
    """Build a PNG by hand.

    :param pieces: how many chunks the pixels are cut into.
    :param honest: whether there are as many pixels as the head says, or nearly none.
    :param damage: what to put in place of the compressed pixels.
    """
    rows = b"".join(b"\0" + bytes((x * y + x) % 256 for x in range(width)) for y in range(height)) if honest else b"\0"
    pixels = damage or zlib.compress(rows)
    cut = -(-len(pixels) // pieces)
    idat = [_chunk(b"IDAT", pixels[start : start + cut]) for start in range(0, len(pixels), cut)]
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"".join((b"\x89PNG\r\n\x1a\n", head, *idat, _chunk(b"IEND", b"")))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def written(folder: Path, data: bytes, name: str = "file") -> Path:
    """Write bytes into a file and return its path."""
    path = folder / name
    path.write_bytes(data)
    return path
