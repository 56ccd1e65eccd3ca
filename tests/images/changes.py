"""What is done to the pictures of the corpus that the emulator never does to one: for good, and for ill."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Final

from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter

WHITE: Final = (255, 255, 255)


def on_background(image: Image.Image, chance: random.Random) -> Image.Image:
    """Keep what stands in the middle, before something else."""
    width, height = image.size
    part = chance.choice((4, 7))
    mask = Image.new("L", image.size)
    box = (width // part, height // part, width - width // part, height - height // part)
    ImageDraw.Draw(mask).ellipse(box, fill=255)
    plain = Image.new("RGB", image.size, chance.choice((WHITE, (236, 232, 226), (90, 110, 130))))
    shaded = ImageChops.multiply(plain, Image.merge("RGB", [Image.linear_gradient("L").resize(image.size)] * 3))
    backdrop = Image.blend(plain, shaded, chance.choice((0.0, 0.4)))
    return Image.composite(image, backdrop, mask.filter(ImageFilter.GaussianBlur(2)))


def zoomed(image: Image.Image, chance: random.Random) -> Image.Image:
    """Move the picture by up to two pixels in a hundred and change its light, as models do unasked."""
    width, height = image.size
    left, top = (round(side * chance.uniform(0, 0.02)) for side in image.size)
    box = (left, top, left + round(width * 0.98), top + round(height * 0.98))
    moved = image.resize(image.size, Image.Resampling.LANCZOS, box=box)
    warm = Image.blend(moved, ImageChops.multiply(moved, Image.new("RGB", image.size, (255, 220, 170))), 0.8)
    return ImageEnhance.Contrast(warm).enhance(1.25)


def retouched(image: Image.Image, chance: random.Random) -> Image.Image:
    """Take away what a twentieth of the picture shows, as if a mark was painted over."""
    width, height = image.size
    left, top = chance.randrange(width * 3 // 4), chance.randrange(height * 3 // 4)
    box = (left, top, left + width * 2 // 9, top + height * 2 // 9)
    around = image.crop(box).resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    assert isinstance(around, tuple)
    colour = tuple(value + 45 if value < 128 else value - 45 for value in around)
    painted = image.copy()
    painted.paste(colour, box)
    return painted


def noisy(size: tuple[int, int], colour: tuple[int, int, int], sigma: int, chance: random.Random) -> Image.Image:
    """Return one colour with faint grain."""
    plain = Image.new("RGB", size, colour)
    if not sigma:
        return plain
    side = 64
    speckled = Image.frombytes("L", (side, side), bytes(round(abs(chance.gauss(0, sigma))) for _ in range(side * side)))
    noise = Image.new("L", size)
    for left, top in itertools.product(range(0, size[0], side), range(0, size[1], side)):
        noise.paste(speckled, (left, top))
    return ImageChops.add(plain, Image.merge("RGB", [noise] * 3))


def gradient(size: tuple[int, int], chance: random.Random) -> Image.Image:
    """Return a slope from one shade to another that can hardly be told from it."""
    base = chance.randrange(40, 220)
    slope = Image.linear_gradient("L").resize(size).point([base + value // 20 for value in range(256)])
    return Image.merge("RGB", [slope] * 3)


def soft(share: float) -> Callable[[Image.Image], Image.Image]:
    """Return what blurs a picture."""
    return lambda image: image.filter(ImageFilter.GaussianBlur(max(image.size) * share))


def coarse(image: Image.Image) -> Image.Image:
    """Keep an eighth of the detail."""
    small = image.resize((max(1, image.width // 8), max(1, image.height // 8)), Image.Resampling.BOX)
    return small.resize(image.size, Image.Resampling.BICUBIC)


BLURS: Final[dict[str, Callable[[Image.Image], Image.Image]]] = {
    "sigma 1 %": soft(0.01),
    "sigma 2 %": soft(0.02),
    "sigma 4 %": soft(0.04),
    "an eighth of the detail": coarse,
}
"""Sigma is a share of the long side."""
