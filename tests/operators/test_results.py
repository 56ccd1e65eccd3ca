"""What the operator submits, and what it returns, in a worker and through the triggerer."""

from __future__ import annotations

import base64
import gzip
import io
import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from airflow_imagepipeline.contract.text import Secret
from airflow_imagepipeline.exceptions import JobFailed, SubmissionRefused, SubmissionUncertain
from tests.faults import STATUS, SUBMIT, ScriptedServer, answer, failure, forever, pending, refused, success
from tests.generations import only_old
from tests.running import (
    KEY,
    PROMPT,
    FakeStore,
    cleared,
    context,
    fails_with,
    image_to_image,
    in_task_modes,
    retried,
    run_to_end,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.doubles.moto_server import Moto
    from tests.generations import Generation
    from tests.vendor import Vendor

pytestmark = pytest.mark.usefixtures("quick", "logs", "generation")


def sent(server: ScriptedServer, index: int = 0) -> dict[str, Any]:
    """Return the body of a submission."""
    posts = [request for request in server.requests if request.method == "POST"]
    body: dict[str, Any] = json.loads(posts[index].body)
    return body


@in_task_modes
def test_a_task_that_does_not_wait_names_its_job_and_no_links(
    vendor: Vendor, photos: str, mode: str, generation: Generation
) -> None:
    result = run_to_end(image_to_image(f"{photos}/a.png", wait_for_completion=False), context(FakeStore()), mode)

    assert result.keys() == generation.keys() - {"cost"}
    assert (result["v"], result["api"], result["status"]) == (1, generation.name, "PENDING")
    assert (vendor.count("accepted"), vendor.count("polls")) == (1, 0)


@in_task_modes
def test_a_completed_job_returns_its_links(vendor: Vendor, photos: str, mode: str, generation: Generation) -> None:
    result = run_to_end(image_to_image(f"{photos}/a.png", **generation.several), context(FakeStore()), mode)

    assert result.keys() == generation.keys("download_urls")
    assert result["status"] == "SUCCESS"
    assert len(result["download_urls"]) == generation.count
    assert all(link.startswith(vendor.url) for link in result["download_urls"])
    assert vendor.count("downloads") == 0


@in_task_modes
def test_links_stay_out_of_xcom_where_they_are_not_wanted(
    vendor: Vendor, photos: str, mode: str, generation: Generation
) -> None:
    result = run_to_end(image_to_image(f"{photos}/a.png", return_urls=False), context(FakeStore()), mode)

    assert result.keys() == generation.keys()
    assert result["status"] == "SUCCESS"
    assert vendor.count("accepted") == 1


@in_task_modes
def test_images_land_in_a_folder_under_the_jobs_id(
    vendor: Vendor, photos: str, tmp_path: Path, *, mode: str, generation: Generation
) -> None:
    folder = tmp_path / "not" / "there yet"
    make = image_to_image(f"{photos}/a.png", destination=f"file://{folder}", **generation.several)

    result = run_to_end(make, context(FakeStore()), mode)

    assert result.keys() == generation.keys("images")
    names = [f"{result['job_id']}-0{index}.png" for index in range(generation.count)]
    assert [image["uri"] for image in result["images"]] == [f"file://{folder}/{name}" for name in names]
    for image, name in zip(result["images"], names, strict=True):
        assert image.keys() == {"uri", "sha256", "bytes", "format", "width", "height"}
        assert image["format"] == "PNG"
        assert (folder / name).stat().st_size == image["bytes"]
    assert vendor.count("downloads_with_key") == 0


@in_task_modes
def test_images_land_on_s3_under_the_name_that_was_given(
    vendor: Vendor, moto: Moto, bucket: str, photos: str, mode: str
) -> None:
    make = image_to_image(f"{photos}/a.png", destination=f"s3://{bucket}/{{{{ params.day }}}}", file_stem="cup/edited")

    result = run_to_end(make, context(FakeStore(), day="monday"), mode)

    assert [image["uri"] for image in result["images"]] == [f"s3://{bucket}/monday/cup/edited-00.png"]
    assert len(moto.body(bucket, "monday/cup/edited-00.png")) == result["images"][0]["bytes"]
    assert vendor.count("accepted") == 1


@only_old
@in_task_modes
def test_a_filtered_image_is_reported_as_blank(
    vendor: Vendor, photos: str, tmp_path: Path, mode: str, logs: Callable[[], str]
) -> None:
    make = image_to_image(
        f"{photos}/a.png", prompt="explicit", safety_checker=True, destination=f"file://{tmp_path}", file_stem="x"
    )

    result = run_to_end(make, context(FakeStore()), mode)

    assert result["images"][0]["blank"] is True
    assert "blank" in logs()
    assert vendor.count("accepted") == 1


@in_task_modes
def test_an_own_seed_is_sent_and_another_is_drawn(connection: Callable[..., None], mode: str) -> None:
    with ScriptedServer({SUBMIT: [pending("job-1"), pending("job-2")]}) as server:
        connection(server.url)
        link = "http://127.0.0.1/a.png"
        own = run_to_end(
            image_to_image(link, seed=0, wait_for_completion=False), context(FakeStore(), max_tries=0), mode
        )
        drawn = run_to_end(image_to_image(link, wait_for_completion=False), context(FakeStore(), max_tries=0), mode)

    assert own["seed"] == 0 == sent(server)["seed"]
    assert isinstance(drawn["seed"], int)
    assert drawn["seed"] == sent(server, 1)["seed"]


@in_task_modes
def test_the_same_seed_gives_the_same_picture_and_a_clear_draws_another(
    vendor: Vendor, photos: str, tmp_path: Path, mode: str
) -> None:
    def landed(given: Any, **arguments: Any) -> dict[str, Any]:
        make = image_to_image(f"{photos}/a.png", destination=f"file://{tmp_path}", **arguments)
        result: dict[str, Any] = run_to_end(make, given, mode)
        return result

    first_try = context(FakeStore())
    first, anew = landed(first_try), landed(cleared(first_try))
    again = landed(context(FakeStore()), seed=first["seed"])

    assert anew["seed"] != first["seed"]
    assert again["images"][0]["sha256"] == first["images"][0]["sha256"]
    assert vendor.count("accepted") == 3


@only_old
@in_task_modes
def test_values_of_templates_are_read_as_what_they_stand_for(connection: Callable[..., None], mode: str) -> None:
    make = image_to_image(
        "http://127.0.0.1/{{ params.name }}.png",
        prompt="{{ params.prompt }}",
        num_inference_steps="{{ params.steps }}",
        samples="4",
        strength="0.5",
        safety_checker="true",
        refiner="{{ params.refiner }}",
        seed="None",
        negative_prompt="",
        extra_parameters={"scheduler": "{{ params.scheduler }}", "clip_skip": 2},
        wait_for_completion=False,
    )
    with ScriptedServer({SUBMIT: [pending()]}) as server:
        connection(server.url)
        values: dict[str, Any] = {"name": "cup", "prompt": PROMPT, "steps": 4, "refiner": "False", "scheduler": "euler"}
        result = run_to_end(make, context(FakeStore(), **values), mode)

    assert sent(server) == {
        "init_image": "http://127.0.0.1/cup.png",
        "prompt": PROMPT,
        "model_id": "sdxl",
        "num_inference_steps": 4,
        "samples": 4,
        "strength": 0.5,
        "safety_checker": True,
        "refiner": False,
        "seed": result["seed"],
        "scheduler": "euler",
        "clip_skip": 2,
    }


@in_task_modes
def test_a_job_that_is_handed_in_is_taken_up_instead_of_paid(
    vendor: Vendor, photos: str, tmp_path: Path, mode: str
) -> None:
    link = f"{photos}/a.png"
    paid = run_to_end(image_to_image(link, wait_for_completion=False), context(FakeStore()), "worker")
    make = image_to_image(link, job_id="{{ params.job }}", destination=f"file://{tmp_path}", file_stem="x")

    result = run_to_end(make, context(FakeStore(), job=paid["job_id"]), mode)

    assert result["job_id"] == paid["job_id"]
    assert (tmp_path / "x-00.png").exists()
    assert vendor.count("submits") == 1


@in_task_modes
def test_a_job_done_at_once_is_looked_at_like_any_other(connection: Callable[..., None], mode: str) -> None:
    fresh = ["https://files.test/fresh.png"]
    script = {SUBMIT: [success(["https://files.test/a.png"], "job-1")], STATUS: [forever(success(fresh))]}
    with ScriptedServer(script) as server:
        connection(server.url)
        result = run_to_end(image_to_image("http://127.0.0.1/a.png"), context(FakeStore()), mode)

    assert (result["job_id"], result["download_urls"]) == ("job-1", fresh)


@in_task_modes
@pytest.mark.parametrize("options", [{}, {"wait_for_completion": False}, {"return_urls": False}], ids=str)
def test_a_job_done_at_once_without_an_id_always_returns_its_links(
    connection: Callable[..., None], options: dict[str, bool], mode: str
) -> None:
    store = FakeStore()
    given = context(store)
    links = ["https://files.test/a.png"]
    with ScriptedServer({SUBMIT: [success(links)]}) as server:
        connection(server.url)
        make = image_to_image("http://127.0.0.1/a.png", **options)
        result = run_to_end(make, given, mode)
        # Should the report of that success be lost, nothing can be looked up, and nothing is paid for again.
        with fails_with(SubmissionUncertain, "clear the task"):
            run_to_end(make, retried(given), mode)

    assert (result["job_id"], result["status"], result["download_urls"]) == (None, "SUCCESS", links)
    assert store.record()["phase"] == "handed_over"


@in_task_modes
def test_a_job_done_at_once_without_an_id_lands_in_the_same_process(
    connection: Callable[..., None], photos: str, tmp_path: Path, mode: str
) -> None:
    store = FakeStore()
    with ScriptedServer({SUBMIT: [success([f"{photos}/result.png"])]}) as server:
        connection(server.url)
        make = image_to_image("http://127.0.0.1/a.png", seed=7, destination=f"file://{tmp_path}")
        result = run_to_end(make, context(store), mode)

    assert [image["uri"] for image in result["images"]] == [f"file://{tmp_path}/seed-7-00.png"]
    assert store.record()["phase"] == "stored"


@in_task_modes
@pytest.mark.parametrize("job_id", [None, "job-1"])
def test_a_failure_straight_from_the_submission_fails_the_task(
    connection: Callable[..., None], job_id: str | None, mode: str
) -> None:
    store = FakeStore()
    with ScriptedServer({SUBMIT: [failure("no such model", job_id)]}) as server:
        connection(server.url)
        with fails_with(JobFailed, "no such model"):
            run_to_end(image_to_image("http://127.0.0.1/a.png", wait_for_completion=False), context(store), mode)

    assert store.record()["phase"] == "failed"


@in_task_modes
@pytest.mark.parametrize("stem", ["None", "", "{{ params.stem }}"])
def test_a_stem_that_a_template_left_open_is_the_jobs_id(
    vendor: Vendor, photos: str, tmp_path: Path, stem: str, mode: str
) -> None:
    make = image_to_image(f"{photos}/a.png", destination=f"file://{tmp_path}", file_stem=stem)

    result = run_to_end(make, context(FakeStore(), stem=None), mode)

    assert result["images"][0]["uri"] == f"file://{tmp_path}/{result['job_id']}-00.png"
    assert vendor.count("accepted") == 1


@pytest.mark.real_input("D7")
@in_task_modes
def test_a_result_that_comes_in_its_link_lands_and_is_nowhere_else(
    connection: Callable[..., None], tmp_path: Path, mode: str, logs: Callable[[], str]
) -> None:
    image, size = io.BytesIO(), (700, 700)
    Image.frombytes("RGB", size, random.Random(1).randbytes(3 * size[0] * size[1])).save(image, "PNG")
    photo = image.getvalue()
    assert len(photo) > 2**20, "an answer with a usual image is larger than any other"
    link = "data:image/png;base64," + base64.b64encode(photo).decode()
    script = {SUBMIT: [pending()], STATUS: [forever(success([link]))]}
    with ScriptedServer(script) as server:
        connection(server.url)
        make = image_to_image("http://127.0.0.1/a.png", destination=tmp_path.as_uri())
        result = run_to_end(make, context(), mode)
    assert [Path(image["uri"].removeprefix("file://")).read_bytes() for image in result["images"]] == [photo]
    kept = "".join(path.read_text() for path in tmp_path.rglob("*.json"))
    assert "base64" not in kept + json.dumps(result) + logs()


@pytest.mark.real_input("D7")
@in_task_modes
def test_a_link_that_holds_the_image_is_put_into_no_xcom(
    connection: Callable[..., None], photo: bytes, mode: str
) -> None:
    link = "data:image/png;base64," + base64.b64encode(photo).decode()
    with ScriptedServer({SUBMIT: [pending()], STATUS: [forever(success([link]))]}) as server:
        connection(server.url)
        result = run_to_end(image_to_image("http://127.0.0.1/a.png"), context(), mode)
    assert result["download_urls"] == []


@pytest.mark.fault(110)
@only_old
@in_task_modes
def test_of_too_many_links_as_many_land_as_were_asked_for(
    connection: Callable[..., None], photos: str, tmp_path: Path, mode: str, logs: Callable[[], str]
) -> None:
    links = [f"{photos}/{n}.png" for n in range(17)]
    with ScriptedServer({SUBMIT: [pending()], STATUS: [forever(success(links))]}) as server:
        connection(server.url)
        make = image_to_image("http://127.0.0.1/a.png", destination=tmp_path.as_uri(), samples=2)
        assert len(run_to_end(make, context(), mode)["images"]) == 2
    assert "17 links" in logs()


@pytest.mark.real_input("C8")
@in_task_modes
@pytest.mark.parametrize("field", ["prompt", "file_stem", "destination", "job_id", "extra_parameters"])
@pytest.mark.parametrize("form", ["{key}", "{key[0]}{key}", "base64"])
def test_the_key_is_neither_sent_nor_written_whichever_way_it_came_in(
    *, connection: Callable[..., None], tmp_path: Path, mode: str, field: str, form: str, logs: Callable[[], str]
) -> None:
    word = base64.b64encode(KEY.encode()).decode() if form == "base64" else form.format(key=KEY)
    template = "{{ params.word }}"
    given: dict[str, Any] = {"destination": tmp_path.as_uri(), "file_stem": "cup", field: template}
    if field == "extra_parameters":
        given[field] = {"scheduler": [{"name": template}]}
    with ScriptedServer() as server:
        connection(server.url)
        with fails_with(SubmissionRefused, f"{field}: holds the API key of connection 'imagepipeline_default'"):
            run_to_end(image_to_image("http://127.0.0.1/a.png", **given), context(word=word), mode)
    assert server.requests == ()
    assert list(tmp_path.iterdir()) == []
    assert word not in logs()


PAGE = b"<!DOCTYPE html><html><head><title>Just a moment...</title></head></html>"
IN_BETWEEN = {
    "a challenge page": lambda: [answer(403, PAGE, headers={"Content-Type": "text/html"})] * 4,
    "odd refusals": lambda: [refused(410, "gone"), refused(409, "conflict"), pending(), refused(423, "locked")],
    "another job": lambda: [success(["https://files.test/other.png"], "job-2")] * 2,
    "compressed answers": lambda: [
        answer(200, gzip.compress(b'{"status": "PENDING"}'), headers={"Content-Encoding": "aws-chunked"})
    ],
    "unknown words": lambda: [answer(200, json={"status": "on hold"})],
}


@pytest.mark.fault(110)
@pytest.mark.real_input("F7", "D3", "D9")
@in_task_modes
@pytest.mark.parametrize("odd", IN_BETWEEN)
def test_what_a_poll_meets_in_between_loses_no_job(connection: Callable[..., None], mode: str, odd: str) -> None:
    script = [*IN_BETWEEN[odd](), forever(success(["https://files.test/a.png"]))]
    with ScriptedServer({SUBMIT: [pending()], STATUS: script}) as server:
        connection(server.url)
        result = run_to_end(image_to_image("http://127.0.0.1/a.png"), context(), mode)
    assert result["download_urls"] == ["https://files.test/a.png"]


@pytest.mark.real_input("F7")
@in_task_modes
def test_a_page_in_the_apis_place_is_no_refused_key(connection: Callable[..., None], mode: str) -> None:
    with ScriptedServer({SUBMIT: [answer(403, PAGE, headers={"Content-Type": "text/html"})]}) as server:
        connection(server.url)
        with fails_with(
            SubmissionRefused, "a page answered, not the API", "'Just a moment...'", "Nothing was submitted"
        ):
            run_to_end(image_to_image("http://127.0.0.1/a.png"), context(), mode)
    assert server.count("POST") == 1


@pytest.mark.fault(109)
@in_task_modes
@pytest.mark.parametrize("form", ["escaped", "base64", "hexadecimal", "HTML"])
def test_a_key_that_the_api_repeats_in_another_form_is_shown_nowhere(
    connection: Callable[..., None], mode: str, form: str, logs: Callable[[], str]
) -> None:
    shown = {
        "escaped": "".join(f"\\u{ord(letter):04x}" for letter in KEY),
        "base64": base64.b64encode(f"me:{KEY}".encode()).decode(),
        "hexadecimal": KEY.encode().hex(),
        "HTML": "".join(f"&#{ord(letter)};" for letter in KEY),
    }[form]
    body = f'{{"status": "FAILURE", "error": {{"message": "bad key {shown}", "{shown}": 1}}}}'
    with ScriptedServer({SUBMIT: [pending()], STATUS: [forever(answer(200, body.encode()))]}) as server:
        connection(server.url)
        with pytest.raises(JobFailed) as caught:
            run_to_end(image_to_image("http://127.0.0.1/a.png"), context(), mode)
    for text in (str(caught.value), logs()):
        assert not Secret(KEY).is_in(text)
