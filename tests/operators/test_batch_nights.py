"""The second night: what is paid for again, and what is not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from airflow_imagepipeline.exceptions import BatchFailed
from tests.doubles.pictures import picture, saved
from tests.generations import only_current, only_old
from tests.operators.nights import Nights, assert_complete, counts
from tests.running import fails_with, in_task_modes

if TYPE_CHECKING:
    from tests.doubles.moto_server import Moto

pytestmark = pytest.mark.usefixtures("generation")


@in_task_modes
def test_the_second_night_pays_for_what_has_changed_and_nothing_else(nights: Nights) -> None:
    rows = nights.rows(6)
    if nights.mode == "triggerer":
        # Longer than a loaded machine takes to submit them all: then it is worth giving up the worker.
        nights.settings.job_seconds = 0.6
    first = nights.run("n1", rows)
    assert (nights.starts > 1) == (nights.mode == "triggerer")
    assert (counts(first), nights.paid) == ({"landed": 6}, 6)
    assert_complete(nights.manifest(first), first)
    assert nights.images() == sorted(f"s{i}-00.png" for i in range(6))

    second = nights.run("n2", rows)
    assert (counts(second), nights.paid) == ({"reused": 6}, 0)
    assert [row["uri"] for row in nights.manifest(second)] == [row["uri"] for row in nights.manifest(first)]

    changed = nights.rows(6, s3="new", s5="new")
    planned = nights.run("n3", changed, plan_only=True, overwrite=True)
    assert (planned["new"], planned["reused"], nights.paid) == (2, 4, 0)
    third = nights.run("n3", changed, overwrite=True)
    assert (counts(third), nights.paid) == ({"reused": 4, "landed": 2}, 2)


@only_old
def test_a_photo_that_is_replaced_on_s3_is_the_only_one_that_is_paid(nights: Nights, bucket: str, moto: Moto) -> None:
    for i in range(3):
        moto.s3.put_object(Bucket=bucket, Key=f"in/p{i}.png", Body=picture(i))
    usual: dict[str, Any] = {"file_stem": "{name}", "destination": f"s3://{bucket}/out", "overwrite": True}
    usual["request"] = {"prompt": "nice"}
    assert counts(nights.run("n1", f"s3://{bucket}/in/*.png", **usual)) == {"landed": 3}

    moto.s3.put_object(Bucket=bucket, Key="in/p2.png", Body=picture(77))
    planned = nights.run("n2", f"s3://{bucket}/in/*.png", plan_only=True, **usual)
    second = nights.run("n2", f"s3://{bucket}/in/*.png", **usual)

    assert (planned["new"], counts(second), nights.paid) == (1, {"landed": 1, "reused": 2}, 1)


@only_current
def test_a_file_whose_bytes_have_changed_is_the_only_one_that_is_paid(nights: Nights, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(3):
        (photos / f"p{i}.png").write_bytes(picture(i))
    usual: dict[str, Any] = {"file_stem": "{name}", "upload_inputs": True, "overwrite": True}
    usual["request"] = {"prompt": "nice"}
    assert counts(nights.run("n1", f"file://{photos}", **usual)) == {"landed": 3}

    (photos / "p1.png").write_bytes(picture(9))
    assert counts(nights.run("n2", f"file://{photos}", **usual)) == {"landed": 1, "reused": 2}
    assert nights.paid == 1


@only_current
def test_a_result_that_was_deleted_is_made_again(nights: Nights) -> None:
    rows = nights.rows(3)
    nights.run("n1", rows)
    (nights.folder / "s2-00.png").unlink()

    second = nights.run("n2", rows)

    assert (counts(second), nights.paid) == ({"reused": 2, "landed": 1}, 1)
    assert len(nights.images()) == 3


@only_old
def test_a_result_that_other_work_has_overwritten_is_made_again(nights: Nights) -> None:
    rows, other = nights.rows(3), nights.rows(3, s1="new")
    nights.run("n1", rows)
    nights.run("n2", other, overwrite=True)
    assert nights.paid == 1

    with fails_with(BatchFailed, "s1 exists in", "from other work"):
        nights.run("n3", rows)
    assert nights.paid == 0

    assert counts(nights.run("n4", rows, overwrite=True)) == {"reused": 2, "landed": 1}
    assert nights.paid == 1


@only_current
def test_a_file_of_somebody_else_is_not_paid_for_and_not_overwritten(nights: Nights) -> None:
    nights.folder.mkdir()
    (nights.folder / "s1-00.png").write_bytes(b"mine")

    summary = nights.run("n1", nights.rows(3), on_invalid_row="skip")

    assert (counts(summary), nights.paid) == ({"landed": 2, "invalid": 1}, 2)
    assert (nights.folder / "s1-00.png").read_bytes() == b"mine"


@only_old
def test_a_stem_that_is_renamed_pays_for_nothing(nights: Nights) -> None:
    rows = nights.rows(3)
    first = nights.run("n1", rows)

    second = nights.run("n2", rows, file_stem="renamed-{sku}")

    assert (counts(second), nights.paid) == ({"reused": 3}, 0)
    assert [row["uri"] for row in nights.manifest(second)] == [row["uri"] for row in nights.manifest(first)]


@only_current
def test_never_reusing_makes_everything_anew_once_a_run(nights: Nights) -> None:
    rows = nights.rows(3)
    nights.run("n1", rows, overwrite=True)
    assert counts(nights.run("n2", rows, overwrite=True, reuse="never")) == {"landed": 3}
    assert nights.paid == 3
    assert counts(nights.retry(rows, overwrite=True, reuse="never")) == {"landed": 3}
    assert nights.paid == 0


@only_old
def test_equal_rows_are_paid_once(nights: Nights) -> None:
    rows = [*nights.rows(3), *nights.rows(3)]

    summary = nights.run("n1", rows)

    assert (counts(summary), nights.paid) == ({"landed": 3, "reused": 3}, 3)
    assert [row["outcome"] for row in nights.manifest(summary)] == ["landed"] * 3 + ["reused"] * 3


@only_current
def test_a_row_that_equals_an_invalid_one_is_invalid_too(nights: Nights) -> None:
    nights.folder.mkdir()
    (nights.folder / "s0-00.png").write_bytes(b"mine")

    summary = nights.run("n1", [*nights.rows(2), *nights.rows(1)], on_invalid_row="skip")

    assert counts(summary) == {"invalid": 2, "landed": 1}


@in_task_modes
@only_current
def test_nothing_to_do_is_a_success(nights: Nights) -> None:
    summary = nights.run("n1", [])
    assert (counts(summary), summary["total"], nights.manifest(summary)) == ({}, 0, [])


@only_current
def test_shards_are_parts_of_the_whole_with_ledgers_of_their_own(nights: Nights) -> None:
    rows = nights.rows(7)
    parts = [nights.run("n1", rows, shard=[i, 3]) for i in range(3)]

    assert sum(part["total"] for part in parts) == 7
    assert sorted(row["index"] for part in parts for row in nights.manifest(part)) == list(range(7))
    assert len({part["ledger"] for part in parts}) == 3
    assert len(nights.images()) == 7
    assert nights.run("n2", rows, shard=[1, 3])["counts"].get("reused", 0) == parts[1]["total"]
    assert nights.paid == 0


@only_old
def test_a_row_that_comes_in_between_moves_no_other_to_another_shard(nights: Nights) -> None:
    rows = nights.rows(5)
    first = [nights.run("n1", rows, shard=[i, 2]) for i in range(2)]
    second = [nights.run("n2", [nights.rows(6)[5], *rows], shard=[i, 2]) for i in range(2)]

    assert sum(one["submitted"] for one in first) == 5
    assert sum(one["submitted"] for one in second) == 1


@only_current
def test_plans_that_nobody_reads_any_more_are_removed(nights: Nights) -> None:
    for night in ("n1", "n2", "n3"):
        summary = nights.run(night, nights.rows(1))
    plans = Path(summary["ledger"].removeprefix("file://")) / "plans"
    assert [folder.name.partition("-")[0] for folder in plans.iterdir() if any(folder.iterdir())] == ["n3"]


def test_a_blank_image_is_made_anew_by_a_clear_and_replaces_the_first(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = nights.rows(2)
    black = saved(Image.new("RGB", (40, 30)), "PNG")
    with monkeypatch.context() as vendor:
        vendor.setattr("airflow_imagepipeline.emulator.worker.canned_files", lambda _: (black,))
        with fails_with(BatchFailed, "2 filtered"):
            nights.run("n1", rows)
    with fails_with(BatchFailed, "2 filtered"):
        nights.retry(rows)
    assert nights.paid == 0

    assert counts(nights.clear(rows)) == {"landed": 2}
    assert nights.paid == 2
