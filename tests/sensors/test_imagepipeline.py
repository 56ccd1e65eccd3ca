"""The sensor ends the same way whether it pokes, reschedules or defers."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSensorTimeout, AirflowSkipException

from airflow_imagepipeline.contract.api import APIS
from airflow_imagepipeline.sensors.imagepipeline import ImagePipelineJobSensor
from tests.faults import STATUS, ScriptedServer, answer, failure, forever, pending, refused, success
from tests.generations import spoken
from tests.running import (
    KEY,
    POLL,
    SENSOR_MODES,
    context,
    fails_with,
    image_to_image,
    in_sensor_modes,
    in_turn,
    run_to_end,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults import Instruction
    from tests.generations import Generation
    from tests.vendor import Vendor

pytestmark = pytest.mark.usefixtures("quick", "logs", "generation")

LINKS = ["https://files.test/a.png"]

Script = list["Instruction"]


def sensor(job: Any, **arguments: Any) -> functools.partial[ImagePipelineJobSensor]:
    usual = {"task_id": "wait", "poke_interval": POLL, "timeout": 30.0, "api": spoken().name}
    return functools.partial(ImagePipelineJobSensor, **{**usual, "job": job, **arguments})


ENDINGS: dict[str, tuple[Callable[[], Script], float, type[BaseException], str]] = {
    "job failed": (lambda: [failure("out of memory")], 30.0, AirflowFailException, "failed: out of memory"),
    "unknown id": (lambda: [refused(404, "Job not found")] * 3, 30.0, AirflowFailException, "lost: "),
    "timeout": (lambda: [forever(pending())], 0.5, AirflowSensorTimeout, ""),
}


@in_turn(
    "ending,looks_before,soft_fail",
    [(ending, looks, soft) for ending in ENDINGS for looks in (0, 2) for soft in (False, True) for _ in SENSOR_MODES],
    modes=SENSOR_MODES,
)
def test_an_ending_has_the_same_class_in_every_mode(
    connection: Callable[..., None], ending: str, looks_before: int, mode: str, *, soft_fail: bool
) -> None:
    script, timeout, kind, words = ENDINGS[ending]
    if ending == "timeout" and not looks_before:
        timeout = 0.0
    with ScriptedServer({STATUS: [*[pending()] * looks_before, *script()]}) as server:
        connection(server.url)
        expected, said = (AirflowSkipException, "soft_fail") if soft_fail else (kind, words)
        with fails_with(expected, *([] if ending == "timeout" else [said])):
            run_to_end(sensor("job-1", soft_fail=soft_fail, timeout=timeout), context(), mode)
    assert server.count("GET") > looks_before


@in_sensor_modes
@pytest.mark.parametrize("looks_before", [0, 2], ids=["at the first look", "at a later look"])
@pytest.mark.parametrize("return_urls", [True, False], ids=["links", "no links"])
def test_a_finished_job_gives_a_result_in_every_mode(
    connection: Callable[..., None], looks_before: int, mode: str, *, return_urls: bool
) -> None:
    script = [*[pending()] * looks_before, forever(success(LINKS))]
    with ScriptedServer({STATUS: script}) as server:
        connection(server.url)
        result = run_to_end(sensor("job-1", return_urls=return_urls), context(), mode)

    handle = {"v": 1, "api": spoken().name, "job_id": "job-1", "seed": None, "submitted_at": None}
    assert result == {**handle, "status": "SUCCESS", **({"download_urls": LINKS} if return_urls else {})}


@in_sensor_modes
def test_what_an_operator_returned_is_waited_for_and_keeps_its_seed(
    vendor: Vendor, photos: str, mode: str, generation: Generation
) -> None:
    submitted = run_to_end(image_to_image(f"{photos}/a.png", seed=7, wait_for_completion=False), context(), "worker")

    result = run_to_end(sensor(submitted), context(), mode)

    assert result.keys() == generation.keys("download_urls")
    assert {**result, "status": "PENDING"}.items() >= submitted.items()
    assert vendor.count("submits") == 1


@in_sensor_modes
def test_a_job_that_is_templated_is_waited_for(connection: Callable[..., None], mode: str) -> None:
    with ScriptedServer({STATUS: [forever(success(LINKS))]}) as server:
        connection(server.url)
        assert run_to_end(sensor("{{ params.job }}"), context(job="job-9"), mode)["job_id"] == "job-9"
    assert server.requests[0].path.endswith("/status/job-9")


@in_sensor_modes
def test_a_result_without_an_id_is_done_already(connection: Callable[..., None], mode: str) -> None:
    finished = {
        "v": 1,
        "api": spoken().name,
        "job_id": None,
        "seed": 7,
        "submitted_at": 1.0,
        "status": "SUCCESS",
        "download_urls": LINKS,
    }
    with ScriptedServer() as server:
        connection(server.url)
        assert run_to_end(sensor(finished, return_urls=False), context(), mode) == finished
    assert server.requests == ()


@pytest.mark.parametrize("soft_fail", [False, True], ids=["hard", "soft"])
@in_turn(
    "job,words",
    [
        pytest.param("../x", "not a job id", id="a path"),
        pytest.param("", "names no job", id="nothing"),
        pytest.param("{'v': 1, 'job_id': 'job-1'}", "hand over the task's output itself", id="the text of a result"),
        pytest.param({"api": "video/v9", "job_id": "job-1"}, "unknown API", id="another API"),
        pytest.param({"job_id": None, "download_urls": []}, "names no job", id="no id and no links"),
    ],
    modes=SENSOR_MODES,
)
def test_what_names_no_job_is_refused(
    connection: Callable[..., None], job: Any, words: str, mode: str, *, soft_fail: bool
) -> None:
    with ScriptedServer() as server:
        connection(server.url)
        kind, said = (AirflowSkipException, "soft_fail") if soft_fail else (AirflowFailException, words)
        with fails_with(kind, said):
            run_to_end(sensor(job, soft_fail=soft_fail), context(), mode)
    assert server.requests == ()


@in_sensor_modes
@pytest.mark.parametrize("soft_fail", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("broken", ["missing", "no key"])
def test_a_connection_that_cannot_be_used_ends_the_wait(
    connection: Callable[..., None], broken: str, mode: str, *, soft_fail: bool
) -> None:
    if broken == "no key":
        connection(None, "")
    kind, said = (AirflowSkipException, "soft_fail") if soft_fail else (AirflowFailException, "imagepipeline_default")
    with fails_with(kind, said):
        run_to_end(sensor("job-1", soft_fail=soft_fail), context(), mode)


@in_sensor_modes
def test_faults_of_the_network_and_unknown_words_do_not_end_the_wait(
    connection: Callable[..., None], mode: str
) -> None:
    script = [
        answer(502),
        answer(200, "<html>"),
        answer(json={"status": "WARMING_UP"}),
        success([]),
        forever(success(LINKS)),
    ]
    with ScriptedServer({STATUS: script}) as server:
        connection(server.url)
        assert run_to_end(sensor("job-1"), context(), mode)["download_urls"] == LINKS


def test_a_connection_that_breaks_while_deferred_fails_as_it_does_when_poked(connection: Callable[..., None]) -> None:
    connection("http://api.example.com")
    event = {"v": 1, "job": {"job_id": "job-1"}, "outcome": "succeeded", "message": ""}
    with fails_with(AirflowFailException, "The job cannot be looked at", "https"):
        sensor("job-1")().resume_execution("execute_complete", {"event": event}, context())


@pytest.mark.parametrize("event", [None, {}, {"status": "success"}, {"v": 2}, "job-1"], ids=str)
def test_a_stranger_is_no_event(event: Any) -> None:
    with fails_with(ValueError, "not a job event"):
        sensor("job-1")().resume_execution("execute_complete", {"event": event}, context())


def test_a_connection_that_is_gone_while_deferred_fails_as_it_does_when_poked() -> None:
    event = {"v": 1, "job": {"job_id": "job-1"}, "outcome": "succeeded", "message": ""}
    make = sensor("job-1", imagepipeline_conn_id="nowhere")
    with fails_with(AirflowFailException, "The job cannot be looked at", "nowhere"):
        make().resume_execution("execute_complete", {"event": event}, context())


@in_sensor_modes
def test_an_interval_of_nothing_is_refused_before_a_look(connection: Callable[..., None], mode: str) -> None:
    with ScriptedServer() as server:
        connection(server.url)
        with fails_with(AirflowFailException, "poke_interval: 0", "above 0"):
            run_to_end(sensor("job-1", poke_interval=0), context(), mode)
    assert server.requests == ()


@pytest.mark.real_input("F3")
@in_sensor_modes
@pytest.mark.parametrize("looks_before", [0, 2], ids=["at the first look", "at a later look"])
def test_a_mere_id_finds_the_endpoint_that_took_the_job(
    connection: Callable[..., None], looks_before: int, mode: str, generation: Generation
) -> None:
    here = f"GET /{generation.name}/status/job-1"
    asked_before = [name for name in APIS if list(APIS).index(name) < list(APIS).index(generation.name)]
    others = {f"GET /{name}/status/job-1": [forever(refused(404, "unknown"))] for name in asked_before}
    with ScriptedServer({here: [*[pending()] * (looks_before * 2), forever(success(LINKS))], **others}) as server:
        connection(server.url)
        result = run_to_end(sensor("{{ params.job['job_id'] }}", api=None), context(job={"job_id": "job-1"}), mode)
    assert (result["api"], result["status"]) == (generation.name, "SUCCESS")


@pytest.mark.real_input("F3")
@in_sensor_modes
def test_a_lost_id_says_what_names_the_endpoint(connection: Callable[..., None], mode: str) -> None:
    with ScriptedServer({STATUS: [forever(refused(404, "unknown"))]}) as server:
        connection(server.url)
        with fails_with(AirflowFailException, "lost: ", "name that one with api=", "the whole result"):
            run_to_end(sensor("job-1", api=None), context(), mode)


@pytest.mark.real_input("C8")
@in_sensor_modes
def test_a_job_that_is_the_key_is_not_asked_for(connection: Callable[..., None], mode: str) -> None:
    with ScriptedServer() as server:
        connection(server.url)
        with fails_with(AirflowFailException, "job: holds the API key of connection 'imagepipeline_default'"):
            run_to_end(sensor("{{ params.job }}"), context(job=KEY), mode)
    assert server.requests == ()
