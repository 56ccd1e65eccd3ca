"""The gate before the destination: the input is read once and only where needed, and nothing is lost on its account."""

from __future__ import annotations

import hashlib
import io
import logging
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image, ImageOps

from airflow_imagepipeline.contract.acceptance import Acceptance
from airflow_imagepipeline.contract.api import SDXL_IMAGE_TO_IMAGE, JobStatus
from airflow_imagepipeline.contract.errors import DownloadFailed, InvalidParameters, NotSent
from airflow_imagepipeline.contract.job import Job, JobHandle
from airflow_imagepipeline.hooks.download import Downloader
from airflow_imagepipeline.hooks.download_limits import DownloadLimits
from airflow_imagepipeline.images.inspection import NotAnImage
from airflow_imagepipeline.landing.gate import Gate, Judgement, Original
from airflow_imagepipeline.landing.landing import land_job
from tests.doubles.moto_server import CONNECTION, aws_connection
from tests.doubles.odd_pictures import of_odd_lengths, with_odd_notes, with_something_behind
from tests.doubles.pictures import painted, saved, written
from tests.faults import ScriptedServer, answer, redirect
from tests.images.corpus import photo

if TYPE_CHECKING:
    from pathlib import Path

    from tests.landing.conftest import Lander, Store

SIGNATURE = "canary-77c1"
FILE = "GET /cup.png"


def png(image: Image.Image) -> bytes:
    target = io.BytesIO()
    image.resize((300, 200)).save(target, "PNG")
    return target.getvalue()


CUP = png(photo("coffee.png"))
EDITED = png(ImageOps.solarize(photo("coffee.png"), 200))
ENGINE = png(photo("motorcycle_left.png"))
BLACK = png(Image.new("RGB", (9, 9)))
NOTHING_OF_INPUT: dict[str, Any] = {"min_sharpness": 0, "identical": True, "max_difference": 1}


def gate(accept: dict[str, Any] | None = None) -> Gate:
    downloader = Downloader(allow_loopback=True, limits=DownloadLimits(attempts=1, attempts_at_other=1))
    return Gate(Acceptance.checked(accept), downloader=downloader, aws_conn_id="aws_test")


def link(server: ScriptedServer) -> str:
    return f"{server.url}/cup.png?Authorization={SIGNATURE}"


def judged(address: str | None, data: bytes, tmp_path: Path, accept: dict[str, Any] | None = None) -> Judgement:
    one = gate(accept)
    return one.judge(written(tmp_path, data, "result"), one.original(address, tmp_path))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (EDITED, None),
        (CUP, "It is not edited"),
        (ENGINE, "It shows something else"),
        (BLACK, "It is black"),
        (EDITED[:-9], "It is a PNG file that is damaged"),
        (b"<html>", "It is 6 bytes that are no PNG, JPEG, WEBP or GIF"),
    ],
    ids=["edited", "the input", "something else", "black", "cut", "no image"],
)
def test_a_result_is_judged_beside_its_input(data: bytes, words: str | None, tmp_path: Path) -> None:
    found = judged(str(written(tmp_path, CUP, "cup.png")), data, tmp_path)
    assert found.is_accepted == (words is None)
    assert [reason[: len(words or "")] for reason in found.reasons] == ([words] if words else [])
    assert found.black == (data == BLACK)
    assert ("difference" in found.measures) == data.startswith((CUP[:8], ENGINE[:8])) or not found.measures


def test_an_input_behind_a_link_is_fetched_once_for_all_results_of_a_job(tmp_path: Path) -> None:
    with ScriptedServer({FILE: [answer(200, CUP)]}) as server:
        one = gate()
        original = one.original(link(server), tmp_path)
        found = [one.judge(written(tmp_path, data, "result"), original) for data in (EDITED, CUP, ENGINE)]
    assert [judgement.is_accepted for judgement in found] == [True, False, False]
    assert len(server.requests) == 1


def test_an_input_on_s3_is_read(on_s3: Store, tmp_path: Path) -> None:
    on_s3.write("cup.png", CUP)
    assert not judged(f"{on_s3.uri}/cup.png", CUP, tmp_path).is_accepted


@pytest.mark.real_input("D1", "D2")
@pytest.mark.parametrize(
    "name", ["a motion photo", "two pictures of a camera", "2 MB of zTXt", "a broken EXIF", "one less"]
)
def test_an_odd_input_is_compared_with_its_result(name: str, tmp_path: Path) -> None:
    behind = {kind: data for kind, (data, _) in with_something_behind().items()}
    data = {**behind, **with_odd_notes(), **of_odd_lengths()}[name]
    address = str(written(tmp_path, data, "input"))
    result = saved(ImageOps.solarize(painted((80, 60)), 100), "WEBP")
    assert judged(address, result, tmp_path, {"aspect": "input", "min_sharpness": 0}).reasons == ()
    square = saved(ImageOps.solarize(painted((60, 60)), 100), "WEBP")
    reasons = judged(address, square, tmp_path, {"aspect": "input", "min_sharpness": 0}).reasons
    assert [reason[:32] for reason in reasons] == ["Its width through height is 1.00"]


def test_no_input_is_read_where_nothing_needs_it(tmp_path: Path) -> None:
    with ScriptedServer({}) as server:
        found = judged(link(server), CUP, tmp_path, NOTHING_OF_INPUT)
    assert found.is_accepted
    assert not server.requests
    assert "difference" not in found.measures


def test_the_file_that_is_judged_stays_as_it_came(tmp_path: Path) -> None:
    judged(str(written(tmp_path, CUP, "cup.png")), EDITED, tmp_path)
    data = (tmp_path / "result").read_bytes()
    assert hashlib.sha256(data).digest() == hashlib.sha256(EDITED).digest()


@pytest.mark.parametrize(
    "instruction",
    [answer(404), answer(403), answer(503), answer(200, b"<html>"), answer(200, CUP[:-9]), redirect(302, "ftp://a/b")],
    ids=["gone", "expired", "busy", "no image", "cut", "led astray"],
)
def test_without_the_input_a_result_passes_unless_a_comparison_was_asked_for(
    instruction: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with ScriptedServer({FILE: [instruction]}) as server:
        found = judged(link(server), ENGINE, tmp_path)
    assert found.is_accepted
    assert "difference" not in found.measures
    assert "Results are not compared with their input, which cannot be read here" in caplog.text
    assert SIGNATURE not in caplog.text


@pytest.mark.parametrize(
    "accept",
    [{"max_difference": 0.8}, {"min_difference": 0.1}, {"aspect": "input"}],
    ids=lambda given: next(iter(given)),
)
@pytest.mark.parametrize(
    "instruction", [answer(404), answer(200, b"<html>"), answer(200, CUP[:-9])], ids=["gone", "no image", "cut"]
)
def test_a_comparison_that_was_asked_for_and_cannot_be_made_is_a_reason(
    instruction: Any, accept: dict[str, Any], tmp_path: Path
) -> None:
    with ScriptedServer({FILE: [instruction]}) as server:
        found = judged(link(server), EDITED, tmp_path, accept)
    (reason,) = found.reasons
    assert reason.startswith("It cannot be compared with its input, which cannot be read here: ")
    assert SIGNATURE not in reason


def test_a_comparison_that_was_asked_for_is_tried_again_where_that_may_help(tmp_path: Path) -> None:
    with ScriptedServer({FILE: [answer(503)]}) as server, pytest.raises(DownloadFailed):
        gate({"max_difference": 0.8}).original(link(server), tmp_path)


def test_a_storage_that_is_down_is_tried_again_where_a_comparison_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer({}) as server:
        nobody = server.url
    monkeypatch.setenv(CONNECTION, aws_connection(nobody))
    with pytest.raises(NotSent):
        gate({"aspect": "input"}).original("s3://bucket/cup.png", tmp_path)
    assert gate().original("s3://bucket/cup.png", tmp_path).missing


def test_a_job_that_does_not_name_its_input_is_judged_without_it(tmp_path: Path) -> None:
    assert judged(None, ENGINE, tmp_path).is_accepted
    (reason,) = judged(None, ENGINE, tmp_path, {"aspect": "input"}).reasons
    assert reason.endswith("cannot be read here: the job does not name it.")


def no_engines(result: str, original: str | None) -> str | None:
    """Play a check of the user's."""
    if original is None:
        return "an engine beside no cup"
    with Image.open(result) as image, Image.open(original) as beside:
        return f"an engine beside {'a' if image.size == beside.size else 'another'} cup"


def test_the_users_own_checks_get_both_files(tmp_path: Path) -> None:
    name = f"{__name__}.{no_engines.__name__}"
    cup = str(written(tmp_path, CUP, "cup.png"))
    found = judged(cup, EDITED, tmp_path, {**NOTHING_OF_INPUT, "checks": name})
    assert found.reasons == (f"{name} refused it: an engine beside a cup.",)
    alone = judged(None, EDITED, tmp_path, {**NOTHING_OF_INPUT, "checks": name})
    assert alone.reasons == (f"{name} refused it: an engine beside no cup.",)


def test_the_users_own_checks_see_no_file_that_is_no_image(tmp_path: Path) -> None:
    found = judged(None, b"<html>", tmp_path, {"checks": f"{__name__}.{no_engines.__name__}"})
    assert len(found.reasons) == 1
    assert "no PNG" in found.reasons[0]


def test_an_unknown_check_is_refused_when_the_gate_is_made() -> None:
    with pytest.raises(InvalidParameters, match="accept: checks: "):
        gate({"checks": "shop.no_such_check"})


def test_an_input_that_is_no_image_is_no_reason_to_fail(tmp_path: Path) -> None:
    one = gate()
    original = one.original(str(written(tmp_path, b"<html>", "page.png")), tmp_path)
    assert original == Original(missing="it is 6 bytes that are no PNG, JPEG, WEBP or GIF")
    assert not issubclass(NotAnImage, InvalidParameters)


@pytest.mark.slow
def test_ten_thousand_inputs_that_cannot_be_read_are_told_in_a_few_lines(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = gate()
    for number in range(10_000):
        one.original(str(tmp_path / f"gone-{number}.png"), tmp_path)
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(told) == 7
    assert "gone-0.png" in told[0]
    assert told[-1].endswith("(10,000 times so far; not each is logged)")


def test_a_black_result_that_is_refused_is_told_once(
    on_disk: Store, lander: Lander, caplog: pytest.LogCaptureFixture
) -> None:
    with ScriptedServer({"GET /files/a": [answer(200, BLACK)]}) as server:
        job = Job(JobHandle(SDXL_IMAGE_TO_IMAGE, "job-1"), JobStatus.SUCCESS, lander.links(server, "a"))
        result = land_job(lander.hook(server.url), job, on_disk.folder(), None, overwrite=False, gate=gate())
    assert len(result.rejected) == 1
    told = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING and "job-1-00" in one.message]
    assert len(told) == 1
    assert "is rejected: It is black" in told[0]
