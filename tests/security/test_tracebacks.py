"""What a failed task leaves in its log: Airflow prints the error and all that led to it, error trackers print more."""

from __future__ import annotations

import io
import logging
import re
import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from airflow.sdk import Connection
from structlog.tracebacks import ExceptionDictTransformer

from airflow_imagepipeline.contract.errors import ImagePipelineError, Misconfigured
from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
from tests.canary import Canaries, forms
from tests.faults import (
    STATUS,
    SUBMIT,
    ScriptedServer,
    answer,
    close_after_request,
    failure,
    pending,
    raw,
    redirect,
    refused,
    reset_after_request,
    success,
)
from tests.faults.certificates import self_signed
from tests.running import in_task_modes
from tests.security.sending import SUBMISSION, by_both, of_both_calls, with_requests
from tests.security.tasks import Run, vendor_that_says

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_imagepipeline.contract.calls import Call

pytestmark = pytest.mark.usefixtures("quick", "no_pauses")


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """Return an error and everything that is tied to it, be it suppressed or not."""
    waiting, seen = [error], {id(error)}
    while waiting:
        one = waiting.pop()
        yield one
        for other in (one.__cause__, one.__context__):
            if other is not None and id(other) not in seen:
                seen.add(id(other))
                waiting.append(other)


def of_this_package(error: BaseException) -> Iterator[str]:
    """Return the local variables of our own frames in all tracebacks of a chain, as an error tracker collects them."""
    for one in chain_of(error):
        for frame, _ in traceback.walk_tb(one.__traceback__):
            if "airflow_imagepipeline" in frame.f_code.co_filename:
                yield from (f"{frame.f_code.co_name}: {name} = {value!r}" for name, value in frame.f_locals.items())


def rendered(error: BaseException) -> dict[str, str]:
    """Return an error as Airflow writes it into task logs (JSON) and onto a console, and as trackers collect it."""
    info = (type(error), error, error.__traceback__)
    console = io.StringIO()
    structlog.dev.plain_traceback(console, info)
    return {
        "a task log": str(ExceptionDictTransformer(use_rich=False, show_locals=False)(info)),
        "a console": console.getvalue(),
        "an error tracker": str(
            ExceptionDictTransformer(use_rich=False, show_locals=True, locals_max_string=4000)(info)
        ),
    }


def below_the_test(error: BaseException) -> BaseException:
    """Return the error without the frames of the test, whose variables are the secrets themselves."""
    trace = error.__traceback__
    while trace is not None and "airflow_imagepipeline" not in trace.tb_frame.f_code.co_filename:
        trace = trace.tb_next
    return error.with_traceback(trace)


ENDS: dict[str, Callable[[str], dict[str, Any]]] = {
    "no answer": lambda _: {"submit": [reset_after_request()]},
    "no answer again": lambda _: {"submit": [close_after_request()]},
    "no HTTP": lambda _: {"submit": [raw(b"SSH-2.0\r\n\r\n")]},
    "a redirect": lambda link: {"submit": [redirect(307, link)]},
    "refused": lambda link: {"submit": [refused(422, f"cannot open {link}")]},
    "the key is refused": lambda _: {"submit": [refused(401, "no")]},
    "a server error": lambda link: {"submit": [answer(500, link)]},
    "no JSON": lambda link: {"submit": [answer(200, link)]},
    "failed": lambda link: {"looks": [failure(f"cannot open {link}")]},
    "another job": lambda _: {"looks": [pending("another")]},
    "a link that cannot be fetched": lambda link: {"looks": [success([link])]},
}


@in_task_modes
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_the_log_of_a_failed_task_holds_no_secret(
    *,
    end: Callable[[str], dict[str, Any]],
    mode: str,
    connection: Callable[..., None],
    canaries: Canaries,
    canary_key: str,
    canary_signature: str,
    canary_prompt: str,
    tmp_path: Path,
) -> None:
    link = f"http://127.0.0.1:9/a.png?X-Amz-Signature={canary_signature}"
    told = end(link)
    with vendor_that_says(connection, canary_key, *told.pop("looks", [pending()]), **told):
        run = Run(canaries, mode, init_image=link, prompt=canary_prompt, destination=f"file://{tmp_path}/landed")
    assert run.error is not None
    for place, text in rendered(run.error).items():
        if place == "an error tracker":
            # Links and prompt are variables of the task: a tracker that collects those has them. The key is in none.
            assert not [form for form in forms(canary_key).values() if form in text]
        else:
            canaries.watch(text, place)
        assert type(run.error).__name__ in text


@by_both
@of_both_calls
@pytest.mark.parametrize("kind", ["refused", "reset", "no http", "certificate", "proxy"])
def test_nothing_that_is_tied_to_an_error_holds_the_key(
    *,
    send: Callable[[Call[Any]], Any],
    call: Call[Any],
    kind: str,
    connection: Callable[..., None],
    canaries: Canaries,
    canary_key: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The libraries' errors hold the request, and so the key: they are not even a suppressed context of ours.
    says = raw(b"no\r\n\r\n") if kind == "no http" else reset_after_request()
    route = SUBMIT if call is SUBMISSION else STATUS
    tls = self_signed(tmp_path).context if kind == "certificate" else None
    with ScriptedServer({route: lambda _: says}, tls=tls) as api:
        connection("http://127.0.0.1:9" if kind == "refused" else api.url, canary_key)
        if kind == "proxy":
            monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        with pytest.raises(ImagePipelineError) as caught:
            send(call)
    assert [type(error) for error in chain_of(caught.value)] == [type(caught.value)]
    canaries.watch("\n".join(of_this_package(caught.value)), "local variables")


@pytest.mark.parametrize(("host", "odd"), [("http://api.example", ""), ("https://api example", ""), (None, " é\n")])
def test_a_connection_that_is_refused_is_no_local_variable(
    host: str | None,
    odd: str,
    connection: Callable[..., None],
    canaries: Canaries,
    canary_key: str,
) -> None:
    connection(host, canary_key + odd)
    with pytest.raises(Misconfigured) as caught:
        with_requests(SUBMISSION)
    canaries.watch("\n".join(of_this_package(caught.value)), "local variables")
    for place, text in rendered(below_the_test(caught.value)).items():
        canaries.watch(text, place)


def test_airflows_console_for_developers_shows_no_key(
    connection: Callable[..., None], canaries: Canaries, canary_key: str
) -> None:
    # Where the environment variable DEV is set, Airflow's consoles show local variables, too.
    with vendor_that_says(connection, canary_key, submit=[reset_after_request()]):
        run = Run(canaries, "worker")
    assert run.error is not None
    error, rich = below_the_test(run.error), io.StringIO()
    structlog.dev.RichTracebackFormatter(show_locals=True, width=200)(rich, (type(error), error, error.__traceback__))
    assert "access = ApiAccess(" in re.sub(r"\x1b\[[0-9;]*m", "", rich.getvalue())
    canaries.watch(rich.getvalue(), "the console")


def test_debugging_the_libraries_shows_no_key(
    connection: Callable[..., None], canaries: Canaries, canary_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An administrator who sets the log level to DEBUG reads what every library says.
    monkeypatch.setattr("asyncio.BaseEventLoop.get_debug", lambda _: True)
    for mode in ("worker", "triggerer"):
        with vendor_that_says(connection, canary_key, pending(), failure("no")):
            Run(canaries, mode)
    assert any(line.startswith(("urllib3", "asyncio")) for line in canaries.logged)
    assert logging.getLogger("urllib3").isEnabledFor(logging.DEBUG)


def test_the_hook_keeps_no_connection(connection: Callable[..., None], canary_key: str) -> None:
    connection("http://127.0.0.1:9", canary_key)
    hook = ImagePipelineHook()
    assert hook.access.origin == "http://127.0.0.1:9"
    assert not [value for value in vars(hook).values() if isinstance(value, Connection)]
