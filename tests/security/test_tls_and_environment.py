"""TLS cannot be weakened by a setting, and what lies around on the machine changes nothing."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_imagepipeline.contract.errors import ImagePipelineError, LinkRefused, Misconfigured
from airflow_imagepipeline.hooks.download import Downloader
from tests.faults import STATUS, ScriptedServer, answer, pending
from tests.faults.certificates import Certificate, self_signed
from tests.security.sending import LOOK, by_both, of_both_calls

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_imagepipeline.contract.calls import Call
    from tests.canary import Canaries

SWITCHES = {"verify": False, "verify_ssl": False, "ssl": False, "insecure": True, "check_hostname": False}
WISHES = ("PYTHONHTTPSVERIFY=0", "CURL_INSECURE=1", "NODE_TLS_REJECT_UNAUTHORIZED=0", "SSL_VERIFY=false")


@by_both
@of_both_calls
@pytest.mark.parametrize("kind", ["unknown authority", "expired", "another host"])
def test_no_setting_makes_a_bad_certificate_good(
    *,
    send: Callable[[Call[Any]], Any],
    call: Call[Any],
    kind: str,
    tmp_path: Path,
    connection: Callable[..., None],
    canaries: Canaries,
    canary_key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address = "127.0.0.3" if kind == "another host" else "127.0.0.1"
    certificate = self_signed(tmp_path, address=address, expired=kind == "expired")
    if kind != "unknown authority":
        _trust(monkeypatch, certificate)
    for wish in WISHES:
        monkeypatch.setenv(*wish.split("="))
    with ScriptedServer(tls=certificate.context) as api:
        connection(api.url, canary_key, extra=SWITCHES)
        with pytest.raises(Misconfigured, match="certificate is not valid") as caught:
            send(call)
    canaries.watch(caught.value)
    assert api.count() == 0
    assert api.connections == 1


def _trust(monkeypatch: pytest.MonkeyPatch, certificate: Certificate) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.authority))
    context = ssl.create_default_context(cafile=str(certificate.authority))
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", context)


@by_both
def test_a_good_certificate_is_good(
    send: Callable[[Call[Any]], Any], trusted: Certificate, connection: Callable[..., None], canary_key: str
) -> None:
    with ScriptedServer({STATUS: [pending()]}, tls=trusted.context) as api:
        connection(api.url, canary_key)
        assert send(LOOK).handle.job_id == "job-1"


@by_both
@pytest.mark.filterwarnings("ignore:.*TLSv1_1 is deprecated:DeprecationWarning")
def test_an_old_tls_is_not_spoken(
    send: Callable[[Call[Any]], Any], trusted: Certificate, connection: Callable[..., None], canary_key: str
) -> None:
    trusted.context.minimum_version = ssl.TLSVersion.TLSv1_1
    trusted.context.maximum_version = ssl.TLSVersion.TLSv1_1
    trusted.context.set_ciphers("ALL:@SECLEVEL=0")  # the server would; the client must not
    with ScriptedServer(tls=trusted.context) as api:
        connection(api.url, canary_key)
        with pytest.raises(ImagePipelineError):
            send(LOOK)
    assert api.count() == 0
    assert api.connections >= 1


@by_both
def test_a_netrc_file_sends_nobody_a_password(
    *,
    send: Callable[[Call[Any]], Any],
    tmp_path: Path,
    connection: Callable[..., None],
    canaries: Canaries,
    canary_key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    word = canaries.add("a password of the machine", "netrc-0123456789abcdef")
    (tmp_path / ".netrc").write_text(f"machine 127.0.0.1 login me password {word}\ndefault login me password {word}\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    assert requests.utils.get_netrc_auth("http://127.0.0.1/") == ("me", word)
    with ScriptedServer({STATUS: [pending()]}) as api:
        connection(api.url, canary_key)
        send(LOOK)
    (request,) = api.requests
    assert request.header("API-Key") == canary_key
    assert request.header("Authorization") is None
    canaries.watch([pair for pair in request.headers if pair[0] != "API-Key"])


@by_both
def test_cookies_are_not_kept(
    send: Callable[[Call[Any]], Any], connection: Callable[..., None], canary_key: str
) -> None:
    with ScriptedServer({STATUS: [pending(headers={"Set-Cookie": "a=b; Path=/"}), pending()]}) as api:
        connection(api.url, canary_key)
        send(LOOK)
        send(LOOK)
    assert [request.header("Cookie") for request in api.requests] == [None, None]


@by_both
def test_a_proxy_sees_an_https_request_only_from_outside(
    *,
    send: Callable[[Call[Any]], Any],
    connection: Callable[..., None],
    canaries: Canaries,
    canary_key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Worker and triggerer take the way that the environment names; the proxy carries bytes that it cannot read.
    word = canaries.add("the proxy's password", "proxy-0123456789abcdef")
    with ScriptedServer({"CONNECT ~.*": [answer(502)]}) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:{word}@127.0.0.1:{proxy.port}")
        connection("https://api.example", canary_key)
        with pytest.raises(ImagePipelineError) as caught:
            send(LOOK)
    canaries.watch(caught.value)
    (request,) = proxy.requests
    assert request.method == "CONNECT"
    others = [pair for pair in request.headers if pair[0].lower() != "proxy-authorization"]
    canaries.watch(others)
    assert "image2image" not in f"{request.target} {others} {request.body!r}"


def test_downloads_never_take_a_proxy_or_a_password_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, connected_to: list[Any]
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with ScriptedServer({"GET /a": [answer(200, b"bytes")]}) as storage:
        downloader = Downloader(allow_loopback=True)
        assert downloader.fetch(f"{storage.url}/a", tmp_path / "a", lambda path: path.read_bytes()).found == b"bytes"
    assert connected_to == [("127.0.0.1", storage.port)]
    assert storage.requests[0].header("Authorization") is None


def test_a_download_by_a_bad_certificate_is_refused(tmp_path: Path, canaries: Canaries, canary_signature: str) -> None:
    certificate = self_signed(tmp_path)
    with ScriptedServer(tls=certificate.context) as storage:
        with pytest.raises(LinkRefused, match="no valid certificate") as caught:
            Downloader(allow_loopback=True).fetch(f"{storage.url}/a?sig={canary_signature}", tmp_path / "a", str)
        canaries.watch(caught.value)
    assert storage.count() == 0
