"""When a wait is over, when to look next, and what to log: every rule as a table, without a clock or a server."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imagepipeline.contract.api import SDXL_IMAGE_TO_IMAGE, JobStatus
from airflow_imagepipeline.contract.errors import (
    Blocked,
    Busy,
    ImagePipelineError,
    InvalidParameters,
    LinkRefused,
    Malformed,
    Misconfigured,
    NotSent,
    Refused,
    Uncertain,
    WrongAnswer,
)
from airflow_imagepipeline.contract.job import Job, JobHandle
from airflow_imagepipeline.policy.job_event import Outcome
from airflow_imagepipeline.policy.looking import LookSchedule
from airflow_imagepipeline.policy.waiting import JobWait, check_seconds, steady_clock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_imagepipeline.policy.job_event import JobEvent

SUBMITTED = 1_800_000_000.0
DEADLINE = SUBMITTED + 3600
LATER = SUBMITTED + 61
"""When the API must know a job."""
HANDLE = JobHandle(SDXL_IMAGE_TO_IMAGE, "job-1", submitted_at=SUBMITTED, seed=7)

PENDING = Job(HANDLE, JobStatus.PENDING)
UNKNOWN = Job(HANDLE, JobStatus.PENDING, status_word="QUEUED")
DONE = Job(HANDLE, JobStatus.SUCCESS, download_urls=("https://f.example/1.png",))
NO_LINKS = Job(HANDLE, JobStatus.SUCCESS)
FAILED = Job(HANDLE, JobStatus.FAILURE, error="out of memory")
NO_REASON = Job(HANDLE, JobStatus.FAILURE)
KEY = Refused("the key was refused", status=401)
CREDITS = Refused("no credits left", status=402)
PLAN = Refused("the plan was refused", status=403)
NOT_FOUND = Refused("nothing is known here", status=404)
MALFORMED = Malformed("no readable JSON")
CERTIFICATE = Misconfigured("the certificate is not valid")
DOWN = NotSent("no connection")
LOST = Uncertain("no readable answer")
BUSY = Busy("later")
OTHER_JOB = WrongAnswer("another job")
BLOCKED = Blocked("a page answered", status=403)
ODD_CODES = (400, 405, 409, 410, 418, 422, 423, 430, 451, 499, 501)

Look = Job | ImagePipelineError


class Longest(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return max(a, b)


class Shortest(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return min(a, b)


def new_wait(
    handle: JobHandle = HANDLE,
    *,
    interval: float = 5.0,
    source: random.Random | None = None,
    deadline: float = DEADLINE,
) -> JobWait:
    return JobWait(handle, deadline=deadline, poll_interval=interval, source=source or random.Random(1))


def end_of(
    looks: Sequence[Look], wait: JobWait | None = None, *, now: float = LATER, apart: float = 1.5
) -> tuple[int, JobEvent] | None:
    """Return how many looks it took to the end, and the end; None when the wait goes on after the last look."""
    wait = wait or new_wait()
    for count, look in enumerate(looks, start=1):
        event = wait.after(look, now=now + apart * (count - 1))
        if event is not None:
            return count, event
    return None


@pytest.mark.fault(110)
@pytest.mark.parametrize(
    ("looks", "outcome", "message"),
    [
        pytest.param([DONE], Outcome.SUCCEEDED, "", id="done at the first look"),
        pytest.param([PENDING] * 50 + [DONE], Outcome.SUCCEEDED, "", id="done at last"),
        pytest.param([DOWN, LOST, BUSY] * 40 + [DONE], Outcome.SUCCEEDED, "", id="done after an outage"),
        pytest.param([FAILED], Outcome.FAILED, "out of memory", id="failed with a reason: at once"),
        pytest.param([NO_REASON] * 2, Outcome.FAILED, "No reason given.", id="failed without one: confirmed once"),
        pytest.param([NO_REASON, FAILED], Outcome.FAILED, "out of memory", id="the confirmation brings the reason"),
        pytest.param([NO_REASON, PENDING, DONE], Outcome.SUCCEEDED, "", id="a failure without a reason may flap"),
        pytest.param([NO_REASON, DOWN, NO_REASON], Outcome.FAILED, "No reason given.", id="confirmed after an outage"),
        pytest.param([KEY] * 2, Outcome.UNREACHABLE, "the key was refused", id="401 twice in a row"),
        pytest.param([CREDITS] * 2, Outcome.UNREACHABLE, "no credits left", id="402 twice in a row"),
        pytest.param([PLAN] * 2, Outcome.UNREACHABLE, "the plan was refused", id="403 twice in a row"),
        pytest.param([KEY, PLAN], Outcome.UNREACHABLE, "the plan was refused", id="401 and 403 are one row"),
        pytest.param([KEY, DOWN, KEY], Outcome.UNREACHABLE, "the key was refused", id="401 on both sides of an outage"),
        pytest.param([NOT_FOUND] * 3, Outcome.LOST, "nothing is known here", id="404 three times in a row"),
        pytest.param(
            [CERTIFICATE] * 5, Outcome.UNREACHABLE, "the certificate is not valid", id="certificate, five times"
        ),
        pytest.param([MALFORMED] * 10, Outcome.UNREACHABLE, "no readable JSON", id="malformed ten times"),
        pytest.param(
            [NO_LINKS] * 3, Outcome.UNREACHABLE, "The API reports SUCCESS without links.", id="SUCCESS without links"
        ),
        pytest.param([NO_LINKS, NO_LINKS, DONE], Outcome.SUCCEEDED, "", id="links that come late"),
        pytest.param([OTHER_JOB] * 3, Outcome.REFUSED, "another job", id="three answers for another job"),
        pytest.param([OTHER_JOB, DOWN, OTHER_JOB, OTHER_JOB], Outcome.REFUSED, "another job", id="and an outage"),
        pytest.param([BLOCKED] * 10, Outcome.UNREACHABLE, "a page answered", id="a page instead of the API, ten times"),
        pytest.param([BLOCKED] * 9 + [DONE], Outcome.SUCCEEDED, "", id="a page nine times"),
        pytest.param([InvalidParameters("the key")], Outcome.REFUSED, "the key", id="what cannot be sent at all"),
        *(
            pytest.param([Refused("no", status=code)] * 3, Outcome.REFUSED, "no", id=f"{code} three times in a row")
            for code in ODD_CODES
        ),
        *(
            pytest.param(
                [Refused("no", status=code)] * 2 + [DONE], Outcome.SUCCEEDED, "", id=f"{code} twice, then done"
            )
            for code in ODD_CODES
        ),
        pytest.param([OTHER_JOB, OTHER_JOB, DONE], Outcome.SUCCEEDED, "", id="two answers for another job, then done"),
    ],
)
def test_a_wait_ends(looks: list[Look], outcome: Outcome, message: str) -> None:
    ended = end_of(looks)
    assert ended is not None
    count, event = ended
    assert count == len(looks)
    assert (event.handle, event.outcome, event.message) == (HANDLE, outcome, message)
    assert event.job is (looks[-1] if isinstance(looks[-1], Job) and looks[-1] is not NO_LINKS else None)


@pytest.mark.parametrize(
    "looks",
    [
        pytest.param([PENDING] * 1000, id="pending"),
        pytest.param([UNKNOWN] * 1000, id="an unknown status"),
        pytest.param([DOWN] * 1000, id="no connection"),
        pytest.param([LOST] * 1000, id="no readable answer"),
        pytest.param([BUSY] * 1000, id="busy"),
        pytest.param([LinkRefused("x")] * 50, id="what no look raises"),
        pytest.param([Refused("no", status=410), PENDING] * 50, id="410 now and then"),
        pytest.param([OTHER_JOB, OTHER_JOB, PENDING] * 50, id="answers for another job now and then"),
        pytest.param([Refused("no", status=410), OTHER_JOB] * 50, id="410 and answers for another job by turns"),
        pytest.param([KEY, PENDING] * 50, id="401 now and then"),
        pytest.param([KEY, MALFORMED] * 50, id="401 between answers that cannot be read"),
        pytest.param([NOT_FOUND, NOT_FOUND, PENDING] * 50, id="404 now and then"),
        pytest.param([CERTIFICATE] * 4, id="a certificate that was refused four times"),
        pytest.param([CERTIFICATE] * 4 + [PENDING] + [CERTIFICATE] * 4, id="and four times more"),
        pytest.param([MALFORMED] * 9, id="nine answers that cannot be read"),
        pytest.param([MALFORMED] * 9 + [PENDING] + [MALFORMED] * 9, id="and nine more"),
        pytest.param([NO_LINKS] * 2, id="SUCCESS without links, twice"),
        pytest.param([NO_LINKS, NO_LINKS, PENDING] * 50, id="SUCCESS that flaps"),
        pytest.param([NO_REASON, PENDING] * 50, id="FAILURE that flaps"),
        pytest.param([NO_REASON, NO_LINKS] * 50, id="FAILURE and SUCCESS by turns"),
    ],
)
def test_a_wait_goes_on(looks: list[Look]) -> None:
    assert end_of(looks) is None


@pytest.mark.parametrize(
    ("handle", "now", "count"),
    [
        pytest.param(HANDLE, SUBMITTED, None, id="at once: not yet known"),
        pytest.param(HANDLE, SUBMITTED + 59.9, None, id="just within a minute: not yet known"),
        pytest.param(HANDLE, SUBMITTED - 3600, None, id="a clock that runs behind: not yet known"),
        pytest.param(HANDLE, SUBMITTED + 60, 3, id="after a minute: gone"),
        pytest.param(JobHandle(SDXL_IMAGE_TO_IMAGE, "job-1"), SUBMITTED, 3, id="submitted at an unknown time: gone"),
    ],
)
def test_404_is_forgiven_for_a_minute_after_the_submission(handle: JobHandle, now: float, count: int | None) -> None:
    ended = end_of([NOT_FOUND] * 3 if count else [NOT_FOUND] * 20, new_wait(handle), now=now, apart=1.5 if count else 0)
    assert (ended and ended[0]) == count
    assert ended is None or ended[1].outcome is Outcome.LOST


@pytest.mark.fault(110)
@pytest.mark.parametrize("look", [NOT_FOUND, OTHER_JOB, Refused("no", status=410)], ids=["404", "another job", "410"])
def test_one_bad_moment_gives_no_job_up(look: Look) -> None:
    wait = new_wait()
    assert end_of([look] * 10, wait, apart=0.2) is None
    assert wait.in_doubt
    assert wait.after(look, now=LATER + 3) is not None


@pytest.mark.real_input("D9")
def test_the_deadline_names_the_last_word_as_it_came() -> None:
    event = new_wait().after(Job(HANDLE, JobStatus.PENDING, status_word="on hold"), now=DEADLINE)
    assert event is not None
    assert event.message.endswith("Last seen: on hold")


def test_404s_that_were_forgiven_do_not_count_later() -> None:
    wait = new_wait()
    assert end_of([NOT_FOUND] * 20, wait, now=SUBMITTED + 30, apart=0) is None
    ended = end_of([NOT_FOUND] * 20, wait)
    assert ended is not None
    assert ended[0] == 3


# The deadline.


@pytest.mark.parametrize("late", [0.0, 1.0, 1e6])
@pytest.mark.parametrize(
    ("look", "outcome"),
    [
        pytest.param(DONE, Outcome.SUCCEEDED, id="done"),
        pytest.param(FAILED, Outcome.FAILED, id="failed"),
        pytest.param(Refused("no", status=410), Outcome.TIMED_OUT, id="refused once"),
        pytest.param(PENDING, Outcome.TIMED_OUT, id="pending"),
        pytest.param(UNKNOWN, Outcome.TIMED_OUT, id="an unknown status"),
        pytest.param(DOWN, Outcome.TIMED_OUT, id="no connection"),
        pytest.param(NO_LINKS, Outcome.TIMED_OUT, id="SUCCESS without links yet"),
        pytest.param(NO_REASON, Outcome.TIMED_OUT, id="FAILURE not yet confirmed"),
        pytest.param(NOT_FOUND, Outcome.TIMED_OUT, id="404 once"),
    ],
)
def test_a_look_past_the_deadline_still_counts(look: Look, outcome: Outcome, late: float) -> None:
    event = new_wait().after(look, now=DEADLINE + late)
    assert event is not None
    assert event.outcome is outcome


def test_before_the_deadline_nothing_times_out() -> None:
    assert new_wait().after(PENDING, now=DEADLINE - 0.001) is None


@pytest.mark.parametrize(("look", "last"), [(PENDING, "PENDING"), (NO_REASON, "FAILURE"), (DOWN, "no connection")])
def test_a_timeout_says_what_was_seen_last_and_what_it_may_cost(look: Look, last: str) -> None:
    event = new_wait().after(look, now=DEADLINE)
    assert event is not None
    assert event.message == f"The deadline passed. The job may still finish and be billed. Last seen: {last}"


# When to look next.


@pytest.mark.parametrize(
    ("looks", "shortest", "longest"),
    [
        pytest.param([], 4.5, 5.5, id="all is well: the interval, a tenth more or less"),
        pytest.param([PENDING], 4.5, 5.5, id="pending: the same"),
        pytest.param([UNKNOWN], 4.5, 5.5, id="an unknown status: the same"),
        pytest.param([NO_LINKS], 4.5, 5.5, id="SUCCESS without links: the same"),
        pytest.param([DOWN], 5.0, 10.0, id="one bad look: up to ten seconds"),
        pytest.param([DOWN] * 2, 5.0, 20.0, id="two: up to twenty"),
        pytest.param([DOWN, KEY, MALFORMED], 5.0, 40.0, id="three of any kind: up to forty"),
        pytest.param([LOST] * 4, 5.0, 60.0, id="four: up to sixty"),
        pytest.param([LOST] * 5000, 5.0, 60.0, id="five thousand: up to sixty"),
        pytest.param([DOWN] * 9 + [PENDING], 4.5, 5.5, id="well again"),
        pytest.param([BUSY], 5.0, 10.0, id="busy without a pause: as any bad look"),
        pytest.param([Busy("x", retry_after=0.0)], 5.0, 10.0, id="a pause of nothing: as any bad look"),
        pytest.param([Busy("x", retry_after=8.0)], 8.0, 10.0, id="a pause: at least that"),
        pytest.param([Busy("x", retry_after=90.0)], 90.0, 90.0, id="a longer pause"),
        pytest.param([Busy("x", retry_after=1e12)], 300.0, 300.0, id="five minutes at most"),
        pytest.param([Busy("x", retry_after=90.0), DOWN], 5.0, 20.0, id="a pause is obeyed once"),
        pytest.param([Job(HANDLE, JobStatus.PENDING, retry_after=90.0)], 90.0, 90.0, id="a pause beside a status"),
        pytest.param([Job(HANDLE, JobStatus.PENDING, retry_after=90.0), PENDING], 4.5, 5.5, id="obeyed once, too"),
    ],
)
def test_the_next_look(looks: list[Look], shortest: float, longest: float) -> None:
    for source, seconds in ((Shortest(), shortest), (Longest(), longest)):
        wait = new_wait(source=source)
        for look in looks:
            # Early: a 401 or an unreadable answer alone ends nothing.
            assert wait.after(look, now=SUBMITTED) is None
        assert wait.pause(now=SUBMITTED) == seconds


@pytest.mark.parametrize("source", [Shortest(), Longest()], ids=["shortest", "longest"])
def test_a_long_interval_is_not_shortened_by_bad_looks(source: random.Random) -> None:
    wait = new_wait(interval=600.0, source=source)
    wait.after(DOWN, now=SUBMITTED)
    assert wait.pause(now=SUBMITTED) == 600.0


@pytest.mark.parametrize(("left", "pause"), [(100.0, 90.0), (3.0, 3.0), (0.0, 0.0), (-50.0, 0.0)])
def test_a_pause_ends_at_the_deadline(left: float, pause: float) -> None:
    wait = new_wait()
    wait.after(Busy("x", retry_after=90.0), now=SUBMITTED)
    assert wait.pause(now=DEADLINE - left) == pause


every_look = st.sampled_from(
    [PENDING, UNKNOWN, NO_LINKS, NO_REASON, KEY, NOT_FOUND, MALFORMED, CERTIFICATE, DOWN, LOST, DONE, FAILED]
) | st.builds(Busy, st.just("later"), retry_after=st.none() | st.floats(0, 1e15))


@given(
    looks=st.lists(st.tuples(every_look, st.floats(0, 100)), max_size=60),
    interval=st.floats(0.1, 1000),
    source=st.integers(),
)
def test_whatever_is_seen_a_wait_keeps_within_its_bounds(
    looks: list[tuple[Look, float]], interval: float, source: int
) -> None:
    wait = new_wait(interval=interval, source=random.Random(source))
    now = SUBMITTED
    for look, took in looks:
        event = wait.after(look, now=now)
        if event is not None:
            assert event.handle is HANDLE
            assert (event.outcome is Outcome.SUCCEEDED) == (look is DONE)
            return
        assert look is not DONE
        assert look is not FAILED
        assert now < DEADLINE
        pause = wait.pause(now=now)
        assert 0 < pause <= min(max(interval * 1.1, 300.0), DEADLINE - now)
        now += pause + took


# A schedule that many waits share.


def scheduled(schedule: LookSchedule, handle: JobHandle = HANDLE) -> JobWait:
    return JobWait(handle, deadline=DEADLINE, poll_interval=5.0, source=random.Random(1), schedule=schedule)


def new_schedule(*, taught: bool = False) -> LookSchedule:
    schedule = LookSchedule(poll_interval=5.0, source=random.Random(1))
    for _ in range(60 * taught):
        schedule.learn(pending_at=29.9, done_at=30.0)
    return schedule


def observed(schedule: LookSchedule) -> list[list[float]]:
    intervals: list[list[float]] = schedule.to_payload()["observed"]
    return intervals


def seen_at(wait: JobWait, *looks: tuple[float, Look]) -> None:
    for age, look in looks:
        wait.after(look, now=SUBMITTED + age)


@pytest.mark.parametrize(
    ("looks", "learned"),
    [
        pytest.param([(10, PENDING), (15, PENDING), (20, DONE)], [[15.0, 20.0]], id="done: when it was last pending"),
        pytest.param([(10, PENDING), (15, FAILED)], [[10.0, 15.0]], id="failed: it ended, too"),
        pytest.param([(20, DONE)], [[0.0, 20.0]], id="done at the first look"),
        pytest.param([(10, PENDING), (15, DOWN), (20, DONE)], [[10.0, 20.0]], id="an outage tells nothing"),
        pytest.param([(10, PENDING), (15, NO_LINKS), (20, DONE)], [[10.0, 15.0]], id="done before its links came"),
        pytest.param([(10, PENDING), (15, NO_REASON), (20, NO_REASON)], [[10.0, 15.0]], id="failed without a reason"),
        pytest.param([(9, NO_LINKS), (10, PENDING), (15, DONE)], [[10.0, 15.0]], id="not done after all"),
        pytest.param([(9, NO_LINKS), (10, NO_LINKS), (11, NO_LINKS)], [], id="links that never came"),
        pytest.param([(9, Refused("no", status=410))], [], id="refused"),
        pytest.param([(70, NOT_FOUND)] * 3, [], id="lost"),
        pytest.param([(10, PENDING), (3600, PENDING)], [], id="the deadline"),
    ],
)
def test_a_wait_teaches_when_its_job_ended(looks: list[tuple[float, Look]], learned: list[list[float]]) -> None:
    schedule = new_schedule()
    seen_at(scheduled(schedule), *looks)
    assert observed(schedule) == learned


def test_a_job_of_unknown_age_teaches_nothing_and_keeps_to_the_beat() -> None:
    schedule = new_schedule(taught=True)
    wait = scheduled(schedule, JobHandle(SDXL_IMAGE_TO_IMAGE, "job-1"))
    seen_at(wait, (10, PENDING))
    assert wait.pause(now=SUBMITTED + 10) <= 5.5
    seen_at(wait, (15, DONE))
    assert len(observed(schedule)) == 60


@pytest.mark.parametrize(
    ("looks", "shortest", "longest"),
    [
        pytest.param([], 4.0, 20.0, id="pending: by what was learned, from its age"),
        pytest.param([(10, NO_LINKS)], 4.5, 5.5, id="done without links: the beat"),
        pytest.param([(10, DOWN)], 5.0, 10.0, id="no connection: as ever"),
        pytest.param([(10, Job(HANDLE, JobStatus.PENDING, retry_after=90.0))], 90.0, 90.0, id="the API asks for more"),
    ],
)
def test_the_schedule_counts_while_all_is_well(
    looks: list[tuple[float, Look]], shortest: float, longest: float
) -> None:
    wait = scheduled(new_schedule(taught=True))
    seen_at(wait, *looks)
    assert shortest <= wait.pause(now=SUBMITTED + 10) <= longest


def test_a_look_falls_just_past_the_learned_time() -> None:
    wait = scheduled(new_schedule(taught=True))
    seen_at(wait, (29, PENDING))
    assert 0.9 <= wait.pause(now=SUBMITTED + 29) <= 1.5


def test_the_schedule_never_leads_past_the_deadline() -> None:
    wait = JobWait(
        HANDLE, deadline=SUBMITTED + 12, poll_interval=5.0, source=random.Random(1), schedule=new_schedule(taught=True)
    )
    assert wait.pause(now=SUBMITTED + 10) <= 2.0


def test_an_estimate_places_the_next_look_and_is_remembered() -> None:
    wait = new_wait()
    seen_at(wait, (1, Job(HANDLE, JobStatus.PENDING, estimated_seconds=30.0)))
    assert wait.pause(now=SUBMITTED + 1) == 29.0
    seen_at(wait, (20, PENDING))
    assert wait.pause(now=SUBMITTED + 20) == 10.0


# What to log.


def remarks(looks: Sequence[Look]) -> list[str]:
    wait = new_wait()
    said = []
    for look in looks:
        wait.after(look, now=SUBMITTED)
        said.append(wait.remark)
    return said


def test_an_unknown_status_is_remarked_once_for_each_word() -> None:
    other = Job(HANDLE, JobStatus.PENDING, status_word="WARMING UP")
    said = remarks([UNKNOWN, UNKNOWN, other, UNKNOWN, DOWN, UNKNOWN, other])
    assert [bool(remark) for remark in said] == [True, False, True, False, True, False, False]
    assert said[0] == "Unknown status 'QUEUED' is taken for still running."
    assert "'WARMING UP'" in said[2]


def test_known_statuses_are_not_remarked() -> None:
    assert remarks([PENDING, NO_LINKS, NO_REASON, PENDING]) == [""] * 4


def test_an_outage_is_remarked_at_its_beginning_and_then_every_tenth_look() -> None:
    said = remarks([DOWN] * 25)
    assert [count for count, remark in enumerate(said, start=1) if remark] == [1, 11, 21]
    assert said[0] == "no connection (look 1 in a row without a status; the wait goes on)"
    assert "look 21 in a row" in said[20]


def test_the_next_outage_is_remarked_anew() -> None:
    assert [bool(remark) for remark in remarks([DOWN, DOWN, PENDING, DOWN])] == [True, False, False, True]


# Doubt: whether one who remembers nothing must look again at once.


@pytest.mark.parametrize(
    ("looks", "in_doubt"),
    [
        pytest.param([], False, id="before the first look"),
        pytest.param([PENDING], False, id="pending"),
        pytest.param([KEY], True, id="401"),
        pytest.param([NO_LINKS], True, id="SUCCESS without links"),
        pytest.param([NO_REASON], True, id="FAILURE without a reason"),
        pytest.param([MALFORMED], True, id="an answer that cannot be read"),
        pytest.param([NOT_FOUND], False, id="404 within the first minute"),
        pytest.param([DOWN], False, id="no connection"),
        pytest.param([MALFORMED, DOWN], False, id="an outage after doubt: its end may be far"),
        pytest.param([MALFORMED, PENDING], False, id="doubt that is settled"),
    ],
)
def test_doubt_is_about_the_last_look(looks: list[Look], *, in_doubt: bool) -> None:
    wait = new_wait()
    assert end_of(looks, wait, now=SUBMITTED) is None
    assert wait.in_doubt is in_doubt


@given(st.lists(every_look, max_size=40))
def test_doubt_alone_ends_within_ten_looks(looks: list[Look]) -> None:
    wait = new_wait()
    doubts = 0
    for look in itertools.chain(looks, [MALFORMED] * 10):
        if wait.after(look, now=LATER) is not None:
            return
        doubts = doubts + 1 if wait.in_doubt else 0
    pytest.fail(f"still in doubt after {doubts} looks")


# The clock.


class Machine:
    """A machine's two clocks: the wall clock may be set, the other one only runs."""

    def __init__(self) -> None:
        self.wall_time = SUBMITTED
        self.uptime = 12.5

    def runs(self, seconds: float) -> None:
        self.wall_time += seconds
        self.uptime += seconds

    def wall(self) -> float:
        return self.wall_time

    def monotonic(self) -> float:
        return self.uptime


def test_a_steady_clock_begins_at_the_wall_clocks_time() -> None:
    machine = Machine()
    assert steady_clock(machine.wall, machine.monotonic)() == SUBMITTED


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 1e9])
def test_a_jump_of_the_wall_clock_moves_no_deadline(jump: float) -> None:
    machine = Machine()
    clock = steady_clock(machine.wall, machine.monotonic)
    wait = new_wait()
    machine.runs(10)
    machine.wall_time += jump
    assert clock() == SUBMITTED + 10
    assert wait.after(PENDING, now=clock()) is None
    assert wait.pause(now=clock()) <= 5.5
    machine.runs(3590)
    event = wait.after(PENDING, now=clock())
    assert event is not None
    assert event.outcome is Outcome.TIMED_OUT


def test_a_process_that_starts_later_waits_only_for_the_rest() -> None:
    machine = Machine()
    machine.runs(3500)
    rebooted = Machine()
    rebooted.wall_time, rebooted.uptime = machine.wall_time, 0.0
    clock = steady_clock(rebooted.wall, rebooted.monotonic)
    rebooted.runs(99)
    assert new_wait().after(PENDING, now=clock()) is None
    rebooted.runs(1)
    assert new_wait().after(PENDING, now=clock()) is not None


@pytest.mark.parametrize("seconds", [0, -1.0, float("inf"), float("nan"), "5", None], ids=str)
def test_what_is_no_length_of_time_is_named(seconds: object) -> None:
    check_seconds(timeout=1, poll_interval=0.05)
    with pytest.raises(InvalidParameters, match=r"poll_interval: .* is not a number of seconds above 0"):
        check_seconds(timeout=1, poll_interval=seconds)


def test_a_wait_without_an_interval_is_refused() -> None:
    with pytest.raises(InvalidParameters, match="poll_interval: 0"):
        new_wait(interval=0)
