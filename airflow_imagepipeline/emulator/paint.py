"""The strokes that techniques are made of: tone, lines, grain, light.

Pillow only, and no randomness but the caller's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageChops, ImageFilter, ImageOps

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from .styles import Palette

Size = tuple[int, int]


def smooth(image: Image.Image, detail: float, *, passes: int = 2) -> Image.Image:
    """Melt an image into patches of one colour, as a broad brush would.

    The work is done on a small copy: patches need no resolution, and time stays independent of the image's size.

    :param image: an RGB image.
    :param detail: 0 (few, large patches) to 1 (many, small ones).
    :param passes: how often to melt.
    :return: a new image of the same size.
    """
    scale = min((250 + 380 * detail) / max(image.size), 0.5 + 0.5 * detail)
    small = image.resize(
        (max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.BOX
    )
    for _ in range(passes):
        small = small.filter(ImageFilter.MedianFilter(5))
    return small.resize(image.size, Image.Resampling.BICUBIC)


def gray(image: Image.Image) -> Image.Image:
    """Reduce an image to its light and stretch it over the whole range.

    :param image: an RGB image.
    :return: an ``L`` image.
    """
    return ImageOps.autocontrast(image.convert("L"), cutoff=1)


def tone(light: Image.Image, palette: Palette) -> Image.Image:
    """Colour light by a palette: black becomes its first colour, white its last.

    :param light: an ``L`` image.
    :param palette: at least two colours.
    :return: an RGB image.
    """
    steps = len(palette) - 1

    def curve(channel: int) -> list[int]:
        values = []
        for level in range(256):
            place = level / 255 * steps
            low = min(int(place), steps - 1)
            start, end = palette[low][channel], palette[low + 1][channel]
            values.append(round(start + (end - start) * (place - low)))
        return values

    return Image.merge("RGB", [light.point(curve(channel)) for channel in range(3)])


def levels(light: Image.Image, count: int, *, softness: float = 0.18) -> Image.Image:
    """Flatten light into a few steps with short slopes between them, so that edges are not jagged.

    :param light: an ``L`` image.
    :param count: number of steps, at least 2.
    :param softness: width of a slope as a part of a step, more than 0, up to 1.
    :return: an ``L`` image.
    """

    def flatten(level: int) -> int:
        place = level / 255 * count
        step = min(int(place), count - 1)
        slope = min(1.0, max(0.0, (place - step - (1 - softness)) / softness))
        return round(255 * min(count - 1, step + slope) / (count - 1))

    return light.point([flatten(level) for level in range(256)])


def lines(image: Image.Image, width: float, *, gain: float = 9.0) -> Image.Image:
    """Draw an image's contours: black lines on white, by the difference of two blurs.

    :param image: any image.
    :param width: the width of a line in pixels.
    :param gain: how readily a contour becomes a line.
    :return: an ``L`` image.
    """
    light = gray(image)
    near = light.filter(ImageFilter.GaussianBlur(width * 0.6))
    far = light.filter(ImageFilter.GaussianBlur(width * 1.8))
    return ImageChops.subtract(far, near).point([round(255 - min(235, max(0, (v - 3) * gain))) for v in range(256)])


def clouds(size: Size, noise: random.Random, *, cells: int = 5) -> Image.Image:
    """Make a soft random pattern, the same for the same random state.

    :param size: pixels.
    :param noise: where the randomness comes from.
    :param cells: how many patches from side to side.
    :return: an ``L`` image over the whole range.
    """
    seedling = Image.frombytes("L", (cells, cells), noise.randbytes(cells * cells))
    return ImageOps.autocontrast(seedling.resize(size, Image.Resampling.BICUBIC))


def strokes(size: Size, noise: random.Random, *, length: int, thickness: int) -> Image.Image:
    """Make a pattern of strokes that lie slightly aslant.

    :param size: pixels.
    :param noise: where the randomness comes from.
    :param length: pixels.
    :param thickness: pixels.
    :return: an ``L`` image over the whole range.
    """
    columns, rows = max(2, 2 * size[0] // length), max(2, 2 * size[1] // thickness)
    streaks = Image.frombytes("L", (columns, rows), noise.randbytes(columns * rows))
    wide = streaks.resize((size[0] * 2, size[1] * 2), Image.Resampling.BICUBIC)
    slope = noise.uniform(0.25, 0.45)
    aslant = wide.transform(
        size, Image.Transform.AFFINE, (1, 0, 0, slope, 1, size[1] * 0.25), Image.Resampling.BILINEAR
    )
    return ImageOps.autocontrast(aslant, cutoff=1)


def grain(image: Image.Image, noise: random.Random, *, depth: float) -> Image.Image:
    """Lay an image on paper.

    :param image: an RGB image.
    :param noise: where the randomness comes from.
    :param depth: 0 (smooth) to about 0.3 (coarse paper).
    :return: a new image.
    """
    tile = Image.frombytes("L", (192, 192), noise.randbytes(192 * 192)).filter(ImageFilter.GaussianBlur(0.9))
    relief = ImageOps.autocontrast(tile.filter(ImageFilter.EMBOSS), cutoff=0.5)
    paper = Image.new("L", image.size)
    for left in range(0, image.width, tile.width):
        for top in range(0, image.height, tile.height):
            paper.paste(relief, (left, top))
    weak = paper.point([round(128 + (v - 128) * depth) for v in range(256)])
    return ImageChops.overlay(image, Image.merge("RGB", (weak, weak, weak)))


def vignette(image: Image.Image, noise: random.Random, *, depth: float) -> Image.Image:
    """Darken the corners; the light's centre is where the randomness puts it.

    :param image: an RGB image.
    :param noise: where the randomness comes from.
    :param depth: 0 (none) to 1 (black corners).
    :return: a new image.
    """
    left, top = noise.uniform(40, 88), noise.uniform(40, 88)
    disc = Image.radial_gradient("L").resize(
        image.size, Image.Resampling.BICUBIC, (left - 40, top - 40, left + 168, top + 168)
    )
    shade = disc.point([round(255 * (1 - depth * (v / 255) ** 2)) for v in range(256)])
    return ImageChops.multiply(image, Image.merge("RGB", (shade, shade, shade)))


def glow(image: Image.Image, radius: float) -> Image.Image:
    """Let bright parts shine over their surroundings.

    :param image: an RGB image.
    :param radius: how far, in pixels.
    :return: a new image.
    """
    return ImageChops.screen(image, image.filter(ImageFilter.GaussianBlur(radius)))


def lamps(image: Image.Image, noise: random.Random) -> Image.Image:
    """Light an image from a few sides, so that large parts of it become brighter and darker.

    :param image: an RGB image.
    :param noise: where the randomness comes from.
    :return: a new image.
    """
    light = clouds(image.size, noise, cells=3).point([round(25 + 205 * v / 255) for v in range(256)])
    return ImageChops.overlay(image, Image.merge("RGB", (light, light, light)))


def ramp(colours: Sequence[tuple[int, int, int]], steps: int) -> Palette:
    """Order colours from dark to light between almost black and almost white, and pick evenly from that ramp.

    :param colours: at least one colour.
    :param steps: how many to pick, at least 2.
    :return: the picked colours.
    """
    ordered = sorted(colours, key=lambda colour: 299 * colour[0] + 587 * colour[1] + 114 * colour[2])
    dark, light = (channel // 5 for channel in ordered[0]), (255 - (255 - channel) // 5 for channel in ordered[-1])
    stops = [tuple(dark), *ordered, tuple(light)]
    picked = []
    for step in range(steps):
        place = step * (len(stops) - 1) / (steps - 1)
        low = min(int(place), len(stops) - 2)
        mixed = [round(a + (b - a) * (place - low)) for a, b in zip(stops[low], stops[low + 1], strict=True)]
        picked.append((mixed[0], mixed[1], mixed[2]))
    return tuple(picked)
