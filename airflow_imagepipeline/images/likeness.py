"""
How far one picture is from another, as one number for two questions: is it edited, and is it still the same thing?

Two small copies are compared. Colours tell whether anything was done at all; the directions of edges, without regard to
what is light and what is dark, tell whether the same things are in the same places. Neither knows what a thing is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from PIL import Image

SIDE: Final = 64
"""Both pictures are compared at this many pixels a side, whatever their shape."""
_FULL: Final = 0.8
"""A likeness of this and more counts as full: writing a picture again, or at another size, costs up to a fifth."""
_FAINT: Final = 0.5
"""Edges of less, in steps of luminance a pixel, are noise."""
_NO_EDGES: Final = 1.0
_ROW: Final = SIDE - 2


@dataclass(frozen=True, eq=False)
class Miniature:
    """
    A picture of :data:`SIDE` pixels a side, RGB.

    Two of them are compared by :meth:`difference_to`; the edges of one are found once, however often it is compared.
    """

    image: Image.Image

    @classmethod
    def of(cls, image: Image.Image) -> Self:
        """Return a picture's miniature."""
        from PIL import Image

        return cls(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR))

    @cached_property
    def edges(self) -> list[tuple[float, float]]:
        """
        Return the direction of the edge at each inner pixel, with the angle doubled, as long as the root of its height.

        Doubled, an edge from dark to light is the same as one from light to dark: a neon picture of a cup is a cup.
        """
        light = self.image.convert("L").tobytes()
        inner = (row * SIDE + column for row in range(1, SIDE - 1) for column in range(1, SIDE - 1))
        return [_edge(light[at + 1] - light[at - 1], light[at + SIDE] - light[at - SIDE]) for at in inner]

    def likeness_to(self, other: Miniature) -> float:
        """
        Return how far the edges agree: 1 for the same, about 0 for those of another picture, at least -1.

        The middle counts alone where it agrees more than the whole: a cup before another background is the same cup.
        """
        whole = _agreement(self.edges, other.edges)
        if whole is None:
            return float(self._is_plain and other._is_plain)
        middle = _agreement(_middle(self.edges), _middle(other.edges))
        return whole if middle is None else max(whole, middle)

    @property
    def _is_plain(self) -> bool:
        return _strength(self.edges) < _NO_EDGES

    def change_to(self, other: Miniature) -> float:
        """Return the root of the mean square by which the colours differ: 0 for the same, 1 for black beside white."""
        from PIL import ImageChops, ImageStat

        squares = [rms**2 for rms in ImageStat.Stat(ImageChops.difference(self.image, other.image)).rms]
        return float((sum(squares) / len(squares)) ** 0.5 / 255)

    def difference_to(self, other: Miniature) -> float:
        """
        Return how far the pictures are apart: 0 for the same, 1 for two that have nothing in common.

        Below about 0.1 it is the change of the colours; towards 1 what counts is that the edges agree less and less.
        """
        alike = min(1.0, max(0.0, self.likeness_to(other)) / _FULL)
        return 1 - alike * (1 - self.change_to(other))


def _edge(across: int, down: int) -> tuple[float, float]:
    height = (across * across + down * down) ** 0.5 / 2
    if height < _FAINT:
        return 0.0, 0.0
    scale = 1 / (4 * height**1.5)
    return (across * across - down * down) * scale, 2 * across * down * scale


def _middle(edges: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return those of the inner half, each way."""
    rows = (row * _ROW for row in range(_ROW // 4, _ROW - _ROW // 4))
    return [edge for row in rows for edge in edges[row + _ROW // 4 : row + _ROW - _ROW // 4]]


def _strength(edges: list[tuple[float, float]]) -> float:
    return sum(x * x + y * y for x, y in edges)


def _agreement(own: list[tuple[float, float]], others: list[tuple[float, float]]) -> float | None:
    """Return the cosine between two fields of edges; None where one of them has none."""
    strengths = _strength(own), _strength(others)
    if min(strengths) < _NO_EDGES:
        return None
    both = sum(x * u + y * v for (x, y), (u, v) in zip(own, others, strict=True))
    return float(both / (strengths[0] * strengths[1]) ** 0.5)
