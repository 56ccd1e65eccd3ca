"""Edit an image the way an order asks, deterministically: the same order and sample give the same bytes.

This is filtering, not a diffusion model. The prompt chooses a technique and a palette (see ``styles``), the seed where
paint, light and paper fall, ``guidance_scale`` how much of the palette replaces the input's colours,
``num_inference_steps`` how fine the strokes are, and ``strength`` how far from the input to that picture to go. Another
version of the model lights the picture another way and turns its colours.
"""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING

from PIL import Image, ImageChops, ImageEnhance, ImageFilter, ImageOps

from . import paint
from .encoding import encode
from .segmenting import cut_out
from .styles import Style, choose_style

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .order import EditOrder

_MOST_PIXELS = 50_000_000
_SHINING_THROUGH = 0.12


class NotAnImageError(Exception):
    """Says why bytes cannot be used as an image."""


def open_inputs(raws: Sequence[bytes], order: EditOrder) -> Image.Image:
    """Decode the input images and make one of them, of the size that the order asks for.

    They are cut around their middle rather than stretched. Transparent parts become white. The first one is the picture
    to edit; each further one shines through it a little.

    :param raws: image files of any format that Pillow reads; at least one.
    :param order: the order.
    :return: an RGB image.
    :raises NotAnImageError: when one is no image, is damaged, or has more than 50 million pixels.
    """
    first, *others = (_open(raw) for raw in raws)
    base = ImageOps.fit(first, _target_size(first.size, order), Image.Resampling.LANCZOS)
    for other in others:
        base = Image.blend(base, ImageOps.fit(other, base.size, Image.Resampling.LANCZOS), _SHINING_THROUGH)
    return ImageEnhance.Color(base).enhance(order.input_saturation)


def _open(raw: bytes) -> Image.Image:
    try:
        with Image.open(io.BytesIO(raw)) as image:
            if image.width * image.height > _MOST_PIXELS:
                message = f"{image.width} x {image.height} pixels are too many"
                raise NotAnImageError(message)
            upright = ImageOps.exif_transpose(image).convert("RGBA")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
        message = "it has too many pixels"
        raise NotAnImageError(message) from exc
    except (OSError, SyntaxError, ValueError, EOFError) as exc:  # what Pillow's readers raise on foreign or cut files
        message = "its format is unknown or the file is damaged"
        raise NotAnImageError(message) from exc
    return Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright).convert("RGB")


def edit(base: Image.Image, order: EditOrder, index: int) -> bytes:
    """Make one sample of an order.

    :param base: the input at its final size, RGB; it is not changed.
    :param order: the order.
    :param index: the sample, from 0.
    :return: a file of the order's format and the base's size.
    """
    picture = Image.new("RGB", base.size) if order.is_filtered else _painted(base, order, index)
    return encode(picture, order.output_format, is_signed=order.is_signed)


def make_files(base: Image.Image, order: EditOrder) -> tuple[bytes, ...]:
    """Make the files of an order that is no edit.

    :param base: the input, RGB; it is not changed.
    :param order: the order.
    :return: files of the order's format, in the order in which its endpoint links to them.
    :raises NotAnImageError: when the result would have more than 50 million pixels.
    """
    pictures = _MAKERS[order.making](base, order)
    return tuple(encode(picture, order.output_format, is_signed=order.is_signed) for picture in pictures)


def _cut_out(base: Image.Image, order: EditOrder) -> list[Image.Image]:
    product, knobs = cut_out(base), order.knobs
    if not knobs["recolor"]:
        return [product]
    ground = Image.new("RGBA", base.size, f"#{knobs['recolor'].lstrip('#')}")
    if knobs["drop_shadow"]:
        shade = product.getchannel("A").point([round(value * knobs["shadow_opacity"]) for value in range(256)])
        shade = shade.filter(ImageFilter.GaussianBlur(knobs["shadow_blur"]))
        moved = Image.new("L", shade.size)
        moved.paste(shade, (knobs["shadow_dx"], knobs["shadow_dy"]))
        ground.paste("black", mask=moved)
    return [Image.alpha_composite(ground, product).convert("RGB"), product]


def _on_background(base: Image.Image, order: EditOrder) -> list[Image.Image]:
    style = choose_style(order, 0)
    light = Image.linear_gradient("L").resize(base.size)
    mist = paint.clouds(base.size, style.noise).resize(base.size)
    ground = paint.tone(Image.blend(light, mist.convert("L"), 0.4), style.palette)
    if not order.knobs["segment"]:
        ground = Image.blend(ground, base, 0.25)
    lit = Image.blend(
        base, ground.filter(ImageFilter.GaussianBlur(max(base.size) / 12)), 0.4 * order.knobs["harmonize"]
    )
    return [Image.composite(lit, ground, cut_out(base).getchannel("A"))]


def _upscaled(base: Image.Image, order: EditOrder) -> list[Image.Image]:
    width, height = (max(1, round(side * order.knobs["scale"])) for side in base.size)
    if width * height > _MOST_PIXELS:
        message = f"{width} x {height} pixels are too many"
        raise NotAnImageError(message)
    return [base.resize((width, height), Image.Resampling.LANCZOS).filter(ImageFilter.UnsharpMask(2, 60, 2))]


_MAKERS: dict[str, Callable[[Image.Image, EditOrder], list[Image.Image]]] = {
    "cut-out": _cut_out,
    "background": _on_background,
    "upscale": _upscaled,
}


def _painted(base: Image.Image, order: EditOrder, index: int) -> Image.Image:
    style = choose_style(order, index)
    picture = _TECHNIQUES[style.technique](base, style)
    if style.light is not None:
        picture = paint.lamps(picture, style.light)
    if style.sharpening:
        picture = picture.filter(ImageFilter.UnsharpMask(2, style.sharpening, 2))
    if order.calm:
        picture = ImageEnhance.Color(picture).enhance(1 - 0.5 * order.calm)
    # A blend is what makes the distance from the input grow with strength for every prompt and seed.
    return Image.blend(base, picture, order.strength)


def _target_size(own: paint.Size, order: EditOrder) -> paint.Size:
    width, height = order.width, order.height
    if order.keeps_shape and width and not height:
        return width, max(1, round(width * own[1] / own[0]))
    if order.keeps_shape and height and not width:
        return max(1, round(height * own[0] / own[1])), height
    scale = min(1.0, order.longest_side / max(own))
    return width or max(1, round(own[0] * scale)), height or max(1, round(own[1] * scale))


def _coloured(image: Image.Image, light: Image.Image, style: Style, *, least: float = 0.45) -> Image.Image:
    """Mix an image's own colours with the palette's, more of these where the seed puts them."""
    toned = paint.tone(light, style.palette)
    low, high = style.pull * least, min(1.0, style.pull * 1.35)
    patches = paint.clouds(image.size, style.noise).point(
        [round(255 * (low + (high - low) * v / 255)) for v in range(256)]
    )
    return Image.composite(toned, image, patches)


def _watercolor(base: Image.Image, style: Style) -> Image.Image:
    wash = ImageEnhance.Color(paint.smooth(base, style.detail * 0.7)).enhance(1.6)
    light = paint.gray(wash).point([round(60 + 195 * (v / 255) ** 0.8) for v in range(256)])
    paper = Image.new("RGB", base.size, (252, 248, 238))
    washed = Image.blend(_coloured(wash, light, style), paper, 0.12)
    rims = paint.lines(wash, max(base.size) / 200, gain=5).point([165 + round(90 * v / 255) for v in range(256)])
    ink = paint.lines(base, max(base.size) / 600, gain=5).point([120 + round(135 * v / 255) for v in range(256)])
    drawn = ImageChops.multiply(rims, ink)
    painted = ImageChops.multiply(washed, Image.merge("RGB", (drawn, drawn, drawn)))
    return paint.grain(Image.composite(painted, paper, _paper_mask(base.size, style)), style.noise, depth=0.3)


def _paper_mask(size: paint.Size, style: Style) -> Image.Image:
    """Where paint reaches: all but an uneven rim."""
    rim = max(1, min(size) // 24)
    mask = Image.new("L", size)
    mask.paste(255, (rim, rim, max(rim + 1, size[0] - rim), max(rim + 1, size[1] - rim)))
    soft = mask.filter(ImageFilter.GaussianBlur(rim * 0.7))
    uneven = ImageChops.blend(paint.clouds(size, style.noise, cells=9), paint.clouds(size, style.noise, cells=40), 0.35)
    reach = ImageChops.blend(soft, uneven, 0.3)
    return reach.point([max(0, min(255, (v - 104) * 12)) for v in range(256)])


def _pencil(base: Image.Image, style: Style) -> Image.Image:
    light = paint.gray(base)
    around = ImageChops.invert(light.filter(ImageFilter.GaussianBlur(max(base.size) / (40 + 80 * style.detail))))
    contours = ImageChops.add(light, around).point([round(255 * (v / 255) ** 2.2) for v in range(256)])
    hatched = ImageChops.screen(light, paint.strokes(base.size, style.noise, length=40, thickness=3))
    shaded = ImageChops.multiply(contours, hatched.point([150 + round(105 * v / 255) for v in range(256)]))
    drawn = ImageChops.multiply(shaded, paint.lines(base, max(base.size) / 700, gain=7))
    toned = paint.tone(drawn, style.palette)
    tinted = ImageChops.multiply(Image.merge("RGB", (drawn, drawn, drawn)), _coloured(base, light, style))
    return paint.grain(Image.blend(toned, tinted, 0.3), style.noise, depth=0.3)


def _poster(base: Image.Image, style: Style) -> Image.Image:
    melted = paint.smooth(base, style.detail * 0.8)
    steps = 4 + round(3 * style.detail)
    flat = Image.merge("RGB", [paint.levels(band, steps) for band in ImageEnhance.Color(melted).enhance(1.5).split()])
    coloured = _coloured(flat, paint.levels(paint.gray(melted), 5), style)
    ink = paint.lines(melted, max(base.size) / 300, gain=14)
    return paint.grain(ImageChops.multiply(coloured, Image.merge("RGB", (ink, ink, ink))), style.noise, depth=0.1)


def _oil(base: Image.Image, style: Style) -> Image.Image:
    melted = ImageEnhance.Color(paint.smooth(base, style.detail)).enhance(1.55)
    coloured = ImageEnhance.Contrast(_coloured(melted, paint.gray(melted), style)).enhance(1.12)
    size, thickness = base.size, 3 + round(4 * (1 - style.detail))
    across = paint.strokes(size, style.noise, length=thickness * 9, thickness=thickness)
    along = paint.strokes((size[1], size[0]), style.noise, length=thickness * 9, thickness=thickness)
    bristles = Image.composite(across, along.transpose(Image.Transpose.ROTATE_90), paint.levels(paint.gray(melted), 3))
    relief = bristles.filter(ImageFilter.EMBOSS).point([max(0, min(255, 128 + (v - 128) * 2)) for v in range(256)])
    lit = relief.point([round(128 + (v - 128) * 0.55) for v in range(256)])
    return paint.vignette(ImageChops.overlay(coloured, Image.merge("RGB", (lit, lit, lit))), style.noise, depth=0.25)


def _neon(base: Image.Image, style: Style) -> Image.Image:
    dim = paint.gray(paint.smooth(base, style.detail)).point([round(v * 0.42) for v in range(256)])
    scene = _coloured(ImageEnhance.Brightness(base).enhance(0.3), dim, style)
    tubes = ImageChops.invert(paint.lines(base.filter(ImageFilter.MedianFilter(3)), max(base.size) / 380))
    split = paint.clouds(base.size, style.noise, cells=4)
    colours = ImageOps.colorize(split, style.palette[2], style.palette[3])
    lit = ImageChops.multiply(colours, Image.merge("RGB", (tubes, tubes, tubes)))
    halo = lit.filter(ImageFilter.GaussianBlur(max(base.size) / 70))
    return paint.vignette(
        ImageChops.screen(ImageChops.add(lit, halo), ImageChops.add(scene, halo)), style.noise, depth=0.5
    )


def _photo(base: Image.Image, style: Style) -> Image.Image:
    light = paint.gray(base).point([round(255 * (v / 255) ** 1.15) for v in range(256)])
    strong = dataclasses.replace(style, pull=0.55 + 0.45 * style.pull)
    melted = Image.blend(paint.smooth(base, style.detail), base, 0.5 + 0.5 * style.detail)
    toned = _coloured(ImageEnhance.Color(melted).enhance(0.7), light, strong, least=0.85)
    shining = Image.blend(toned, paint.glow(toned, max(base.size) / 50), 0.25)
    return paint.grain(paint.vignette(shining, style.noise, depth=0.55), style.noise, depth=0.12)


_TECHNIQUES: dict[str, Callable[[Image.Image, Style], Image.Image]] = {
    "watercolor": _watercolor,
    "pencil": _pencil,
    "poster": _poster,
    "oil": _oil,
    "neon": _neon,
    "photo": _photo,
}
