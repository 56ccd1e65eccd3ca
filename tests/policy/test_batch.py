from __future__ import annotations

from typing import Any

import pytest

from airflow_imagepipeline.contract.manifest import RowOutcome
from airflow_imagepipeline.policy.batch import (
    Budget,
    Treatment,
    Window,
    is_free,
    is_good_enough,
    outcome_of,
    price_of,
    spent_before,
    spent_by,
    treatment_of,
)
from airflow_imagepipeline.policy.ledger_entry import LedgerEntry, RowPhase

MINE, OTHER = "my run", "another run"


def entry(phase: RowPhase, *, run: str = MINE, plan: str = "before", **more: Any) -> LedgerEntry:
    return LedgerEntry("k", 1, 0, plan, run, phase, **more)


@pytest.mark.parametrize(
    ("phase", "more", "retried", "anew", "cleared"),
    [
        # what an automatic retry that plans anew does, what another run does, what a clear does
        pytest.param("withdrawn", {}, "submit", "submit", "submit", id="never taken"),
        pytest.param("landed", {}, "reuse", "reuse", "reuse", id="landed"),
        pytest.param("submitted", {"job_id": "j"}, "take up", "take up", "take up", id="has a job"),
        pytest.param("submitted", {}, "uncertain", "uncertain", "submit", id="had a job without an id"),
        pytest.param("submitting", {}, "uncertain", "uncertain", "submit", id="perhaps taken"),
        pytest.param("lost", {}, "uncertain", "uncertain", "submit", id="the job is lost"),
        pytest.param("refused", {}, "keep", "submit", "submit", id="refused"),
        pytest.param("failed", {}, "keep", "submit", "submit", id="failed"),
        pytest.param("failed", {"retryable": True}, "keep", "submit", "submit", id="failed for now"),
        pytest.param("failed", {"retryable": False}, "keep", "submit", "keep", id="failed for good"),
        pytest.param(
            "failed",
            {"retryable": False, "reason_code": "CREDIT_CHARGE_FAILED"},
            "keep",
            "submit",
            "submit",
            id="failed for want of credits",
        ),
        pytest.param("filtered", {}, "keep", "keep", "submit", id="filtered"),
        pytest.param("rejected", {}, "keep", "keep", "submit", id="rejected"),
        pytest.param("again", {}, "keep", "submit", "submit", id="failed, and was to be redone"),
        pytest.param("again", {"images": [{}]}, "keep", "keep", "submit", id="rejected, and was to be redone"),
    ],
)
def test_what_is_done_with_earlier_work(
    phase: str, more: dict[str, Any], retried: str, anew: str, cleared: str
) -> None:
    ours, others = entry(RowPhase(phase), **more), entry(RowPhase(phase), run=OTHER, **more)
    usual: dict[str, Any] = {"run": MINE, "has_seed": False}
    assert treatment_of(ours, plan="before", is_cleared=False, **usual) == retried
    assert treatment_of(ours, plan="before", is_cleared=True, **usual) == retried
    assert treatment_of(others, plan="now", is_cleared=False, **usual) == anew
    assert treatment_of(ours, plan="now", is_cleared=True, **usual) == cleared


@pytest.mark.parametrize("phase", [RowPhase.FAILED, RowPhase.REFUSED])
@pytest.mark.parametrize(
    ("payer", "is_cleared", "treatment"),
    [
        pytest.param(MINE, False, Treatment.KEEP, id="a retry of who paid"),
        pytest.param(MINE, True, Treatment.SUBMIT, id="a clear of who paid"),
        pytest.param("a third run", False, Treatment.SUBMIT, id="who has not paid"),
    ],
)
def test_what_failed_again_for_another_run_is_not_paid_again_by_a_retry_of_this_one(
    phase: RowPhase, payer: str, treatment: Treatment, *, is_cleared: bool
) -> None:
    theirs = entry(phase, run=OTHER, attempts=1, spent={payer: [1, 0.1]})
    assert treatment_of(theirs, plan="now", run=MINE, is_cleared=is_cleared, has_seed=False) is treatment


def test_new_work_is_submitted() -> None:
    assert treatment_of(None, plan="p", run=MINE, is_cleared=False, has_seed=False) is Treatment.SUBMIT


@pytest.mark.parametrize("phase", [RowPhase.FILTERED, RowPhase.REJECTED])
def test_a_redo_with_the_users_own_seed_would_make_the_same_image(phase: RowPhase) -> None:
    assert treatment_of(entry(phase), plan="p", run=MINE, is_cleared=True, has_seed=True) is Treatment.KEEP


@pytest.mark.parametrize("phase", RowPhase)
def test_every_phase_is_an_outcome(phase: RowPhase) -> None:
    assert isinstance(outcome_of(entry(phase)), RowOutcome)


@pytest.mark.parametrize(
    ("counts", "ratio", "is_enough"),
    [
        pytest.param({}, 1.0, True, id="nothing to do"),
        pytest.param({"invalid": 3, "over_budget": 9}, 1.0, True, id="all left out"),
        pytest.param({"landed": 9, "failed": 1}, 0.9, True, id="exactly enough"),
        pytest.param({"landed": 9, "failed": 1}, 0.9000001, False, id="just too few"),
        pytest.param({"landed": 5, "reused": 4, "rejected": 1, "invalid": 90}, 0.9, True, id="reused ones are good"),
        pytest.param({"landed": 9, "uncertain": 1}, 1.0, False, id="uncertain ones are not"),
        pytest.param({"landed": 9, "not_submitted": 1}, 1.0, False, id="nor are those without a turn"),
        pytest.param({"failed": 3}, 0.0, False, id="all failed"),
        pytest.param({"landed": 3, "failed": 7}, 0.3, True, id="floating point"),
    ],
)
def test_when_a_run_is_good_enough(counts: dict[str, int], ratio: float, *, is_enough: bool) -> None:
    assert is_good_enough({RowOutcome(name): count for name, count in counts.items()}, ratio) is is_enough


def budget(**bounds: Any) -> Budget:
    return Budget(**{"max_jobs": None, "max_cost": None, "price": None, **bounds})


def test_without_bounds_there_is_always_room() -> None:
    free = budget()
    for _ in range(100):
        free.count()
    assert free.has_room()
    assert free.part_of(7) == 7


def test_jobs_are_counted_before_they_are_sent_and_given_back_when_they_were_refused() -> None:
    two = budget(max_jobs=2, price=0.5)
    two.count()
    two.count()
    assert not two.has_room()
    two.give_back()
    assert (two.has_room(), two.jobs, two.cost) == (True, 1, 0.5)


def test_ten_dimes_are_a_dollar() -> None:
    dimes = budget(max_cost=1.0, price=0.1)
    while dimes.has_room():
        dimes.count()
    assert dimes.jobs == 10


def test_the_vendors_price_takes_the_place_of_the_assumed_one() -> None:
    one = budget(max_cost=1.0, price=0.5)
    one.count()
    one.settle({"cost_usd": 0.75})
    assert (one.cost, one.has_room()) == (0.75, False)
    one.settle({"credits_charged": False})
    assert one.cost == 0.25


@pytest.mark.parametrize(
    ("bounds", "spent", "part"),
    [
        ({"max_jobs": 5}, 2, 3),
        ({"max_jobs": 5}, 9, 0),
        ({"max_cost": 1.0, "price": 0.1}, 2, 8),
        ({"max_cost": 1.0, "price": 0.3}, 0, 3),
        ({"max_cost": 0.1, "price": 0.3}, 2, 0),
        ({"max_cost": 1.0, "price": 0.0}, 2, 10),
        ({"max_jobs": 1, "max_cost": 1.0, "price": 0.1}, 1, 0),
    ],
    ids=str,
)
def test_how_many_jobs_a_budget_allows(bounds: dict[str, Any], spent: int, part: int) -> None:
    some = budget(**bounds)
    for _ in range(spent):
        some.count()
    assert some.part_of(10) == part


def test_a_budget_that_is_overdrawn_allows_nothing_even_where_jobs_are_free() -> None:
    free = budget(max_cost=1.0, price=0.0)
    free.settle({"cost_usd": 2.0})
    assert free.part_of(3) == 0


@pytest.mark.parametrize(
    ("cost", "price"),
    [
        ({}, 0.04),
        ({"cost_usd": 0.03}, 0.03),
        ({"cost_usd": 0}, 0.0),
        ({"cost_usd": True}, 0.04),
        ({"credits_charged": False}, 0.0),
        ({"credits_charged": True}, 0.04),
        ({"credits_charged": False, "cost_usd": 0.01}, 0.01),
    ],
    ids=str,
)
def test_what_a_job_has_cost(cost: dict[str, float | bool], price: float) -> None:
    assert price_of(cost, 0.04) == price


def test_what_a_run_has_spent_on_work_counts_its_own_attempts() -> None:
    landed = entry(RowPhase.LANDED, attempts=2, cost={"cost_usd": 0.5})
    assert spent_by(MINE, landed, 0.1) == (2, 1.0)
    assert spent_by(OTHER, landed, 0.1) == (0, 0.0)


def test_a_job_that_is_not_landed_has_its_assumed_price() -> None:
    assert spent_by(MINE, entry(RowPhase.SUBMITTED, attempts=1, cost={"cost_usd": 0.5}), 0.1) == (1, 0.1)


def test_what_a_run_has_spent_is_remembered_when_another_one_follows() -> None:
    mine = entry(RowPhase.FAILED, attempts=3, cost={"cost_usd": 0.5}, spent={MINE: [1, 0.25]})
    theirs = entry(RowPhase.FAILED, run=OTHER, attempts=1, spent=spent_before(mine, 0.1))
    assert spent_by(MINE, theirs, 0.1) == (3, 1.25)
    assert spent_by(OTHER, theirs, 0.1) == (1, 0.1)
    assert list(spent_before(theirs, 0.1)) == [MINE, OTHER]


def test_only_the_last_runs_are_remembered_and_only_those_that_paid() -> None:
    many = entry(RowPhase.FAILED, spent={f"run {i}": [1, 0.1] for i in range(20)})
    assert list(spent_before(many, 0.1)) == [f"run {i}" for i in range(12, 20)]


def test_the_window_shrinks_once_for_a_burst_of_refusals_and_grows_back() -> None:
    window = Window(50)
    window.busy(in_flight=20, pause=1.0, now=10.0)
    window.busy(in_flight=20, pause=2.0, now=10.5)
    assert window.limit == 16
    assert window.seconds_closed(11.0) == 1.5
    assert window.seconds_closed(99.0) == 0.0
    window.busy(in_flight=16, pause=1.0, now=20.0)
    assert window.limit == 12
    for _ in range(5000):
        window.accepted()
    assert window.limit == 50


def test_the_window_lets_at_least_one_through() -> None:
    window = Window(1)
    for second in range(9):
        window.busy(in_flight=0, pause=0.5, now=float(second))
    assert window.limit == 1


@pytest.mark.fault(105)
@pytest.mark.parametrize(
    "said", [-1, -0.01, 1e308, 1_000_001, float("nan"), float("inf"), 10**400, True, "0", [0]], ids=str
)
@pytest.mark.parametrize("charged", [{}, {"credits_charged": False}, {"credits_charged": True}], ids=str)
def test_a_price_that_can_be_none_counts_as_the_assumed_one_and_is_not_free(
    said: Any, charged: dict[str, bool]
) -> None:
    assert price_of({"cost_usd": said, **charged}, 0.04) == 0.04
    assert not is_free({"cost_usd": said, **charged})
    spent = entry(RowPhase.LANDED, run=OTHER, attempts=1, spent={MINE: [3, said]})
    assert list(spent_by(MINE, spent, 0.04)) == pytest.approx([3, 0.12])


@pytest.mark.fault(105)
@pytest.mark.parametrize(
    ("jobs", "cost"), [(-1, 0.0), (True, 0.0), ("1", 0.0), (1, -1.0), (1, float("nan")), (1, True)]
)
def test_what_was_spent_is_read_back_as_numbers_or_not_at_all(jobs: Any, cost: Any) -> None:
    with pytest.raises(ValueError, match="not what a run has spent"):
        budget().resume(jobs, cost)
