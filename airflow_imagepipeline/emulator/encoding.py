"""Turn pictures into files of the formats that the API gives."""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from .provenance import sign_jpeg, sign_png, sign_webp

if TYPE_CHECKING:
    from .order import EditOrder

_CANNED_SIZE = (64, 64)


@dataclass(frozen=True)
class FileFormat:
    """One format of result files.

    :param name: as Pillow calls it.
    :param media_type: as HTTP calls it.
    :param suffix: of a file name, without the dot.
    :param options: for Pillow's encoder; they are fixed, so that the same picture gives the same bytes.
    """

    name: str
    media_type: str
    suffix: str
    options: dict[str, Any]


FORMATS = {
    "png": FileFormat("PNG", "image/png", "png", {"compress_level": 4}),
    "jpeg": FileFormat("JPEG", "image/jpeg", "jpg", {"quality": 90}),
    "webp": FileFormat("WEBP", "image/webp", "webp", {"quality": 90, "method": 3}),
}


def encode(image: Image.Image, output_format: str, *, is_signed: bool) -> bytes:
    """Make a file of a picture.

    :param image: an RGB image, or RGBA; what is transparent becomes white in a format that knows no transparency.
    :param output_format: a name of :data:`FORMATS`.
    :param is_signed: True writes a note of provenance into the file.
    :return: the file's bytes.
    """
    if image.mode == "RGBA" and output_format == "jpeg":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    target = io.BytesIO()
    image.save(target, FORMATS[output_format].name, **FORMATS[output_format].options)
    raw = target.getvalue()
    if not is_signed:
        return raw
    if output_format == "webp":
        return sign_webp(raw, image.size)
    return sign_png(raw) if output_format == "png" else sign_jpeg(raw)


def canned_files(order: EditOrder) -> tuple[bytes, ...]:
    """Give ready-made files instead of making any: 64 x 64 pixels, whatever was ordered.

    :param order: only its format and its number of files matter.
    :return: the same file for each sample.
    """
    return (_canned(order.output_format, order.is_signed),) * order.files


@functools.cache
def _canned(output_format: str, is_signed: bool) -> bytes:  # noqa: FBT001 - the key of a cache
    across, down = (Image.linear_gradient("L").resize(_CANNED_SIZE) for _ in range(2))
    image = Image.merge("RGB", (across, down.transpose(Image.Transpose.ROTATE_90), Image.new("L", _CANNED_SIZE, 128)))
    return encode(image, output_format, is_signed=is_signed)
