from __future__ import annotations

from collections import Counter

import pytest

from airflow_imagepipeline.batch.progress import Progress
from airflow_imagepipeline.contract.manifest import RowOutcome
from tests.running import FakeStore


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def progress(clock: Clock, store: FakeStore | None = None, began: float = 100.0) -> Progress:
    return Progress(2000, {"submit": 1500, "reuse": 400, "take up": 100}, began, store, clock)


def ended(**counts: int) -> Counter[RowOutcome]:
    return Counter({RowOutcome(name): count for name, count in counts.items()})


@pytest.mark.parametrize(
    ("counts", "in_flight", "cost", "seconds", "line"),
    [
        ({}, 0, 0.0, 9.0, "0/2,000 landed · 400 reused · 0 in flight"),
        ({"landed": 4}, 50, 0.16, 9.0, "4/2,000 landed · 400 reused · 50 in flight · $0.16"),
        (
            {"landed": 1500, "failed": 2, "filtered": 1},
            8,
            60.0,
            50.0,
            "1,500/2,000 landed · 400 reused · 8 in flight · 2 failed · 1 filtered · $60.00 · about 3 s left",
        ),
        (
            {"landed": 800},
            50,
            0.0,
            600.0,
            "800/2,000 landed · 400 reused · 50 in flight · about 10 min left",
        ),
        ({"landed": 100}, 50, 0.0, 600.0, "100/2,000 landed · 400 reused · 50 in flight · about 2.5 h left"),
    ],
)
def test_the_line_for_a_reader(counts: dict[str, int], in_flight: int, cost: float, seconds: float, line: str) -> None:
    clock = Clock()
    told = progress(clock)
    clock.now += seconds
    assert told.line(ended(**counts), in_flight, cost) == line


@pytest.mark.real_input("F1")
@pytest.mark.parametrize(
    ("counts", "seconds", "left"),
    [
        pytest.param({"landed": 19}, 63.0, "about 2 min left", id="jobs of 40 s, 19 of 61"),
        pytest.param({"landed": 15, "failed": 3, "filtered": 1}, 63.0, "about 2 min left", id="however they ended"),
        pytest.param({"landed": 60}, 200.0, "about 3 s left", id="the last one"),
        pytest.param({"landed": 4}, 63.0, "", id="too few to say"),
        pytest.param({"landed": 61}, 63.0, "", id="nothing left"),
        pytest.param({"landed": 19}, -5.0, "about 1 s left", id="a clock that was set back"),
    ],
)
def test_what_is_left_is_counted_by_the_rate_of_all_jobs_that_have_ended(
    counts: dict[str, int], seconds: float, left: str
) -> None:
    clock = Clock()
    clock.now += seconds
    # The worker that says so has just begun: the jobs ended while nobody but the triggerer was there.
    told = Progress(61, {"submit": 61}, 100.0, None, clock)
    assert told.line(ended(**counts), 10, 0.0).partition(" in flight")[2].rpartition(" · ")[2] == left


def test_it_is_told_soon_and_then_once_a_minute_and_kept_for_readers() -> None:
    clock, store = Clock(), FakeStore()
    told = progress(clock, store)
    assert not told.is_due
    clock.now += 10
    assert told.is_due
    told.tell(ended(landed=3), 2, 0.1 + 0.2)
    assert not told.is_due
    kept = store.get("imagepipeline:progress")
    assert kept["line"].startswith("3/2,000 landed")
    assert (kept["total"], kept["counts"], kept["in_flight"], kept["cost"]) == (2000, {"landed": 3}, 2, 0.3)


def test_a_store_that_is_down_costs_a_warning(logs: object) -> None:
    store = FakeStore()
    store.is_down = lambda *_: True
    progress(Clock(), store).tell(ended(), 0, 0.0)
    assert "The progress cannot be kept (StoreDown)" in logs()  # type: ignore[operator]
