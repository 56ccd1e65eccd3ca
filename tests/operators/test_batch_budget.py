"""What a batch may spend: exactly as much as was allowed, in one DAG run with all its tries and clears."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from airflow_imagepipeline.contract.errors import InvalidParameters
from airflow_imagepipeline.exceptions import BatchFailed, SubmissionRefused
from tests.doubles.pictures import picture
from tests.generations import only_current, only_old
from tests.operators.nights import Nights, TaskInstance, counts
from tests.running import PROMPT, fails_with, in_task_modes

pytestmark = pytest.mark.usefixtures("generation")
PRICE = 0.04


@pytest.mark.slow
@only_old
@pytest.mark.parametrize("refusals", [0, 3], ids=["", "with refusals in between"])
def test_exactly_as_many_jobs_are_paid_as_are_allowed_in_each_of_twenty_runs(nights: Nights, refusals: int) -> None:
    nights.settings.job_seconds = 0.0
    source, rows = random.Random(7), nights.rows(14)
    for night in range(20):
        allowed = source.randint(1, 10)
        nights.settings.refuse_next = source.sample(["INPUT_INVALID"] * refusals, refusals)
        summary = nights.run(
            f"n{night}",
            rows,
            request={"prompt": f"night {night}"},
            destination=f"file://{nights.folder}/{night}",
            max_in_flight=12,
            max_jobs=allowed,
            min_success_ratio=0.0,
        )
        assert nights.paid == allowed == summary["submitted"]
        left = {"over_budget": 14 - allowed - refusals}
        assert counts(summary) == {"landed": allowed, **left, **({"failed": refusals} if refusals else {})}


@only_current
@in_task_modes
def test_a_budget_that_is_raised_pays_for_the_rest_only(nights: Nights) -> None:
    rows = nights.rows(7)
    assert counts(nights.run("n1", rows, max_jobs=2)) == {"landed": 2, "over_budget": 5}
    assert counts(nights.clear(rows, max_jobs=2)) == {"reused": 2, "over_budget": 5}
    assert nights.paid == 0
    planned = nights.run("n2", rows, max_jobs=3, plan_only=True)
    assert counts(nights.run("n2", rows, max_jobs=3)) == {"reused": 2, "landed": 3, "over_budget": 2}
    assert planned["new"] == nights.paid == 3
    nights.clear(rows, max_jobs=4)
    assert nights.paid == 1
    assert nights.run("n3", rows)["counts"]["landed"] == nights.paid == 1


@only_old
def test_a_cost_bounds_as_many_jobs_as_it_pays_for(nights: Nights) -> None:
    rows = nights.rows(9)
    bounds: dict[str, Any] = {"max_cost": 0.3, "price_per_job": PRICE}
    planned = nights.run("n1", rows, plan_only=True, **bounds)
    summary = nights.run("n1", rows, **bounds)
    assert planned["new"] == nights.paid == 7
    assert summary["cost"] == pytest.approx(0.28)
    assert planned["cost"] == pytest.approx(0.28)


@pytest.mark.real_input("F2")
@only_old
def test_a_night_that_pays_nothing_costs_nothing_although_no_price_is_known(nights: Nights) -> None:
    rows = nights.rows(2)
    first, second, third = nights.run("n1", rows), nights.run("n2", rows), nights.run("n3", nights.rows(3), max_jobs=0)
    assert (first["submitted"], first["cost"]) == (2, None)
    assert (second["submitted"], second["cost"]) == (0, 0.0)
    assert (third["submitted"], third["cost"]) == (0, 0.0)


@pytest.mark.real_input("F2")
@only_current
def test_what_the_vendor_did_not_charge_has_cost_nothing(nights: Nights) -> None:
    nights.run("n1", nights.rows(1))
    nights.settings.fail_next = ["MODEL_ERROR"] * 2
    summary = nights.run("n2", nights.rows(3), min_success_ratio=0.0)
    assert (counts(summary), summary["cost"]) == ({"reused": 1, "failed": 2}, 0.0)


@only_current
@in_task_modes
def test_what_the_vendor_does_not_charge_can_be_spent_again(nights: Nights) -> None:
    nights.settings.fail_next = ["MODEL_ERROR"] * 3
    summary = nights.run("n1", nights.rows(12), max_cost=0.3, price_per_job=PRICE, min_success_ratio=0.0)
    assert counts(summary) == {"landed": 7, "failed": 3, "over_budget": 2}
    assert summary["cost"] == pytest.approx(0.28)


@only_current
def test_the_vendors_price_counts_and_not_the_assumed_one(nights: Nights) -> None:
    nights.settings.price_usd = 0.02
    summary = nights.run("n1", nights.rows(11), max_cost=0.2, price_per_job=PRICE)
    assert summary["counts"]["landed"] == nights.paid == 9
    assert summary["cost"] == pytest.approx(0.18)
    nights.clear(nights.rows(11), max_cost=0.2, price_per_job=PRICE)
    assert nights.paid == 0


def test_a_budget_is_of_a_run_with_all_its_tries_and_clears(nights: Nights) -> None:
    rows = nights.rows(4)
    paid = []
    for again in (None, nights.retry, nights.clear, nights.clear, nights.retry):
        nights.settings.fail_next = ["MODEL_ERROR"] * 4
        with fails_with(BatchFailed, "failed"):
            again(rows, max_jobs=10) if again else nights.run("n1", rows, max_jobs=10)
        paid.append(nights.paid)
    assert paid == [4, 0, 4, 2, 0]


@only_current
def test_what_a_run_has_paid_counts_also_when_another_run_has_followed_it(nights: Nights) -> None:
    rows = nights.rows(3)
    nights.settings.fail_next = ["MODEL_ERROR"] * 3
    with fails_with(BatchFailed):
        nights.run("n1", rows, max_jobs=4)
    first = nights.ti
    nights.settings.fail_next = ["MODEL_ERROR"] * 3
    with fails_with(BatchFailed):
        nights.run("n2", rows)
    assert nights.paid == 3

    nights.ti = first
    summary = nights.clear(rows, max_jobs=4)

    assert (nights.paid, summary["submitted"]) == (1, 4)
    assert counts(summary) == {"landed": 1, "over_budget": 2}


@only_old
def test_no_budget_pays_for_nothing(nights: Nights) -> None:
    assert counts(nights.run("n1", nights.rows(3), max_jobs=0)) == {"over_budget": 3}
    assert nights.paid == 0


@only_current
def test_a_cost_without_a_price_is_refused_before_anything_is_submitted(nights: Nights) -> None:
    with fails_with(InvalidParameters, "price_per_job"):
        nights.attempt(TaskInstance("n1"), nights.rows(3), max_cost=1.0)
    with fails_with(SubmissionRefused, "price_per_job"):
        nights.attempt(TaskInstance("n1"), nights.rows(3), max_cost="{{ 1.0 }}")
    assert nights.emulator.stats()["submits"] == 0


@only_current
@pytest.mark.real_input("C5")
@pytest.mark.parametrize("bound", [{"max_jobs": 3}, {"max_cost": 3 * PRICE, "price_per_job": PRICE}], ids=str)
def test_nothing_is_uploaded_that_the_budget_does_not_cover(
    nights: Nights, tmp_path: Path, bound: dict[str, Any]
) -> None:
    for number in range(16):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
    usual = {"upload_inputs": True, "request": {"prompt": PROMPT}, "file_stem": "{path}"}
    summary = nights.run("n1", str(tmp_path), **usual, **bound)
    assert counts(summary) == {"landed": 3, "over_budget": 13}
    assert (nights.emulator.stats()["uploads"], nights.paid) == (3, 3)
