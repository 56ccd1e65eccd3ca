"""Whatever happens in whatever order: an image is paid for once for each time a human asked for it."""

from __future__ import annotations

import json
import logging
import os
import types
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final
from unittest import mock

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from airflow_imagepipeline.operators.submission import Submission
from airflow_imagepipeline.policy.submission import SubmissionRecord
from airflow_imagepipeline.records.task_state import TaskStateRecords
from tests import generations
from tests.generations import Generation
from tests.reliability import model
from tests.reliability.model import Strike

EXAMPLES: Final = int(os.environ.get("NEVER_TWICE_EXAMPLES", "200"))

strikes = st.lists(
    st.builds(Strike, st.integers(1, 14), st.sampled_from(["kill", "kill", "store down"]), st.booleans()),
    max_size=2,
    unique_by=lambda strike: strike.step,
)
posts = st.lists(st.sampled_from(model.POST_ANSWERS), max_size=5)
looks = st.lists(st.sampled_from(list(model.LOOKS)), max_size=12)
images = st.sampled_from(["a", "b"])
rarely = st.sampled_from([False, False, False, True])


class TaskLife(RuleBasedStateMachine):
    """One task instance through crashes, faults, retries, clears and re-expansions."""

    only_the_money = False

    @initialize(
        generation=st.sampled_from(generations.BOTH),
        mapped=st.booleans(),
        retries=st.integers(0, 3),
        wait=st.sampled_from([True, True, False]),
        defer=st.booleans(),
    )
    def create(self, *, generation: Generation, mapped: bool, retries: int, wait: bool, defer: bool) -> None:
        self.patches = ExitStack()
        self.patches.enter_context(mock.patch.object(generations.Spoken, "generation", generation))
        self.api, self.store, self.clock = model.Api(), model.Store(), model.Clock()
        self.patches.enter_context(model.replaced(self.api, self.clock))
        self.mapped, self.retries, self.wait, self.defer = mapped, retries, wait, defer
        self.image = "a"
        self.try_number, self.max_tries = 1, retries
        self.state = "ready"
        self.trigger: dict[str, Any] | None = None
        self.decision = 0
        self.charged: Counter[tuple[int, str]] = Counter()
        self.by_clear: Counter[int] = Counter()  # every clear raises max_tries
        self.known: dict[str, str] = {}  # image: job whose id is safe and whose end nobody has seen
        self.troubled: set[str] = set()  # images whose record may not be what it should: the store failed
        self.wanted_anew: set[str] = set()  # images whose success a human has cleared
        self.bare_errors: list[str] = []
        self.seen: list[str] = []  # whatever left a process

    def teardown(self) -> None:
        if hasattr(self, "patches"):
            self.patches.close()

    # -- what Airflow and humans do ------------------------------------------------------------------------------

    @precondition(lambda self: self.state == "ready")
    @rule(strikes=strikes, posts=posts, looks=looks, report_lost=rarely)
    def run(self, strikes: list[Strike], posts: list[model.PostAnswer], looks: list[str], *, report_lost: bool) -> None:
        before = (self.api.posts, len(self.api.gets))
        known = self.known.get(self.image)
        task = self._task()
        self._process(
            lambda: model.executed(task, "execute", self._context(task)),
            strikes=strikes,
            posts=posts,
            looks=looks,
            report_lost=report_lost,
        )
        if self.only_the_money:
            return
        posted, gets = self.api.posts - before[0], self.api.gets[before[1] :]
        if known is not None:
            assert posted == 0, f"{known} is running, but was submitted again"
            assert set(gets) <= {known}
            assert gets or self.steps.struck or self.end == "deferred" or not self.wait, f"{known} was not taken up"
        if self.image in self.wanted_anew and not self.steps.struck:
            assert posted, "a human cleared the finished task, but nothing was submitted"
        self.wanted_anew.discard(self.image)

    @precondition(lambda self: self.state == "deferred")
    @rule(strikes=strikes, looks=looks, last_looks=looks, report_lost=rarely)
    def trigger_looks(
        self, strikes: list[Strike], looks: list[str], last_looks: list[str], *, report_lost: bool
    ) -> None:
        posts = self.api.posts
        self._begin_process([], [], looks)
        assert self.trigger is not None
        try:
            event = model.fired(self.trigger)
        except model.Killed:
            self._note_looks()
            return  # another triggerer takes it up, from zero
        self._note_looks()
        self.seen.append(json.dumps(event))
        task = self._task()
        context = self._context(task)
        self._process(
            lambda: model.executed(task, "execute_complete", context, event),
            strikes=strikes,
            posts=[],
            looks=last_looks,
            report_lost=report_lost,
        )
        assert self.api.posts == posts

    @precondition(lambda self: self.state in {"success", "failed"})
    @rule(image=images)
    def human_clears(self, image: str) -> None:
        """Clear a finished task, perhaps after an edit of what it asks for."""
        if self.state == "success" and image == self.image and image not in self.troubled:
            self.wanted_anew.add(image)
        self.decision += 1
        self.image = image
        self.max_tries = self.try_number + self.retries
        self.try_number += 1
        self.state = "ready"

    @precondition(lambda self: self.state == "deferred")
    @rule()
    def human_clears_a_deferred_task(self) -> None:
        # No new decision while the job runs: it is taken up again, see `run`.
        if self.image not in self.known:
            self.decision += 1
        self.max_tries = self.try_number + self.retries
        self.try_number += 1
        self.state = "ready"

    @precondition(lambda self: self.state == "ready" and self.try_number > 1)
    @rule(image=images)
    def another_item_at_this_index(self, image: str) -> None:
        """Re-expand a mapped task; in one that is not mapped, a template has another value at this try."""
        if image != self.image and not self.mapped:
            self.wanted_anew.clear()  # one task, one image for one human decision: a template that wavers is stopped
        self.image = image

    # -- what must hold ------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_paid_for_twice(self) -> None:
        if not hasattr(self, "charged"):
            return
        twice = {key: count for key, count in self.charged.items() if count > 1}
        assert not twice, f"paid twice: (decision, image): {twice}"
        if not self.mapped:
            assert all(count == 1 for count in self.by_clear.values()), f"paid twice for one human: {self.by_clear}"

    @invariant()
    def nothing_secret_is_kept(self) -> None:
        if not hasattr(self, "store"):
            return
        for text in (*self.store.values.values(), json.dumps(self.trigger), *self.seen):
            assert "CANARY" not in text
            assert "://img" not in text
            assert "://files" not in text
        self.seen.clear()

    @invariant()
    def every_failure_is_a_sentence(self) -> None:
        assert not getattr(self, "bare_errors", []), f"reached the user: {self.bare_errors}"

    # -- the process ---------------------------------------------------------------------------------------------

    def _task(self) -> Any:
        return model.operator(self.image, retries=self.retries, wait=self.wait, deferrable=self.defer)

    def _context(self, task: Any) -> Any:
        ti = types.SimpleNamespace(
            task=task,
            try_number=self.try_number,
            max_tries=self.max_tries,
            map_index=0 if self.mapped else -1,
        )
        return {"ti": ti, "task_state_store": self.store}

    def _begin_process(self, strikes: list[Strike], posts: list[model.PostAnswer], looks: list[str]) -> None:
        self.steps = model.Steps(strikes)
        self.api.steps = self.store.steps = self.steps
        self.api.to_post, self.api.to_look = list(posts), list(looks)
        self.api.given.clear()
        self.api.told = ""

    def _process(
        self,
        call: Callable[[], Any],
        *,
        strikes: list[Strike],
        posts: list[model.PostAnswer],
        looks: list[str],
        report_lost: bool,
    ) -> None:
        self._begin_process(strikes, posts, looks)
        accepted = len(self.api.accepted)
        end = "up for retry"
        try:
            call()
            end = "success"
        except model.Killed:
            report_lost = True
        except TaskDeferred as deferred:
            end = "deferred"
            self.trigger = json.loads(json.dumps(deferred.trigger.serialize()[1]))
        except AirflowFailException as error:
            end = "failed"
            self.seen.append(str(error))
        except Exception as error:  # noqa: BLE001 - whatever a task raises, Airflow may retry it
            self.seen.append(f"{type(error).__name__}: {error}")
            self.bare_errors += [] if type(error).__module__.startswith("airflow") else [repr(error)]
        for _ in self.api.accepted[accepted:]:
            self.charged[self.decision, self.image] += 1
            self.by_clear[self.max_tries] += 1
        self.end = end
        self._note(end)
        self._note_looks()
        if report_lost or end == "up for retry":
            self._retry()
        else:
            self.state = end

    def _retry(self) -> None:
        if self.try_number > self.max_tries:
            self.state = "failed"
            return
        self.try_number += 1
        self.state = "ready"

    def _note(self, end: str) -> None:
        store_failed = any(strike.kind == "store down" for strike in self.steps.struck)
        if store_failed:
            self.troubled.add(self.image)
        elif "POST" in self.steps.names:
            self.troubled.discard(self.image)
        # The id is safe when the answer that told it could be read, and the next call, which stores it, had its effect.
        after_post = len(self.steps.names) - self.steps.names[::-1].index("POST") + 1 if self.api.told else 0
        lost = any(strike.step == after_post and not strike.late for strike in self.steps.struck)
        if self.api.told and len(self.steps.names) >= after_post and not lost:
            self.known[self.image] = self.api.told
        handed_over = not self.wait and any(strike.step > after_post for strike in self.steps.struck)
        if end in {"failed", "success"} or handed_over:
            self.known.pop(self.image, None)

    def _note_looks(self) -> None:
        if any(look in model.MAY_END_A_WAIT for look in self.api.given):
            self.known.pop(self.image, None)


def profile(examples: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=12,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        derandomize="NEVER_TWICE_EXAMPLES" not in os.environ,  # the short form is the same every time
        report_multiple_bugs=False,
        database=None,
        phases=(Phase.generate, Phase.shrink),
    )


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.slow
def test_nothing_is_paid_for_twice_and_no_job_is_lost() -> None:
    run_state_machine_as_test(TaskLife, settings=profile(EXAMPLES))


def test_a_job_taken_up_after_another_item_is_marked_as_done_so_that_a_clear_submits_anew(
    generation: Generation,
) -> None:
    life = TaskLife()
    try:
        life.create(generation=generation, mapped=True, retries=3, wait=True, defer=False)
        life.run([], [], [], report_lost=False)  # a is submitted, and the worker killed while it waits
        life.another_item_at_this_index("b")
        life.run([], [], ["success"], report_lost=False)
        life.human_clears("a")
        life.run([], [], ["success"], report_lost=False)  # the first job is taken up
        assert life.api.posts == 2
        life.human_clears("a")
        life.run([], [], ["success"], report_lost=False)
        assert life.api.posts == 3
    finally:
        life.teardown()


@pytest.mark.parametrize("strikes", [[], [Strike(4, "store down", late=False)]], ids=["", "and so is a write"])
def test_a_job_taken_up_by_a_clear_is_not_paid_for_again_when_the_report_of_its_end_is_lost(
    generation: Generation, strikes: list[Strike]
) -> None:
    life = TaskLife()
    try:
        life.create(generation=generation, mapped=False, retries=2, wait=True, defer=True)
        life.run([], [], [], report_lost=False)
        life.human_clears_a_deferred_task()
        life.run(strikes, [], [], report_lost=False)
        assert life.steps.struck == strikes
        life.trigger_looks([], ["another job"], [], report_lost=True)
        life.run([], [], [], report_lost=False)
        life.nothing_is_paid_for_twice()
        assert life.api.posts == 1
    finally:
        life.teardown()


def test_a_template_that_goes_back_to_an_earlier_request_at_a_retry_is_stopped(generation: Generation) -> None:
    life = TaskLife()
    try:
        life.create(generation=generation, mapped=False, retries=2, wait=True, defer=False)
        life.run([], [], ["success"], report_lost=False)
        life.human_clears("b")
        life.run([], [], ["success"], report_lost=True)
        life.another_item_at_this_index("a")
        life.run([], [], ["success"], report_lost=False)
        assert life.api.posts == 2
        assert life.state == "failed"
    finally:
        life.teardown()


class OnlyTheMoney(TaskLife):
    """The same life, watched for double charges alone."""

    only_the_money = True


@pytest.mark.slow
def test_without_the_record_that_is_written_first_the_machine_finds_a_double_charge() -> None:
    begin = Submission._begin

    def begin_in_memory(submission: Submission, seed: int | None) -> None:
        written: list[SubmissionRecord] = []
        with (
            mock.patch.object(TaskStateRecords, "begin", lambda _, record: written.append(record)),
            mock.patch.object(TaskStateRecords, "get", side_effect=lambda _: [submission.record, *written][-1]),
        ):
            begin(submission, seed)

    with (
        mock.patch.object(Submission, "_begin", begin_in_memory),
        pytest.raises(AssertionError, match="paid twice"),
    ):
        run_state_machine_as_test(OnlyTheMoney, settings=profile(2000))
