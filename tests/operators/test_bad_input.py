"""What is refused before anything is paid for: one clear sentence, the right class, no submission, in both modes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowNotFoundException

from airflow_imagepipeline.exceptions import SubmissionRefused
from airflow_imagepipeline.storage.folder import AlreadyThere, DestinationUnusable
from tests.faults import ScriptedServer
from tests.generations import only_old
from tests.running import FakeStore, context, fails_with, image_to_image, in_task_modes, in_turn, run_to_end

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.doubles.moto_server import Moto
    from tests.generations import Generation

pytestmark = pytest.mark.usefixtures("quick", "logs", "generation")

LINK = "http://127.0.0.1/a.png"


def run_refused(kind: type[AirflowException], arguments: dict[str, Any], mode: str, *words: str) -> None:
    """Run a task that must be refused, and check that no trace is left which would stop the next try."""
    store = FakeStore()
    with fails_with(kind, *words):
        run_to_end(image_to_image(**{"init_image": LINK, **arguments}), context(store), mode)
    assert set(store.rows) <= {"imagepipeline:latest"}


@in_turn(
    "arguments,words",
    [
        pytest.param({"num_inference_steps": 101}, "num_inference_steps: 101 is not a whole number", id="steps"),
        pytest.param({"guidance_scale": "much"}, "guidance_scale: 'much' is not a number from", id="a word"),
        pytest.param({"prompt": " "}, "prompt must be given", id="no prompt"),
        pytest.param({"extra_parameters": {"seed": 1}}, "seed must be given as an argument", id="extra seed"),
        pytest.param({"init_image": "cup.png"}, "'cup.png' is not an https link", id="no link"),
        pytest.param({"init_image": "http://example.com/a.png"}, "must be an https link", id="plain http"),
        pytest.param({"poll_interval": 0}, "poll_interval: 0 is not a number of seconds above 0", id="no interval"),
        pytest.param({"poll_interval": float("nan")}, "poll_interval: nan is not", id="interval nan"),
        pytest.param({"timeout": -1}, "timeout: -1 is not a number of seconds above 0", id="timeout"),
        pytest.param({"timeout": float("inf")}, "timeout: inf is not", id="timeout without end"),
        pytest.param({"on_ambiguous_submit": "retry"}, "'retry' is neither 'fail' nor 'resubmit'", id="unknown word"),
        pytest.param({"file_stem": "../x"}, "file_stem: '../x' may hold", id="stem leaves the folder"),
        pytest.param({"job_id": "../x"}, "job_id: not a job id: '../x'", id="job id is a path"),
        pytest.param(
            {"wait_for_completion": False, "destination": "s3://bucket/x"},
            "landing needs wait_for_completion=True",
            id="landing without waiting",
        ),
        pytest.param(
            {"wait_for_completion": False, "strict_count": True},
            "strict_count: images are counted with wait_for_completion=True",
            id="counting without waiting",
        ),
    ],
)
def test_a_wrong_argument_is_named_and_nothing_is_submitted(
    connection: Callable[..., None], arguments: dict[str, Any], words: str, mode: str
) -> None:
    with ScriptedServer() as server:
        connection(server.url)
        run_refused(SubmissionRefused, arguments, mode, words, ". Nothing was submitted.")
    assert server.requests == ()


@only_old
@in_task_modes
@pytest.mark.parametrize("address", ["/data/cup.png", "file:///data/cup.png"])
def test_a_local_file_cannot_be_sent(connection: Callable[..., None], address: str, mode: str) -> None:
    with ScriptedServer() as server:
        connection(server.url)
        run_refused(SubmissionRefused, {"init_image": address}, mode, "A local file cannot be sent")
    assert server.requests == ()


@in_turn(
    "host,key,more,words",
    [
        pytest.param(None, "", {}, "holds no API key", id="no key"),
        pytest.param(None, "two words", {}, "holds a space", id="key with a space"),
        pytest.param("http://api.example.com", "k", {}, "must be reached by https", id="plain http"),
        pytest.param("api.example.com", "k", {"schema": "http"}, "must be reached by https", id="plain http by schema"),
        pytest.param("https://api.example.com/v1", "k", {}, "holds a path", id="path"),
        pytest.param("https://me:secret@api.example.com", "k", {}, "a user name", id="user"),
        pytest.param("https://api.example.com?key=secret", "k", {}, "or a query", id="query"),
        pytest.param("https://api example.com", "k", {}, "is no host name", id="space"),
    ],
)
def test_a_connection_that_cannot_work_is_refused(
    connection: Callable[..., None], *, host: str | None, key: str, more: dict[str, str], words: str, mode: str
) -> None:
    connection(host, key, **more)
    run_refused(SubmissionRefused, {}, mode, "'imagepipeline_default'", words, "Nothing was submitted.")


@in_task_modes
def test_a_connection_that_is_missing_is_named(mode: str) -> None:
    with fails_with(AirflowNotFoundException, "nowhere"):
        run_to_end(image_to_image(LINK, imagepipeline_conn_id="nowhere"), context(FakeStore()), mode)


@in_task_modes
@pytest.mark.parametrize("link", [LINK, "http://localhost:1/a.png", "https://[::1]/a.png"])
def test_an_image_on_this_machine_is_refused_where_the_api_is_elsewhere(
    connection: Callable[..., None], link: str, mode: str, generation: Generation
) -> None:
    connection("https://x.invalid")
    words = (f"{generation.image}: the image lies on this machine", "https://x.invalid", "Nothing was submitted.")
    run_refused(SubmissionRefused, {"init_image": link}, mode, *words)


@in_task_modes
def test_a_missing_bucket_is_found_before_the_submission(
    connection: Callable[..., None], moto: Moto, bucket: str, mode: str
) -> None:
    with ScriptedServer() as server:
        connection(server.url)
        destination = f"s3://{bucket}-not-there/edited"
        words = (destination, "NoSuchBucket", "'aws_default'")
        run_refused(DestinationUnusable, {"destination": destination}, mode, *words)
    assert moto.keys(bucket) == []
    assert server.requests == ()


@in_turn("destination", ["edited", "s3://", "file:///tmp/../etc", "nofs://x/y"])
def test_a_destination_that_is_no_folder_is_refused(
    connection: Callable[..., None], destination: str, mode: str
) -> None:
    with ScriptedServer() as server:
        connection(server.url)
        run_refused(DestinationUnusable, {"destination": destination}, mode, f"destination {destination!r}")
    assert server.requests == ()


@in_task_modes
def test_a_file_where_the_folder_should_be_is_found_before_the_submission(
    connection: Callable[..., None], tmp_path: Path, mode: str
) -> None:
    (tmp_path / "edited").write_bytes(b"")
    with ScriptedServer() as server:
        connection(server.url)
        run_refused(DestinationUnusable, {"destination": f"file://{tmp_path}/edited"}, mode, "cannot be written")
    assert server.requests == ()


@in_task_modes
@pytest.mark.parametrize("place", ["folder", "s3"])
def test_a_result_that_exists_under_the_users_name_is_found_before_the_submission(
    connection: Callable[..., None], moto: Moto, bucket: str, tmp_path: Path, *, place: str, mode: str
) -> None:
    (tmp_path / "cup-00.png").write_bytes(b"older")
    moto.s3.put_object(Bucket=bucket, Key="edited/cup-00.png", Body=b"older")
    destination = f"file://{tmp_path}" if place == "folder" else f"s3://{bucket}/edited"
    with ScriptedServer() as server:
        connection(server.url)
        arguments = {"destination": destination, "file_stem": "cup"}
        run_refused(AlreadyThere, arguments, mode, f"{destination}/cup-00.png exists", "overwrite=True")
    assert server.requests == ()
    assert (tmp_path / "cup-00.png").read_bytes() == b"older"
