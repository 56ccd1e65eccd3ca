"""Credentials for the storage are read when they are used, and never stored or shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.doubles.pictures import picture
from tests.faults import Request, ScriptedServer, answer, forever, pending, success
from tests.security.tasks import Run, vendor_that_says

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.canary import Canaries

pytestmark = pytest.mark.usefixtures("quick", "no_pauses")

EMPTY = answer(200, "<ListBucketResult/>", headers={"Content-Type": "application/xml"})


def aws(url: str, login: str, password: str) -> str:
    extra = {"region_name": "us-east-1", "endpoint_url": url, "aws_session_token": f"token-of-{login}"}
    return json.dumps({"conn_type": "aws", "login": login, "password": password, "extra": extra})


def test_credentials_that_change_during_the_wait_are_read_anew(
    connection: Callable[..., None], canaries: Canaries, canary_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = [canaries.add(f"the secret of {name}", f"secret/of+{name}-0123456789") for name in ("before", "after")]

    def rotated(_: Request) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws(s3.url, "AKIAAFTER", secrets[1]))

    with (
        ScriptedServer({"PUT /bucket": [forever(answer(200))], "GET /bucket": [forever(EMPTY)]}) as s3,
        ScriptedServer({"GET /a.png": [answer(200, picture())]}) as storage,
    ):
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws(s3.url, "AKIABEFORE", secrets[0]))
        looks = [pending(), pending().with_before(rotated), success([f"{storage.url}/a.png"])]
        with vendor_that_says(connection, canary_key, *looks):
            run = Run(canaries, "triggerer", destination="s3://bucket/landed")
    assert run.error is None
    signed_by = {request.path: who(request) for request in s3.requests if request.method == "PUT"}
    assert signed_by == {
        "/bucket/landed/.imagepipeline": ("AKIABEFORE", "token-of-AKIABEFORE"),
        "/bucket/landed/job-1-00.png": ("AKIAAFTER", "token-of-AKIAAFTER"),
        "/bucket/landed/job-1-00.png.json": ("AKIAAFTER", "token-of-AKIAAFTER"),
    }


def who(request: Request) -> tuple[str, Any]:
    authorization = request.header("Authorization") or ""
    return authorization.partition("Credential=")[2].partition("/")[0], request.header("x-amz-security-token")
