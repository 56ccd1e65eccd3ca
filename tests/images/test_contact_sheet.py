"""The drawn sheet: where things stand, what is shown instead of a picture, and what never stops it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image, ImageChops

from airflow_imagepipeline.images.contact_sheet import FRAME, Cell, Mood, Page, Picture, Share, draw_sheet
from airflow_imagepipeline.images.inspection import TooManyPixels
from airflow_imagepipeline.images.lettering import drawable, fitted, width_of, wrapped
from airflow_imagepipeline.images.saving import EXTENSION_OF, LARGEST_FILE, save_small
from airflow_imagepipeline.images.thumbnail import thumbnail
from tests.doubles.pictures import painted, pictures, png, saved, written
from tests.memory import peak_of

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Page("The night", [Share(3, "landed", Mood.GOOD), Share(1, "failed", Mood.BAD)], "All of 4 inputs.")
CELL = Cell("cup.png", Mood.GOOD, "slowest", ["4.0 s"])
WHITE = "#ffffff"


def sheet(
    *cells: Cell, before: Picture = "no picture", after: Picture = "no picture", page: Page = PAGE
) -> Image.Image:
    return draw_sheet(page, cells, ((before, after) for _ in cells))


def changed(one: Image.Image, other: Image.Image) -> tuple[int, int, int, int]:
    """Return the box in which two sheets of one size differ."""
    assert one.size == other.size
    box = ImageChops.difference(one, other).getbbox()
    assert box is not None, "nothing differs"
    return box


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return written(tmp_path, saved(painted((640, 480)), "PNG"), "photo.png")


@pytest.mark.parametrize(("pairs", "columns", "rows"), [(1, 1, 1), (2, 2, 1), (8, 2, 4), (12, 3, 4), (24, 4, 6)])
def test_the_sheet_grows_by_columns_and_rows(pairs: int, columns: int, rows: int) -> None:
    def size(count: int) -> tuple[int, int]:
        return draw_sheet(Page("x"), [CELL] * count, [("a", "b")] * count).size

    (width, height), (card, one) = size(pairs), size(1)
    gap = 20
    assert width == columns * (card - 72 + gap) - gap + 72
    assert height - one == (rows - 1) * (14 + FRAME[1] + 12 + 27 + 21 + 10 + gap)


def test_the_same_is_drawn_the_same(photo: Path) -> None:
    one, other = (sheet(CELL, CELL, before=photo) for _ in range(2))
    assert one.tobytes() == other.tobytes()


def test_a_picture_stays_within_its_frame(photo: Path) -> None:
    left, top, right, bottom = changed(sheet(CELL, before=photo), sheet(CELL, before=""))
    assert (right - left, bottom - top) <= FRAME
    other = changed(sheet(CELL, after=photo), sheet(CELL, after=""))
    assert other[0] >= right


@pytest.mark.parametrize("long", ["word " * 80, "w" * 400, "s3://bucket/" + "folder/" * 60 + "name.png"])
def test_a_long_caption_stays_beside_its_badge_and_above_its_edge(long: str) -> None:
    plain = Cell("", Mood.GOOD, "slowest", ["a", "b", "c"])
    heading = changed(sheet(Cell(long, Mood.GOOD, "slowest", ["a", "b", "c"])), sheet(plain))
    badge = changed(sheet(plain), sheet(Cell("", Mood.GOOD, "", ["a", "b", "c"])))
    lines = changed(sheet(Cell("", Mood.GOOD, "slowest", [long, long])), sheet(plain))
    assert heading[2] <= badge[0]
    assert heading[3] <= lines[1] + 2
    assert lines[2] - lines[0] <= 2 * FRAME[0] + 26
    assert sheet(Cell("", Mood.GOOD, "", [long])).height == sheet(plain).height


def test_a_long_title_and_many_parts_do_not_widen_the_sheet() -> None:
    page = Page("title " * 100, [Share(12_345, f"of kind {number}", Mood.BAD) for number in range(9)], "footer " * 100)
    assert sheet(CELL, page=page).width == sheet(CELL).width


def test_rare_failures_are_seen_in_the_bar() -> None:
    page = Page("x", [Share(100_000, "landed", Mood.GOOD), Share(1, "failed", Mood.BAD)])
    bar = sheet(CELL, page=page).crop((0, 80, 590, 92))
    assert (0xD5, 0x54, 0x4A) in {colour for _, colour in bar.getcolors(10_000) or []}


def test_missing_pictures_say_why() -> None:
    said = changed(sheet(CELL, after="no image: the job failed"), sheet(CELL, after=""))
    assert said[0] > sheet(CELL).width // 2
    assert said[3] - said[1] < 20


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(png(40_000, 40_000, honest=False), id="a bomb"),
        pytest.param(png(4097, 4096, honest=False), id="more pixels than are decoded"),
        pytest.param(png(40, 30, honest=False), id="fewer pixels than the head says"),
        pytest.param(b"<svg/>", id="no image of a known format"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_what_cannot_be_shown_is_replaced_by_words(data: bytes, tmp_path: Path) -> None:
    before = written(tmp_path, data)
    found = sheet(CELL, before=before)
    assert changed(found, sheet(CELL, before=""))[2] < found.width // 2
    assert peak_of(lambda: sheet(CELL, before=before)) < 20_000_000


@pytest.mark.parametrize("size", [(4097, 4096), (40_000, 40_000)])
def test_a_picture_that_would_take_too_much_memory_is_not_decoded(size: tuple[int, int], tmp_path: Path) -> None:
    with pytest.raises(TooManyPixels):
        thumbnail(written(tmp_path, png(*size, honest=False)), FRAME, WHITE)


@pytest.mark.parametrize("name", pictures())
def test_every_format_is_shown(name: str, tmp_path: Path) -> None:
    small = thumbnail(written(tmp_path, pictures()[name]), FRAME, WHITE)
    assert (small.mode, len(small.getcolors(100_000) or []) > 2) == ("RGB", True)


def test_a_photo_is_shown_upright_and_whole(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    small = thumbnail(written(tmp_path, saved(painted((900, 300)), "JPEG", exif=exif)), FRAME, WHITE)
    assert (small.height, abs(small.width - FRAME[1] / 3) <= 1) == (FRAME[1], True)


def test_sixteen_bits_are_shown_as_light_as_they_are(tmp_path: Path) -> None:
    grey = Image.new("I;16", (40, 30), 60 * 257)
    assert thumbnail(written(tmp_path, saved(grey, "PNG")), FRAME, WHITE).getpixel((5, 5)) == (60, 60, 60)


def test_a_small_picture_is_not_enlarged(tmp_path: Path) -> None:
    assert thumbnail(written(tmp_path, png(40, 30)), FRAME, WHITE).size == (40, 30)


def test_a_transparent_picture_lies_on_paper(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (40, 30), (0, 0, 0, 0))
    assert thumbnail(written(tmp_path, saved(clear, "PNG")), FRAME, WHITE).getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Größe \N{EN DASH} 3\N{MULTIPLICATION SIGN}4 €", "Grosse - 3x4 EUR"),
        ("写真_01.png", "…_01.png"),
        ("🐈 cat", "… cat"),
        ("n\u0303andu\u0301", "nandu"),
        ("two\nlines\x00\x1b[31m", "two lines [31m"),
        ("\ud800half", "half"),
        ("\u202egnp.exe", "gnp.exe"),
        ("", ""),
    ],
)
def test_letters_that_the_font_does_not_have_are_replaced(text: str, shown: str) -> None:
    assert drawable(text) == shown
    assert sheet(Cell(text, Mood.BAD, text, [text, text]), before=text).height > 0


def test_words_are_broken_between_words_and_cut_by_an_ellipsis() -> None:
    lines = wrapped("one two three four five six seven", 15, 90, 2)
    assert (len(lines), lines[0].split(), lines[1][-1]) == (2, ["one", "two"], "…")
    assert all(width_of(line, 15) <= 90 for line in lines)
    assert fitted("short", 15, 90) == "short"
    assert wrapped("", 15, 90, 2) == []
    assert len(wrapped("x" * 50, 15, 4, 3)) == 3


def noise(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    for number in range(24):
        path = tmp_path / f"{number}.png"
        Image.effect_noise((480, 400), 200).convert("RGB").save(path)
        yield path, path


@pytest.mark.slow
@pytest.mark.parametrize("form", EXTENSION_OF)
def test_a_sheet_of_the_worst_pictures_fits_into_a_mail(form: str, tmp_path: Path) -> None:
    drawn = draw_sheet(PAGE, [CELL] * 24, noise(tmp_path))
    size = save_small(drawn, tmp_path / "sheet", form)
    with Image.open(tmp_path / "sheet") as image:
        assert (image.format, image.size) == (form.upper(), size)
    assert (tmp_path / "sheet").stat().st_size < LARGEST_FILE


def test_a_sheet_that_is_too_large_is_made_smaller_to_half_at_least(tmp_path: Path) -> None:
    drawn = sheet(CELL)
    assert save_small(drawn, tmp_path / "sheet", "jpeg", largest=1) == tuple(side // 2 for side in drawn.size)
    assert save_small(drawn, tmp_path / "sheet", "jpeg") == drawn.size


def test_a_pair_is_read_before_the_next_is_asked_for(photo: Path) -> None:
    def one_at_a_time() -> Iterator[tuple[Path, Path]]:
        for _ in range(3):
            photo.write_bytes(saved(painted((640, 480)), "PNG"))
            yield photo, photo
            photo.write_bytes(b"")

    drawn = draw_sheet(PAGE, [CELL] * 3, one_at_a_time())
    photo.write_bytes(saved(painted((640, 480)), "PNG"))
    assert drawn.tobytes() == sheet(*[CELL] * 3, before=photo, after=photo).tobytes()


def test_an_empty_sheet_has_its_words() -> None:
    assert sheet(page=Page("0 inputs", footer="There was no input.")).size[0] > 100
