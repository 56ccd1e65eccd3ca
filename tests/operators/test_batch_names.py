"""What a batch calls its files: no name of a row replaces what another row relies on, nor what the batch keeps."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import Any, Final

import pytest
from PIL import Image

from airflow_imagepipeline.exceptions import BatchFailed, SubmissionRefused
from tests.doubles.pictures import picture, saved
from tests.generations import only_current, only_old
from tests.operators.nights import Nights, counts
from tests.operators.test_batch_money import CANNED, ends_badly, nothing_lands
from tests.running import PROMPT, fails_with

pytestmark = pytest.mark.usefixtures("generation", "quick")

BLACK: Final = saved(Image.new("RGB", (40, 30)), "PNG")


def filtered(nights: Nights, rows: list[dict[str, Any]]) -> None:
    """Run a night whose image the vendor withholds."""
    with pytest.MonkeyPatch.context() as vendor, fails_with(BatchFailed, "1 filtered"):
        vendor.setattr(CANNED, lambda _: (BLACK,))
        nights.run("n1", rows)


@only_current
@pytest.mark.parametrize("new_row", [0, 2], ids=["before", "behind"])
def test_a_picture_that_is_reused_is_not_replaced_by_that_of_another_row(
    nights: Nights, monkeypatch: pytest.MonkeyPatch, new_row: int
) -> None:
    numbers = itertools.count()
    monkeypatch.setattr(CANNED, lambda _: (picture(next(numbers)),))
    old, rows = nights.rows(2), nights.rows(3)
    assert counts(nights.run("n1", old, overwrite=True)) == {"landed": 2}
    new = {**rows[2], "sku": "s0"}
    moved = [{**row, "sku": f"t{i}"} for i, row in enumerate(old)]
    inputs = [*moved[:new_row], new, *moved[new_row:]]

    with fails_with(BatchFailed, "1 of 3 rows are invalid", "replace", "file_stem must go with the input"):
        nights.run("n2", inputs, overwrite=True)
    assert nights.paid == 0

    summary = nights.run("n3", inputs, overwrite=True, on_invalid_row="skip")
    told = [row for row in nights.manifest(summary) if row["outcome"] in {"landed", "reused"}]
    assert len(told) == 2
    for row in told:
        content = Path(row["uri"].removeprefix("file://")).read_bytes()
        assert hashlib.sha256(content).hexdigest() == row["sha256"]


@only_current
@pytest.mark.parametrize(
    ("stem", "ledger"),
    [
        ("_imagepipeline/lease/x", None),
        ("_ImagePipeline/segments/x", None),
        ("_manifests/x", None),
        ("rejected/x", None),
        ("state/of/all/snapshots/x", "state/of/all"),
    ],
)
def test_no_row_puts_its_files_where_the_batch_keeps_its_own(nights: Nights, stem: str, ledger: str | None) -> None:
    rows = nights.rows(2)
    usual: dict[str, Any] = {"ledger": ledger and f"file://{nights.folder}/{ledger}"}
    mean = [rows[0], {**rows[1], "sku": stem}]

    with fails_with(BatchFailed, "row 1: file_stem", "where the batch keeps its own files"):
        nights.run("n1", mean, **usual)

    assert nights.paid == 0
    assert counts(nights.run("n2", rows, **usual)) == {"landed": 2}


@only_old
def test_a_blank_image_is_replaced_although_the_job_between_failed(nights: Nights) -> None:
    rows = nights.rows(1)
    filtered(nights, rows)
    nights.settings.fail_next = ["MODEL_ERROR"]
    with ends_badly("1 failed"):
        nights.clear(rows)

    assert counts(nights.run("n2", rows)) == {"landed": 1}
    assert (nights.folder / "s0-00.png").read_bytes() != BLACK


@only_old
def test_a_blank_image_whose_place_other_work_has_taken_is_not_replaced(nights: Nights) -> None:
    rows = nights.rows(1)
    filtered(nights, rows)
    nights.settings.fail_next = ["MODEL_ERROR"]
    with ends_badly("1 failed"):
        nights.clear(rows)
    others = nights.run("n2", nights.rows(1, s0="new"), overwrite=True)
    assert counts(others) == {"landed": 1}

    with fails_with(BatchFailed, "s0 exists in", "from other work"):
        nights.run("n3", rows)
    assert nights.paid == 0


@only_old
def test_a_job_that_is_taken_up_under_another_name_replaces_nobodys_file(nights: Nights) -> None:
    rows = nights.rows(1)
    filtered(nights, rows)
    with nothing_lands(), ends_badly("1 failed"):
        nights.clear(rows)
    (nights.folder / "mine-00.png").write_bytes(b"mine")

    with ends_badly("1 failed", "exists with other bytes"):
        nights.run("n2", rows, file_stem="mine")
    assert (nights.folder / "mine-00.png").read_bytes() == b"mine"


@only_current
def test_what_a_night_has_made_is_no_input_of_the_next(nights: Nights, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(2):
        (photos / f"photo-{number}.png").write_bytes(picture(number))
    usual: dict[str, Any] = {"upload_inputs": True, "file_stem": "{name}", "request": {"prompt": PROMPT}}
    within = {**usual, "destination": f"file://{photos}/edited"}
    assert counts(nights.run("n1", f"file://{photos}/", **within)) == {"landed": 2}

    assert counts(nights.run("n2", f"file://{photos}/", **within)) == {"reused": 2}
    assert counts(nights.run("n3", f"file://{photos}/**", **within)) == {"reused": 2}
    with fails_with(SubmissionRefused, "is the destination, too", "give another destination"):
        nights.run("n4", f"file://{photos}/", **usual, destination=f"file://{photos}")
    assert nights.paid == 0


def catalogue(root: Path, *names: str) -> str:
    """Put photos into a folder, each of other bytes, and return its address."""
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture(number))
    return f"file://{root}/"


BY_NAME: Final[dict[str, Any]] = {
    "upload_inputs": True,
    "overwrite": True,
    "file_stem": "{name}",
    "request": {"prompt": PROMPT, "output_format": "png"},
    "on_invalid_row": "skip",
}


@only_current
@pytest.mark.real_input("A2")
@pytest.mark.parametrize(
    ("first", "second"),
    [("sku1/front.png", "sku2/front.png"), ("cup.jpg", "cup.png"), ("a/Sofa \u00c4.png", "b/sofa A\u0308.png")],
)
def test_a_picture_is_never_replaced_by_that_of_another_input(
    nights: Nights, tmp_path: Path, first: str, second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = itertools.count()
    monkeypatch.setattr(CANNED, lambda _: (picture(next(numbers)),))
    folder = catalogue(tmp_path / "photos", first, second)
    one, other = nights.manifest(nights.run("n1", folder, **BY_NAME))
    assert (one["outcome"], other["outcome"]) == ("landed", "invalid")
    assert first in other["reason"]
    landed = Path(one["uri"].removeprefix("file://"))
    content = landed.read_bytes()

    (tmp_path / "photos" / first).unlink()
    with fails_with(BatchFailed, "1 invalid"):
        nights.run("n2", folder, **BY_NAME)
    (other,) = nights.manifest()
    assert "is the picture of another input (row 0 of _manifests/n1-" in other["reason"]
    assert (nights.paid, landed.read_bytes()) == (0, content)

    # Its own input, of other bytes, may replace it; and when it is gone, the name is free.
    (tmp_path / "photos" / first).write_bytes(picture(7))
    (tmp_path / "photos" / second).unlink()
    assert counts(nights.run("n3", folder, **BY_NAME)) == {"landed": 1}
    assert landed.read_bytes() != content
    (tmp_path / "photos" / first).rename(tmp_path / "photos" / second)
    landed.unlink()
    assert counts(nights.run("n4", folder, **BY_NAME)) == {"landed": 1}


@only_current
@pytest.mark.real_input("A2")
def test_a_picture_stays_its_inputs_after_a_redo_that_brought_none(nights: Nights, tmp_path: Path) -> None:
    one, other = (catalogue(tmp_path / name, f"{name}/cup.png") for name in ("a", "b"))
    recipe = {**BY_NAME, "on_invalid_row": "fail"}
    with pytest.MonkeyPatch.context() as vendor, fails_with(BatchFailed, "1 filtered"):
        vendor.setattr(CANNED, lambda _: (BLACK,))
        nights.run("n1", one, **recipe)
    nights.settings.fail_next = ["MODEL_ERROR"]
    with ends_badly("1 failed"):
        nights.clear(one, **recipe)
    with fails_with(BatchFailed, "is the picture of another input"):
        nights.run("n2", other, **recipe)
    assert nights.paid == 0
    assert (nights.folder / "cup-00.png").read_bytes() == BLACK


@only_current
@pytest.mark.real_input("A2")
def test_who_names_a_picture_by_a_column_says_himself_whose_it_is(nights: Nights) -> None:
    (row,) = nights.rows(1)
    assert counts(nights.run("n1", [row])) == {"landed": 1}
    moved = [{**row, "input_image": f"{nights.emulator.url}/photos/of-today/0.png"}]
    assert counts(nights.run("n2", moved, overwrite=True)) == {"landed": 1}
    assert nights.images() == ["s0-00.png"]


@only_current
@pytest.mark.real_input("A1", "A3", "A9")
def test_names_as_people_have_them_are_kept(nights: Nights, tmp_path: Path) -> None:
    names = [
        "Größe XL.jpg",
        "Обувь 5.jpg",
        "红色杯子.jpg",
        "So\u0308fa.jpg",
        "a/IMG_0001.jpg",
        "b/IMG_0001.jpg",
        "s [new]/x.jpg",
    ]
    folder = catalogue(tmp_path / "photos", *names)
    recipe = {**BY_NAME, "file_stem": "{path}", "on_invalid_row": "fail"}
    assert counts(nights.run("n1", folder, **recipe)) == {"landed": len(names)}
    landed = {str(file.relative_to(nights.folder)) for file in nights.folder.rglob("*-00.png")}
    assert landed == {f"{name.removesuffix('.jpg')}-00.png".replace("o\u0308", "ö") for name in names}
    assert counts(nights.run("n2", folder, **recipe)) == {"reused": len(names)}
