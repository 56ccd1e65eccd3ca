"""Decode a picture once, whole and within bounds, into a small copy that everything else is measured on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from airflow_imagepipeline.images.inspection import ImageFacts, TooManyPixels, decoded, inspect_file, orientation
from airflow_imagepipeline.images.likeness import Miniature
from airflow_imagepipeline.images.thumbnail import plain, turned

if TYPE_CHECKING:
    from PIL import Image

MOST_DECODED: Final = 2**24
"""Pixels of one image at most: it is decoded whole, since only that proves it whole."""
_SEEN_SIDE: Final = 512
_SHARP_SIDE: Final = 256
_FAINT: Final = 0.5
"""Added to the coarser detail: the steps between two of 256 values are no detail."""
_ON_THEIR_SIDE: Final = range(5, 9)


@dataclass(frozen=True, eq=False)
class Seen:
    """
    A picture that was decoded whole.

    :param width: pixels as it is shown, turned by its EXIF note if it has one; so is ``height``.
    :param copy: at most 512 pixels a side, RGB, on white where it is transparent.
    :param spread: standard deviation (0-255) of the band that strays most, alpha included.
    """

    format: str
    width: int
    height: int
    copy: Image.Image
    spread: float

    @cached_property
    def miniature(self) -> Miniature:
        """What is compared with other pictures."""
        return Miniature.of(self.copy)

    @cached_property
    def sharpness(self) -> float:
        """The finest detail through the next coarser one, at 256 pixels a side: 0 for none, photos have 0.6 to 2."""
        from PIL import Image, ImageChops, ImageFilter, ImageStat

        light = self.copy.convert("L")
        light.thumbnail((_SHARP_SIDE, _SHARP_SIDE), Image.Resampling.BOX)
        soft, softer = (light.filter(ImageFilter.GaussianBlur(radius)) for radius in (1, 2))
        pairs = (light, soft), (soft, softer)
        fine, coarse = (ImageStat.Stat(ImageChops.difference(*pair)).rms[0] for pair in pairs)
        return float(fine / (coarse + _FAINT))


def seen(path: Path) -> Seen:
    """
    Decode a file once, whole (of an animation, the first frame), and keep what can be measured on it.

    :raises NotAnImage: when it is no image of a known format.
    :raises DamagedImage: when it is not whole.
    :raises TooManyPixels: when it has more than this provider takes, or than :data:`MOST_DECODED`.
    """
    facts = inspect_file(path)
    if facts.width * facts.height > MOST_DECODED:
        msg = f"{facts.width}x{facts.height} pixels, more than the {MOST_DECODED} that can be checked"
        raise TooManyPixels(msg)
    return decoded(path, lambda image: _kept(facts, image))[0]


def _kept(facts: ImageFacts, image: Image.Image) -> Seen:
    from PIL import Image, ImageStat

    # A JPEG can be decoded at a smaller scale, and is read to its end all the same.
    image.draft(None, (_SEEN_SIDE, _SEEN_SIDE))
    # Before anything else is done, so that what follows cannot hide that there is no more.
    image.load()
    way, _ = orientation(image)
    upright = turned(_smaller(plain(image)), way)
    width, height = (facts.height, facts.width) if way in _ON_THEIR_SIDE else (facts.width, facts.height)
    alpha = upright.getchannel("A") if upright.mode == "RGBA" else None
    copy = Image.new("RGB", upright.size, "white")
    copy.paste(upright.convert("RGB"), mask=alpha)
    spread = max(ImageStat.Stat(copy).stddev + (ImageStat.Stat(alpha).stddev if alpha else []))
    return Seen(facts.format, width, height, copy, spread)


def _smaller(image: Image.Image) -> Image.Image:
    from PIL import Image

    if max(image.size) <= _SEEN_SIDE:
        return image
    small = image.copy() if image.width * image.height < _SEEN_SIDE**2 else image
    small.thumbnail((_SEEN_SIDE, _SEEN_SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return small
