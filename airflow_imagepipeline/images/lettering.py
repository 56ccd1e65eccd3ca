"""
Words on a picture, in the one font that Pillow brings along: shortened to their space, and free of what it cannot draw.

The font has the letters of ASCII and a few marks. Letters with accents lose these, what is left is an ellipsis.
"""

from __future__ import annotations

import unicodedata
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final

from airflow_imagepipeline.contract.text import cleaned

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

ELLIPSIS: Final = "…"
_LIKE: Final = str.maketrans(
    {
        "\N{EN DASH}": "-",
        "\N{EM DASH}": "-",
        "\N{MINUS SIGN}": "-",
        "\N{MULTIPLICATION SIGN}": "x",
        "\N{RIGHTWARDS ARROW}": ">",
        "\N{EURO SIGN}": "EUR ",
        "ß": "ss",
        "ø": "o",
        "ł": "l",
    }
)
_SPACE: Final = 7
"""The font's space is so narrow that words run together: this part of the size is added to it."""
_NO_LETTER: Final = "\uffff"


@cache
def font_of(size: int) -> ImageFont.FreeTypeFont:
    """Return the font at a size in pixels."""
    from PIL import ImageFont

    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        msg = "this Pillow was built without FreeType: install one of its wheels"
        raise TypeError(msg)
    return font


@lru_cache(4096)
def _is_drawn(letter: str) -> bool:
    font = font_of(24)
    return letter == " " or bytes(font.getmask(letter)) != bytes(font.getmask(_NO_LETTER))


def drawable(text: str) -> str:
    """Return the text on one line, with the letters that the font has; a run of others becomes one ellipsis."""
    kept: list[str] = []
    for letter in cleaned(text).translate(_LIKE):
        base = "" if _is_drawn(letter) else "".join(filter(_is_drawn, unicodedata.normalize("NFKD", letter)))
        if _is_drawn(letter) or base:
            kept.append(base or letter)
        elif not unicodedata.combining(letter) and kept[-1:] != [ELLIPSIS]:
            kept.append(ELLIPSIS)
    return "".join(kept).strip()


def width_of(text: str, size: int) -> int:
    """Return how many pixels a drawable text takes."""
    return round(font_of(size).getlength(text)) + text.count(" ") * (size // _SPACE)


def draw_words(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, size: int, colour: str, *, centred: bool = False
) -> None:
    """
    Draw a drawable text of one line.

    :param place: its left end, or its middle where it is ``centred``; in height the middle of the line.
    """
    left, middle = place
    left -= width_of(text, size) // 2 if centred else 0
    done = ""
    for word in text.split(" "):
        draw.text((left + width_of(done, size), middle), word, fill=colour, font=font_of(size), anchor="lm")
        done += f"{word} "


def fitted(text: str, size: int, width: int) -> str:
    """Return a drawable text that takes ``width`` pixels at most; what is cut off leaves an ellipsis."""
    if width_of(text, size) <= width:
        return text
    return text[: _letters(text, size, width - width_of(ELLIPSIS, size))].rstrip() + ELLIPSIS


def wrapped(text: str, size: int, width: int, lines: int) -> list[str]:
    """Return a drawable text in ``lines`` lines at most, broken between words where there are any."""
    found: list[str] = []
    rest = text
    while rest and len(found) < lines - 1:
        count = max(1, _letters(rest, size, width))
        space = rest.rfind(" ", 0, count + 1) if count < len(rest) else -1
        cut = space if space > 0 else count
        found.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    return [*found, fitted(rest, size, width)] if rest else found


def _letters(text: str, size: int, width: int) -> int:
    """Return how many letters of a text fit; its parts grow with their letters, so halving finds the place."""
    fits, too_many = 0, len(text) + 1
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        fits, too_many = (middle, too_many) if width_of(text[:middle], size) <= width else (fits, middle)
    return fits
