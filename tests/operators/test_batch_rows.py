"""Rows are data, arguments are checked before anything is submitted, and events of others are refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_imagepipeline.contract.errors import InvalidParameters
from airflow_imagepipeline.exceptions import BatchFailed, SubmissionRefused
from airflow_imagepipeline.operators.batch import ImageToImageBatchOperator
from tests.generations import only_current, only_old
from tests.operators.nights import Nights, TaskInstance, counts
from tests.running import KEY, assert_discreet, fails_with, in_task_modes, run_to_end

pytestmark = pytest.mark.usefixtures("generation")

BRACES = "{{ 7*7 }}"


def given(**params: Any) -> dict[str, Any]:
    return {"ti": TaskInstance("n1"), "params": params, "run_id": "n1"}


@only_current
@in_task_modes
def test_a_row_is_data_and_is_never_rendered(nights: Nights, tmp_path: Path) -> None:
    rows = [{**row, "word": BRACES} for row in nights.rows(2)]
    summary = nights.run("n1", rows, file_stem="{sku}")
    assert counts(summary) == {"landed": 2}
    plans = Path(summary["ledger"].removeprefix("file://")) / "plans"
    lines = [json.loads(line) for file in plans.rglob("rows-*.jsonl") for line in file.read_text().splitlines()]
    assert all(line["arguments"]["prompt"].endswith(BRACES) for line in lines)
    assert tmp_path in plans.parents


@only_old
def test_a_mapped_task_renders_no_row_and_each_shard_is_one_instance(nights: Nights) -> None:
    from airflow.sdk import DAG

    rows = [{**row, "word": BRACES} for row in nights.rows(5)]
    usual = {**nights._usual, "request": {"prompt": "{word}"}, "inputs": rows, "retries": 0}
    with DAG("photos", schedule=None):
        mapped = ImageToImageBatchOperator.partial(**usual).expand(shard=[[0, 2], [1, 2]])
    totals = []
    for index in range(2):
        task = mapped.operator if hasattr(mapped, "operator") else mapped
        given_now = {**given(), "ti": TaskInstance("n1", map_index=index)}

        def make(*, shard: list[int] = [index, 2], task: Any = task, **_: Any) -> Any:  # noqa: B006 - read only
            return task.unmap({"shard": shard})

        totals.append(run_to_end(make, given_now, "plain")["total"])
    # Which row is in which shard follows from its address, and so from the vendor's port.
    assert sum(totals) == 5
    plans = nights.folder / "_imagepipeline"
    texts = [file.read_text() for file in plans.rglob("rows-*.jsonl")]
    lines = [line for text in texts for line in text.splitlines()]
    assert len(lines) == 5
    assert all(json.loads(line)["arguments"]["prompt"] == BRACES for line in lines)


@only_old
def test_the_output_of_a_task_is_data_too(nights: Nights) -> None:
    from airflow.sdk import DAG
    from airflow.sdk.definitions.xcom_arg import XComArg

    rows = [{**row, "word": BRACES} for row in nights.rows(2)]

    class Output(XComArg):
        def iter_references(self) -> Any:
            return iter(())

        def resolve(self, _context: Any) -> Any:
            return rows

        def _serialize(self) -> dict[str, Any]:
            return {}

    with DAG("photos", schedule=None):
        summary = nights.run("n1", Output(), request={"prompt": "{word}"})
    assert counts(summary) == {"landed": 2}
    (plan,) = (nights.folder / "_imagepipeline").rglob("rows-*.jsonl")
    assert [json.loads(line)["arguments"]["prompt"] for line in plan.read_text().splitlines()] == [BRACES] * 2


@only_old
def test_a_text_is_rendered(nights: Nights, tmp_path: Path) -> None:
    table = tmp_path / "rows.jsonl"
    table.write_text("".join(f"{json.dumps(row)}\n" for row in nights.rows(3)))
    context = given(table=str(table))
    summary = run_to_end(
        lambda **mode: nights.operator(inputs="file://{{ params.table }}", **mode), context, nights.mode
    )
    assert counts(summary) == {"landed": 3}


PROGRAM = """
import json
from airflow.sdk import DAG
from airflow_imagepipeline.operators.batch import ImageToImageBatchOperator
try:
    from airflow.serialization.serialized_objects import DagSerialization
except ImportError:  # before Airflow 3.2
    from airflow.serialization.serialized_objects import SerializedDAG as DagSerialization
rows = [{"init_image": "https://x.test/a.png", "word": "{{ 7*7 }}"}]
with DAG("photos") as dag:
    usual = {"request": {"prompt": "{word}"}, "destination": "s3://b/out"}
    ImageToImageBatchOperator(task_id="one", inputs=rows, **usual)
    ImageToImageBatchOperator.partial(task_id="many", inputs=rows, **usual).expand(shard=[[0, 2], [1, 2]])
print(json.dumps(DagSerialization.to_dict(dag), sort_keys=True))
"""


@pytest.mark.slow
@only_old
def test_two_processes_serialise_a_dag_with_rows_alike() -> None:
    texts = []
    for seed in ("1", "2"):
        done = subprocess.run(  # noqa: S603 - this interpreter, a literal program
            [sys.executable, "-c", PROGRAM],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        texts.append(done.stdout.splitlines()[-1])
    assert texts[0] == texts[1]
    assert "0x" not in texts[0]
    assert '"1 row"' in texts[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"max_jobs": "{{ 'ten' }}"}, "max_jobs: 'ten' is not a whole number from 0"),
        ({"max_cost": "{{ 'ten' }}", "price_per_job": 1}, "max_cost: 'ten' is not a number"),
        ({"redo_rejected": "{{ 'ten' }}"}, "redo_rejected: 'ten'"),
        ({"plan_only": "{{ 'ten' }}"}, "plan_only: 'ten' is neither true nor false"),
        ({"plan_only": "{{ none }}"}, "plan_only: 'None' is neither true nor false"),
        ({"reuse": "{{ 'ten' }}"}, "reuse: "),
        ({"request": "a lighthouse"}, "request: it is of type str"),
        ({"request": {"prompt": "x", "color": "red"}}, "color is no field"),
        ({"request": {"prompt": "{"}}, "prompt"),
        ({"inputs": 7}, "inputs: it is of type int"),
        ({"inputs": "no folder"}, "inputs"),
    ],
    ids=str,
)
@only_current
def test_a_wrong_argument_is_refused_before_anything_is_submitted(
    nights: Nights, arguments: dict[str, Any], words: str
) -> None:
    with fails_with(SubmissionRefused, words, "Nothing was submitted"):
        nights.run("n1", **{"inputs": nights.rows(2), **arguments})
    assert nights.emulator.stats()["submits"] == 0
    # The ledger is free again: another run need not wait for the lease to end.
    assert nights.run("n2", nights.rows(2), plan_only=True)["new"] == 2


@pytest.mark.real_input("B8", "B9")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"max_in_flight": 0}, "max_in_flight: 0"),
        ({"submit_concurrency": "8"}, "submit_concurrency"),
        ({"max_jobs": -1}, "max_jobs: -1"),
        ({"poll_interval": 0}, "poll_interval"),
        ({"job_timeout": float("nan")}, "job_timeout"),
        ({"timeout": None}, "timeout: None"),
        ({"timeout": 0}, "timeout: 0"),
        ({"min_success_ratio": 1.1}, "min_success_ratio: 1.1"),
        ({"reuse": "always"}, "reuse: 'always'"),
        ({"on_invalid_row": "cry"}, "on_invalid_row: 'cry'"),
        ({"shard": [2, 2]}, "shard: [2, 2]"),
        ({"shard": "1/2"}, "shard: '1/2'"),
        ({"max_jobs": "ten"}, "max_jobs: 'ten'"),
        ({"max_cost": 5}, "max_cost: give price_per_job, too"),
        ({"min_success_ratio": 98}, "min_success_ratio: 98"),
        ({"shard": [4, 4]}, "shard: [4, 4]"),
        ({"accept": {"min_widht": 1}}, "accept: min_widht: the fields are"),
        ({"accept": {"min_width": 0}}, "accept: min_width: 0 is not"),
        ({"timeout": float("inf")}, "timeout: inf"),
        ({"timeout": 1e300}, "timeout: 1e+300"),
        ({"defer_after": float("inf")}, "defer_after: inf"),
        ({"plan_only": "perhaps"}, "plan_only: 'perhaps'"),
        ({"overwrite": "no"}, "overwrite: 'no' is neither true nor false"),
        ({"provenance": None}, "provenance: None"),
        ({"on_empty": "skip"}, "on_empty: 'skip'"),
        ({"link_identity": "query"}, "link_identity: 'query' is not 'path', 'link' or a list"),
        ({"link_identity": []}, "link_identity: []"),
    ],
    ids=str,
)
@only_current
def test_a_wrong_constant_is_refused_when_the_dag_is_parsed(
    nights: Nights, arguments: dict[str, Any], words: str
) -> None:
    with fails_with(InvalidParameters, words):
        nights.operator(inputs=[], **arguments)


@pytest.mark.real_input("B9", "B10")
@pytest.mark.parametrize(
    "arguments",
    [
        {"max_cost": 5, "price_per_job": "{{ params.price }}"},
        {"accept": {"min_width": "{{ params.width }}"}},
        {"shard": ["{{ params.shard }}", 4]},
        {"timeout": "{{ params.hours }}"},
        {"max_jobs": "5", "max_cost": None, "redo_rejected": "1", "plan_only": "False"},
    ],
    ids=str,
)
@only_current
def test_what_holds_a_template_is_not_judged_when_the_dag_is_parsed(nights: Nights, arguments: dict[str, Any]) -> None:
    assert nights.operator(inputs=[], **arguments)


@pytest.mark.real_input("B10")
@only_current
def test_templates_say_how_much_is_done(nights: Nights) -> None:
    templates = {"plan_only": "{{ params.plan }}", "max_jobs": "{{ params.most }}", "max_cost": "{{ params.cost }}"}
    rows = nights.rows(3)

    def run(**params: Any) -> Any:
        return run_to_end(
            lambda **mode: nights.operator(inputs=rows, **templates, price_per_job=0.04, **mode),
            given(**params),
            nights.mode,
        )

    assert run(plan=True, most=2, cost=None)["new"] == 2
    assert nights.emulator.stats()["submits"] == 0
    assert counts(run(plan=False, most=None, cost=0.05)) == {"landed": 1, "over_budget": 2}


@pytest.mark.real_input("A7", "B8")
@only_current
def test_paths_and_numbers_are_taken_for_what_they_are(nights: Nights, tmp_path: Path) -> None:
    odd = {"destination": tmp_path / "größe XL", "ledger": tmp_path / "led ger", "file_stem": 123}
    summary = nights.run("n1", nights.rows(1), **odd)
    assert counts(summary) == {"landed": 1}
    assert (tmp_path / "größe XL" / "123-00.png").exists()
    assert summary["ledger"] == f"file://{tmp_path}/led ger"


@only_current
@in_task_modes
def test_one_invalid_row_stops_the_batch_or_is_left_out(nights: Nights) -> None:
    rows = [*nights.rows(3), {"sku": "no image"}, {**nights.rows(1)[0], "sku": "../up"}]
    with fails_with(BatchFailed, "2 of 5 rows are invalid, so nothing was submitted", "row 3", "row 4"):
        nights.run("n1", rows)
    assert nights.paid == 0
    reasons = [(row["outcome"], bool(row["reason"])) for row in nights.manifest()]
    assert reasons == [("not_submitted", True)] * 3 + [("invalid", True)] * 2

    summary = nights.clear(rows, on_invalid_row="skip")

    assert counts(summary) == {"landed": 3, "invalid": 2}
    assert [row["reason_code"] for row in nights.manifest(summary)] == ["", "", "", "INVALID", "INVALID"]


@only_old
def test_a_ledger_of_a_date_is_warned_of(nights: Nights, logs: Any) -> None:
    nights.run("n1", nights.rows(1), destination=f"file://{nights.folder}/n1")
    assert "give a ledger without a date" in logs()


@only_old
def test_a_ledger_that_is_kept_is_not_warned_of(nights: Nights, logs: Any, tmp_path: Path) -> None:
    usual = {"ledger": f"file://{tmp_path}/ledger"}
    nights.run("n1", nights.rows(2), destination=f"file://{nights.folder}/n1", **usual)
    second = nights.run("n2", nights.rows(2), destination=f"file://{nights.folder}/n2", **usual)
    assert counts(second) == {"reused": 2}
    assert "without a date" not in logs()


@only_old
@pytest.mark.parametrize("event", [None, {}, {"v": 1, "job": {"job_id": "x"}, "outcome": "succeeded"}], ids=str)
def test_an_event_of_something_else_is_refused(nights: Nights, event: Any) -> None:
    with pytest.raises(ValueError, match="not the event of a batch"):
        nights.operator(inputs=nights.rows(1)).execute_complete(given(), event=event)
    assert nights.emulator.stats()["submits"] == 0


@only_current
@pytest.mark.parametrize("mode", ["triggerer"])
def test_a_triggerer_that_cannot_look_leaves_the_wait_to_the_worker(
    nights: Nights, mode: str, monkeypatch: pytest.MonkeyPatch, logs: Any
) -> None:
    from airflow_imagepipeline.triggers.batch import ImagePipelineBatchTrigger

    async def broken(_: Any) -> Any:
        raise RuntimeError(mode)

    monkeypatch.setattr(ImagePipelineBatchTrigger, "_wait", broken)
    nights.settings.job_seconds = 0.4
    assert counts(nights.run("n1", nights.rows(3))) == {"landed": 3}
    assert nights.paid == 3
    assert "(RuntimeError). The worker waits itself." in logs()
    assert nights.starts == 2


@only_current
@pytest.mark.parametrize("mode", ["triggerer"])
def test_what_is_given_to_defer_may_be_dropped(nights: Nights, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    defer, seen = nights.operator(inputs=[]).__class__.defer, []

    def dropping(self: Any, *, kwargs: Any, **more: Any) -> None:
        seen.append(kwargs)
        defer(self, **more)

    monkeypatch.setattr(nights.operator(inputs=[]).__class__, "defer", dropping)
    nights.settings.job_seconds = 0.4
    assert counts(nights.run("n1", nights.rows(6), max_in_flight=3)) == {"landed": 6}
    assert (len(seen) >= 1, nights.paid, mode) == (True, 6, "triggerer")


@only_current
@pytest.mark.real_input("B1")
@pytest.mark.parametrize("inputs", ["{root}/catlog/", "{root}/catlog/*.jpg"])
def test_a_night_without_an_input_fails_unless_it_may_be_empty(nights: Nights, tmp_path: Path, inputs: str) -> None:
    address = inputs.format(root=f"file://{tmp_path}")
    with fails_with(SubmissionRefused, f"there is no folder file://{tmp_path}/catlog/", "on_empty='succeed'"):
        nights.run("n1", address, upload_inputs=True)
    assert nights.run("n2", address, upload_inputs=True, on_empty="succeed")["total"] == 0


@only_current
@pytest.mark.real_input("B6")
def test_the_first_invalid_rows_are_named_a_line_each(nights: Nights) -> None:
    good = nights.rows(1)
    wrong = [{**row, "sku": "../up"} for row in nights.rows(13)]
    with pytest.raises(BatchFailed) as caught:
        nights.run("n1", [*good, *wrong])
    first, *lines = str(caught.value).split("\n")
    assert first.startswith("13 of 14 rows are invalid, so nothing was submitted. ")
    assert nights.summary["manifest"] in first
    assert [line.partition(":")[0] for line in lines[:10]] == [f"row {place}" for place in range(1, 11)]
    assert all(row["input_image"] in line for row, line in zip(wrong, lines[:10], strict=False))
    assert lines[10:] == ["row … and 3 more: the manifest names them all."]
    outcomes = [row["outcome"] for row in nights.manifest()]
    assert outcomes == ["not_submitted", *["invalid"] * 13]
    assert nights.paid == 0


@pytest.mark.real_input("C8")
@pytest.mark.parametrize("where", ["prompt", "file_stem"])
def test_a_row_that_holds_the_key_is_invalid_and_written_nowhere(nights: Nights, where: str) -> None:
    # The stem takes no letters that this key has: the message of that refusal must not show it either.
    column = "word" if where == "prompt" else "sku"
    rows = nights.rows(3)
    rows[1][column] = KEY
    summary = nights.run("n1", rows, on_invalid_row="skip", min_success_ratio=0.0)
    assert nights.paid == 2
    assert counts(summary) == {"landed": 2, "invalid": 1}
    assert "holds the API key of connection" in nights.manifest(summary)[1]["reason"]
    for file in nights.folder.rglob("*"):
        assert_discreet(f"{file} {file.read_bytes().decode('latin-1') if file.is_file() else ''}")


@pytest.mark.real_input("C8")
def test_a_batch_whose_own_arguments_hold_the_key_is_refused(nights: Nights) -> None:
    with fails_with(SubmissionRefused, "request: holds the API key of connection"):
        nights.run("n1", nights.rows(2), request={"prompt": f"on {KEY}"})
    assert nights.paid == 0
    assert list(nights.folder.rglob("*")) == []
