"""The transfer lands what a job made; links are looked up where they are used."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowNotFoundException

from airflow_imagepipeline.exceptions import JobFailed, JobLost, JobTimedOut, LandingFailed, TooFewImages
from airflow_imagepipeline.storage.folder import AlreadyThere, DestinationUnusable
from airflow_imagepipeline.transfers.object_storage import ImagePipelineToObjectStorageOperator
from tests.faults import STATUS, ScriptedServer, answer, forever, refused, success
from tests.generations import spoken
from tests.running import context, fails_with, image_to_image, run_to_end

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.doubles.moto_server import Moto
    from tests.generations import Generation
    from tests.vendor import Vendor

pytestmark = pytest.mark.usefixtures("quick", "logs", "generation")


def transfer(job: Any, destination: str, **arguments: Any) -> functools.partial[ImagePipelineToObjectStorageOperator]:
    return functools.partial(
        ImagePipelineToObjectStorageOperator,
        **{"task_id": "store", "job": job, "api": spoken().name, "destination": destination, **arguments},
    )


@pytest.fixture
def finished(vendor: Vendor, photos: str) -> dict[str, Any]:
    """Return what an operator returned for a job that is done, of two images where one job can have them."""
    make = image_to_image(f"{photos}/a.png", seed=7, return_urls=False, **spoken().several)
    result: dict[str, Any] = run_to_end(make, context(), "worker")
    assert vendor.count("accepted") == 1
    return result


@pytest.mark.parametrize("named", ["by result", "by id"])
def test_a_finished_job_lands_whole(
    vendor: Vendor, finished: dict[str, Any], tmp_path: Path, named: str, generation: Generation
) -> None:
    job = finished if named == "by result" else finished["job_id"]

    result = run_to_end(transfer(job, f"file://{tmp_path}/edited"), context(), "plain")

    names = [f"{finished['job_id']}-0{index}.png" for index in range(generation.count)]
    assert [image["uri"] for image in result["images"]] == [f"file://{tmp_path}/edited/{name}" for name in names]
    assert result.keys() == finished.keys() | {"images"}
    assert result["seed"] == (7 if named == "by result" else None)
    assert (vendor.count("downloads"), vendor.count("downloads_with_key")) == (generation.count, 0)


def test_it_lands_on_s3_by_templates(finished: dict[str, Any], moto: Moto, bucket: str, generation: Generation) -> None:
    make = transfer(
        "{{ params.job }}", "s3://{{ params.bucket }}/edited", file_stem="{{ params.stem }}", aws_conn_id="aws_default"
    )

    result = run_to_end(make, context(job=finished["job_id"], bucket=bucket, stem="cup"), "plain")

    names = [f"edited/cup-0{index}.png" for index in range(generation.count)]
    assert [image["uri"] for image in result["images"]] == [f"s3://{bucket}/{name}" for name in names]
    assert set(names) < set(moto.keys(bucket))


def test_a_retry_after_success_returns_the_same_images(finished: dict[str, Any], tmp_path: Path) -> None:
    make = transfer(finished, f"file://{tmp_path}")
    assert run_to_end(make, context(), "plain") == run_to_end(make, context(), "plain")


def test_an_expired_link_is_replaced_by_a_fresh_one(
    connection: Callable[..., None], photo: bytes, tmp_path: Path
) -> None:
    with ScriptedServer({"GET /old.png": [refused(403, "expired")], "GET /new.png": [answer(200, photo)]}) as server:
        links = [f"{server.url}/{name}.png?token=secret" for name in ("old", "new")]
        server.route(STATUS, [success([link]) for link in links])
        connection(server.url)
        result = run_to_end(transfer("job-1", f"file://{tmp_path}"), context(), "plain")

    assert [image["uri"] for image in result["images"]] == [f"file://{tmp_path}/job-1-00.png"]
    assert (tmp_path / "job-1-00.png").read_bytes() == photo
    fetched = [request for request in server.requests if request.path.endswith(".png")]
    assert [request.header(name) for request in fetched for name in ("API-Key", "X-API-Key")] == [None] * 4


def test_links_that_stay_dead_fail_the_try_and_name_the_job(
    vendor: Vendor, finished: dict[str, Any], tmp_path: Path, generation: Generation
) -> None:
    vendor.settings.link_seconds = 0
    with fails_with(LandingFailed, finished["job_id"], f"image 1 of {generation.count}"):
        run_to_end(transfer(finished, f"file://{tmp_path}"), context(), "plain")
    assert [path.name for path in tmp_path.iterdir()] == [".imagepipeline"]


def test_a_job_that_is_not_done_is_left_to_a_retry(vendor: Vendor, photos: str, tmp_path: Path) -> None:
    vendor.settings.job_seconds = 60.0
    job = run_to_end(image_to_image(f"{photos}/a.png", wait_for_completion=False), context(), "worker")
    with fails_with(JobTimedOut, job["job_id"], "PENDING"):
        run_to_end(transfer(job, f"file://{tmp_path}"), context(), "plain")


def test_a_job_that_failed_is_not_landed(vendor: Vendor, photos: str, tmp_path: Path) -> None:
    job = run_to_end(image_to_image(f"{photos}/missing.jpg", wait_for_completion=False), context(), "worker")
    with fails_with(JobFailed, "could not be downloaded"):
        run_to_end(transfer(job, f"file://{tmp_path}"), context(), "plain")
    assert vendor.count("downloads") == 0


@pytest.mark.usefixtures("vendor")
def test_an_unknown_job_is_lost(tmp_path: Path) -> None:
    with fails_with(JobLost, "no-such-job"):
        run_to_end(transfer("no-such-job", f"file://{tmp_path}"), context(), "plain")


def test_a_job_without_an_id_is_landed_from_its_links(
    connection: Callable[..., None], photos: str, tmp_path: Path
) -> None:
    job = {
        "v": 1,
        "api": spoken().name,
        "job_id": None,
        "seed": 7,
        "submitted_at": 1.0,
        "status": "SUCCESS",
        "download_urls": [f"{photos}/result-0.png", f"{photos}/result-1.png?token=secret"],
    }
    with ScriptedServer() as server:
        connection(server.url)
        result = run_to_end(transfer(job, f"file://{tmp_path}"), context(), "plain")

    assert [image["uri"] for image in result["images"]] == [f"file://{tmp_path}/seed-7-0{i}.png" for i in range(2)]
    assert (result["job_id"], result["seed"], "download_urls" in result) == (None, 7, False)
    assert server.requests == ()


@pytest.mark.usefixtures("vendor")
@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        pytest.param({"job": "../x"}, AirflowFailException, "not a job id", id="an id that is a path"),
        pytest.param({"job": {"status": "PENDING"}}, AirflowFailException, "names no job", id="no job"),
        pytest.param(
            {"job": {"job_id": None, "download_urls": [1]}}, AirflowFailException, "names no job", id="no links"
        ),
        pytest.param({"file_stem": "../x"}, AirflowFailException, "file_stem: '../x' may hold", id="stem"),
        pytest.param({"samples": "two"}, AirflowFailException, "samples: 'two' is not a whole number", id="samples"),
        pytest.param({"samples": 0}, AirflowFailException, "samples: 0 is not a whole number", id="no samples"),
        pytest.param({"strict_count": True}, AirflowFailException, "strict_count: samples must be given", id="count"),
        pytest.param({"destination": "edited"}, DestinationUnusable, "is no folder", id="no folder"),
    ],
)
def test_a_wrong_argument_fails_for_good(
    arguments: dict[str, Any], kind: type[BaseException], words: str, tmp_path: Path
) -> None:
    make = functools.partial(transfer("job-1", f"file://{tmp_path}"), **arguments)
    with fails_with(kind, words):
        run_to_end(make, context(), "plain")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("host", "kind", "words"),
    [
        pytest.param("http://api.example.com", AirflowFailException, "must be reached by https", id="host"),
        pytest.param(None, AirflowNotFoundException, "nowhere", id="no connection"),
    ],
)
def test_a_connection_that_cannot_work_is_named(
    connection: Callable[..., None], host: str | None, kind: type[BaseException], words: str, tmp_path: Path
) -> None:
    if host:
        connection(host, conn_id="nowhere")
    with fails_with(kind, words):
        run_to_end(transfer("job-1", f"file://{tmp_path}", imagepipeline_conn_id="nowhere"), context(), "plain")


def test_another_file_of_the_name_is_kept_unless_it_may_be_replaced(finished: dict[str, Any], tmp_path: Path) -> None:
    older = tmp_path / "cup-00.png"
    older.write_bytes(b"older")
    make = transfer(finished, f"file://{tmp_path}", file_stem="cup")

    with fails_with(AlreadyThere, "cup-00.png exists", "overwrite=True"):
        run_to_end(make, context(), "plain")
    assert older.read_bytes() == b"older"
    result = run_to_end(functools.partial(make, overwrite=True), context(), "plain")

    assert older.stat().st_size == result["images"][0]["bytes"]


@pytest.mark.parametrize("samples", [2, "2", "{{ params.count }}"], ids=["number", "text", "template"])
def test_fewer_images_than_asked_for_are_landed_and_told(
    connection: Callable[..., None], photo: bytes, tmp_path: Path, samples: object, logs: Callable[[], str]
) -> None:
    said = "gave 1 of the 2 images that were asked for"
    with ScriptedServer({"GET /result.png": [answer(200, photo)]}) as server:
        server.route(STATUS, [forever(success([f"{server.url}/result.png"]))])
        connection(server.url)
        make = transfer("job-1", f"file://{tmp_path}", samples=samples)
        assert len(run_to_end(make, context(count=2), "plain")["images"]) == 1
        assert logs().count(said) == 1
        with fails_with(TooFewImages, "job-1", said):
            run_to_end(functools.partial(make, strict_count=True), context(count=2), "plain")
    assert (tmp_path / "job-1-00.png").read_bytes() == photo


def test_a_stem_that_a_template_left_open_is_the_jobs_id(finished: dict[str, Any], tmp_path: Path) -> None:
    make = transfer(finished, f"file://{tmp_path}", file_stem="{{ params.stem }}")
    result = run_to_end(make, context(stem=None), "plain")
    assert result["images"][0]["uri"] == f"file://{tmp_path}/{finished['job_id']}-00.png"
