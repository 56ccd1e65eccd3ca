from __future__ import annotations

from pathlib import Path

import pytest

from airflow_imagepipeline.contract.errors import (
    ImagePipelineError,
    LinkRefused,
)
from airflow_imagepipeline.hooks.download import Downloader
from tests.faults import (
    ScriptedServer,
    answer,
    forever,
    redirect,
)
from tests.faults.certificates import self_signed
from tests.hooks.downloads import BODY, CANARY, FILE, Clock, Resolves, fetch, whole


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_are_followed_without_carrying_anything_along(code: int, folder: Path) -> None:
    cookie = {"Set-Cookie": f"session={CANARY}; Path=/"}
    with ScriptedServer({"GET /other": [answer(200, BODY)]}, host="127.0.0.2") as other:
        there = f"{other.url}/other?x=1"
        with ScriptedServer(
            {FILE: [redirect(code, "/second", headers=cookie)], "GET /second": [redirect(code, there, headers=cookie)]}
        ) as server:
            # By name: cookies of a bare address are dropped by most libraries anyway.
            assert fetch(f"http://localhost:{server.port}", folder) == BODY
    for request in (*server.requests, *other.requests):
        assert {"cookie", "referer", "authorization"}.isdisjoint(name.lower() for name, _ in request.headers)
        assert request.fresh
    assert CANARY not in str(other.requests[0].headers) + other.requests[0].target


def test_three_redirects_are_followed_and_the_fourth_is_not(folder: Path, clock: Clock) -> None:
    steps = {f"GET /{n}": [redirect(302, f"/{n + 1}")] for n in range(1, 3)}
    with ScriptedServer({FILE: [redirect(302, "/1")], **steps, "GET /3": [answer(200, BODY)]}) as server:
        assert fetch(server.url, folder, clock) == BODY
    with (
        ScriptedServer({FILE: [forever(redirect(302, "/file"))]}) as server,
        pytest.raises(LinkRefused, match=r"127\.0\.0\.1 redirected a result's link once more than 3 times"),
    ):
        fetch(server.url, folder, clock)
    assert server.count() == 4
    assert clock.slept == []


@pytest.mark.parametrize(
    "target",
    [
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[fd00:ec2::254]/",
        "https://2130706433/",
        "https://user@storage.example/",
        "https://storage.example:22/",
        "https://127.0.0.1\\@storage.example/",
        "http://storage.example/",
        "file:///etc/passwd",
        "//10.0.0.1/",
        "https://[",
        "https://[::1",
        "gopher://storage.example/",
    ],
)
def test_a_redirect_leads_nowhere_that_a_link_may_not(target: str, folder: Path, clock: Clock) -> None:
    with (
        ScriptedServer({FILE: [forever(redirect(302, target))]}) as server,
        pytest.raises(ImagePipelineError) as caught,
    ):
        fetch(server.url, folder, clock)
    assert isinstance(caught.value, LinkRefused) or "without saying where" in str(caught.value)
    assert not (folder / "result").exists()


def test_a_redirect_without_a_target_is_a_fault_of_the_host(folder: Path, clock: Clock) -> None:
    with ScriptedServer({FILE: [answer(302), answer(200, BODY)]}) as server:
        assert fetch(server.url, folder, clock) == BODY
    assert len(clock.slept) == 1


def test_a_public_link_never_ends_on_this_machine(folder: Path) -> None:
    for allow_loopback in (False, True):
        downloader = Downloader(allow_loopback=allow_loopback, resolver=Resolves("127.0.0.1"), sleep=Clock())
        with pytest.raises(LinkRefused, match=r"leads to storage\.example, which has an address that is not public"):
            downloader.fetch("https://storage.example/a.png", folder / "result", whole)


def test_a_redirect_to_a_name_that_was_rebound_reaches_nobody(folder: Path) -> None:
    with (
        ScriptedServer(host="127.0.0.2") as victim,
        ScriptedServer({FILE: [redirect(302, f"https://rebind.example/?{victim.port}")]}) as server,
        pytest.raises(LinkRefused),
    ):
        Downloader(allow_loopback=True, resolver=Resolves("127.0.0.2"), sleep=Clock()).fetch(
            f"{server.url}/file", folder / "result", whole
        )
    assert victim.connections == 0


def test_the_connection_goes_to_the_address_that_was_checked(folder: Path) -> None:
    changing = Resolves("127.0.0.1", "127.0.0.2")  # the second question would be answered otherwise
    with ScriptedServer({FILE: [answer(200, BODY)]}) as server:
        Downloader(allow_loopback=True, resolver=changing, sleep=Clock()).fetch(
            f"http://localhost:{server.port}/file", folder / "result", whole
        )
    assert changing.asked == 1


def test_a_certificate_that_is_not_trusted_ends_it_at_once(folder: Path, clock: Clock) -> None:
    certificate = self_signed(folder)
    with (
        ScriptedServer({FILE: []}, tls=certificate.context) as server,
        pytest.raises(LinkRefused, match=r"127\.0\.0\.1 shows no valid certificate"),
    ):
        fetch(server.url, folder, clock)
    assert server.count() == 0
    assert server.connections == 1
