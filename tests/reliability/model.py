"""A model of the world around one task instance: an API that bills, a store that outlives crashes, Airflow's retries.

The operator, its policy, its records and its contract are the real ones. Replaced are the network (by a model that
counts what it has accepted), the clock (it moves when somebody sleeps) and the process (a crash throws it away).
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from unittest import mock

from airflow.sdk.bases.operator import ExecutorSafeguard

from airflow_imagepipeline.contract.answers import ApiResponse
from airflow_imagepipeline.contract.calls import ApiRequest
from airflow_imagepipeline.contract.errors import NotSent, Uncertain
from airflow_imagepipeline.hooks import connection, imagepipeline, transport
from airflow_imagepipeline.operators import job as job_operator
from airflow_imagepipeline.operators import submission
from airflow_imagepipeline.operators.imagepipeline import EditImageOperator, ImageToImageOperator
from airflow_imagepipeline.triggers import imagepipeline as triggers
from tests.generations import CURRENT, assert_spoken, spoken
from tests.reliability.words import in_words_for

T = TypeVar("T")

KEY: Final = "key-CANARY-1"
PROMPT: Final = "a house, CANARY-2"
SECRET: Final = "CANARY-3"
ORIGIN: Final = "https://api.model.example"
START: Final = 1_800_000_000.0


class Killed(BaseException):
    """The process was killed; nothing of it goes on."""


class StoreDown(Exception):
    """Airflow's API server cannot be reached."""


@dataclass(frozen=True)
class Strike:
    """What happens at one step (a call of the store or of the network) of a process.

    :param step: 1 for the first call of the process.
    :param late: after the call had its effect, instead of before.
    """

    step: int
    kind: str  # "kill" or "store down"
    late: bool


class Steps:
    """The calls of one process to the world outside, in order, and the strikes that await them."""

    def __init__(self, strikes: Sequence[Strike] = ()) -> None:
        self.taken = 0
        self.struck: list[Strike] = []
        self.names: list[str] = []
        self._strikes = {strike.step: strike for strike in strikes}

    def take(self, name: str, effect: Callable[[], T]) -> T:
        """Do one call, unless it is struck."""
        self.taken += 1
        self.names.append(name)
        strike = self._strikes.get(self.taken)
        if strike is None or (strike.kind == "store down" and not name.startswith("store")):
            return effect()
        self.struck.append(strike)
        if strike.late:
            effect()
        raise Killed if strike.kind == "kill" else StoreDown


@dataclass(frozen=True)
class PostAnswer:
    """What the API does with a submission: whether it starts (and bills) a job, and what the client gets to see."""

    name: str
    accepts: bool
    status: int | None = None
    body: str = ""
    raises: type[Exception] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return self.name


TAKEN: Final = PostAnswer("taken", accepts=True, status=202, body='{"id": "JOB", "status": "PENDING"}')
LINK: Final = f"https://files.example/JOB-0.png?X-Amz-Signature={SECRET}"
BUSY: Final = PostAnswer("busy", False, 429, '{"detail": "slow down"}', headers={"retry-after": "2"})
POST_ANSWERS: Final = (
    TAKEN,
    PostAnswer("done at once", True, 200, json.dumps({"id": "JOB", "status": "SUCCESS", "download_urls": [LINK]})),
    PostAnswer("done at once, no id", True, 200, json.dumps({"status": "SUCCESS", "download_urls": [LINK]})),
    PostAnswer("failed at once", True, 200, '{"id": "JOB", "status": "FAILURE", "error": "out of memory"}'),
    PostAnswer("failed at once, no id", True, 200, '{"status": "FAILURE", "error": "out of memory"}'),
    PostAnswer("answer lost", accepts=True, raises=Uncertain),
    PostAnswer("request lost on the way", accepts=False, raises=Uncertain),
    PostAnswer("gateway timeout after all", True, 504, "<html>504</html>"),
    PostAnswer("server error", False, 500, '{"detail": "oops"}'),
    PostAnswer("early hints", True, 103),
    PostAnswer("html instead of json", True, 200, "<html>ok</html>"),
    PostAnswer("no id", True, 202, '{"status": "PENDING"}'),
    PostAnswer("an id that is a path", True, 202, '{"id": "../../admin", "status": "PENDING"}'),
    PostAnswer("cut json", True, 202, '{"id": "JOB", "sta'),
    BUSY,
    PostAnswer("closed for a while", False, 503, "", headers={"retry-after": "2"}),
    PostAnswer("nobody listens", accepts=False, raises=NotSent),
    PostAnswer("wrong parameters", False, 422, '{"detail": "strength"}'),
    PostAnswer("no credits", False, 402, '{"detail": "credits"}'),
    PostAnswer("wrong key", False, 401, '{"detail": "key"}'),
    PostAnswer("redirect", False, 302, headers={"location": f"https://other.example/?token={SECRET}"}),
)

SUCCESS: Final = json.dumps({"status": "SUCCESS", "download_urls": [LINK]})
LOOKS: Final[Mapping[str, tuple[int, str] | type[Exception]]] = {
    "pending": (200, '{"id": "JOB", "status": "PENDING"}'),
    "new word": (200, '{"id": "JOB", "status": "WARMING_UP"}'),
    "server error": (500, '{"detail": "oops"}'),
    "malformed": (200, "<html>"),
    "no answer": Uncertain,
    "no connection": NotSent,
    "key refused": (401, "{}"),
    "not found": (404, "{}"),
    "another job": (200, '{"id": "somebody-else", "status": "SUCCESS", "download_urls": []}'),
    "failure": (200, '{"status": "FAILURE", "error": "out of memory"}'),
    "failure without a reason": (200, '{"status": "FAILURE"}'),
    "success": (200, SUCCESS),
    "success without links": (200, '{"status": "SUCCESS", "download_urls": []}'),
}
MAY_END_A_WAIT: Final = frozenset(LOOKS) - {"pending", "new word", "server error", "no answer", "no connection"}


class Api:
    """The vendor: bills what it accepts, and answers as it is told."""

    def __init__(self) -> None:
        self.accepted: list[str] = []
        """The id of each job that was started and billed."""
        self.posts = 0
        self.told = ""
        """The id that a client could read in the last answer."""
        self.gets: list[str] = []
        self.to_post: list[PostAnswer] = []
        self.to_look: list[str] = []
        self.given: list[str] = []
        self.steps = Steps()

    def answer(self, access: connection.ApiAccess, request: ApiRequest) -> ApiResponse:
        """Answer as the network would."""
        return self.steps.take(request.method, lambda: self._answer(request))

    def _answer(self, request: ApiRequest) -> ApiResponse:
        assert_spoken(request.path)
        if request.method == "POST":
            self.posts += 1
            answer = self.to_post.pop(0) if self.to_post else TAKEN
            job = f"job-{len(self.accepted) + 1}"
            if answer.accepts:
                self.accepted.append(job)
            if answer.raises is not None:
                raise answer.raises(answer.name)
            self.told = job if answer is TAKEN else ""
            said = in_words_for(request.path, answer.body).replace("JOB", job)
            return _response(answer.status or 200, said, answer.headers)
        job = request.path.rpartition("/")[2]
        self.gets.append(job)
        if not self.to_look:
            raise Killed  # nobody waits for ever: the process ends while it waits
        self.given.append(self.to_look.pop(0))
        look = LOOKS[self.given[-1]]
        if isinstance(look, type):
            raise look(self.given[-1])
        return _response(look[0], in_words_for(request.path, look[1]).replace("JOB", job), {})


def _response(status: int, body: str, headers: Mapping[str, str]) -> ApiResponse:
    return ApiResponse("request (connection 'c')", status, headers, body.encode(), START)


class Store:
    """Airflow's task state store: what is set is committed, and survives the process. Values cross as JSON."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.steps = Steps()

    def get(self, key: str) -> Any:
        """Return the value, or None."""
        text = self.steps.take("store get", lambda: self.values.get(key))
        return None if text is None else json.loads(text)

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        """Commit a value."""
        self.steps.take(f"store set {key}", lambda: self.values.update({key: json.dumps(value)}))

    def delete(self, key: str) -> None:
        """Remove a value."""
        self.steps.take("store delete", lambda: self.values.pop(key, None))


class Clock:
    """Seconds that pass only while somebody sleeps; stands for the modules ``time`` and ``asyncio``."""

    def __init__(self) -> None:
        self.now = START
        self.on_sleep: Callable[[], None] = lambda: None
        """What happens in the world while somebody sleeps."""

    def time(self) -> float:
        """Return the wall clock."""
        return self.now

    monotonic = time

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.on_sleep()

    async def asleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


class _Session:
    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, *_: object) -> None:
        return None


@contextmanager
def replaced(api: Api, clock: Clock) -> Iterator[None]:
    """Put the model in the place of the network and of the clock."""

    async def asend(access: connection.ApiAccess, request: ApiRequest, _: object) -> ApiResponse:
        return api.answer(access, request)

    access = connection.ApiAccess("c", ORIGIN, KEY)

    async def aaccess(_: imagepipeline.ImagePipelineHook) -> connection.ApiAccess:
        return access

    with ExitStack() as stack:
        patch = mock.patch.object
        operators = (ImageToImageOperator, EditImageOperator)
        for talkative in (*operators, triggers.ImagePipelineJobTrigger, imagepipeline.ImagePipelineHook):
            stack.enter_context(patch(talkative, "log", logging.getLogger("reliability")))
        for module in (imagepipeline, job_operator, submission, triggers):
            stack.enter_context(patch(module, "time", clock))
        stack.enter_context(patch(triggers, "asyncio", types.SimpleNamespace(sleep=clock.asleep)))
        stack.enter_context(patch(transport, "send_with_requests", api.answer))
        stack.enter_context(patch(transport, "send_with_aiohttp", asend))
        stack.enter_context(patch(transport, "aiohttp_session", _Session))
        stack.enter_context(patch(imagepipeline.ImagePipelineHook, "access", access))
        stack.enter_context(patch(imagepipeline.ImagePipelineHook, "aaccess", aaccess))
        yield


def operator(image: str, *, retries: int, wait: bool, deferrable: bool) -> job_operator.ImagePipelineJobOperator:
    """Return the task for one image, as a fresh process has it, in the generation that is spoken."""
    arguments: dict[str, Any] = {
        "task_id": "edit",
        "retries": retries,
        spoken().image: f"https://img.example/{image}.png?X-Amz-Signature={SECRET}",
        "prompt": PROMPT,
        "wait_for_completion": wait,
        "deferrable": deferrable,
    }
    return EditImageOperator(**arguments) if spoken() is CURRENT else ImageToImageOperator(**arguments)


def executed(task: job_operator.ImagePipelineJobOperator, method: str, *arguments: Any) -> Any:
    """Call a method as Airflow's task runner does."""

    def call() -> Any:
        ExecutorSafeguard.tracker.set(task)
        return getattr(task, method)(*arguments)

    return contextvars.copy_context().run(call)


def fired(kwargs: Mapping[str, Any]) -> Any:
    """Run a trigger that was rebuilt from what is stored; return its event as JSON would carry it."""
    trigger = triggers.ImagePipelineJobTrigger(**kwargs)

    async def first() -> Any:
        async for event in trigger.run():
            return event.payload
        return None

    return json.loads(json.dumps(asyncio.run(first())))
