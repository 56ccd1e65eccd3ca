"""Tell the thing in the middle of a photo from what is behind it, well enough to show what a cut-out is.

No model of objects is at work: background is what has the colours of the photo's rim and is connected to it. A thing
that has the background's colours is lost, and one that touches the rim at the bottom is kept.
"""

from __future__ import annotations

from collections.abc import Iterator

from PIL import Image, ImageChops, ImageDraw, ImageFilter

_SIDE = 192
_SEEDS = 16
_TOLERANCE = 72
_LEAST = 0.08
_REACHED = (255, 0, 255)


def cut_out(image: Image.Image) -> Image.Image:
    """Make the background of a photo transparent.

    :param image: an RGB image.
    :return: the same picture as RGBA; the alpha channel is soft at the edges.
    """
    small = image.copy()
    small.thumbnail((_SIDE, _SIDE))
    mask = _foreground(small).resize(image.size, Image.Resampling.BICUBIC)
    result = image.convert("RGBA")
    result.putalpha(mask)
    return result


def _foreground(small: Image.Image) -> Image.Image:
    field = small.filter(ImageFilter.MedianFilter(5))
    for seed in _rim(field.size):
        if field.getpixel(seed) != _REACHED:
            ImageDraw.floodfill(field, seed, _REACHED, thresh=_TOLERANCE)
    red, green, blue = ImageChops.difference(field, Image.new("RGB", field.size, _REACHED)).split()
    apart = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    mask = apart.point([0, *[255] * 255]).filter(ImageFilter.MedianFilter(7)).filter(ImageFilter.GaussianBlur(1))
    kept = sum(mask.histogram()[128:]) / (mask.width * mask.height)
    # A photo without a background of its own shows at least what a cut-out looks like.
    return mask if _LEAST < kept < 1 - _LEAST else _oval(small.size)


def _rim(size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    right, bottom = size[0] - 1, size[1] - 1
    for part in range(_SEEDS + 1):
        yield right * part // _SEEDS, 0
        yield 0, bottom * part // _SEEDS
        yield right, bottom * part // _SEEDS


def _oval(size: tuple[int, int]) -> Image.Image:
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).ellipse((size[0] // 8, size[1] // 8, size[0] * 7 // 8, size[1] * 7 // 8), fill=255)
    return mask.filter(ImageFilter.GaussianBlur(2))
