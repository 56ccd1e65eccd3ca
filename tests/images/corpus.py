"""
A labelled corpus: results that a shop would take, and results that it must never see, each beside its input.

Made from the photos that scikit-image brings along and the emulator's own editing; what the emulator never does to a
picture (another background, a slight zoom, every way to fail) is done here. Two halves share no photo: bounds are
chosen on one and judged on the other. Nothing is drawn from the clock: two corpora are equal.
"""

from __future__ import annotations

import importlib.util
import io
import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from PIL import Image, ImageEnhance, ImageOps

from airflow_imagepipeline.emulator.editing import edit, open_inputs
from airflow_imagepipeline.emulator.order import EditOrder
from tests.images.changes import BLURS, WHITE, gradient, noisy, on_background, retouched, zoomed

HALVES: Final[tuple[tuple[str, ...], ...]] = (
    ("astronaut.png", "chelsea.png", "moon.png", "brick.png", "ihc.png", "coins.png", "cell.png", "grass.png"),
    (
        "coffee.png", "camera.png", "motorcycle_left.png", "rocket.jpg", "retina.jpg", "hubble_deep_field.jpg",
        "gravel.png", "clock_motion.png",
    ),
)  # fmt: skip
"""The photos that bounds are chosen on, and those that they are judged on."""
GOOD: Final = "good"
BAD: Final = ("black", "blank", "nearly flat", "blurred", "wrong size", "undecodable", "not edited", "another product")

_SIDE: Final = 256
_SUFFIXES: Final = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp"}
# Prompt, strength, guidance_scale, num_inference_steps: from a hint of the style to as far as it goes.
_EDITS: Final = (
    ("a watercolor in spring", 0.8, 7.5, 30),
    ("a pencil sketch", 0.6, 7.5, 60),
    ("a poster, autumn", 0.75, 10.0, 20),
    ("an oil painting of the ocean", 0.9, 12.0, 40),
    ("neon city", 0.7, 7.5, 30),
    ("a photograph at night", 1.0, 9.0, 50),
    ("sepia photograph", 0.35, 5.0, 30),
    ("warm light, golden hour", 0.25, 7.5, 30),
)


@dataclass(frozen=True)
class Case:
    """
    One result and its input.

    :param kind: :data:`GOOD` or one of :data:`BAD`.
    :param what: for a person who asks why it was judged wrongly.
    :param half: of :data:`HALVES`.
    :param accept: what the user asked for.
    """

    kind: str
    what: str
    half: int
    result: Path
    original: Path
    accept: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Input:
    name: str
    half: int
    image: Image.Image
    path: Path


def cases(folder: Path, halves: Sequence[int] = range(len(HALVES)), *, every_bad: bool = True) -> list[Case]:
    """
    Write the corpus into a folder and return what it holds.

    :param halves: of :data:`HALVES`, by their numbers.
    :param every_bad: False leaves the bad results of every second input out, the whole of one photo and a part of the
        next, but for the blurred ones, which are the hardest to tell.
    """
    return [case for half in halves for case in _Maker(folder, half).cases(every_bad=every_bad)]


def photo(name: str) -> Image.Image:
    """Return one of scikit-image's photos, RGB."""
    spec = importlib.util.find_spec("skimage")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    with Image.open(Path(spec.submodule_search_locations[0]) / "data" / name) as file:
        return file.convert("RGB")


class _Maker:
    def __init__(self, folder: Path, half: int) -> None:
        self._folder = folder
        self._half = half
        self._count = itertools.count()
        self._chance = random.Random(20)

    def cases(self, *, every_bad: bool) -> Iterator[Case]:
        inputs = [found for name in HALVES[self._half] for found in self._inputs(name)]
        edited = {found.name: self._edited(found.image) for found in inputs}
        for number, found in enumerate(inputs):
            # Two steps on is another photo, since each gives two inputs.
            others = [edited[inputs[(number + step) % len(inputs)].name] for step in (2, 5)]
            yield from self._good(found, edited[found.name])
            is_taken = every_bad or number % 4 in {0, 3}
            bad = self._bad(found, edited[found.name], others)
            yield from (case for case in bad if is_taken or case.kind == "blurred")

    def _inputs(self, name: str) -> Iterator[_Input]:
        whole = photo(name)
        width, height = whole.size
        corner = whole.crop((width // 8, height // 5, width // 8 + width * 3 // 5, height // 5 + height * 3 // 5))
        exposed = ImageEnhance.Brightness(corner).enhance(self._chance.choice((0.75, 1.2)))
        for what, image in (("whole", whole), ("part", exposed)):
            scale = _SIDE / max(image.size)
            small = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
            yield _Input(
                f"{name} ({what})", self._half, small, self._written(small, "PNG" if what == "whole" else "JPEG")
            )

    def _edited(self, image: Image.Image) -> list[Image.Image]:
        orders = [
            EditOrder(
                model_id="m", init_image=None, prompt=prompt, seed=self._chance.randrange(10**6), strength=strength,
                guidance_scale=guidance, num_inference_steps=steps, output_format="jpeg",
            )
            for prompt, strength, guidance, steps in _EDITS
        ]  # fmt: skip
        base = open_inputs([_encoded(image, "PNG")], orders[0])
        return [Image.open(io.BytesIO(edit(base, order, 0))).convert("RGB") for order in orders]

    def _good(self, found: _Input, edited: list[Image.Image]) -> Iterator[Case]:
        for (prompt, strength, *_), image in zip(_EDITS, edited, strict=True):
            form = self._chance.choice(list(_SUFFIXES))
            yield self._case(GOOD, f"{prompt}, {strength} {form}", found, image, form)
        square = ImageOps.fit(self._chance.choice(edited), (512, 512), Image.Resampling.LANCZOS)
        yield self._case(GOOD, "cut to a square", found, square, "WEBP", accept={"width": 512, "height": 512})
        small = self._chance.choice(edited)
        small = small.resize((small.width * 2 // 3, small.height * 2 // 3), Image.Resampling.LANCZOS)
        yield self._case(GOOD, "smaller", found, small, "JPEG", accept={"aspect": "input", "min_width": 100})
        yield self._case(GOOD, "another background", found, on_background(found.image, self._chance), "WEBP")
        yield self._case(GOOD, "zoomed and lit", found, zoomed(found.image, self._chance), "JPEG")
        yield self._case(GOOD, "retouched", found, retouched(found.image, self._chance), "WEBP")

    def _bad(self, found: _Input, edited: list[Image.Image], others: list[list[Image.Image]]) -> Iterator[Case]:
        size, chance = found.image.size, self._chance
        for form in ("PNG", "JPEG", "WEBP"):
            yield self._case("black", form, found, noisy(size, (0, 0, 0), chance.choice((0, 3)), chance), form)
            colour = chance.choice((WHITE, (128, 128, 128), (chance.randrange(256), chance.randrange(256), 90)))
            yield self._case("blank", f"{colour} {form}", found, Image.new("RGB", size, colour), form)
        for form in ("JPEG", "WEBP"):
            yield self._case("nearly flat", f"noise {form}", found, noisy(size, (200, 190, 180), 4, chance), form)
        yield self._case("nearly flat", "gradient", found, gradient(size, chance), "PNG")
        for name, blur in BLURS.items():
            yield self._case("blurred", name, found, blur(chance.choice(edited)), chance.choice(list(_SUFFIXES)))
        yield from self._of_wrong_size(found, edited)
        yield from self._undecodable(found, edited)
        yield self._case("not edited", "the same bytes", found, found.path.read_bytes())
        for form, quality in (("PNG", 0), ("JPEG", 90), ("JPEG", 75), ("WEBP", 80)):
            raw = _encoded(found.image, form, quality=quality)
            yield self._case("not edited", f"again as {form} {quality}", found, raw)
        twice = found.image.resize((size[0] * 4 // 3, size[1] * 4 // 3), Image.Resampling.BICUBIC)
        yield self._case("not edited", "larger", found, twice, "WEBP")
        for number, other in enumerate(itertools.chain(*(chance.sample(images, 2) for images in others))):
            fitted = ImageOps.fit(other, size, Image.Resampling.LANCZOS) if number % 2 else other
            yield self._case("another product", f"edited {number}", found, fitted, chance.choice(list(_SUFFIXES)))

    def _of_wrong_size(self, found: _Input, edited: list[Image.Image]) -> Iterator[Case]:
        width, height = found.image.size
        stretched = self._chance.choice(edited).resize((width, height * 5 // 4))
        wanted: list[dict[str, Any]] = [
            {"aspect": "input"},
            {"width": width, "height": height},
            {"aspect": round(width / height, 3)},
        ]
        for accept in wanted:
            yield self._case("wrong size", f"stretched {accept}", found, stretched, "PNG", accept=accept)
        small = self._chance.choice(edited).resize((width // 4, height // 4))
        yield self._case("wrong size", "too small", found, small, "JPEG", accept={"min_width": 256, "min_height": 256})

    def _undecodable(self, found: _Input, edited: list[Image.Image]) -> Iterator[Case]:
        for form in _SUFFIXES:
            raw = _encoded(self._chance.choice(edited), form)
            for share in (0.02, 0.5, 0.98):
                yield self._case("undecodable", f"{form} cut at {share}", found, raw[: round(len(raw) * share)])
        raw = _encoded(self._chance.choice(edited), "PNG")
        at = self._chance.randrange(40, len(raw) - 20)
        flipped = raw[:at] + bytes([raw[at] ^ 0x10]) + raw[at + 1 :]
        yield self._case("undecodable", f"PNG with a flipped bit at {at}", found, flipped)
        raw = _encoded(self._chance.choice(edited), "WEBP")
        half = len(raw) // 4 * 2
        cut = b"RIFF" + (half - 8).to_bytes(4, "little") + raw[8:16] + (half - 20).to_bytes(4, "little") + raw[20:half]
        yield self._case("undecodable", "WEBP cut, with a head that says so", found, cut)

    def _case(
        self,
        kind: str,
        what: str,
        found: _Input,
        image: Image.Image | bytes,
        form: str = "PNG",
        *,
        accept: Mapping[str, Any] | None = None,
    ) -> Case:
        path = self._written(image, form)
        return Case(kind, f"{found.name}: {what}", found.half, path, found.path, accept or {})

    def _written(self, image: Image.Image | bytes, form: str) -> Path:
        path = self._folder / f"{self._half}-{next(self._count):05d}.{_SUFFIXES[form]}"
        path.write_bytes(image if isinstance(image, bytes) else _encoded(image, form))
        return path


def _encoded(image: Image.Image, form: str, *, quality: int = 90) -> bytes:
    options = {"compress_level": 1} if form == "PNG" else {"quality": quality}
    target = io.BytesIO()
    image.save(target, form, **options | ({"method": 1} if form == "WEBP" else {}))
    return target.getvalue()
