"""Shards that ran by themselves become one manifest and one summary, or an error that says which of them is wrong."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_imagepipeline.contract.manifest import BatchSummary, ManifestRow, RowOutcome
from airflow_imagepipeline.operators.merge_manifests import MergeManifestsOperator
from airflow_imagepipeline.storage.folder import StorageFailed
from tests.memory import peak_of
from tests.operators.nights import TaskInstance, assert_complete, counts
from tests.running import context, fails_with, run_to_end

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.doubles.moto_server import Moto
    from tests.generations import Generation
    from tests.operators.nights import Nights

pytestmark = pytest.mark.usefixtures("quick", "logs")
OUTCOMES = list(RowOutcome)


def merge(summaries: Any, destination: str, **arguments: Any) -> functools.partial[MergeManifestsOperator]:
    usual = {"task_id": "merge", "summaries": summaries, "destination": destination, "file_stem": "all"}
    return functools.partial(MergeManifestsOperator, **{**usual, **arguments})


def merged(summaries: Any, folder: Path, **arguments: Any) -> dict[str, Any]:
    given = {**context(), "run_id": "scheduled__2026-11-22T03:00:00+00:00"}
    result: dict[str, Any] = run_to_end(merge(summaries, f"file://{folder}", **arguments), given, "plain")
    return result


def rows_of(summary: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(summary["manifest"].removeprefix("file://")).read_text().splitlines()]


class Shards:
    """Shards as a batch leaves them, without having run one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.photos = "photos"
        (folder / "_manifests").mkdir()

    def written(self, name: str, indexes: Iterable[int], *, ledger: str = "", **changed: Any) -> dict[str, Any]:
        rows = [
            ManifestRow(index, f"s3://{self.photos}/{index}.jpg", OUTCOMES[index % len(OUTCOMES)]) for index in indexes
        ]
        path = self.folder / "_manifests" / f"{name}.jsonl"
        path.write_text("".join(f"{row.to_line()}\n" for row in rows))
        told = {outcome.value: sum(row.outcome is outcome for row in rows) for outcome in RowOutcome}
        home = ledger or f"file://{self.folder}/_imagepipeline/{name}"
        summary = BatchSummary(f"file://{path}", home, len(rows), told, len(rows), 0.5, 100, float(len(rows)))
        return {**summary.to_payload(), **changed}

    def cut(self, total: int, count: int) -> list[dict[str, Any]]:
        return [self.written(f"shard-{i}-of-{count}", range(i, total, count)) for i in range(count)]


@pytest.fixture
def shards(tmp_path: Path) -> Shards:
    return Shards(tmp_path)


def test_shards_that_ran_become_one_manifest_that_adds_up(
    nights: Nights, generation: Generation, tmp_path: Path
) -> None:
    assert generation
    # So many that no shard is left with next to nothing, whatever the addresses.
    inputs = [*nights.rows(40), {"sku": "s40", "word": "no image"}]
    wish = {"on_invalid_row": "skip", "min_success_ratio": 0.5, "price_per_job": 0.04}
    summaries = []
    for i in range(3):
        nights.settings.fail_next = ["INTERNAL_ERROR"] if i == 1 else []
        ti = TaskInstance("night", map_index=i)
        summaries.append(nights.attempt(ti, inputs, shard=[i, 3], **wish))

    found = merged(summaries, tmp_path / "images")

    assert_complete(rows_of(found), found)
    assert counts(found) == {"landed": 39, "failed": 1, "invalid": 1}
    assert found.keys() == summaries[0].keys()
    assert found["submitted"] == sum(one["submitted"] for one in summaries) == 40
    assert found["cost"] == pytest.approx(sum(one["cost"] for one in summaries))
    assert found["bytes"] == sum(one["bytes"] for one in summaries) > 0
    assert found["seconds"] == max(one["seconds"] for one in summaries)
    assert found["ledger"] == f"file://{tmp_path}/images/_imagepipeline"
    assert found["manifest"] == f"file://{tmp_path}/images/_manifests/all.jsonl"
    # Every row is as its shard has told it.
    before = {row["index"]: row for one in summaries for row in rows_of(one)}
    assert {row["index"]: row for row in rows_of(found)} == before


@pytest.mark.parametrize("count", [1, 2, 5, 11])
def test_rows_come_by_index_however_they_were_cut(shards: Shards, tmp_path: Path, count: int) -> None:
    found = merged(shards.cut(10, count), tmp_path)

    assert_complete(rows_of(found), found)
    assert (found["total"], found["ledger"]) == (10, f"file://{tmp_path}/_imagepipeline")


def test_a_clear_writes_the_same_manifest_again(shards: Shards, tmp_path: Path) -> None:
    cut = shards.cut(9, 2)
    first = merged(cut, tmp_path)
    before = rows_of(first)

    assert merged(cut, tmp_path) == first
    assert rows_of(first) == before


def test_a_cost_that_one_shard_does_not_know_is_not_known(shards: Shards, tmp_path: Path) -> None:
    known, unknown = shards.cut(4, 2)
    assert merged([known, unknown], tmp_path)["cost"] == 1.0
    assert merged([known, {**unknown, "cost": None}], tmp_path)["cost"] is None


@pytest.mark.parametrize(
    ("ledgers", "common"),
    [
        (["s3://a/x/one", "s3://a/x/two"], "s3://a/x"),
        (["s3://a/x/shard-0-of-2", "s3://a/x/shard-1-of-2"], "s3://a/x"),
        (["s3://a/x-1", "s3://a/x-2"], "s3://a"),
        (["s3://a/x", "s3://b/x"], ""),
        (["s3://a/x", "file:///a/x"], ""),
        (["s3://a/x", "s3://a/x"], "s3://a/x"),
    ],
)
def test_the_ledger_is_the_folder_that_all_have(
    shards: Shards, tmp_path: Path, ledgers: Sequence[str], common: str
) -> None:
    given = [shards.written(str(i), [i], ledger=ledger) for i, ledger in enumerate(ledgers)]
    assert merged(given, tmp_path)["ledger"] == common


def test_the_manifest_is_named_after_the_run_when_no_name_is_given(shards: Shards, tmp_path: Path) -> None:
    found = merged(shards.cut(2, 2), tmp_path, file_stem=None)
    assert found["manifest"].endswith("/_manifests/scheduled__2026-11-22T03_00_00_00_00.jsonl")


def test_it_reads_and_writes_s3_by_templates(shards: Shards, moto: Moto, bucket: str) -> None:
    given = []
    for i, one in enumerate(shards.cut(5, 2)):
        body = Path(one["manifest"].removeprefix("file://")).read_bytes()
        moto.s3.put_object(Bucket=bucket, Key=f"edited/_manifests/{i}.jsonl", Body=body)
        given.append({**one, "manifest": f"s3://{bucket}/edited/_manifests/{i}.jsonl"})
    make = merge(given, "s3://{{ params.bucket }}/edited", file_stem="{{ params.stem }}")

    found = run_to_end(make, context(bucket=bucket, stem="night"), "plain")

    assert found["manifest"] == f"s3://{bucket}/edited/_manifests/night.jsonl"
    lines = moto.body(bucket, "edited/_manifests/night.jsonl").splitlines()
    assert [json.loads(line)["index"] for line in lines] == list(range(5))


def test_a_row_of_two_shards_is_an_error_that_names_both(shards: Shards, tmp_path: Path) -> None:
    given = [shards.written("one", [0, 2, 3]), shards.written("two", [1, 3])]

    with fails_with(
        AirflowFailException, "row 3 is in", "_manifests/one.jsonl", "_manifests/two.jsonl", "shard=[i, n]"
    ):
        merged(given, tmp_path)

    assert not (tmp_path / "_manifests" / "all.jsonl").exists()


def test_a_manifest_that_is_not_sorted_is_an_error(shards: Shards, tmp_path: Path) -> None:
    with fails_with(AirflowFailException, "_manifests/one.jsonl is not sorted: row 0 comes after row 2"):
        merged([shards.written("one", [2, 0]), shards.written("two", [3])], tmp_path)


def test_a_manifest_that_is_not_what_its_task_counted_is_an_error(shards: Shards, tmp_path: Path) -> None:
    first, second = shards.cut(6, 2)
    path = Path(second["manifest"].removeprefix("file://"))
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))

    with fails_with(AirflowFailException, "has 1 filtered, 1 reused, but its task has counted 1 filtered, 1 invalid"):
        merged([first, second], tmp_path)


@pytest.mark.parametrize("gap", ["the list is shorter", "the list has a gap"])
def test_a_shard_that_returned_nothing_is_an_error_or_left_out(shards: Shards, tmp_path: Path, gap: str) -> None:
    cut = shards.cut(8, 4)
    given = [cut[0], cut[2], cut[3]] if gap == "the list is shorter" else [cut[0], None, *cut[2:]]

    with fails_with(AirflowFailException, "shard 1 of 4 returned no summary", "missing='skip'"):
        merged(given, tmp_path)
    found = merged(given, tmp_path, missing="skip")

    assert [row["index"] for row in rows_of(found)] == [0, 2, 3, 4, 6, 7]
    assert found["total"] == 6


def test_a_gap_is_noticed_where_the_ledgers_do_not_tell_how_many_there_are(shards: Shards, tmp_path: Path) -> None:
    given = [shards.written("one", [0]), None]
    with fails_with(AirflowFailException, "entry 1 returned no summary"):
        merged(given, tmp_path)
    assert merged(given, tmp_path, missing="skip")["total"] == 1


@pytest.mark.parametrize(
    ("summaries", "words"),
    [
        pytest.param([], "there is none", id="no shard"),
        pytest.param([None], "entry 0 returned no summary", id="none that returned anything"),
        pytest.param("s3://a/_manifests/b.jsonl", "it is of type str", id="an address"),
        pytest.param(None, "it is of type NoneType", id="nothing"),
        pytest.param([{"v": 1, "plan_only": True, "total": 3}], "plan_only=True has no manifest", id="a report"),
        pytest.param([{"v": 2}], "entry 0 is not what a batch returned", id="another version"),
        pytest.param(["s3://a"], "entry 0 is not what a batch returned", id="a list of addresses"),
    ],
)
@pytest.mark.parametrize("missing", ["fail", "skip"])
def test_what_is_no_summary_is_refused(tmp_path: Path, summaries: Any, words: str, missing: str) -> None:
    with fails_with(AirflowFailException, "The manifests cannot be merged", words):
        merged(summaries, tmp_path, missing=missing)


@pytest.mark.parametrize("field", ["manifest", "ledger", "total", "counts", "submitted", "cost", "bytes", "seconds"])
@pytest.mark.parametrize("value", [[1], "absent"])
def test_a_damaged_summary_is_refused(shards: Shards, tmp_path: Path, field: str, value: Any) -> None:
    good, bad = shards.cut(4, 2)
    damaged = {name: one for name, one in bad.items() if name != field} | ({} if value == "absent" else {field: value})
    with fails_with(AirflowFailException, "entry 1 is not what a batch returned"):
        merged([good, damaged], tmp_path)


def test_shards_of_different_cuts_are_refused(shards: Shards, tmp_path: Path) -> None:
    given = [shards.cut(4, 2)[0], shards.cut(4, 3)[1]]
    with fails_with(AirflowFailException, "different cuts, into 2 and 3 shards"):
        merged(given, tmp_path)


def test_the_manifest_of_a_shard_is_never_replaced(shards: Shards, tmp_path: Path) -> None:
    cut = shards.cut(4, 2)
    before = rows_of(cut[0])
    with fails_with(AirflowFailException, "is one of the manifests that are to be merged"):
        merged(cut, tmp_path, file_stem="shard-0-of-2")
    assert rows_of(cut[0]) == before


@pytest.mark.parametrize(("argument", "value"), [("missing", "ignore"), ("file_stem", "../all")])
def test_a_wrong_argument_is_refused(shards: Shards, tmp_path: Path, argument: str, value: str) -> None:
    with fails_with(AirflowFailException, f"{argument}: ", repr(value)):
        merged(shards.cut(2, 2), tmp_path, **{argument: value})


def test_a_manifest_that_cannot_be_read_for_now_may_be_retried(shards: Shards, tmp_path: Path) -> None:
    first, second = shards.cut(4, 2)
    Path(second["manifest"].removeprefix("file://")).unlink()
    with pytest.raises(StorageFailed):
        merged([first, second], tmp_path)


@pytest.mark.slow
def test_its_memory_does_not_grow_with_the_rows(shards: Shards, tmp_path: Path) -> None:
    def peak(total: int) -> int:
        given = shards.cut(total, 4)
        return peak_of(lambda: merged(given, tmp_path))

    # Buffers are full from some thousand rows of this length on.
    shards.photos = "x" * 300
    assert peak(8_000) < peak(3_000) + 150_000
