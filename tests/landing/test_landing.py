from __future__ import annotations

import hashlib
import logging
import resource
import stat
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from airflow_imagepipeline.contract.api import SDXL_IMAGE_TO_IMAGE, JobStatus
from airflow_imagepipeline.contract.job import Job, JobHandle
from airflow_imagepipeline.exceptions import LandingFailed
from airflow_imagepipeline.landing.landing import land_job
from airflow_imagepipeline.storage.folder import AlreadyThere
from tests.doubles.odd_pictures import of_odd_colours, of_odd_lengths, with_odd_notes, with_something_behind
from tests.doubles.pictures import painted, picture, pictures, png, saved
from tests.faults import Instruction, ScriptedServer, TcpProxy, answer, chunked, cut_after, redirect
from tests.landing.conftest import KEY, SIGNATURE, Lander, Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def file(name: str) -> str:
    return f"GET /files/{name}"


def test_every_image_is_landed_untouched_under_a_name_of_ours(store: Store, lander: Lander) -> None:
    sent = {"x.html": "png", "../y": "jpeg", "z.png": "lossy webp", "%2e%2e": "gif"}
    routes = {f"GET ~/files/{name.replace('.', '[.]')}": [answer(200, pictures()[kind])] for name, kind in sent.items()}
    with ScriptedServer(routes) as server:
        images = lander.land(server, store, *sent)
    names = ["job-1-00.png", "job-1-01.jpg", "job-1-02.webp", "job-1-03.gif"]
    assert store.files == dict(zip(names, (pictures()[kind] for kind in sent.values()), strict=True))
    for image, name, kind in zip(images, names, sent.values(), strict=True):
        data = pictures()[kind]
        assert image == {
            "uri": f"{store.uri}/{name}",
            "sha256": hashlib.sha256(data).hexdigest(),
            "bytes": len(data),
            "format": kind.split()[-1].upper(),
            "width": 40,
            "height": 30,
        }
    for request in server.requests:
        assert KEY not in str(request.headers)
        assert {name.lower() for name, _ in request.headers}.isdisjoint({"api-key", "authorization", "cookie"})


def test_the_real_downloader_is_made_for_the_connection_of_the_hook(on_disk: Store, lander: Lander) -> None:
    with ScriptedServer({file("a"): [answer(200, picture())]}) as server:
        job = Job(JobHandle(SDXL_IMAGE_TO_IMAGE, "job-1"), JobStatus.SUCCESS, lander.links(server, "a"))
        land_job(lander.hook(server.url), job, on_disk.folder(), None, overwrite=False)
        assert on_disk.files == {"job-1-00.png": picture()}
        with pytest.raises(LandingFailed, match=r"127\.0\.0\.1 is not https: nothing was fetched"):
            land_job(lander.hook("https://api.example"), job, on_disk.folder(), "again", overwrite=False)
    assert server.count() == 1


def test_what_is_stored_on_s3_says_its_digest_and_size(on_s3: Store, lander: Lander) -> None:
    with ScriptedServer({file("a"): [answer(200, picture())]}) as server:
        (image,) = lander.land(server, on_s3, "a")
    assert on_s3.moto
    bucket, _, key = image["uri"].removeprefix("s3://").partition("/")
    found = on_s3.moto.s3.head_object(Bucket=bucket, Key=key)
    assert found["Metadata"] == {"sha256": image["sha256"], "width": "40", "height": "30"}
    assert (found["ContentLength"], found["ContentType"]) == (len(picture()), "image/png")


@pytest.mark.parametrize(
    "page",
    [
        answer(200, b"<html>Bad Gateway</html>", headers={"Content-Type": "image/png"}),
        answer(200, json={"error": "not yet"}),
        answer(200, b""),
        answer(200, b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"),
    ],
    ids=["HTML", "JSON", "0 bytes", "SVG"],
)
def test_what_is_no_image_is_asked_for_three_times_and_never_stored(
    page: Instruction, store: Store, lander: Lander
) -> None:
    with ScriptedServer({file("a"): [page] * 3}) as server, pytest.raises(LandingFailed, match="no PNG, JPEG, WEBP"):
        lander.land(server, store, "a")
    assert store.files == {}


@pytest.mark.parametrize(
    "fault",
    [
        cut_after(150, picture()),
        cut_after(150, picture(), framing="chunked"),
        cut_after(150, picture(), framing="close"),
        cut_after(len(picture()) - 1, picture(), framing="close"),
        answer(200, png(40, 30, damage=b"no zlib")),
        answer(503),
    ],
    ids=["cut", "cut chunked", "cut unseen", "one byte short", "cannot be decoded", "503"],
)
def test_a_broken_image_is_fetched_again_and_lands_whole(fault: Instruction, store: Store, lander: Lander) -> None:
    with ScriptedServer({file("a"): [fault, chunked(picture(), 50)]}) as server:
        lander.land(server, store, "a")
    assert store.files == {"job-1-00.png": picture()}
    assert len(lander.slept) == 1


@pytest.mark.real_input("D1")
@pytest.mark.parametrize("name", with_something_behind())
def test_what_follows_an_image_lands_with_it_and_is_counted(name: str, on_disk: Store, lander: Lander) -> None:
    data, more = with_something_behind()[name]
    with ScriptedServer({file("a"): [answer(200, data)]}) as server:
        (image,) = lander.land(server, on_disk, "a")
        (again,) = lander.land(server, on_disk, "a")
    assert list(on_disk.files.values()) == [data]
    assert image["checks"]["trailing_bytes"] == more
    assert again == image


@pytest.mark.real_input("D1")
def test_a_retry_still_knows_what_follows_an_image_on_s3(on_s3: Store, lander: Lander) -> None:
    data, more = with_something_behind()["a motion photo"]
    with ScriptedServer({file("a"): [answer(200, data)]}) as server:
        images = [lander.land(server, on_s3, "a") for _ in range(2)]
    assert on_s3.files == {"job-1-00.jpg": data}
    assert images[0] == images[1]
    assert images[0][0]["checks"] == {"trailing_bytes": more}


@pytest.mark.real_input("D1", "D2")
@pytest.mark.parametrize("name", [*of_odd_lengths(), *with_odd_notes(), *of_odd_colours()])
def test_an_odd_image_lands_untouched(name: str, on_disk: Store, lander: Lander) -> None:
    data = {**of_odd_lengths(), **with_odd_notes(), **of_odd_colours()}[name]
    with ScriptedServer({file("a"): [answer(200, data)]}) as server:
        lander.land(server, on_disk, "a")
    assert list(on_disk.files.values()) == [data]


@pytest.mark.real_input("D2")
def test_metadata_that_cannot_be_read_is_a_warning(
    on_disk: Store, lander: Lander, caplog: pytest.LogCaptureFixture
) -> None:
    with ScriptedServer({file("a"): [answer(200, with_odd_notes()["2 MB of zTXt"])]}) as server:
        (image,) = lander.land(server, on_disk, "a")
    why = "ValueError: Decompressed data too large for PngImagePlugin.MAX_TEXT_CHUNK"
    assert image["checks"] == {"unread_metadata": why}
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        f"{image['uri']} is landed as it came; what stands around its pixels cannot be read ({why})."
    ]


def test_an_image_that_stays_broken_is_given_up_after_four_attempts(store: Store, lander: Lander) -> None:
    half = cut_after(150, picture(), framing="close")
    with ScriptedServer({file("a"): [half] * 4}) as server, pytest.raises(LandingFailed, match="it ends too early"):
        lander.land(server, store, "a")
    assert store.files == {}


@pytest.mark.parametrize("kind", ["png", "png of many chunks"])
def test_a_bit_that_flips_on_the_way_is_found_in_a_png(kind: str, on_disk: Store, lander: Lander) -> None:
    data = pictures()[kind]
    with ScriptedServer({file("a"): [answer(200, data)] * 2}) as server, TcpProxy(server.port) as proxy:
        proxy.flip_bit(len(data) // 2 + 60, times=1)
        lander.land(server, on_disk, "a", url=proxy.url)
        assert proxy.struck == 1
    assert on_disk.files == {"job-1-00.png": data}


def test_a_bit_that_flips_in_the_pixels_of_a_jpeg_may_pass_and_the_digest_is_of_what_came(
    on_disk: Store, lander: Lander
) -> None:
    data = saved(painted((120, 90)), "JPEG", quality=95)
    with ScriptedServer({file("a"): [answer(200, data)]}) as server, TcpProxy(server.port) as proxy:
        proxy.flip_bit(len(data) - 20, times=1)
        (image,) = lander.land(server, on_disk, "a", url=proxy.url)
    stored = on_disk.files["job-1-00.jpg"]
    assert stored != data
    assert hashlib.sha256(stored).hexdigest() == image["sha256"]


@pytest.mark.parametrize(
    ("bomb", "limits", "why"),
    [
        (answer(200, png(60_000, 60_000, honest=False)), {}, "60000x60000 pixels, more than 50000000"),
        (answer(200, picture() * 100), {"bytes": 10_000}, "sends more than 10000 bytes for one result"),
        (redirect(302, "http://169.254.169.254/latest/meta-data/"), {}, r"169\.254\.169\.254 is not https"),
    ],
    ids=["pixels", "bytes", "redirect inwards"],
)
def test_what_must_not_be_taken_is_asked_for_once(
    bomb: Instruction, limits: dict[str, Any], why: str, on_disk: Store, lander: Lander
) -> None:
    with ScriptedServer({file("a"): [bomb]}) as server, pytest.raises(LandingFailed, match=why):
        lander.land(server, on_disk, "a", **limits)
    assert on_disk.files == {}


def test_a_job_without_links_has_landed_nothing(on_disk: Store, lander: Lander) -> None:
    with (
        ScriptedServer() as server,
        pytest.raises(LandingFailed, match=r"its images were not landed in .* without naming any"),
    ):
        lander.land(server, on_disk)


def test_a_blank_image_is_landed_with_a_warning(store: Store, lander: Lander, caplog: pytest.LogCaptureFixture) -> None:
    black = saved(Image.new("RGB", (64, 64)), "PNG")
    with ScriptedServer({file("a"): [answer(200, black)], file("b"): [answer(200, picture())]}) as server:
        for _ in ("landed", "taken over"):
            blank, plain = lander.land(server, store, "a", "b")
            assert blank["blank"] is True
            assert "blank" not in plain
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    looks = f"{store.uri}/job-1-00.png looks blank: the vendor's safety filter returns black images."
    assert warnings == [looks, looks]


def test_a_failure_is_one_sentence_without_the_link(
    store: Store, lander: Lander, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    routes = {file("a"): [answer(200, picture())], file("b"): [answer(503)] * 4}
    with ScriptedServer(routes) as server, pytest.raises(LandingFailed) as caught:
        lander.land(server, store, "a", "b")
    assert str(caught.value) == (
        f"Job job-1 is done, but image 2 of 2 was not landed in {store.uri}: 127.0.0.1 answered 503 instead of the "
        "result. A retry of the task goes on from here and pays nothing."
    )
    told = caplog.text + "".join(traceback.format_exception(caught.value))
    assert SIGNATURE not in told
    assert KEY not in told


def test_temporary_files_are_nobody_elses_business(on_disk: Store, lander: Lander, scratch: Path) -> None:
    modes: list[int] = []

    def look(_: object) -> None:
        modes.extend(stat.S_IMODE(path.stat().st_mode) for path in scratch.iterdir())

    second = answer(200, picture(1)).with_before(look)
    with ScriptedServer({file("a"): [answer(200, picture())], file("b"): [second]}) as server:
        lander.land(server, on_disk, "a", "b")
    assert modes == [0o700]


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let this process write no file beyond a size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_of_the_worker_is_a_clear_failure(on_disk: Store, lander: Lander) -> None:
    with (
        ScriptedServer({file("a"): [answer(200, picture())]}) as server,
        room_for(100),
        pytest.raises(LandingFailed, match=r"this machine's temporary folder cannot be written \(File too large\)"),
    ):
        lander.land(server, on_disk, "a")


def test_a_full_disk_at_the_destination_is_a_clear_failure(on_disk: Store, lander: Lander) -> None:
    on_disk.write("in-the-way", b"")
    below = Store(f"{on_disk.uri}/in-the-way")
    with (
        ScriptedServer({file("a"): [answer(200, picture())]}) as server,
        pytest.raises(
            LandingFailed,
            match=r"job-1-00\.png could not be written \((ENOTDIR: Not a directory|EEXIST: File exists)\)",
        ),
    ):
        lander.land(server, below, "a")


def test_a_file_of_other_bytes_is_for_a_human_to_judge(store: Store, lander: Lander) -> None:
    store.write("mine-00.png", picture(5))
    with ScriptedServer({file("a"): [answer(200, picture())]}) as server, pytest.raises(AlreadyThere):
        lander.land(server, store, "a", stem="mine")
    assert store.files == {"mine-00.png": picture(5)}
