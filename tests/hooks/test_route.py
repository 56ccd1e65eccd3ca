"""Worker and triggerer take one way: the same proxy, and the same certificate authorities."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from airflow_imagepipeline.contract import calls
from airflow_imagepipeline.contract.errors import Misconfigured
from airflow_imagepipeline.hooks.route import proxy_for
from tests.faults import STATUS, ScriptedServer, answer, pending
from tests.faults.certificates import self_signed
from tests.hooks.test_imagepipeline import HANDLE, PARAMETERS, in_both_libraries, sent
from tests.running import fails_with

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("logs")

API = "https://api.example"
AUTHORITIES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", *AUTHORITIES):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.real_input("E3")
@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        pytest.param({}, None, id="none"),
        pytest.param({"HTTPS_PROXY": "127.0.0.1:3128"}, "http://127.0.0.1:3128", id="no scheme"),
        pytest.param({"https_proxy": "proxy.example:3128"}, "http://proxy.example:3128", id="a name without scheme"),
        pytest.param({"https_proxy": "me:pw@127.0.0.1:1"}, "http://me:pw@127.0.0.1:1", id="a user without scheme"),
        pytest.param({"HTTPS_PROXY": "https://proxy.example"}, "https://proxy.example", id="with its scheme"),
        pytest.param({"ALL_PROXY": "127.0.0.1:3128"}, "http://127.0.0.1:3128", id="for all schemes"),
        pytest.param({"HTTP_PROXY": "127.0.0.1:3128"}, None, id="of another scheme"),
        pytest.param({"HTTPS_PROXY": "h:1", "NO_PROXY": ".example"}, None, id="past it: a leading point"),
        pytest.param({"HTTPS_PROXY": "h:1", "NO_PROXY": "x, api.example:443"}, "http://h:1", id="another port"),
        pytest.param({"HTTPS_PROXY": "h:1", "no_proxy": "api.example"}, None, id="past it: small letters"),
        pytest.param({"HTTPS_PROXY": "h:1", "NO_PROXY": "*"}, None, id="past it: everything"),
    ],
)
def test_the_environment_names_the_proxy(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], proxy: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(API) == proxy


@pytest.mark.real_input("E3")
@pytest.mark.parametrize(
    ("past", "without", "by"),
    [
        ("10.0.0.0/8", "https://10.1.2.3:8443", "https://11.1.2.3:8443"),
        ("10.1.2.3", "https://10.1.2.3:8443", "https://10.1.2.4:8443"),
        ("api.example:8443", "https://api.example:8443", "https://api.example:8444"),
    ],
)
def test_what_no_proxy_names_by_network_or_port_is_reached_without(
    monkeypatch: pytest.MonkeyPatch, past: str, without: str, by: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "127.0.0.1:3128")
    monkeypatch.setenv("NO_PROXY", past)
    assert proxy_for(without) is None
    assert proxy_for(by) == "http://127.0.0.1:3128"


@pytest.mark.real_input("E3")
@in_both_libraries
def test_a_proxy_without_a_scheme_is_used_by_both(
    connection: Callable[..., None], monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    with ScriptedServer({"CONNECT ~.*": [answer(502)]}) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{proxy.port}")
        connection(API)
        with pytest.raises(Exception, match="was not sent"):
            sent(calls.submit_job(PARAMETERS), library)
        assert proxy.count() == 1


@pytest.mark.real_input("E4")
@in_both_libraries
@pytest.mark.parametrize("name", [*AUTHORITIES[:3], "the connection"])
def test_an_authority_is_trusted_by_both(
    connection: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, *, library: str
) -> None:
    certificate = self_signed(tmp_path)
    extra = {}
    if name == "the connection":
        extra = {"extra": json.dumps({"ca_bundle": str(certificate.authority)})}
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "gone.pem"))
    else:
        monkeypatch.setenv(name, str(certificate.authority))
    with ScriptedServer({STATUS: [pending()]}, tls=certificate.context) as api:
        connection(api.url, **extra)
        assert sent(calls.get_job(HANDLE), library).handle.job_id == "job-1"


@pytest.mark.real_input("E4")
@in_both_libraries
@pytest.mark.parametrize("content", [None, "", "no certificate"], ids=["gone", "empty", "something else"])
@pytest.mark.parametrize("name", [*AUTHORITIES[:3], "ca_bundle"])
def test_authorities_that_cannot_be_read_are_named_and_nothing_is_sent(
    *,
    connection: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
    content: str | None,
    library: str,
) -> None:
    path = tmp_path / "authorities.pem"
    if content is not None:
        path.write_text(content)
    if name == "ca_bundle":
        connection(API, extra=json.dumps({name: str(path)}))
    else:
        monkeypatch.setenv(name, str(path))
        connection(API)
    with fails_with(Misconfigured, "was not sent", name, "authorities.pem"):
        sent(calls.submit_job(PARAMETERS), library)


@pytest.mark.real_input("E4")
def test_the_order_is_the_connection_then_requests_then_openssl(
    connection: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    connection(API)
    for name in reversed(AUTHORITIES):
        monkeypatch.setenv(name, str(tmp_path / name))
        with fails_with(Misconfigured, f"{name} names"):
            sent(calls.submit_job(PARAMETERS), "requests")
