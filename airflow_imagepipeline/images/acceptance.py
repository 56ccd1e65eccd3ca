"""
Whether a result may go on: facts measured on its pixels, and a sentence for each that is out of bounds.

Nothing here knows what a picture shows. The default bounds were fitted to one half of a corpus of real photos and the
emulator's edits, and are judged on the other half, by ``tests/images/test_acceptance.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from airflow_imagepipeline.contract.acceptance import AS_INPUT, Acceptance
from airflow_imagepipeline.images.likeness import Miniature
from airflow_imagepipeline.images.seeing import Seen, seen

BLACK: Final = 24
"""An image of which all but one pixel in 200 are darker (luminance, 0-255) is black."""
FLAT: Final = 6.0
"""An image whose colours stray by less (standard deviation, 0-255) is of one colour, or nearly."""
SHARP: Final = 0.5
"""An image of this sharpness or more is not blurred."""
SHARP_AS_INPUT: Final = 0.6
"""Nor is one that has this share of its input's sharpness: some photos are soft on purpose."""
LEAST_DIFFERENCE: Final = 0.02
"""Below this difference an image is its input, perhaps written again."""
MOST_DIFFERENCE: Final = 0.88
"""Above this one it is a picture of something else."""
_SHAPE: Final = 0.02
_NEARLY_ALL: Final = 0.995


@dataclass(frozen=True)
class Measures:
    """
    What was measured on a result.

    :param spread: as :class:`Seen`.
    :param black: whether nearly every pixel is.
    :param sharpness: finest detail through the next coarser one, at 256 pixels: 0 for none, photos have 0.6 to 2.
    :param difference: to the input, from 0 to 1; None, as what follows, where there was no input to compare with.
    """

    format: str
    width: int
    height: int
    spread: float
    black: bool
    sharpness: float
    difference: float | None = None
    input_width: int | None = None
    input_height: int | None = None
    input_sharpness: float | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to be seen."""
        return self.black or self.spread < FLAT

    def to_payload(self) -> dict[str, Any]:
        """Return the measures as JSON values of at most three decimals, without those that were not taken."""
        rounded = {name: round(value, 3) if isinstance(value, float) else value for name, value in asdict(self).items()}
        return {name: value for name, value in rounded.items() if value is not None}


def measured(result: Path, original: Path | None) -> Measures:
    """
    Measure a result beside its input.

    :raises NotAnImage: when one of them is no image of a known format.
    :raises DamagedImage: when one of them is not whole.
    :raises TooManyPixels: when one of them is too large to be decoded.
    """
    return compared(seen(result), seen(original) if original else None)


def compared(result: Seen, original: Seen | None) -> Measures:
    """Measure a result that was seen beside an input that was seen, which may be that of many results."""
    light = result.copy.convert("L")
    black = sum(light.histogram()[:BLACK]) >= _NEARLY_ALL * light.width * light.height
    own = Measures(result.format, result.width, result.height, result.spread, black, result.sharpness)
    if original is None:
        return own
    return replace(
        own,
        difference=_difference(result, original),
        input_width=original.width,
        input_height=original.height,
        input_sharpness=original.sharpness,
    )


def _difference(result: Seen, original: Seen) -> float:
    """Return the smaller difference: to the input as it is, or cut to the result's shape as the vendor does it."""
    from PIL import Image, ImageOps

    whole = result.miniature.difference_to(original.miniature)
    size, other = result.copy.size, original.copy.size
    if _is_shape(size[0] / size[1], other[0] / other[1]):
        return whole
    cut = Miniature.of(ImageOps.fit(original.copy, size, Image.Resampling.BILINEAR))
    return min(whole, result.miniature.difference_to(cut))


def _is_shape(aspect: float, wanted: float) -> bool:
    return abs(aspect / wanted - 1) <= _SHAPE


def verdict(measures: Measures, acceptance: Acceptance) -> list[str]:
    """
    Return why a result is not accepted, a sentence for each reason; nothing when it is.

    Bounds that only the input gives a meaning to are left out where there was none: whether that will do is for the
    caller to say. An image that is allowed to be empty is not asked for sharpness or likeness by default.
    """
    return [*_of_form(measures, acceptance), *_of_content(measures, acceptance)]


def _of_form(measures: Measures, acceptance: Acceptance) -> Iterator[str]:
    if acceptance.format and measures.format not in acceptance.format:
        yield f"It is a {measures.format} file; {' or '.join(acceptance.format)} was asked for."
    for side in ("width", "height"):
        pixels, exact, least = (getattr(*named) for named in _sides(measures, acceptance, side))
        if exact is not None and pixels != exact:
            yield f"Its {side} is {pixels} pixels; {exact} was asked for."
        if least is not None and pixels < least:
            yield f"Its {side} is {pixels} pixels; at least {least} was asked for."
    wanted, aspect = acceptance.aspect, measures.width / measures.height
    if wanted == AS_INPUT:
        wanted = (
            measures.input_width / measures.input_height if measures.input_width and measures.input_height else None
        )
    if isinstance(wanted, float) and not _is_shape(aspect, wanted):
        whose = " as the input's" if acceptance.aspect == AS_INPUT else ""
        yield f"Its width through height is {aspect:.3f}; {wanted:.3f}{whose} was asked for, 2 % more or less."


def _sides(measures: Measures, acceptance: Acceptance, side: str) -> tuple[tuple[object, str], ...]:
    return (measures, side), (acceptance, side), (acceptance, f"min_{side}")


def _of_content(measures: Measures, acceptance: Acceptance) -> Iterator[str]:
    if measures.black and not acceptance.filtered:
        yield "It is black, as the vendor's safety filter paints what it withholds."
    elif measures.is_empty and not measures.black and not acceptance.blank:
        yield f"It is of one colour, or nearly: colours stray by {measures.spread:.1f} of 255; {FLAT:g} is the least."
    yield from _of_sharpness(measures, acceptance.min_sharpness)
    least, most = _difference_bounds(measures, acceptance)
    found = measures.difference
    if found is not None and found < least:
        yield f"It is not edited: its difference to the input is {found:.3f}; {least:g} is the least."
    if found is not None and found > most:
        yield f"It shows something else: its difference to the input is {found:.3f}; {most:g} is the most."


def _of_sharpness(measures: Measures, least: float | None) -> Iterator[str]:
    if least is None:
        of_input = SHARP if measures.input_sharpness is None else SHARP_AS_INPUT * measures.input_sharpness
        least = 0.0 if measures.is_empty else min(SHARP, of_input)
    if measures.sharpness < least:
        yield f"It is blurred: its sharpness is {measures.sharpness:.2f}; {least:.2f} is the least."


def _difference_bounds(measures: Measures, acceptance: Acceptance) -> tuple[float, float]:
    least, most = acceptance.min_difference, acceptance.max_difference
    if least is None:
        least = 0.0 if acceptance.identical or measures.is_empty else LEAST_DIFFERENCE
    if most is None:
        most = 1.0 if measures.is_empty else MOST_DIFFERENCE
    return least, most
