"""Photos to edit, and two pictures side by side for a person to compare."""

from __future__ import annotations

import importlib.util
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEIGHT = 480
_MARGIN = 24
_PAPER = "#ffffff"
_INK = "#222222"
_FAINT = "#707070"


def sample(name: str) -> Path:
    """Return a photo that scikit-image's wheel brings along; nothing is downloaded.

    :param name: of a file in its folder ``data``.
    :raises RuntimeError: when scikit-image is not installed.
    """
    package = importlib.util.find_spec("skimage")
    if package is None or not package.submodule_search_locations:
        message = "the photos need scikit-image: pip install 'airflow-provider-imagepipeline[demo]'"
        raise RuntimeError(message)
    return Path(package.submodule_search_locations[0]) / "data" / name


def before_after(before: Path, after: Path, prompt: str, target: Path) -> Path:
    """Write one PNG with both pictures at the same height, captioned BEFORE and AFTER, the prompt below the latter.

    :param before: the photo that was sent.
    :param after: the image that was landed.
    :param prompt: what was asked for; wrapped to the width of its picture.
    :param target: the file to write; replaced when it exists.
    :return: ``target``.
    """
    pictures = [_at_height(before), _at_height(after)]
    title, text = ImageFont.load_default(20), ImageFont.load_default(16)
    per_line = max(20, round(pictures[1].width / text.getlength("n")))
    captions = [("BEFORE", [before.name]), ("AFTER", textwrap.wrap(f"“{prompt}”", per_line, max_lines=4))]
    lines = max(len(caption) for _, caption in captions)
    width = sum(picture.width for picture in pictures) + 3 * _MARGIN
    sheet = Image.new("RGB", (width, _HEIGHT + 3 * _MARGIN + 24 + 22 * lines), _PAPER)
    draw = ImageDraw.Draw(sheet)
    left = _MARGIN
    for picture, (heading, caption) in zip(pictures, captions, strict=True):
        sheet.paste(picture, (left, _MARGIN))
        draw.text((left, _HEIGHT + 2 * _MARGIN - 8), heading, fill=_INK, font=title)
        _write_lines(draw, (left, _HEIGHT + 2 * _MARGIN + 20), caption, text)
        left += picture.width + _MARGIN
    sheet.save(target)
    return target


def _at_height(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        width = round(picture.width * _HEIGHT / picture.height)
        return picture.convert("RGB").resize((width, _HEIGHT), Image.Resampling.LANCZOS)


def _write_lines(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    lines: Sequence[str],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    left, top = corner
    for number, line in enumerate(lines):
        draw.text((left, top + 22 * number), line, fill=_FAINT, font=font)
