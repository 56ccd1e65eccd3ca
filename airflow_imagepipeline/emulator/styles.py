"""Choose a look from the words of a prompt.

Two things are chosen apart: a technique (how it is painted) and a palette (with which colours). Known words choose by
name, the first one wins; without a known word the prompt's hash chooses, so every prompt has a look of its own.
"""

from __future__ import annotations

import colorsys
import hashlib
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import paint
from .order import FIRST_MODEL, words_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .order import EditOrder

Colour = tuple[int, int, int]
Palette = tuple[Colour, ...]

_TECHNIQUE_WORDS = {
    "watercolor": ("watercolor", "watercolour", "watercolors", "watercolours", "aquarelle", "gouache"),
    "pencil": ("pencil", "sketch", "drawing", "graphite", "charcoal", "sketched"),
    "poster": ("poster", "screenprint", "print", "pop", "comic", "cartoon", "vector", "flat"),
    "oil": ("oil", "painting", "painted", "impressionist", "impressionism", "canvas", "brush"),
    "neon": ("neon", "cyberpunk", "glow", "glowing", "synthwave"),
}
# These say how a picture is lit rather than painted, so any word of the table above goes before them.
_LIGHT_WORDS = {"photo": ("photo", "photograph", "sepia", "vintage", "film", "cinematic", "night")}
_LEAST_PULL = 0.75  # a palette that was asked for must be seen
_HASHED_TECHNIQUES = ("watercolor", "poster", "oil", "pencil")

# Each from its darkest to its lightest colour.
_PALETTES = {
    "sepia": "2b1a0e 5f3d20 a87443 dcb98a f8ecd2",
    "night": "050914 10234a 23508c 5f8fc0 f3e2a4",
    "autumn": "2a1410 7a2c16 c65a1e e9a23b f8e6b8",
    "neon": "07041a 3a0b73 c3168f 12c7e0 f4fbff",
    "winter": "13233a 3f6488 86aecb c8deea fbfdff",
    "spring": "1f3b2c 4f8f5a a3cf7c f3b5c6 fff6e4",
    "ocean": "04202e 0b5570 1f95a3 84d0c4 f3f7e4",
    "sunset": "231034 6b1d5c cf3f5c f58b4c fde3a0",
    "forest": "0f1f14 2c4f2b 5f8440 b3b967 f4eecb",
    "graphite": "1c1c20 4a4b52 85878e c3c4c8 fafaf7",
    "gold": "1d1408 5a3d10 a87c1c e4c052 fff4cf",
    "rose": "2b0f1e 7a2747 c75f7c efaab0 fff0ea",
}
_PALETTE_WORDS = {
    "sepia": ("sepia", "vintage", "antique", "old", "brown"),
    "night": ("night", "midnight", "moonlight", "moon", "dark", "blue"),
    "autumn": ("autumn", "fall", "october", "orange", "leaves"),
    "neon": ("neon", "cyberpunk", "synthwave", "purple"),
    "winter": ("winter", "snow", "ice", "frost", "cold"),
    "spring": ("spring", "blossom", "pastel", "meadow"),
    "ocean": ("ocean", "sea", "water", "underwater", "teal"),
    "sunset": ("sunset", "sunrise", "dusk", "dawn", "desert"),
    "forest": ("forest", "jungle", "green", "moss", "wood"),
    "graphite": ("graphite", "charcoal", "monochrome", "pencil"),
    "gold": ("gold", "golden", "yellow", "summer", "honey"),
    "rose": ("rose", "pink", "red", "romantic", "love"),
}


@dataclass(frozen=True, kw_only=True)
class Style:
    """A look, ready to be painted.

    :param technique: the name of a technique in ``editing``.
    :param palette: five colours from dark to light.
    :param pull: 0 (the input's colours stay) to 1 (only the palette's colours).
    :param detail: 0 (coarse) to 1 (fine).
    :param sharpening: percent, 0 for none.
    :param noise: the source of all that the seed decides, new for each sample.
    :param light: the source of what the model's version decides, None for the first version.
    """

    technique: str
    palette: Palette
    pull: float
    detail: float
    sharpening: int
    noise: random.Random
    light: random.Random | None


def choose_style(order: EditOrder, index: int) -> Style:
    """Choose the look of one sample.

    :param order: the order.
    :param index: the sample, from 0; sample 1 of a seed looks like sample 0 of the next seed.
    :return: the style; the same for the same arguments, on every machine.
    """
    words = words_of(order.prompt)
    taste = random.Random(_digest(order.model_id, *words))
    technique = _named(words, _TECHNIQUE_WORDS) or _named(words, _LIGHT_WORDS) or taste.choice(_HASHED_TECHNIQUES)
    name = _named(words, _PALETTE_WORDS) or taste.choice(sorted(_PALETTES))
    noise = random.Random(_digest(order.model_id, str((order.seed + index) % 2**64), *words))
    light = None if order.model == FIRST_MODEL else random.Random(_digest("model", order.model))
    shift = taste.uniform(-0.025, 0.025) + noise.uniform(-0.04, 0.04) + _shift_of(order.negative_prompt)
    if light is not None:
        shift += light.choice((-1, 1)) * light.uniform(0.15, 0.3)
    turned = tuple(_turn(colour, shift) for colour in _parse(_PALETTES[name]))
    pull = 0.35 + 0.6 * (order.guidance_scale - 1) / 19
    return Style(
        technique=order.technique or technique,
        palette=paint.ramp(_parse(" ".join(order.palette)), len(turned)) if order.palette else turned,
        pull=max(pull, _LEAST_PULL) if order.palette else pull,
        detail=(order.num_inference_steps - 1) / 99,
        sharpening=60 * order.refiner + round(140 * order.refine_strength),
        noise=noise,
        light=light,
    )


def _shift_of(negative_prompt: str) -> float:
    avoided = words_of(negative_prompt)
    return random.Random(_digest(*avoided)).choice((-1, 1)) * 0.04 if avoided else 0.0


def _named(words: tuple[str, ...], vocabulary: Mapping[str, tuple[str, ...]]) -> str | None:
    return next((name for word in words for name, known in vocabulary.items() if word in known), None)


def _digest(*parts: str) -> int:
    return int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest()[:8], "big")


def _parse(palette: str) -> Palette:
    return tuple((int(c[:2], 16), int(c[2:4], 16), int(c[4:], 16)) for c in palette.split())


def _turn(colour: Colour, shift: float) -> Colour:
    hue, light, saturation = colorsys.rgb_to_hls(*(channel / 255 for channel in colour))
    red, green, blue = colorsys.hls_to_rgb((hue + shift) % 1, light, saturation)
    return round(red * 255), round(green * 255), round(blue * 255)
