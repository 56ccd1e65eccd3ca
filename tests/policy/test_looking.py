"""When to look at a job is learned: fewer seconds between done and seen, for no more looks than a fixed beat takes."""

from __future__ import annotations

import heapq
import itertools
import json
import math
import random
import statistics
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imagepipeline.policy.job_times import Cell, estimated_times
from airflow_imagepipeline.policy.look_plan import looks_of_beat, planned
from airflow_imagepipeline.policy.looking import LookSchedule

BEAT = 5.0
JOBS = 250

Pause = Callable[[float], float]
Learn = Callable[[float, float], None]


class Looked(NamedTuple):
    """What looking at some jobs took: looks a job, and seconds between done and seen."""

    looks: float
    median: float
    mean: float


def new_schedule(beat: float = BEAT, seed: int = 7) -> LookSchedule:
    return LookSchedule(poll_interval=beat, source=random.Random(seed))


def taught(*intervals: tuple[float, float], beat: float = BEAT, times: int = 1) -> LookSchedule:
    schedule = new_schedule(beat)
    for pending_at, done_at in intervals * times:
        schedule.learn(pending_at=pending_at, done_at=done_at)
    return schedule


def job_times(kind: str, mean: float, count: int = JOBS, seed: int = 1) -> list[float]:
    """Return job times as the emulator draws them."""
    source = random.Random(f"{seed}/{kind}/{mean}")
    shifts = {"constant": 0.0, "spread": 0.3, "heavy tail": 0.3}
    drawn = [(source.uniform(-1, 1), source.lognormvariate(0, 0.8)) for _ in range(count)]
    return [mean * (1 + shifts[kind] * shift) * (tail if kind == "heavy tail" else 1.0) for shift, tail in drawn]


def events(times: list[float], at_once: int, pause: Pause, learn: Learn) -> Iterator[tuple[int, float]]:
    """Look at jobs until all are seen, so many at a time; yield each one's looks and the delay of the last."""
    waiting = iter(times)
    due: list[tuple[float, int, float, float, float, int]] = []

    def start(now: float, number: int) -> None:
        for took in waiting:
            heapq.heappush(due, (now + pause(0.0), number, now, took, 0.0, 1))
            return

    for number in range(at_once):
        start(number * 0.01, number)
    while due:
        now, number, began, took, pending_at, looks = heapq.heappop(due)
        age = now - began
        if age < took:
            heapq.heappush(due, (now + pause(age), number, began, took, age, looks + 1))
            continue
        learn(pending_at, age)
        yield looks, age - took
        start(now, number)


def looked(times: list[float], pause: Pause, learn: Learn = lambda *_: None, at_once: int = 1) -> Looked:
    looks, delays = zip(*events(times, at_once, pause, learn), strict=True)
    return Looked(statistics.fmean(looks), statistics.median(delays), statistics.fmean(delays))


def by_beat(times: list[float], beat: float, at_once: int = 1) -> Looked:
    source = random.Random(5)
    return looked(times, lambda _: beat * source.uniform(0.9, 1.1), at_once=at_once)


def by_learning(times: list[float], schedule: LookSchedule, at_once: int = 1) -> Looked:
    def learn(pending_at: float, done_at: float) -> None:
        schedule.learn(pending_at=pending_at, done_at=done_at)

    return looked(times, lambda age: schedule.pause(age=age), learn, at_once)


# What it is for. Learning itself is counted: each run begins with nothing learned.


@pytest.mark.parametrize("beat", [1.0, 2.0, 5.0, 10.0])
@pytest.mark.parametrize("mean", [20.0, 60.0])
@pytest.mark.parametrize(
    ("kind", "most"),
    [
        pytest.param("constant", 0.5, id="constant times: half of the beat's delay at most"),
        pytest.param("spread", 0.5, id="spread times: half of the beat's delay at most"),
        pytest.param("heavy tail", 1.2, id="a heavy tail: not worse, chance aside"),
    ],
)
def test_the_end_is_seen_sooner_for_no_more_looks(kind: str, most: float, mean: float, beat: float) -> None:
    times = job_times(kind, mean, 400)
    fixed, ours = by_beat(times, beat), by_learning(times, new_schedule(beat))

    assert ours.looks <= 1.01 * fixed.looks
    assert ours.median <= most * fixed.median
    assert ours.mean <= 1.1 * fixed.mean


def test_where_little_is_to_be_gained_it_stays_with_the_beat() -> None:
    schedule = new_schedule()
    by_learning(job_times("heavy tail", 20.0), schedule)
    assert all(4.5 <= schedule.pause(age=age) <= 5.5 for age in range(100))


@pytest.mark.parametrize("beat", [2.0, 5.0])
def test_short_jobs_are_seen_sooner_too(beat: float) -> None:
    times = job_times("spread", 10.0)
    fixed, ours = by_beat(times, beat), by_learning(times, new_schedule(beat))

    assert ours.looks <= 1.02 * fixed.looks
    assert ours.median <= 0.5 * fixed.median


@pytest.mark.parametrize("kind", ["constant", "spread", "heavy tail"])
@pytest.mark.parametrize("beat", [1.0, 5.0, 10.0])
@pytest.mark.parametrize("at_once", [8, 50, JOBS])
def test_jobs_that_run_at_once_take_no_more_looks_either(kind: str, beat: float, at_once: int) -> None:
    # All at once: only the quickest have taught when the others are still looked at.
    times = job_times(kind, 20.0)
    fixed, ours = by_beat(times, beat, at_once), by_learning(times, new_schedule(beat), at_once)

    assert ours.looks <= 1.05 * fixed.looks
    assert ours.mean <= 1.2 * fixed.mean


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(20.0, 10.0, id="twice as fast"),
        pytest.param(20.0, 5.0, id="four times as fast"),
        pytest.param(20.0, 40.0, id="half as fast"),
        pytest.param(40.0, 36.0, id="a little faster"),
    ],
)
@pytest.mark.parametrize("kind", ["constant", "spread"])
def test_a_change_of_the_vendors_speed_is_followed(kind: str, before: float, after: float) -> None:
    beat = 2.0
    schedule = new_schedule(beat)
    by_learning(job_times(kind, before), schedule)
    by_learning(job_times(kind, after, 100), schedule)

    times = job_times(kind, after, seed=2)
    fixed, ours = by_beat(times, beat), by_learning(times, schedule)

    assert ours.median <= 0.5 * fixed.median
    assert ours.looks <= 1.02 * fixed.looks


def test_a_vendor_that_becomes_faster_is_noticed_though_one_look_was_enough() -> None:
    schedule = new_schedule(10.0)
    by_learning(job_times("constant", 20.0), schedule)
    by_learning(job_times("constant", 10.0, 50), schedule)

    assert by_learning(job_times("constant", 10.0), schedule).median < 1.0


# Nothing learned.


@pytest.mark.parametrize("age", [0.0, 3.0, 1e6, -5.0])
def test_with_nothing_learned_it_is_the_beat(age: float) -> None:
    schedule = new_schedule()
    pauses = {schedule.pause(age=age) for _ in range(100)}

    assert len(pauses) > 1
    assert all(4.5 <= pause <= 5.5 for pause in pauses)


@pytest.mark.parametrize(
    ("age", "estimated", "shortest", "longest"),
    [
        pytest.param(0.0, 20.0, 20.0, 20.0, id="the first look comes when the job should be done"),
        pytest.param(8.0, 20.0, 12.0, 12.0, id="so does a later one"),
        pytest.param(21.0, 20.0, 4.5, 5.5, id="late: the beat"),
        pytest.param(0.0, 1.0, 4.5, 5.5, id="done before the beat"),
        pytest.param(0.0, 3600.0, 45.0, 55.0, id="an hour is not believed: ten beats at most"),
    ],
)
def test_with_nothing_learned_the_vendors_estimate_counts(
    age: float, estimated: float, shortest: float, longest: float
) -> None:
    schedule = new_schedule()
    assert all(shortest <= schedule.pause(age=age, estimated=estimated) <= longest for _ in range(50))


def test_what_was_learned_counts_more_than_the_vendors_estimate() -> None:
    schedule = taught((19.9, 20.0), times=50)
    assert schedule.pause(age=15.0, estimated=300.0) < 5.5


# What was learned.


def test_the_first_look_waits_for_the_known_time() -> None:
    schedule = taught((19.9, 20.0), beat=20.0, times=60)
    firsts = [schedule.pause(age=0.0) for _ in range(50)]
    assert statistics.median(firsts) == pytest.approx(20.0, abs=0.6)


def test_a_job_that_nobody_looked_at_for_an_hour_says_little() -> None:
    plain = taught((19.9, 20.0), times=30)
    schedule = taught(*[(19.9, 20.0)] * 30, (0.0, 3600.0), *[(19.9, 20.0)] * 5)
    for age in (14.0, 21.0, 25.0):
        assert schedule.pause(age=age) <= 2 * BEAT
        assert plain.pause(age=age) <= 2 * BEAT


def test_jobs_that_were_never_seen_pending_are_looked_for_earlier() -> None:
    # All are known to have ended somewhere before 20 seconds.
    schedule = taught((0.0, 20.0), times=40)
    assert schedule.pause(age=0.0) < 12.0


def test_wide_intervals_together_tell_a_constant_time() -> None:
    source = random.Random(3)
    intervals = [(20.0 - source.uniform(0, 5), 20.0 + source.uniform(0, 5)) for _ in range(60)]
    cells = estimated_times(intervals, 0.1).seen
    about = sum(cell.mass for cell in cells if cell.start >= 19.0 and cell.end <= 21.0)
    assert about > 0.9


@pytest.mark.parametrize("late", [0.0, 0.5, 3.0, 100.0, 1e5])
def test_past_everything_learned_the_gap_is_the_beat_at_most(late: float) -> None:
    schedule = taught((19.9, 20.0), times=30)
    assert all(schedule.pause(age=20.1 + late) <= 1.1 * BEAT for _ in range(50))


def test_just_past_the_known_time_looks_are_close() -> None:
    assert taught((19.9, 20.0), times=30).pause(age=20.1) < 0.2 * BEAT


@pytest.mark.parametrize(
    ("pending_at", "done_at"),
    [
        pytest.param(0.0, 0.0, id="no time at all"),
        pytest.param(0.0, -3.0, id="a clock that was set back"),
        pytest.param(5.0, 90_000.0, id="more than a day"),
        pytest.param(0.0, math.inf, id="never"),
        pytest.param(0.0, math.nan, id="no number"),
        pytest.param(math.nan, 5.0, id="pending at no number"),
    ],
)
def test_what_is_no_age_teaches_nothing(pending_at: float, done_at: float) -> None:
    schedule = taught((pending_at, done_at))
    assert schedule.to_payload()["observed"] == []


@pytest.mark.parametrize(
    ("pending_at", "kept"), [(-1.0, [0.0, 5.0]), (9.0, [5.0, 5.0])], ids=["before it began", "after it was done"]
)
def test_a_job_cannot_be_seen_pending_outside_of_its_life(pending_at: float, kept: list[float]) -> None:
    schedule = taught((pending_at, 5.0))
    assert schedule.to_payload()["observed"] == [kept]
    assert schedule.pause(age=0.0) > 0


# The plan.


@pytest.mark.parametrize(
    ("beats", "looks"),
    [(0.0, 1.0), (0.5, 1.0), (0.8, 1.0), (1.0, 1.5), (1.3, 2.0), (1.75, 2.0), (4.5, 5.0), (1000.2, 1000.7)],
)
def test_the_beats_looks_are_counted(beats: float, looks: float) -> None:
    assert looks_of_beat(beats) == pytest.approx(looks, abs=0.01)


def test_the_beats_looks_are_those_of_a_simulation() -> None:
    for mean in (7.0, 20.0, 23.0, 60.0):
        expected = looks_of_beat(mean / BEAT)
        assert by_beat(job_times("constant", mean, 4000), BEAT).looks == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("age", [0.0, 3.0, 9.9, 10.0, 14.95, 19.99])
def test_a_plan_only_leads_onwards(age: float) -> None:
    times = estimated_times([(9.9, 10.0), (14.0, 15.0), (19.0, 20.0)] * 20, 0.1)
    plan = planned(times, BEAT)
    for luck in (0.0, 0.999):
        at, free = plan.next_look(age, tolerance=0.1, luck=luck)
        assert age < at <= plan.last
        assert free > 0


def test_a_plan_for_very_many_looks_keeps_to_their_number() -> None:
    times = job_times("spread", 900.0, 150)
    fixed, ours = by_beat(times, 2.0), by_learning(times, new_schedule(2.0))

    assert 0.85 * fixed.looks <= ours.looks <= 1.01 * fixed.looks
    assert ours.median <= 0.5 * fixed.median


@given(st.lists(st.tuples(st.floats(0, 86_400), st.floats(0.01, 86_400)).map(sorted), min_size=1, max_size=128))
def test_a_distribution_has_no_gaps_and_leaves_some_doubt(observed: list[list[float]]) -> None:
    times = estimated_times([(low, high) for low, high in observed], 0.1)
    cells: list[Cell] = list(times.expected)
    assert cells[0].start == 0.0
    assert all(one.end == pytest.approx(other.start) for one, other in itertools.pairwise(cells))
    assert all(cell.mass > 0 and cell.end > cell.start for cell in cells)
    assert sum(cell.mass for cell in cells) < 1.0


ages = st.floats(-10, 200_000) | st.floats(0, 100)


@given(
    observed=st.lists(st.tuples(ages, ages), max_size=200),
    looks=st.lists(st.tuples(ages, st.none() | st.floats(0.001, 86_399)), min_size=1, max_size=20),
    beat=st.floats(0.001, 600),
    seed=st.integers(),
)
def test_a_pause_is_always_positive_and_bounded(
    observed: list[tuple[float, float]], looks: list[tuple[float, float | None]], beat: float, seed: int
) -> None:
    schedule = LookSchedule(poll_interval=beat, source=random.Random(seed))
    for pending_at, done_at in observed:
        schedule.learn(pending_at=pending_at, done_at=done_at)
    for age, estimated in looks:
        pause = schedule.pause(age=age, estimated=estimated)
        assert beat * 0.04 <= pause <= max(11 * beat, 1.2 * 86_400)


# Across processes.


@given(
    observed=st.lists(st.tuples(st.floats(0, 86_400), st.floats(0, 86_400)), max_size=140),
    looks=st.lists(st.floats(0, 1000), max_size=30),
)
def test_what_was_learned_crosses_processes(observed: list[tuple[float, float]], looks: list[float]) -> None:
    schedule = taught(*observed)
    for age in looks:
        schedule.pause(age=age)
    text = json.dumps(schedule.to_payload(), allow_nan=False)
    other = LookSchedule.from_payload(json.loads(text), poll_interval=BEAT, source=random.Random(3))

    assert len(text) <= 4000
    assert other.to_payload() == schedule.to_payload()


def test_a_schedule_of_another_process_goes_on_where_it_was() -> None:
    schedule = taught((22.9, 23.0), times=60)
    payload = json.loads(json.dumps(schedule.to_payload()))
    other = LookSchedule.from_payload(payload, poll_interval=BEAT, source=random.Random(7))
    times = job_times("constant", 23.0, 30)

    assert by_learning(times, other).median < 0.5 * by_beat(times, BEAT).median


GOOD: dict[str, Any] = {"v": 1, "observed": [[0.0, 5.0]], "credit": 2.0}


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(None, id="nothing"),
        pytest.param([], id="a list"),
        pytest.param({}, id="an empty mapping"),
        pytest.param({**GOOD, "v": 2}, id="another version"),
        pytest.param({**GOOD, "observed": None}, id="no observations"),
        pytest.param({**GOOD, "observed": [[0.0, 5.0]] * 129}, id="too many"),
        pytest.param({**GOOD, "observed": [5.0]}, id="an age for an interval"),
        pytest.param({**GOOD, "observed": [[5.0]]}, id="half an interval"),
        pytest.param({**GOOD, "observed": [[0.0, True]]}, id="a boolean for an age"),
        pytest.param({**GOOD, "observed": [["0", 5.0]]}, id="a text for an age"),
        pytest.param({**GOOD, "observed": [[6.0, 5.0]]}, id="pending after it was done"),
        pytest.param({**GOOD, "observed": [[0.0, 0.0]]}, id="done before it began"),
        pytest.param({**GOOD, "observed": [[-1.0, 5.0]]}, id="a negative age"),
        pytest.param({**GOOD, "observed": [[0.0, float("nan")]]}, id="no number"),
        pytest.param({**GOOD, "observed": [[0.0, 10**400]]}, id="beyond every float"),
        pytest.param({"v": 1, "observed": []}, id="no credit"),
        pytest.param({**GOOD, "credit": -1}, id="debts"),
        pytest.param({**GOOD, "credit": 1e9}, id="more credit than is given"),
    ],
)
def test_a_stranger_is_refused(payload: object) -> None:
    with pytest.raises(ValueError, match="not a look schedule"):
        LookSchedule.from_payload(payload, poll_interval=BEAT, source=random.Random(1))


def test_a_payload_says_no_more_than_ages() -> None:
    assert taught((1.23456789, 5.0)).to_payload() == {"v": 1, "observed": [[1.2346, 5.0]], "credit": 2.1}
