"""Which rows go on a contact sheet, and what is fetched for them."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from airflow_imagepipeline.contract.errors import InvalidParameters
from airflow_imagepipeline.contract.manifest import GOOD, ManifestRow, RowOutcome
from airflow_imagepipeline.contract.result import LandedImage
from airflow_imagepipeline.contract.sidecar import InputImage, Sidecar
from airflow_imagepipeline.landing.contact_pictures import PATIENCE, Pictures, completed
from airflow_imagepipeline.landing.contact_sheet import _facts, make_contact_sheet, manifest_rows, put_sheet
from airflow_imagepipeline.policy.contact_sheet import Choice, chosen
from airflow_imagepipeline.storage.folder import AlreadyThere, StorageFailed
from tests.doubles.pictures import picture
from tests.memory import peak_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.landing.conftest import Store

BAD = [outcome for outcome in RowOutcome if outcome not in GOOD]


def row(index: int = 0, outcome: RowOutcome = RowOutcome.LANDED, **fields: Any) -> ManifestRow:
    return ManifestRow(**{"index": index, "input": f"s3://bucket/photos/{index}.png", "outcome": outcome, **fields})


def night(count: int) -> Iterator[ManifestRow]:
    """Yield a night in which one in a hundred goes wrong, in every way in turn, and one row is each extreme."""
    for index in range(count):
        if index % 100 == 7:
            yield row(index, BAD[index // 100 % len(BAD)], reason="It did not work.")
        else:
            took, cost = (900.0 if index == 1234 else 4.0 + index % 7), (9.0 if index == 2345 else 0.04)
            difference = {3456: 0.99, 4567: 0.0}.get(index, 0.5)
            yield row(
                index,
                cost={"cost_usd": cost},
                timings={"submitted_at": 100.0, "landed_at": 100.0 + took},
                checks={"difference": difference},
            )


def outcomes(choice: Choice) -> list[RowOutcome]:
    return [pick.row.outcome for pick in choice.picks]


def remarks(choice: Choice) -> dict[int, str]:
    return {pick.row.index: pick.remark for pick in choice.picks if pick.remark}


@pytest.mark.parametrize("n", [14, 24])
def test_every_kind_of_failure_and_every_extreme_is_there(n: int) -> None:
    choice = chosen(night(10_000), n, seed="x")
    assert len(choice.picks) == n
    assert set(outcomes(choice)) == {RowOutcome.LANDED, *BAD}
    assert remarks(choice) == {1234: "slowest", 2345: "dearest", 3456: "most changed", 4567: "least changed"}
    assert (choice.total, choice.counts[RowOutcome.LANDED]) == (10_000, 9_900)


def test_failures_take_no_more_than_half_where_successes_abound() -> None:
    for n in range(2, 30):
        wrong = [outcome for outcome in outcomes(chosen(night(2_000), n, seed="x")) if outcome not in GOOD]
        assert 1 <= len(wrong) <= n // 2


def test_ten_thousand_rows_are_chosen_from_in_bounded_memory() -> None:
    few = peak_of(lambda: chosen(night(5_000), 6, seed="x"))
    many = peak_of(lambda: chosen(night(10_000), 6, seed="x"))
    assert many < few * 1.3 < 300_000


def test_the_same_rows_and_seed_give_the_same_choice() -> None:
    one, same, other = (chosen(night(1_000), 12, seed=seed) for seed in ("a", "a", "b"))
    assert one == same
    assert one.picks != other.picks


def test_each_success_has_the_same_chance() -> None:
    seen = [0] * 10
    for seed in range(2_000):
        for pick in chosen([row(index) for index in range(10)], 3, seed=str(seed)).picks:
            seen[pick.row.index] += 1
    assert all(500 < count < 700 for count in seen)


@pytest.mark.parametrize(
    ("counts", "n", "expected"),
    [
        ({"landed": 3}, 12, {"landed": 3}),
        ({"landed": 3, "failed": 50}, 12, {"landed": 3, "failed": 9}),
        ({"landed": 50, "failed": 1}, 12, {"landed": 11, "failed": 1}),
        ({"failed": 20, "over_budget": 20}, 6, {"failed": 5, "over_budget": 1}),
        ({"over_budget": 20}, 6, {"over_budget": 6}),
        ({"landed": 5, "failed": 5}, 1, {"landed": 1}),
        ({"landed": 50, "over_budget": 50}, 12, {"landed": 11, "over_budget": 1}),
        ({}, 12, {}),
    ],
)
def test_places_that_one_side_does_not_need_go_to_the_other(
    counts: dict[str, int], n: int, expected: dict[str, int]
) -> None:
    rows = [row(number, RowOutcome(name)) for name, count in counts.items() for number in range(count)]
    found = outcomes(chosen(rows, n, seed="x"))
    assert {name: found.count(RowOutcome(name)) for name in expected} == expected
    assert len(found) == sum(expected.values())


def test_what_went_well_comes_first_in_the_order_of_the_inputs() -> None:
    choice = chosen([row(2), row(1, RowOutcome.FAILED), row(0), row(3, RowOutcome.FILTERED)], 12, seed="x")
    assert [pick.row.index for pick in choice.picks] == [0, 2, 1, 3]


def test_where_all_are_alike_there_is_no_extreme() -> None:
    alike = [row(index, cost={"credits_amount": 1}, checks={"difference": True}) for index in range(5)]
    assert remarks(chosen(alike, 12, seed="x")) == {}


def image(store: Store, name: str, data: bytes) -> LandedImage:
    store.write(name, data)
    return LandedImage(f"{store.uri}/{name}", hashlib.sha256(data).hexdigest(), len(data), "PNG", 40, 30)


def manifest(store: Store, *rows: ManifestRow) -> str:
    store.write("manifest.jsonl", "".join(f"{one.to_line()}\n" for one in rows).encode())
    return f"{store.uri}/manifest.jsonl"


def make(uri: str, store: Store, name: str = "sheet.png", n: int = 12) -> str:
    return make_contact_sheet(
        uri, destination=store.folder(), name=name, n=n, aws_conn_id="aws_test", title="The night"
    )


@pytest.fixture(params=["on_disk", "on_s3"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize(("name", "form"), [("a/sheet.jpg", "JPEG"), ("sheet.png", "PNG"), ("sheet.webp", "WEBP")])
def test_a_manifest_becomes_a_sheet_in_storage(store: Store, tmp_path: Path, name: str, form: str) -> None:
    store.write("before.png", picture())
    good = row(0, input=f"{store.uri}/before.png", images=(image(store, "after.png", picture(3)),), seed=7)
    uri = make(manifest(store, good, row(1, RowOutcome.FAILED, reason="It failed.", reason_code="X")), store, name)
    assert uri == f"{store.uri}/{name}"
    (tmp_path / "sheet").write_bytes(store.files[name])
    with Image.open(tmp_path / "sheet") as sheet:
        assert (sheet.format, sheet.width > 1000) == (form, True)


def test_a_sheet_made_again_has_the_same_bytes_and_replaces_another(on_disk: Store) -> None:
    uri = manifest(on_disk, row(0), row(1, RowOutcome.FILTERED))
    make(uri, on_disk)
    first = on_disk.files["sheet.png"]
    make(uri, on_disk)
    assert on_disk.files["sheet.png"] == first
    make(manifest(on_disk, row(0)), on_disk)
    assert on_disk.files["sheet.png"] != first
    options: dict[str, Any] = {"name": "sheet.png", "n": 3, "aws_conn_id": None, "title": None, "overwrite": False}
    with pytest.raises(AlreadyThere):
        put_sheet([row(0), row(1)], destination=on_disk.folder(), **options)


@pytest.mark.parametrize(
    "line",
    ['{"index": 1}', "no JSON", "[" * 100_000,
     '{"outcome": "landed", "index": 1, "input": "a", "cost": {"cost_usd": "x"}}',
     '{"outcome": "landed", "index": 1, "input": "a", "timings": []}',
     '{"outcome": "landed", "index": 1, "input": null}'],
    ids=["no outcome", "no JSON", "too deep", "a price in words", "no mapping", "no address"],
)  # fmt: skip
def test_a_line_that_is_no_row_is_named(on_disk: Store, line: str) -> None:
    on_disk.write("manifest.jsonl", f"{row(0).to_line()}\n\n{line}\n".encode())
    with pytest.raises(InvalidParameters, match=r"line 3 of file://.* is no row"):
        list(manifest_rows(f"{on_disk.uri}/manifest.jsonl", None))


def test_a_manifest_that_is_not_there_is_a_failure_of_storage(on_disk: Store) -> None:
    with pytest.raises(StorageFailed):
        make(f"{on_disk.uri}/none.jsonl", on_disk)


@pytest.mark.parametrize(("name", "n"), [("sheet.gif", 3), ("sheet", 3), ("sheet.png", 0), ("sheet.png", 61)])
def test_a_name_or_number_that_makes_no_sense_is_refused(on_disk: Store, name: str, n: int) -> None:
    with pytest.raises(InvalidParameters, match="1 to 60 pairs"):
        make(manifest(on_disk, row(0)), on_disk, name, n)


def test_an_empty_manifest_makes_a_sheet_that_says_so(on_disk: Store) -> None:
    assert make(manifest(on_disk), on_disk).endswith("/sheet.png")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("https://example.org/a.png?token=secret", "the input is a link"),
        ("gs://bucket/a.png", "not shown: it is neither on s3:// nor on file://"),
        ("", "the input is not known"),
        ("/nowhere/a.png", "it could not be read from storage"),
        ("s3://no-such-bucket-here/a.png", "it could not be read from storage"),
        ("s3://", "it could not be read from storage"),
    ],
)
def test_an_input_that_is_not_shown_is_explained(
    on_s3: Store, tmp_path: Path, address: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert Pictures(tmp_path, "aws_test").pair(row(input=address))[0] == words
    assert "secret" not in caplog.text
    assert on_s3.moto is not None


@pytest.mark.parametrize("outcome", RowOutcome)
def test_a_row_without_an_image_says_what_became_of_it(outcome: RowOutcome, tmp_path: Path) -> None:
    words = Pictures(tmp_path, None).pair(row(input="", outcome=outcome))[1]
    assert isinstance(words, str)
    assert words


def test_a_black_image_and_a_huge_one_are_not_fetched(tmp_path: Path) -> None:
    landed = LandedImage("file:///nowhere/a.png", "0" * 64, 10, "PNG", 40, 30)
    pictures = Pictures(tmp_path, None)
    withheld = pictures.pair(row(input="", outcome=RowOutcome.FILTERED, images=(landed,)))[1]
    huge = pictures.pair(row(input="", images=(dataclasses.replace(landed, bytes=10**8),)))[1]
    assert (withheld, huge) == (
        "withheld by the safety filter: it came back of one colour",
        "too large to be shown here",
    )


def test_a_storage_that_hardly_answers_does_not_hold_up_the_sheet(tmp_path: Path, on_disk: Store) -> None:
    now = [0.0]
    good = row(input=image(on_disk, "a.png", picture()).uri)
    pictures = Pictures(tmp_path, None, clock=lambda: now[0])
    assert isinstance(pictures.pair(good)[0], Path)
    now[0] = PATIENCE + 1
    assert pictures.pair(good)[0] == "not shown: the storage was too slow"


def sidecar(file: str, sha256: str) -> Sidecar:
    return Sidecar(
        file=file, sha256=sha256, bytes=10, format="PNG", width=40, height=30, api="edit/image/v1", job_id="job-1",
        seed=7, submitted_at=100.0, landed_at=104.5, fingerprint=None, request={"prompt": "a lighthouse"},
        inputs=[InputImage("s3://bucket/photos/cup.png")], cost={"cost_usd": 0.04}, checks={"difference": 0.4},
        dag_id=None, run_id=None, task_id=None, map_index=None, package="x 1",
    )  # fmt: skip


def test_the_sidecar_says_what_a_result_was_made_from(store: Store, tmp_path: Path) -> None:
    landed = image(store, "after.png", picture())
    store.write("after.png.json", sidecar("after.png", landed.sha256).to_text().encode())
    bare = row(input="", images=(landed,))
    found = completed(bare, Pictures(tmp_path, "aws_test").sidecar(bare))
    assert (found.input, found.seed, found.cost) == ("s3://bucket/photos/cup.png", 7, {"cost_usd": 0.04})
    assert found.timings == {"submitted_at": 100.0, "landed_at": 104.5}


@pytest.mark.parametrize("content", [None, b"{}", b"no JSON"], ids=["none", "another", "broken"])
def test_without_a_sidecar_the_row_stays_as_it_is(on_disk: Store, tmp_path: Path, content: bytes | None) -> None:
    bare = row(input="", images=(image(on_disk, "after.png", picture()),))
    if content is not None:
        on_disk.write("after.png.json", content)
    pictures = Pictures(tmp_path, None)
    assert completed(bare, pictures.sidecar(bare)) is bare
    assert pictures.sidecar(row()) is None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"timings": {"submitted_at": 1.0, "finished_at": 313.0}, "cost": {"credits_amount": 2}},
            "5 min 12 s, 2 credits",
        ),
        ({"cost": {"cost_usd": 0.04, "credits_amount": 1}, "checks": {"difference": 0.123}}, "$0.040, difference 0.12"),
        ({"timings": {"submitted_at": 1.0, "landed_at": 5.25, "finished_at": 3.0}, "seed": 0}, "4.2 s, seed 0"),
        ({}, ""),
    ],
)
def test_the_caption_names_what_is_known(fields: dict[str, Any], said: str) -> None:
    assert ", ".join(_facts(row(**fields))) == said
