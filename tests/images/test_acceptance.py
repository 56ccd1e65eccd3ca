"""The gate on a labelled corpus in two halves without a common photo: bounds are fitted to one, judged on the other."""

from __future__ import annotations

import io
import math
import random
from collections import Counter
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from airflow_imagepipeline.contract.acceptance import Acceptance
from airflow_imagepipeline.images.acceptance import Measures, compared, measured, verdict
from airflow_imagepipeline.images.inspection import DamagedImage, NotAnImage, TooManyPixels
from airflow_imagepipeline.images.likeness import Miniature
from airflow_imagepipeline.images.seeing import seen
from tests.doubles.pictures import painted, pictures, png, saved, written
from tests.images.corpus import BAD, GOOD, HALVES, Case, cases, photo

if TYPE_CHECKING:
    from pathlib import Path

NEVER_LET_THROUGH = ("black", "blank", "undecodable")
CHOSEN, JUDGED = 0, 1
"""The half that the bounds were chosen on, which says nothing of them, and the other one."""


once = lru_cache(seen)
"""An input is decoded once for all its results, as it is for those of a job."""


def reasons_of(case: Case) -> list[str]:
    try:
        return verdict(compared(seen(case.result), once(case.original)), Acceptance.checked(case.accept))
    except NotAnImage as error:
        return [str(error)]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Case, list[str]]]:
    corpus = cases(tmp_path_factory.mktemp("corpus"), [JUDGED], every_bad=False)
    return [(case, reasons_of(case)) for case in corpus]


@pytest.mark.slow
def test_the_corpus_is_large_and_its_halves_share_no_photo(judged: list[tuple[Case, list[str]]]) -> None:
    counts = Counter(case.kind for case, _ in judged)
    assert set(counts) == {GOOD, *BAD}
    assert min(counts.values()) > 20
    assert min(counts[GOOD], counts.total() - counts[GOOD]) >= 200
    assert {case.what.partition(" (")[0] for case, _ in judged} == set(HALVES[JUDGED])
    assert set(HALVES[CHOSEN]).isdisjoint(HALVES[JUDGED])


def test_at_most_one_good_result_in_fifty_is_rejected(judged: list[tuple[Case, list[str]]]) -> None:
    wrong = [(case.what, reasons) for case, reasons in judged if case.kind == GOOD and reasons]
    good = sum(case.kind == GOOD for case, _ in judged)
    assert len(wrong) / good <= 0.02, wrong


@pytest.mark.parametrize("kind", BAD)
def test_at_least_95_in_100_of_each_kind_of_bad_results_are_rejected(
    judged: list[tuple[Case, list[str]]], kind: str
) -> None:
    found = [(case.what, reasons) for case, reasons in judged if case.kind == kind]
    missed = [what for what, reasons in found if not reasons]
    assert len(missed) / len(found) <= 0.05, missed


@pytest.mark.parametrize("kind", NEVER_LET_THROUGH)
def test_nothing_black_blank_or_undecodable_passes(judged: list[tuple[Case, list[str]]], kind: str) -> None:
    assert [case.what for case, reasons in judged if case.kind == kind and not reasons] == []


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("black", "It is black"),
        ("blank", "It is of one colour, or nearly"),
        ("nearly flat", "It is of one colour, or nearly"),
        ("blurred", "It is blurred"),
        ("wrong size", "was asked for"),
        ("not edited", "It is not edited"),
        ("another product", "It shows something else"),
    ],
)
def test_a_bad_result_is_rejected_for_what_is_bad_about_it(
    judged: list[tuple[Case, list[str]]], kind: str, words: str
) -> None:
    said = [any(words in reason for reason in reasons) for case, reasons in judged if case.kind == kind and reasons]
    assert sum(said) / len(said) >= 0.95


GOOD_MEASURES = Measures("PNG", 600, 400, 50.0, False, 1.0, 0.3, 300, 200, 1.0)


@pytest.mark.parametrize(
    ("accept", "changed", "reasons"),
    [
        ({}, {}, []),
        ({"format": "PNG"}, {}, []),
        ({"format": ["jpg", "webp"]}, {}, ["It is a PNG file; JPEG or WEBP was asked for."]),
        ({"width": 600, "height": 400, "min_width": 600}, {}, []),
        ({"width": 512}, {}, ["Its width is 600 pixels; 512 was asked for."]),
        ({"min_height": 401}, {}, ["Its height is 400 pixels; at least 401 was asked for."]),
        ({"aspect": "input"}, {}, []),
        ({"aspect": "input"}, {"input_width": None, "input_height": None}, []),
        ({"aspect": 1.48}, {}, []),
        ({"aspect": 1.46}, {}, ["Its width through height is 1.500; 1.460 was asked for, 2 % more or less."]),
        (
            {"aspect": "input"},
            {"input_width": 200},
            ["Its width through height is 1.500; 1.000 as the input's was asked for, 2 % more or less."],
        ),
        ({}, {"spread": 6.0}, []),
        (
            {},
            {"spread": 5.9},
            ["It is of one colour, or nearly: colours stray by 5.9 of 255; 6 is the least."],
        ),
        ({"blank": True}, {"spread": 5.9, "sharpness": 0.0, "difference": 1.0}, []),
        ({}, {"black": True}, ["It is black, as the vendor's safety filter paints what it withholds."]),
        ({"blank": True}, {"black": True}, ["It is black, as the vendor's safety filter paints what it withholds."]),
        ({"filtered": True}, {"black": True, "spread": 0.0, "sharpness": 0.0, "difference": 1.0}, []),
        ({}, {"sharpness": 0.5}, []),
        ({}, {"sharpness": 0.49}, ["It is blurred: its sharpness is 0.49; 0.50 is the least."]),
        ({}, {"sharpness": 0.31, "input_sharpness": 0.5}, []),
        (
            {},
            {"sharpness": 0.29, "input_sharpness": 0.5},
            ["It is blurred: its sharpness is 0.29; 0.30 is the least."],
        ),
        (
            {},
            {"sharpness": 0.29, "input_sharpness": None, "difference": None},
            ["It is blurred: its sharpness is 0.29; 0.50 is the least."],
        ),
        ({"min_sharpness": 0}, {"sharpness": 0.0}, []),
        ({"min_sharpness": 1.2}, {}, ["It is blurred: its sharpness is 1.00; 1.20 is the least."]),
        (
            {},
            {"difference": 0.019},
            ["It is not edited: its difference to the input is 0.019; 0.02 is the least."],
        ),
        ({"identical": True}, {"difference": 0.0}, []),
        ({"min_difference": 0}, {"difference": 0.0}, []),
        (
            {"min_difference": 0.4},
            {},
            ["It is not edited: its difference to the input is 0.300; 0.4 is the least."],
        ),
        (
            {},
            {"difference": 0.89},
            ["It shows something else: its difference to the input is 0.890; 0.88 is the most."],
        ),
        ({"max_difference": 1}, {"difference": 1.0}, []),
        (
            {"max_difference": 0.2},
            {},
            ["It shows something else: its difference to the input is 0.300; 0.2 is the most."],
        ),
        ({"max_difference": 0.2, "min_difference": 0.1}, {"difference": None}, []),
    ],
)
def test_each_bound_has_its_sentence(accept: dict[str, Any], changed: dict[str, Any], reasons: list[str]) -> None:
    assert verdict(replace(GOOD_MEASURES, **changed), Acceptance.checked(accept)) == reasons


def test_measures_are_small_json_numbers(tmp_path: Path) -> None:
    path = written(tmp_path, saved(photo("coffee.png"), "PNG"))
    alone, beside = measured(path, None).to_payload(), measured(path, path).to_payload()
    assert {name: beside[name] for name in alone} == alone
    assert (alone["format"], alone["width"], alone["height"], alone["black"]) == ("PNG", 600, 400, False)
    assert set(beside) - set(alone) == {"difference", "input_width", "input_height", "input_sharpness"}
    assert beside["difference"] == 0.0
    assert all(len(str(value)) <= 8 for value in beside.values())


def difference(tmp_path: Path, first: Image.Image, second: Image.Image) -> float:
    paths = [written(tmp_path, saved(image, "PNG"), name) for name, image in (("a", first), ("b", second))]
    found = measured(*paths).difference
    assert found is not None
    return found


def test_the_difference_grows_with_what_is_done_to_a_picture(tmp_path: Path) -> None:
    cup, engine = photo("coffee.png"), photo("motorcycle_left.png")
    mild, strong = (Image.blend(cup, ImageOps.posterize(ImageOps.invert(cup), 2), share) for share in (0.1, 0.9))
    steps = [difference(tmp_path, image, cup) for image in (cup, mild, strong, engine)]
    assert steps == sorted(steps)
    assert steps[0] == 0.0
    assert 0.02 < steps[1] < steps[2] < 0.88 < steps[3] <= 1.0


def test_a_negative_shows_the_same_thing(tmp_path: Path) -> None:
    cup = photo("coffee.png")
    assert difference(tmp_path, ImageOps.invert(cup), cup) < 0.6


@pytest.mark.parametrize(("apart", "likeness"), [(0, 1.0), (45, 0.0), (90, -1.0), (180, 1.0)])
@pytest.mark.parametrize("first", [0, 22, 45, 80])
def test_edges_are_alike_by_the_angle_between_them(first: int, apart: int, likeness: float) -> None:
    stripes = Image.new("L", (256, 256))
    stripes.putdata([128 + round(100 * math.sin(x / 8)) for _ in range(256) for x in range(256)])
    one, other = (
        Miniature.of(stripes.rotate(angle, Image.Resampling.BICUBIC).crop((64, 64, 192, 192)).convert("RGB"))
        for angle in (first, first + apart)
    )
    assert one.likeness_to(other) == pytest.approx(likeness, abs=0.15)


def test_what_stands_before_another_background_is_the_same_thing(tmp_path: Path) -> None:
    rocket, grass = photo("rocket.jpg"), photo("grass.png")
    mask = Image.new("L", rocket.size)
    ImageDraw.Draw(mask).ellipse((200, 130, 440, 300), fill=255)
    before = Image.composite(rocket, grass.resize(rocket.size), mask)
    assert difference(tmp_path, before, rocket) < 0.88
    assert difference(tmp_path, Image.composite(photo("coffee.png").resize(rocket.size), before, mask), rocket) > 0.88


def test_an_input_that_was_cut_to_the_asked_shape_is_still_the_input(tmp_path: Path) -> None:
    cup = photo("coffee.png")
    assert difference(tmp_path, ImageOps.fit(cup, (300, 300)), cup) < 0.02


def test_a_picture_without_edges_is_only_like_another_one(tmp_path: Path) -> None:
    white, black, cup = Image.new("RGB", (90, 60), "white"), Image.new("RGB", (90, 60)), photo("coffee.png")
    assert difference(tmp_path, white, white) == 0.0
    assert difference(tmp_path, white, black) == 1.0
    assert difference(tmp_path, white, cup) == 1.0


def test_sharpness_falls_with_each_blur_and_does_not_depend_on_the_size(tmp_path: Path) -> None:
    cup = photo("coffee.png")

    def sharpness(image: Image.Image) -> float:
        return measured(written(tmp_path, saved(image, "PNG")), None).sharpness

    found = [sharpness(cup.filter(ImageFilter.GaussianBlur(radius))) for radius in (0, 2, 4, 8)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 1
    assert found[2] < 0.5
    larger = cup.resize((1200, 800), Image.Resampling.LANCZOS)
    assert sharpness(larger) == pytest.approx(sharpness(cup), rel=0.1)


@pytest.mark.parametrize("name", pictures())
def test_every_encoding_can_be_measured(name: str, tmp_path: Path) -> None:
    found = measured(written(tmp_path, pictures()[name]), None)
    assert not found.is_empty


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16", "RGB", "RGBA", "LA", "CMYK"])
def test_one_colour_is_empty_in_every_mode(mode: str, tmp_path: Path) -> None:
    form = "JPEG" if mode == "CMYK" else "PNG"
    assert measured(written(tmp_path, saved(Image.new(mode, (64, 48)), form)), None).is_empty


def test_sixteen_bits_are_read_as_the_picture_that_they_are(tmp_path: Path) -> None:
    light = photo("coffee.png").convert("L")
    deep = Image.frombytes("I;16", light.size, b"".join(bytes((value, value)) for value in light.tobytes()))
    copy = seen(written(tmp_path, saved(deep, "PNG"))).copy.convert("L")
    expected = seen(written(tmp_path, saved(light, "PNG"))).copy.convert("L")
    pairs = zip(copy.tobytes(), expected.tobytes(), strict=True)
    assert max(abs(one - other) for one, other in pairs) <= 1


def test_a_white_shape_on_nothing_is_not_empty(tmp_path: Path) -> None:
    image = Image.new("RGB", (64, 64), "white")
    image.putalpha(painted((64, 64), "L"))
    assert not measured(written(tmp_path, saved(image, "PNG")), None).is_empty


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_picture_that_lies_on_its_side_is_measured_upright(form: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    cup = photo("coffee.png")
    lying = written(tmp_path, saved(cup.rotate(90, expand=True), form, exif=exif), "lying")
    found = measured(lying, written(tmp_path, saved(cup, "PNG"), "upright"))
    assert (found.width, found.height) == (600, 400)
    assert found.difference is not None
    assert found.difference < 0.02


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    with pytest.raises(TooManyPixels, match="4097x4096 pixels, more than the 16777216"):
        measured(written(tmp_path, png(4097, 4096, honest=False)), None)


def test_a_file_that_ends_early_behind_an_honest_head_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(DamagedImage, match="cannot be decoded"):
        measured(written(tmp_path, png(40, 30, honest=False)), None)


def test_the_input_must_be_an_image_too(tmp_path: Path) -> None:
    path = written(tmp_path, pictures()["png"])
    with pytest.raises(NotAnImage):
        measured(path, written(tmp_path, b"<html>", "original"))


STARTS = [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\x40\0\0\0WEBP", b"GIF89a", b""]
each_example = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


def never_crashes(data: bytes, tmp_path: Path) -> None:
    try:
        found = measured(written(tmp_path, data), None)
    except NotAnImage:
        return
    assert verdict(found, Acceptance()) == verdict(compared(seen(tmp_path / "file"), None), Acceptance())


@each_example
@given(start=st.sampled_from(STARTS), rest=st.binary(max_size=300))
def test_bytes_of_any_kind_are_measured_or_refused_and_nothing_else(start: bytes, rest: bytes, tmp_path: Path) -> None:
    never_crashes(start + rest, tmp_path)


@each_example
@given(name=st.sampled_from(sorted(pictures())), seed=st.integers(0, 10_000), flips=st.integers(1, 12))
def test_a_damaged_file_is_measured_or_refused_and_nothing_else(
    name: str, seed: int, flips: int, tmp_path: Path
) -> None:
    chance, data = random.Random(seed), bytearray(pictures()[name])
    for _ in range(flips):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    never_crashes(bytes(data), tmp_path)


def test_a_jpeg_that_was_cut_is_refused_at_every_size(tmp_path: Path) -> None:
    target = io.BytesIO()
    photo("coffee.png").resize((1800, 1200)).save(target, "JPEG", quality=90)
    whole = target.getvalue()
    for share in (0.1, 0.5, 0.9):
        with pytest.raises(NotAnImage):
            measured(written(tmp_path, whole[: round(len(whole) * share)]), None)
