"""The key goes to the connection's own host, wherever that host says to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_imagepipeline.contract.errors import Misconfigured
from tests.faults import STATUS, SUBMIT, ScriptedServer, answer, redirect
from tests.security.sending import by_both, of_both_calls

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_imagepipeline.contract.calls import Call
    from tests.canary import Canaries
    from tests.faults.certificates import Certificate

CODES = (301, 302, 303, 307, 308)
REDIRECTED = pytest.mark.parametrize("code", CODES)


def route_of(call: Call[Any]) -> str:
    return SUBMIT if call.request.method == "POST" else STATUS


@by_both
@of_both_calls
@REDIRECTED
@pytest.mark.parametrize("elsewhere", ["127.0.0.2", "127.0.0.1"], ids=["another host", "another port"])
def test_a_redirect_is_not_followed(
    *,
    send: Callable[[Call[Any]], Any],
    call: Call[Any],
    code: int,
    elsewhere: str,
    connection: Callable[..., None],
    canaries: Canaries,
    canary_key: str,
    canary_signature: str,
) -> None:
    with ScriptedServer(host=elsewhere) as other:
        target = f"{other.url}/{call.request.method.lower()}?token={canary_signature}"
        with ScriptedServer({route_of(call): [redirect(code, target)]}) as api:
            connection(api.url, canary_key)
            with pytest.raises(Misconfigured, match="was not followed") as caught:
                send(call)
        assert (other.count(), other.connections) == (0, 0)
    canaries.watch(caught.value)
    assert api.requests[0].header("API-Key") == canary_key
    assert api.count() == 1


@by_both
@of_both_calls
@REDIRECTED
def test_a_redirect_from_https_to_http_is_not_followed(
    *,
    send: Callable[[Call[Any]], Any],
    call: Call[Any],
    code: int,
    trusted: Certificate,
    connection: Callable[..., None],
    canary_key: str,
) -> None:
    with ScriptedServer() as other, ScriptedServer(tls=trusted.context) as api:
        api.route(route_of(call), [redirect(code, f"{other.url}{call.request.path}")])
        connection(api.url, canary_key)
        with pytest.raises(Misconfigured, match="was not followed"):
            send(call)
        assert api.requests[0].header("API-Key") == canary_key
        assert (other.count(), other.connections) == (0, 0)


@by_both
@of_both_calls
@pytest.mark.parametrize(
    "location",
    ["//127.0.0.2/", "http://[", "\\\\127.0.0.2\\", "http://127.0.0.1:1/\xa0", "javascript:alert(1)", "data:,x", ""],
)
def test_no_spelling_of_a_target_is_followed(
    *,
    send: Callable[[Call[Any]], Any],
    call: Call[Any],
    location: str,
    connection: Callable[..., None],
    canary_key: str,
    connected_to: list[Any],
) -> None:
    with ScriptedServer({route_of(call): [redirect(307, location)]}) as api:
        connection(api.url, canary_key)
        with pytest.raises(Misconfigured, match="was not followed"):
            send(call)
    assert connected_to == [(api.host, api.port)]


@pytest.mark.parametrize("how", [{"Refresh": "0; url={}"}, {"Link": "<{}>; rel=next"}, {"Alt-Svc": 'h2="{}"'}])
@by_both
def test_no_other_header_leads_elsewhere(
    send: Callable[[Call[Any]], Any],
    how: dict[str, str],
    connection: Callable[..., None],
    canary_key: str,
) -> None:
    from tests.security.sending import LOOK

    with ScriptedServer(host="127.0.0.2") as other:
        headers = {name: value.format(other.url) for name, value in how.items()}
        pending = answer(200, json={"id": "job-1", "status": "PENDING"}, headers=headers)
        with ScriptedServer({STATUS: [pending]}) as api:
            connection(api.url, canary_key)
            send(LOOK)
        assert other.connections == 0


def test_the_library_itself_would_have_carried_the_key_along(canary_key: str) -> None:
    # What the tests above are worth: requests drops only Authorization on the way to another host.
    with (
        ScriptedServer({"POST /x": [answer(200)]}, host="127.0.0.2") as other,
        ScriptedServer({"POST /x": [redirect(307, f"{other.url}/x")]}) as api,
    ):
        requests.post(f"{api.url}/x", data=b"prompt", headers={"API-Key": canary_key}, timeout=5)
        assert other.requests[0].header("API-Key") == canary_key
        assert other.requests[0].body == b"prompt"
