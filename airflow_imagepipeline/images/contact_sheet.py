"""
Draw a contact sheet: pairs of pictures with their captions, on one page that fits into a mail or a chat.

It only draws: what is shown, and why, is decided elsewhere. Pictures are asked for when their turn comes and decoded
one at a time, no larger than needed; what is no picture is shown as a calm empty frame with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from airflow_imagepipeline.images.inspection import NotAnImage, TooManyPixels
from airflow_imagepipeline.images.lettering import draw_words, drawable, fitted, width_of, wrapped
from airflow_imagepipeline.images.thumbnail import thumbnail

if TYPE_CHECKING:
    from PIL import Image

FRAME: Final = (232, 200)
"""Width and height in which each picture is shown, pixels."""
MOST_LINES: Final = 3
"""Lines of a caption, below its heading."""
_GAP, _PAD, _BETWEEN, _EDGE = 20, 14, 26, 36
_CARD: Final = 2 * FRAME[0] + _BETWEEN + 2 * _PAD
_TITLE, _LEGEND, _HEADING, _LINE, _BADGE, _SMALL = 32, 16, 17, 15, 13, 14
_HEADING_STEP, _LINE_STEP, _LEGEND_STEP = 27, 21, 26
_INK, _FAINT, _QUIET = "#1f2328", "#59636e", "#818b98"
_PAGE, _PAPER, _MAT, _RULE = "#f6f7f9", "#ffffff", "#eff1f4", "#dfe3e8"
_LEAST: Final = 6
"""Pixels of the bar for what is rare."""
_SMOOTH: Final = 4
"""Round corners are drawn so many times larger, and then reduced: Pillow's own have steps."""


class Mood(StrEnum):
    """How something is to be taken; it decides the colours only, the words say it too."""

    GOOD = "good"
    BAD = "bad"
    NEUTRAL = "neutral"


_STRONG: Final = {Mood.GOOD: "#2da160", Mood.BAD: "#d5544a", Mood.NEUTRAL: "#a3acb8"}
_DARK: Final = {Mood.GOOD: "#1a6b3c", Mood.BAD: "#a4281c", Mood.NEUTRAL: "#57606a"}
_LIGHT: Final = {Mood.GOOD: "#e5f4ea", Mood.BAD: "#fbe9e7", Mood.NEUTRAL: "#edeff2"}
_BORDER: Final = {Mood.GOOD: _RULE, Mood.BAD: "#ecbdb8", Mood.NEUTRAL: _RULE}

Picture = Path | str
"""A file on this machine, or the words why there is no picture."""


@dataclass(frozen=True)
class Cell:
    """
    What is said of one pair.

    :param heading: one line; cut at its end.
    :param badge: a word or two beside the heading.
    :param lines: below the heading, one line each; the last may take what is left of :data:`MOST_LINES`.
    """

    heading: str
    mood: Mood
    badge: str = ""
    lines: Sequence[str] = ()


@dataclass(frozen=True)
class Share:
    """A part of the whole, for the bar below the title: ``number`` of something that ``words`` name."""

    number: int
    words: str
    mood: Mood


@dataclass(frozen=True)
class Page:
    """What stands above and below the pairs."""

    title: str
    shares: Sequence[Share] = ()
    footer: str = ""


def columns_for(pairs: int) -> int:
    """Return how many pairs stand side by side: few enough that a telephone shows them."""
    return 1 if pairs <= 1 else 2 if pairs <= 8 else 3 if pairs <= 18 else 4  # noqa: PLR2004 - the steps are these


def draw_sheet(page: Page, cells: Sequence[Cell], pictures: Iterable[tuple[Picture, Picture]]) -> Image.Image:
    """
    Draw the sheet.

    :param pictures: before and after of each cell; the files of a pair are read before the next pair is asked for.
    """
    columns = columns_for(len(cells))
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    heights = [max(map(_card_height, row)) for row in rows]
    canvas = _Canvas(columns * (_CARD + _GAP) - _GAP + 2 * _EDGE, page, sum(heights) + _GAP * len(rows))
    pairs = iter(pictures)
    top = canvas.header()
    for row, height in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            canvas.card((_EDGE + column * (_CARD + _GAP), top), height, cell, next(pairs))
        top += height + _GAP
    canvas.footer(top)
    return canvas.image


def _card_height(cell: Cell) -> int:
    return _PAD + FRAME[1] + 12 + _HEADING_STEP + len(_caption(cell)) * _LINE_STEP + _PAD - 4


def _caption(cell: Cell) -> list[str]:
    texts = [text for text in map(drawable, cell.lines) if text][:MOST_LINES]
    width = _CARD - 2 * _PAD
    first = [fitted(text, _LINE, width) for text in texts[:-1]]
    return first + wrapped(texts[-1], _LINE, width, MOST_LINES - len(first)) if texts else []


def _legend(shares: Sequence[Share], width: int) -> list[tuple[int, int, str, Share]]:
    """Return where each share's words stand: left, line, words."""
    found, left, line = [], 0, 0
    for share in shares:
        words = fitted(drawable(f"{share.number:,} {share.words}"), _LEGEND, width - 18)
        taken = width_of(words, _LEGEND) + 18
        if left and left + taken > width:
            left, line = 0, line + 1
        found.append((left, line, words, share))
        left += taken + 22
    return found


def _widths(shares: Sequence[Share], width: int) -> list[int]:
    """Return the pixels of each share; what is rare is seen all the same, at the cost of the largest."""
    total = sum(share.number for share in shares)
    found = [max(_LEAST, round(width * share.number / total)) for share in shares]
    found[found.index(max(found))] -= sum(found) - width
    return found


@cache
def _rounded(width: int, height: int, radius: int) -> Image.Image:
    from PIL import Image, ImageDraw

    large = Image.new("L", (width * _SMOOTH, height * _SMOOTH))
    corner = (width * _SMOOTH - 1, height * _SMOOTH - 1)
    ImageDraw.Draw(large).rounded_rectangle(((0, 0), corner), radius * _SMOOTH, fill=255)
    return large.reduce(_SMOOTH)


class _Canvas:
    """A page on which everything has its place before any picture is seen."""

    def __init__(self, width: int, page: Page, body: int) -> None:
        from PIL import Image, ImageDraw

        self._page = page
        self._inner = width - 2 * _EDGE
        self._shares = [share for share in page.shares if share.number > 0]
        self._marks = _legend(self._shares, self._inner)
        self._notes = wrapped(drawable(page.footer), _SMALL, self._inner, 2)
        lines = self._marks[-1][1] + 1 if self._marks else 0
        self._head = _EDGE + 46 + (26 + lines * _LEGEND_STEP if lines else 0) + 14
        height = self._head + body + len(self._notes) * _LINE_STEP + _EDGE - (0 if self._notes else _GAP)
        self.image = Image.new("RGB", (width, height), _PAGE)
        self._draw = ImageDraw.Draw(self.image)

    def header(self) -> int:
        """Draw title, bar and legend; return where the pairs begin."""
        title = fitted(drawable(self._page.title), _TITLE, self._inner)
        self._text((_EDGE, _EDGE + 18), title, _TITLE, _INK)
        top = _EDGE + 46
        self._bar(top)
        for left, line, words, share in self._marks:
            middle = top + 33 + line * _LEGEND_STEP
            self._shape((_EDGE + left, middle - 5), (10, 10), 5, _STRONG[share.mood])
            self._text((_EDGE + left + 18, middle), words, _LEGEND, _FAINT)
        return self._head

    def _bar(self, top: int) -> None:
        from PIL import Image, ImageDraw

        if not self._shares:
            return
        bar = Image.new("RGB", (self._inner, 10), _PAGE)
        draw, left = ImageDraw.Draw(bar), 0
        for share, width in zip(self._shares, _widths(self._shares, self._inner), strict=True):
            draw.rectangle((left, 0, left + width - 3, 10), fill=_STRONG[share.mood])
            left += width
        self.image.paste(bar, (_EDGE, top), _rounded(self._inner, 10, 5))

    def card(self, corner: tuple[int, int], height: int, cell: Cell, pair: tuple[Picture, Picture]) -> None:
        """Draw one pair with its caption."""
        left, top = corner
        self._shape(corner, (_CARD, height), 10, _BORDER[cell.mood])
        self._shape((left + 1, top + 1), (_CARD - 2, height - 2), 9, _PAPER)
        middle = top + _PAD + FRAME[1] // 2
        for number, picture in enumerate(pair):
            self._picture((left + _PAD + number * (FRAME[0] + _BETWEEN), top + _PAD), picture)
        self._text(
            (left + _PAD + FRAME[0] + _BETWEEN // 2, middle),
            "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}",
            30,
            _QUIET,
            centred=True,
        )
        line = top + _PAD + FRAME[1] + 12 + _HEADING_STEP // 2
        room = _CARD - 2 * _PAD - self._badge((left + _CARD - _PAD, line), cell)
        self._text((left + _PAD, line), fitted(drawable(cell.heading), _HEADING, room), _HEADING, _INK)
        for number, text in enumerate(_caption(cell)):
            place = line + _HEADING_STEP // 2 + 11 + number * _LINE_STEP
            self._text((left + _PAD, place), text, _LINE, _FAINT)

    def _badge(self, end: tuple[int, int], cell: Cell) -> int:
        """Draw the badge before ``end``; return the width that it takes from the heading."""
        words = fitted(drawable(cell.badge), _BADGE, FRAME[0])
        if not words:
            return 0
        width = width_of(words, _BADGE) + 20
        self._shape((end[0] - width, end[1] - 11), (width, 22), 11, _LIGHT[cell.mood])
        self._text((end[0] - width // 2, end[1]), words, _BADGE, _DARK[cell.mood], centred=True)
        return width + 10

    def _picture(self, corner: tuple[int, int], picture: Picture) -> None:
        self._shape(corner, FRAME, 6, _MAT)
        words = picture if isinstance(picture, str) else self._pasted(corner, picture)
        lines = wrapped(drawable(words), _SMALL, FRAME[0] - 40, 5)
        middle = corner[1] + FRAME[1] // 2 - (len(lines) - 1) * _LINE_STEP // 2
        for number, text in enumerate(lines):
            self._text((corner[0] + FRAME[0] // 2, middle + number * _LINE_STEP), text, _SMALL, _QUIET, centred=True)

    def _pasted(self, corner: tuple[int, int], path: Path) -> str:
        """Paste a picture into its frame; return the words why that cannot be, else nothing."""
        try:
            small = thumbnail(path, FRAME, _PAPER)
        except TooManyPixels:
            return "too large to be shown here"
        except NotAnImage:
            return "the file is no whole image"
        left, top = ((whole - part) // 2 for whole, part in zip(FRAME, small.size, strict=True))
        corners = _rounded(*FRAME, 6).crop((left, top, left + small.width, top + small.height))
        self.image.paste(small, (corner[0] + left, corner[1] + top), corners)
        return ""

    def footer(self, top: int) -> None:
        """Draw the footer."""
        for number, text in enumerate(self._notes):
            self._text((_EDGE, top + 10 + number * _LINE_STEP), text, _SMALL, _QUIET)

    def _text(self, place: tuple[int, int], text: str, size: int, colour: str, *, centred: bool = False) -> None:
        draw_words(self._draw, place, text, size, colour, centred=centred)

    def _shape(self, corner: tuple[int, int], size: tuple[int, int], radius: int, colour: str) -> None:
        self.image.paste(colour, (*corner, corner[0] + size[0], corner[1] + size[1]), _rounded(*size, radius))
