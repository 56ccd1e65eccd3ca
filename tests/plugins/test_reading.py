"""What the tab reads: what a result names, within bounds, never a path of an address and never this machine's disk."""

from __future__ import annotations

import io
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from botocore.config import Config
from PIL import Image

from airflow_imagepipeline.plugins import thumbnails
from airflow_imagepipeline.storage import s3_client
from tests.doubles.moto_server import aws_connection
from tests.doubles.pictures import painted, png, saved
from tests.plugins.conftest import PICTURE, job, row, summary

if TYPE_CHECKING:
    from tests.plugins.conftest import Tab

TRAVERSALS = [
    "..",
    "../..",
    "%2e%2e",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "..%2f..",
    "%00",
    "file:%2f%2f%2fetc%2fpasswd",
    "a%5cb",
]


def test_an_image_is_served_as_what_it_was_found_to_be(tab: Tab) -> None:
    path = tab.task(job(tab.image(format="text/html")))
    answer = tab.get(f"image/{path}/job/0")
    assert answer.content == PICTURE
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-disposition"] == 'inline; filename="image.png"'
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox; frame-ancestors 'self'"


@pytest.mark.parametrize("kind", ["image", "thumbnail"])
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"<html><script>alert(1)</script>", id="a page"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", id="a drawing with a script"),
        pytest.param(PICTURE[:-30], id="half an image"),
        pytest.param(b"", id="nothing"),
        pytest.param(png(9000, 9000, honest=False), id="81 million pixels"),
    ],
)
def test_what_is_no_image_is_not_served(tab: Tab, kind: str, content: bytes) -> None:
    answer = tab.get(f"{kind}/{tab.task(job(tab.image(content=content)))}/job/0")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/plain")
    assert b"alert" not in answer.content


def test_an_image_with_a_page_behind_it_is_served_as_an_image_that_can_do_nothing(tab: Tab) -> None:
    content = PICTURE + b"<script>alert(1)</script>"
    answer = tab.get(f"image/{tab.task(job(tab.image(content=content)))}/job/0")
    assert (answer.headers["content-type"], answer.headers["x-content-type-options"]) == ("image/png", "nosniff")
    assert "sandbox" in answer.headers["content-security-policy"]


def test_an_image_that_is_too_large_is_not_even_fetched(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_imagepipeline.storage.s3 import S3Folder

    monkeypatch.setattr(thumbnails, "LARGEST_IMAGE", 1000)
    monkeypatch.setattr(S3Folder, "read", lambda *_: pytest.fail("it was fetched"))
    answer = tab.get(f"image/{tab.task(job(tab.image()))}/job/0")
    assert (answer.status_code, "larger than 1,000 bytes" in answer.text) == (404, True)


def test_an_image_that_was_overwritten_since_is_not_shown_as_the_result(tab: Tab) -> None:
    image = tab.image()
    tab.put("results/a-00.png", saved(painted((50, 50)), "PNG"))
    answer = tab.get(f"image/{tab.task(job(image))}/job/0")
    assert (answer.status_code, "has changed since the task landed it" in answer.text) == (404, True)


@pytest.mark.parametrize("kind", ["task", "image", "thumbnail"])
def test_no_part_of_an_address_is_a_path(tab: Tab, kind: str) -> None:
    path = tab.task(job(tab.image())).split("/")
    ends = {"task": [], "image": ["job", "0"], "thumbnail": ["job", "0"]}[kind]
    for place in range(len(path) + len(ends)):
        for bad in TRAVERSALS:
            parts = [*path, *ends]
            parts[place] = bad
            answer = tab.get(f"{kind}/{'/'.join(parts)}")
            assert answer.status_code == 404, (place, bad)
            assert "root:" not in answer.text


@pytest.mark.parametrize("name", ["1", "-1", "00", "input", "input-1", "input-0", "x", "1e3", "٣"])
def test_a_number_that_the_result_does_not_have_is_nothing(tab: Tab, name: str) -> None:
    assert tab.get(f"image/{tab.task(job(tab.image()))}/job/{name}").status_code == 404


@pytest.mark.parametrize("which", ["1/0", "-1/0", "99999999999/0", "job/0", "sheet/0", "x/0", "0/1"])
def test_a_row_that_the_manifest_does_not_have_is_nothing(tab: Tab, which: str) -> None:
    path = tab.task(tab.batch([row(0, "landed", tab.image())]))
    assert tab.get(f"image/{path}/0/0").status_code == 200
    assert tab.get(f"image/{path}/{which}").status_code == 404


def test_a_result_in_a_foreign_bucket_makes_the_server_read_only_what_is_named(tab: Tab) -> None:
    foreign = tab.moto.bucket()
    tab.moto.s3.put_object(Bucket=foreign, Key="shown.png", Body=PICTURE)
    tab.moto.s3.put_object(Bucket=foreign, Key="hidden.png", Body=PICTURE)
    image = {**tab.image(), "uri": f"s3://{foreign}/shown.png"}
    path = tab.task(job(image))
    assert tab.get(f"image/{path}/job/0").status_code == 200
    for name in ("hidden.png", "s3:%2F%2F" + foreign + "%2Fhidden.png", "1"):
        assert tab.get(f"image/{path}/job/{name}").status_code == 404


@pytest.mark.parametrize(
    "uri",
    [
        "file:///etc/passwd",
        "/etc/passwd",
        "file:///proc/self/environ",
        "http://169.254.169.254/latest/meta-data/",
        "https://127.0.0.1:1/x.png",
        "simplecache::s3://bucket/x",
        "memory://x/y",
        "github://a:b@main/x",
        "s3://",
        "s3:///x",
        "file://host/etc/passwd",
        "C:\\x",
    ],
)
def test_neither_results_nor_inputs_nor_manifests_lead_the_server_elsewhere(tab: Tab, uri: str) -> None:
    image = {**tab.image(), "uri": uri}
    single = tab.task(job(image), rendered={"input_image": uri})
    batch = tab.task(tab.batch([{**row(0, "landed", image), "input": uri}]))
    manifest = tab.task({**tab.batch([]), "manifest": uri})
    sheet = tab.task({**tab.batch([]), "contact_sheet": uri})
    addresses = [f"{single}/job/0", f"{single}/job/input", f"{batch}/0/0", f"{batch}/0/input", f"{sheet}/sheet/0"]
    for kind in ("image", "thumbnail"):
        for address in addresses:
            answer = tab.get(f"{kind}/{address}")
            assert answer.status_code == 404, (kind, address)
            assert "root:" not in answer.text
    page = tab.get(f"task/{manifest}")
    assert "cannot be read" in page.text
    assert "root:" not in page.text


def test_files_are_read_below_the_destination_of_the_task_and_nowhere_else(tab: Tab, tmp_path: Path) -> None:
    inside, outside = tmp_path / "results", tmp_path / "private"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "a.png").write_bytes(PICTURE)
    (inside / "link.png").symlink_to(outside / "a.png")
    (inside / "folder.png").mkdir()
    names = [
        f"file://{inside}/a.png", f"file://{outside}/a.png", f"file://{inside}/../private/a.png",
        f"file://{inside}/link.png", f"file://{inside}/folder.png", f"file://{tmp_path}/results2/a.png",
    ]  # fmt: skip
    images = [{**tab.image(), "uri": name} for name in names]
    path = tab.task(job(*images), rendered={"destination": f"file://{inside}"})
    statuses = [tab.get(f"image/{path}/job/{number}").status_code for number in range(len(names))]
    assert statuses == [200, 404, 404, 404, 404, 404]
    stranger = tab.task(job(images[0]))
    assert tab.get(f"image/{stranger}/job/0").status_code == 404


def test_a_configured_root_takes_the_place_of_the_destination(
    tab: Tab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(PICTURE)
    monkeypatch.setenv("AIRFLOW__IMAGEPIPELINE__IMAGES_TAB_FILE_ROOT", f"{tmp_path}/one")
    images = [{**tab.image(), "uri": f"file://{tmp_path}/{name}/a.png"} for name in ("one", "two")]
    path = tab.task(job(*images), rendered={"destination": f"file://{tmp_path}/two"})
    assert [tab.get(f"image/{path}/job/{number}").status_code for number in (0, 1)] == [200, 404]


def test_the_whole_disk_is_no_destination(tab: Tab, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PICTURE)
    image = {**tab.image(), "uri": f"file://{tmp_path}/a.png"}
    assert tab.get(f"image/{tab.task(job(image), rendered={'destination': 'file:///'})}/job/0").status_code == 404


def test_a_thumbnail_is_made_once_and_kept_beside_the_result(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tab.image()
    path = tab.task(job(image))
    first = tab.get(f"thumbnail/{path}/job/0")
    with Image.open(io.BytesIO(first.content)) as small:
        assert (small.format, max(small.size)) == ("WEBP", thumbnails.SIDE)
    kept = f"results/_thumbnails/{image['sha256']}.webp"
    assert tab.moto.body(tab.bucket, kept) == first.content
    monkeypatch.setattr(thumbnails, "_made", lambda _: pytest.fail("it was made again"))
    assert tab.get(f"thumbnail/{path}/job/0").content == first.content


def test_on_a_disk_a_thumbnail_is_kept_beside_the_result_too(tab: Tab, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PICTURE)
    image = {**tab.image(), "uri": f"file://{tmp_path}/a.png"}
    path = tab.task(job(image), rendered={"destination": f"file://{tmp_path}"})
    made = tab.get(f"thumbnail/{path}/job/0")
    assert (tmp_path / "_thumbnails" / f"{image['sha256']}.webp").read_bytes() == made.content


def test_a_thumbnail_that_cannot_be_kept_is_served_all_the_same(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_imagepipeline.storage.folder import StorageFailed
    from airflow_imagepipeline.storage.s3 import S3Folder

    def refused(*_: object, **__: object) -> None:
        message = "AccessDenied"
        raise StorageFailed(message)

    monkeypatch.setattr(S3Folder, "put", refused)
    assert tab.get(f"thumbnail/{tab.task(job(tab.image()))}/job/0").status_code == 200


@pytest.mark.parametrize("planted", [b"<script>alert(1)</script>", PICTURE, saved(painted((900, 900)), "WEBP")])
def test_what_somebody_put_in_a_thumbnails_place_is_not_served(tab: Tab, planted: bytes) -> None:
    image = tab.image()
    tab.put(f"results/_thumbnails/{image['sha256']}.webp", planted)
    answer = tab.get(f"thumbnail/{tab.task(job(image))}/job/0")
    assert answer.status_code == 200
    assert answer.content != planted


def test_a_digest_that_is_none_never_becomes_a_file_name(tab: Tab) -> None:
    path = tab.task(job(tab.image(sha256="../../escaped")))
    assert tab.get(f"thumbnail/{path}/job/0").status_code == 200
    assert not [key for key in tab.moto.keys(tab.bucket) if "escaped" in key or "_thumbnails" in key]


def test_a_storage_that_does_not_answer_is_given_up_soon(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_SILENT", aws_connection(f"http://127.0.0.1:{silent.getsockname()[1]}"))
        hurried = s3_client._HURRIED.merge(Config(read_timeout=0.2))
        monkeypatch.setattr(s3_client, "_HURRIED", hurried)
        path = tab.task(summary("s3://photos/m.jsonl", []), rendered={"aws_conn_id": "aws_silent"})
        assert "ReadTimeoutError" in tab.get(f"task/{path}").text
    assert s3_client.LazyS3Client("aws_silent").get().meta.config.read_timeout == 60


def test_a_browser_keeps_a_picture_by_its_digest_and_asks_no_second_time(tab: Tab) -> None:
    image = tab.image()
    path = tab.task(job(image))
    for kind in ("image", "thumbnail"):
        tagged = tab.get(f"{kind}/{path}/job/0?v={image['sha256'][:16]}")
        assert tagged.headers["cache-control"] == "private, max-age=31536000, immutable"
        assert "immutable" not in tab.get(f"{kind}/{path}/job/0?v=other").headers["cache-control"]
        etag = tagged.headers["etag"]
        for known in (etag, f"W/{etag}", f'"another", {etag}'):
            again = tab.get(f"{kind}/{path}/job/0", **{"If-None-Match": known})
            assert (again.status_code, again.content) == (304, b"")
        assert tab.get(f"{kind}/{path}/job/0", **{"If-None-Match": '"another"'}).status_code == 200
