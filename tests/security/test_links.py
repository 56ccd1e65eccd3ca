"""Signed links open files to whoever has them, and links of others lead where they like."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_imagepipeline.contract.errors import InvalidParameters
from airflow_imagepipeline.contract.links import input_image
from airflow_imagepipeline.contract.text import cleaned
from airflow_imagepipeline.exceptions import LandingFailed, SubmissionRefused
from airflow_imagepipeline.sensors.imagepipeline import ImagePipelineJobSensor
from airflow_imagepipeline.transfers.object_storage import ImagePipelineToObjectStorageOperator
from tests.doubles.pictures import picture, png
from tests.faults import (
    ScriptedServer,
    answer,
    close_after_request,
    cut_after,
    failure,
    forever,
    pending,
    redirect,
    success,
)
from tests.running import context, in_sensor_modes, in_task_modes, run_to_end
from tests.security.tasks import Run, vendor_that_says

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.canary import Canaries
    from tests.doubles.moto_server import Moto
    from tests.faults import Instruction

pytestmark = pytest.mark.usefixtures("quick", "no_pauses")

STORAGE_ANSWERS: dict[str, Callable[[str], Instruction]] = {
    "the image": lambda _: answer(200, picture()),
    "an expired link": lambda link: answer(403, f"<Error>{link} has expired</Error>"),
    "a page": lambda link: answer(200, f"<a href='{link}'>login</a>"),
    "half an image": lambda _: cut_after(100, picture()),
    "nothing": lambda _: close_after_request(),
    "a server error": lambda link: answer(500, link),
    "a redirect to a private address": lambda link: redirect(302, f"http://10.0.0.1/a?{urlsplit(link).query}"),
    "a redirect in a circle": lambda link: redirect(302, link),
    "a redirect to nowhere": lambda link: redirect(302, f"https://[{link}"),
    "a bomb": lambda _: answer(200, png(60_000, 60_000, honest=False)),
    "too much": lambda _: answer(200, b"\x89PNG", headers={"Content-Length": "99999999999"}),
    "a compressed image": lambda _: answer(200, picture(), headers={"Content-Encoding": "br"}),
}


@in_task_modes
@pytest.mark.parametrize("said", STORAGE_ANSWERS.values(), ids=STORAGE_ANSWERS)
def test_a_signed_link_of_a_result_is_stored_and_logged_nowhere(
    *,
    said: Callable[[str], Instruction],
    mode: str,
    connection: Callable[..., None],
    canaries: Canaries,
    canary_key: str,
    canary_signature: str,
    tmp_path: Path,
) -> None:
    landed = tmp_path / "landed"
    canaries.watch(landed)
    with ScriptedServer(allow_unused=True) as storage:
        link = f"{storage.url}/a.png?X-Amz-Signature={canary_signature}&Authorization={canary_signature}"
        storage.route("GET /", [forever(said(link))])
        with vendor_that_says(connection, canary_key, pending(), success([link])):
            run = Run(canaries, mode, destination=f"file://{landed}")
    assert storage.requests, run.said
    assert not [request for request in storage.requests if request.header("API-Key") or request.header("Authorization")]
    if run.error is None:
        assert [image["format"] for image in run.result["images"]] == ["PNG"]
        assert "download_urls" not in run.result
    else:
        assert type(run.error) is LandingFailed
        assert [file.name for file in landed.iterdir()] == [".imagepipeline"]


@in_task_modes
def test_links_are_in_the_result_only_where_they_were_asked_for(
    mode: str, connection: Callable[..., None], canaries: Canaries, canary_key: str, canary_signature: str
) -> None:
    link = f"https://files.example/a.png?sig={canary_signature}"
    with vendor_that_says(connection, canary_key, pending(), success([link])):
        run = Run(canaries, mode, return_urls=False)
    assert run.error is None
    assert set(run.result) == {"v", "api", "job_id", "seed", "submitted_at", "status"}


@in_sensor_modes
def test_a_sensor_keeps_links_to_itself_where_they_are_not_wanted(
    mode: str, connection: Callable[..., None], canaries: Canaries, canary_key: str, canary_signature: str
) -> None:
    def sensor(**arguments: Any) -> ImagePipelineJobSensor:
        return ImagePipelineJobSensor(task_id="wait", job="job-1", return_urls=False, poke_interval=0.01, **arguments)

    link = f"https://files.example/a.png?sig={canary_signature}"
    with vendor_that_says(connection, canary_key, pending(), success([link]), submit=()):
        result = run_to_end(sensor, context(), mode)
    canaries.watch(json.dumps(result))


def test_a_transfer_looks_links_up_and_returns_none(
    connection: Callable[..., None], canaries: Canaries, canary_key: str, canary_signature: str, tmp_path: Path
) -> None:
    def transfer(**arguments: Any) -> ImagePipelineToObjectStorageOperator:
        return ImagePipelineToObjectStorageOperator(
            task_id="land", job="job-1", destination=f"file://{tmp_path}/landed", **arguments
        )

    with ScriptedServer({"GET /a.png": [answer(200, picture())]}) as storage:
        link = f"{storage.url}/a.png?sig={canary_signature}"
        with vendor_that_says(connection, canary_key, success([link]), submit=()):
            result = run_to_end(transfer, context(), "plain")
    canaries.watch(json.dumps(result))
    canaries.watch(tmp_path)


INWARDS = [
    "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
    "https://169.254.169.254/latest/meta-data/",
    "https://2852039166/latest/meta-data/",
    "https://0xa9fea9fe/",
    "https://[fd00:ec2::254]/latest/meta-data/",
    "https://[::ffff:169.254.169.254]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "https://10.0.0.1/",
    "https://192.168.0.1:8443/",
    "https://100.100.100.200/latest/meta-data/",
    "https://127.0.0.1\\@files.example/",
    "https://files.example@10.0.0.1/",
    "file:///etc/passwd",
    "gopher://10.0.0.1:6379/_FLUSHALL",
    "ftp://10.0.0.1/",
    "//10.0.0.1/",
    "\\\\10.0.0.1\\share",
]


@in_task_modes
@pytest.mark.parametrize("hop", [False, True], ids=["named by the api", "by a redirect"])
@pytest.mark.parametrize("target", INWARDS)
def test_no_link_leads_this_machine_inwards(
    *,
    target: str,
    hop: bool,
    mode: str,
    connection: Callable[..., None],
    canaries: Canaries,
    canary_key: str,
    connected_to: list[Any],
    tmp_path: Path,
) -> None:
    landed = tmp_path / "landed"
    with ScriptedServer({"GET /hop": [forever(redirect(302, target))]}, allow_unused=True) as storage:
        links = [f"{storage.url}/hop" if hop else target]
        with vendor_that_says(connection, canary_key, pending(), success(links)) as api:
            run = Run(canaries, mode, destination=f"file://{landed}")
    assert type(run.error) is LandingFailed
    ports = {storage.port, api.port}
    assert {(address[0], address[1] in ports) for address in connected_to} == {("127.0.0.1", True)}
    assert [file.name for file in landed.iterdir()] == [".imagepipeline"]
    assert "meta-data" not in run.said


@in_task_modes
def test_an_api_elsewhere_cannot_lead_back_to_this_machine(
    *,
    mode: str,
    connection: Callable[..., None],
    canaries: Canaries,
    canary_key: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    # The connection of the test leads to this machine; what the landing asks is made to say that it does not.
    monkeypatch.setattr("airflow_imagepipeline.hooks.connection.ApiAccess.is_loopback", property(lambda _: False))
    with ScriptedServer() as storage:
        links = [f"{storage.url}/a.png", f"http://localhost:{storage.port}/a.png", f"https://localhost:{storage.port}/"]
        for link in links:
            with vendor_that_says(connection, canary_key, pending(), success([link])):
                run = Run(canaries, mode, destination=f"file://{tmp_path}/landed")
            assert type(run.error) is LandingFailed
        assert storage.connections == 0


INPUTS = [
    "file:///etc/passwd",
    "/etc/passwd",
    "data:image/png;base64," + "A" * 100_000,
    "https://10.0.0.1/a.png",
    "https://127.1/a.png",
    "https://2130706433/a.png",
    "https://0x7f000001/a.png",
    "https://0251.0376.0251.0376/a.png",
    "https://10.1/a.png",
    "https://192.168.1/a.png",
    "https://[fd00:ec2::254]/a.png",
    "https://[64:ff9b::a9fe:a9fe]/a.png",
    "https://[2002:a00:1::]/a.png",
    "https://wiki.internal/a.png",
    "http://img.example/a.png",
]


@in_task_modes
@pytest.mark.parametrize("address", INPUTS, ids=lambda address: address[:40])
def test_what_only_this_network_can_open_is_not_told_to_the_vendor(
    *,
    address: str,
    mode: str,
    connection: Callable[..., None],
    canaries: Canaries,
    canary_key: str,
    canary_signature: str,
) -> None:
    with ScriptedServer() as api:
        connection(api.url, canary_key)
        run = Run(canaries, mode, init_image=f"{address}?X-Amz-Signature={canary_signature}")
    assert type(run.error) is SubmissionRefused
    assert api.connections == 0


def test_a_password_in_an_input_is_neither_sent_nor_shown(canaries: Canaries) -> None:
    word = canaries.add("a password", "password-0123456789")
    for address in (f"https://me:{word}@img.example/a.png", f"https://{word}@img.example/a.png?x={word}"):
        with pytest.raises(InvalidParameters) as caught:
            input_image("init_image", address)
        canaries.watch(caught.value)


@in_task_modes
def test_the_signature_of_a_private_input_is_known_to_the_vendor_alone(
    *, mode: str, connection: Callable[..., None], moto: Moto, bucket: str, canaries: Canaries, canary_key: str
) -> None:
    moto.s3.put_object(Bucket=bucket, Key="in.png", Body=picture())
    runs = [
        ((pending(),), failure("could not open it")),
        ((answer(500),), pending()),
        ((answer(422, json={"detail": "cannot open it"}),), pending()),
    ]
    for submit, look in runs:
        with vendor_that_says(connection, canary_key, look, submit=submit) as api:
            run = Run(canaries, mode, init_image=f"s3://{bucket}/in.png")
        link = json.loads(api.requests[0].body)["init_image"]
        (signature,) = (
            parse_qs(urlsplit(link).query).get("X-Amz-Signature") or parse_qs(urlsplit(link).query)["Signature"]
        )
        canaries.add("the signature of the input", signature)
        canaries.watch(run.stored())
        canaries.watch(run.error)


@in_task_modes
def test_an_api_that_repeats_the_signed_input_does_not_spread_it(
    mode: str, connection: Callable[..., None], canaries: Canaries, canary_key: str, canary_signature: str
) -> None:
    link = f"https://img.example/a.png?X-Amz-Date=1&X-Amz-Signature={canary_signature}"
    says = [
        failure(f"cannot fetch {link}"),
        failure(f"cannot fetch /a.png?X-Amz-Signature={canary_signature}, status 403"),
        failure({"message": f"HTTPError('403 for url: {link}')"}),
        failure(f"GET {link.replace('&', '&amp;')}"),
        failure(f"request: {{'X-Amz-Signature': '{canary_signature}'}}"),
        failure(f"proxied https%3A%2F%2Fimg.example%2Fa.png%3FX-Amz-Signature%3D{canary_signature}"),
        failure(json.dumps(json.dumps({"url": link, "Authorization": f"Bearer {canary_signature}"}))),
    ]
    for said in says:
        with vendor_that_says(connection, canary_key, said):
            run = Run(canaries, mode, init_image=link)
        assert run.error is not None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a.png?X-Amz-Signature=S&X-Amz-Date=D", "a.png?X-Amz-Signature=…&X-Amz-Date=…"),
        ("sig=S; token = S, Signature:'S'", "sig=…; token = …, Signature:'S'"),
        ('{"Authorization": "Bearer abcdefghijkl"}', '{"Authorization": "Bearer …"}'),
        ("x-api-key: abcdefghijkl", "x-api-key: …"),
        ("API_KEY='S'", "API_KEY='…'"),
        ("api-key: field required", "api-key: field required"),
        ("authorization: Value error", "authorization: Value error"),
        ("at most 75 tokens, token: 76", "at most 75 tokens, token: 76"),
        ("signature=", "signature="),
        ("design=1 max_token=5", "design=1 max_token=5"),
    ],
)
def test_what_signs_or_opens_is_left_out_also_without_its_link(text: str, shown: str) -> None:
    assert cleaned(text) == shown
