"""Manifests are read a page at a time: filters, neighbours, changes, and the memory that ten thousand rows take."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from airflow_imagepipeline.contract.manifest import RowOutcome
from airflow_imagepipeline.plugins import manifests
from airflow_imagepipeline.plugins.manifests import PAGE, Manifest, Manifests
from airflow_imagepipeline.plugins.stored import NotReadable, Storage
from tests.doubles.pictures import painted, saved
from tests.plugins.conftest import job, row
from tests.plugins.memory import grown, marked

if TYPE_CHECKING:
    from tests.plugins.conftest import Tab

NESTED: Final = json.loads("[" * 400 + "]" * 400)
IMAGE: Final = {"uri": "s3://b/a.png", "sha256": "", "bytes": 1, "format": "PNG", "width": 1, "height": 1}


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage("aws_default", (tmp_path,))


def written(folder: Path, rows: list[str]) -> str:
    path = folder / "manifest.jsonl"
    path.write_text("".join(f"{line}\n" for line in rows))
    return f"file://{path}"


def lines(count: int) -> list[str]:
    return [json.dumps(row(index, "failed" if index % 10 == 3 else "landed")) for index in range(count)]


def opened(storage: Storage, folder: Path, rows: list[str]) -> Manifest:
    return Manifests().open(storage, written(folder, rows))


def test_pages_hold_all_rows_in_their_order(storage: Storage, tmp_path: Path) -> None:
    manifest = opened(storage, tmp_path, lines(100))
    pages = [manifest.page(number) for number in (1, 2, 3)]
    assert [line.place for page in pages for line in page.lines] == list(range(100))
    assert [line.row.index for page in pages for line in page.lines if line.row] == list(range(100))
    assert [(page.number, page.pages, page.total) for page in pages] == [(1, 3, 100), (2, 3, 100), (3, 3, 100)]
    assert manifest.page(99).number == 3
    assert manifest.page(-5).number == 1


def test_a_filter_keeps_the_places_of_the_rows(storage: Storage, tmp_path: Path) -> None:
    manifest = opened(storage, tmp_path, lines(1000))
    assert manifest.counts() == {RowOutcome.LANDED: 900, RowOutcome.FAILED: 100}
    pages = [manifest.page(number, RowOutcome.FAILED) for number in (1, 2, 3)]
    assert [line.place for page in pages for line in page.lines] == list(range(3, 1000, 10))
    assert manifest.page(1, RowOutcome.REUSED).lines == []


def test_neighbours_pass_the_filter_too(storage: Storage, tmp_path: Path) -> None:
    manifest = opened(storage, tmp_path, lines(30))
    assert manifest.beside(0) == (None, 1)
    assert manifest.beside(29) == (28, None)
    assert manifest.beside(13, RowOutcome.FAILED) == (3, 23)
    assert manifest.beside(3, RowOutcome.FAILED) == (None, 13)
    assert manifest.page_of(PAGE * 2) == 3


def test_lines_that_are_no_rows_are_counted_and_shown_as_such(storage: Storage, tmp_path: Path) -> None:
    rows = [lines(1)[0], "not json", "[" * 100_000, json.dumps({"index": 1}), "x" * 600_000, lines(1)[0]]
    manifest = opened(storage, tmp_path, rows)
    assert [manifest.row(place) is None for place in range(len(manifest))] == [False, True, True, True, True, False]


def test_an_empty_manifest_has_one_empty_page(storage: Storage, tmp_path: Path) -> None:
    page = opened(storage, tmp_path, []).page(1)
    assert (page.lines, page.pages) == ([], 1)


def test_a_manifest_that_changes_is_read_again(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Manifests()
    first = kept.open(storage, written(tmp_path, lines(10)))
    assert kept.open(storage, written(tmp_path, lines(20))) is first
    monkeypatch.setattr(manifests, "_TRUSTED", 0.0)
    assert len(kept.open(storage, written(tmp_path, lines(20)))) == 20
    again = kept.open(storage, f"file://{tmp_path}/manifest.jsonl")
    assert kept.open(storage, f"file://{tmp_path}/manifest.jsonl") is again


def test_a_manifest_of_the_same_size_is_told_from_the_one_before(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "_TRUSTED", 0.0)
    path = tab.task(tab.batch([row(0, "failed", reason="It was first.")]))
    assert "It was first." in tab.get(f"task/{path}").text
    tab.batch([row(0, "failed", reason="It was later.")])
    assert "It was later." in tab.get(f"task/{path}").text


def test_only_a_few_manifests_are_kept_and_their_files_are_closed(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(copies))
    before, kept = len(list(Path("/proc/self/fd").iterdir())), Manifests()
    for number in range(40):
        folder = tmp_path / str(number)
        folder.mkdir()
        kept.open(storage, written(folder, lines(2)))
    assert len(list(Path("/proc/self/fd").iterdir())) - before <= 9
    assert list(copies.iterdir()) == []


def test_a_manifest_with_too_many_rows_is_refused(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifests, "_MOST_ROWS", 5)
    with pytest.raises(NotReadable, match="more than 5 rows"):
        opened(storage, tmp_path, lines(6))


def test_a_copy_on_disk_serves_no_task_of_other_rights(storage: Storage, tmp_path: Path) -> None:
    kept, uri = Manifests(), written(tmp_path, lines(3))
    kept.open(storage, uri)
    with pytest.raises(NotReadable):
        kept.open(Storage("aws_default"), uri)


PAGING = """
import sys
import tempfile
from pathlib import Path
from airflow_imagepipeline.plugins.manifests import Manifests
from airflow_imagepipeline.plugins.stored import Storage
from airflow_imagepipeline.plugins.tiles import tile_of
from tests.plugins.memory import grown, marked

storage, kept, seen = Storage("aws_default", (Path(sys.argv[1]),)), Manifests(), 0
before = marked()
for number in range(1, 300):
    page = kept.open(storage, f"file://{sys.argv[1]}/manifest.jsonl").page(number)
    seen += len([tile_of(line) for line in page.lines if number <= page.pages])
print(seen, grown(before))
"""


@pytest.mark.slow
def test_paging_through_ten_thousand_rows_takes_little_memory(tmp_path: Path) -> None:
    image = {"uri": "s3://bucket/" + "x" * 60, "sha256": "a" * 64, "bytes": 1, "format": "PNG", "width": 1, "height": 1}
    written(tmp_path, [json.dumps(row(index, "landed", image, reason="because " * 20)) for index in range(10_000)])
    done = subprocess.run(  # noqa: S603 - this interpreter, a literal program
        [sys.executable, "-c", PAGING, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
        cwd=Path(__file__).parents[2],
    )
    seen, grown = map(int, done.stdout.splitlines()[-1].split())
    assert seen == 10_000
    assert grown < 16 * 1024, f"{grown} kB"


@pytest.mark.slow
def test_the_first_page_of_ten_thousand_images_is_under_a_megabyte(tab: Tab) -> None:
    looks = [saved(painted((1024, 1024 - number)).rotate(number * 7), "JPEG", quality=92) for number in range(PAGE)]
    images = [tab.image(f"results/{number}.jpg", look) for number, look in enumerate(looks)]
    path = tab.task(tab.batch([row(index, "landed", images[index % PAGE]) for index in range(10_000)]))
    page = tab.get(f"task/{path}")
    assert page.text.count('class="tile"') == PAGE
    assert "10,000" in page.text
    statics = sum(len(tab.get(f"static/{name}").content) for name in ("images.css", "images.js", "theme.js"))
    small = [len(tab.get(f"thumbnail/{path}/{place}/0").content) for place in range(PAGE)]
    assert len(page.content) + statics + sum(small) < 1_000_000
    assert page.text.count('loading="lazy"') == PAGE


@pytest.mark.slow
def test_the_peak_of_the_server_stays_low_while_thumbnails_are_made(tab: Tab) -> None:
    path = tab.task(
        job(*(tab.image(f"results/big-{n}.png", saved(painted((2000 + n, 2000)), "PNG")) for n in range(4)))
    )
    tab.get(f"thumbnail/{path}/job/0")
    before = marked()
    for number in range(1, 4):
        assert tab.get(f"thumbnail/{path}/job/{number}").status_code == 200
    assert grown(before) < 64 * 1024


def test_a_batch_shows_its_filters_and_leads_back_to_the_page_of_a_row(tab: Tab) -> None:
    image = tab.image()
    rows = [
        row(index, "failed", reason="too dark") if index % 2 else row(index, "landed", image) for index in range(120)
    ]
    path = tab.task(tab.batch(rows))
    page = tab.get(f"task/{path}?outcome=failed&page=2").text
    assert "Failed <b>60</b>" in page
    assert page.count('class="tile"') == 60 - PAGE
    assert "too dark" in page
    one = tab.get(f"task/{path}/rows/99?outcome=failed").text
    assert 'href="97?outcome=failed"' in one
    assert 'href="101?outcome=failed"' in one
    assert "outcome=failed&amp;page=2#row-99" in one
    assert tab.get(f"task/{path}?outcome=nonsense&page=zzz").status_code == 200


@pytest.mark.parametrize(
    "odd",
    [
        {"input": {"a": 1}}, {"reason": 5}, {"images": [{"uri": 5}]}, {"timings": [1]}, {"checks": "x"},
        {"index": "one"}, {"attempts": None}, {"images": 7}, {"cost": {"cost_usd": "x" * 10}}, {"timings": {"a": "b"}},
        {"outcome": "other"}, {"job_id": ["x"]}, {"timings": {"landed_at": float("inf")}}, {"checks": {"a": NESTED}},
        {"images": [{**IMAGE, "bytes": 10**400}]}, {"cost": {"cost_usd": 10**400}}, {"attempts": 10**400},
    ],
)  # fmt: skip
def test_an_odd_row_does_not_hide_the_page_that_it_is_on(tab: Tab, odd: dict[str, object]) -> None:
    good = row(0, "landed", tab.image())
    path = tab.task({**tab.batch([good, {**row(1, "failed"), **odd}, good]), "counts": {}})
    page = tab.get(f"task/{path}")
    assert page.text.count('class="tile"') == 3
    assert tab.get(f"task/{path}/rows/1").status_code == 200
