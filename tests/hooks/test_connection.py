"""What a connection may say, and what is refused without showing the key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_imagepipeline.contract.errors import Misconfigured
from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
from tests.running import KEY, fails_with

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("logs")


@pytest.mark.parametrize(
    ("host", "more", "origin"),
    [
        pytest.param(None, {}, "https://api.imagepipeline.io", id="nothing: the vendor"),
        pytest.param("", {}, "https://api.imagepipeline.io", id="an empty host: the vendor"),
        pytest.param("api.example.com", {}, "https://api.example.com", id="a name: https"),
        pytest.param("https://api.example.com/", {}, "https://api.example.com", id="a slash at the end"),
        pytest.param(" https://api.example.com ", {}, "https://api.example.com", id="spaces around it"),
        pytest.param("https://api.example.com:8443", {}, "https://api.example.com:8443", id="port in the host"),
        pytest.param("api.example.com", {"port": 8443}, "https://api.example.com:8443", id="port of its own"),
        pytest.param("api.example.com:1", {"port": 2}, "https://api.example.com:1", id="the host's port counts"),
        pytest.param("127.0.0.1:8000", {"schema": "http"}, "http://127.0.0.1:8000", id="scheme from the schema"),
        pytest.param("https://127.0.0.1", {"schema": "http"}, "https://127.0.0.1", id="the host's scheme counts"),
        pytest.param("http://localhost:8000", {}, "http://localhost:8000", id="this machine by name"),
        pytest.param("http://[::1]:8000", {}, "http://[::1]:8000", id="this machine by IPv6"),
        pytest.param("https://[2001:db8::1]", {}, "https://[2001:db8::1]", id="IPv6"),
    ],
)
def test_the_origin_is_read(
    connection: Callable[..., None], host: str | None, more: dict[str, Any], origin: str
) -> None:
    connection(host, **more)
    assert ImagePipelineHook().access.origin == origin


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [("http://127.0.0.1:1", True), ("http://[::1]:1", True), ("localhost", True), (None, False)],
    ids=str,
)
def test_only_this_machine_is_this_machine(
    connection: Callable[..., None], host: str | None, *, is_loopback: bool
) -> None:
    connection(host)
    assert ImagePipelineHook().access.is_loopback is is_loopback


@pytest.mark.parametrize(
    ("host", "more", "words"),
    [
        pytest.param("http://api.example.com", {}, "must be reached by https", id="plain http"),
        pytest.param("api.example.com", {"schema": "http"}, "must be reached by https", id="plain http by schema"),
        pytest.param("http://127.0.0.1.example.com", {}, "must be reached by https", id="looks like this machine"),
        pytest.param("ftp://api.example.com", {}, "must be reached by https", id="another scheme"),
        pytest.param("https://api.example.com/v1", {}, "holds a path", id="path"),
        pytest.param("https://api.example.com?a=b", {}, "holds a path", id="query"),
        pytest.param("https://api.example.com#a", {}, "holds a path", id="fragment"),
        pytest.param("https://user@api.example.com", {}, "holds a path", id="user"),
        pytest.param("https://user:word@api.example.com", {}, "holds a path", id="user and password"),
        pytest.param("https://", {}, "is no host name", id="no name"),
        pytest.param("https://api.example.com:port", {}, "is no host name", id="port is a word"),
        pytest.param("https://[::1", {}, "is no host name", id="half an address"),
        pytest.param("https://api..example.com", {}, "is no host name", id="two dots"),
        pytest.param("https://a..b", {}, "is no host name", id="two dots between what may be an address"),
        pytest.param(f"https://{'a' * 64}.example", {}, "is no host name", id="a part that is too long"),
        pytest.param("https://a b", {}, "is no host name", id="space"),
        pytest.param("https://api.example.com\\@evil.test", {}, "host of connection", id="two readings"),
        pytest.param("https://bücher.example", {}, "is no host name", id="foreign letters"),
    ],
)
def test_a_host_that_is_none_is_refused(
    connection: Callable[..., None], host: str, more: dict[str, str], words: str
) -> None:
    connection(host, **more)
    with fails_with(Misconfigured, "'imagepipeline_default'", words, "https://api.imagepipeline.io"):
        _ = ImagePipelineHook().access


@pytest.mark.parametrize("key", ["", None], ids=["empty", "none"])
def test_a_missing_key_is_refused(connection: Callable[..., None], key: str | None) -> None:
    connection(None, key)
    with fails_with(Misconfigured, "Connection 'imagepipeline_default' holds no API key"):
        _ = ImagePipelineHook().access


@pytest.mark.parametrize(
    "key",
    [f"{KEY}\n", f"{KEY}\r\nX-Evil: 1", f" {KEY}", f"{KEY} x", f"{KEY}\t", f"{KEY}ü", f"{KEY}\x00", f"{KEY}\x7f"],
    ids=["line break", "header", "leading space", "space", "tab", "foreign letter", "nul", "delete"],
)
def test_a_key_that_cannot_stand_in_a_header_is_refused_without_showing_it(
    connection: Callable[..., None], key: str
) -> None:
    connection(None, key)
    with fails_with(Misconfigured, "holds a space, a line break or a foreign letter"):
        _ = ImagePipelineHook().access


def test_nothing_that_is_printed_shows_the_key(connection: Callable[..., None]) -> None:
    connection(None)
    hook = ImagePipelineHook()
    assert KEY not in f"{hook.access!r} {hook.access} {hook!r} {vars(hook)!r}"


def test_the_form_asks_for_a_key_and_a_host() -> None:
    behaviour = ImagePipelineHook.get_ui_field_behaviour()
    assert behaviour["relabeling"] == {"password": "API key"}
    assert set(behaviour["hidden_fields"]) == {"schema", "login"}
