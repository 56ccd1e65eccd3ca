"""How the vendor gets the images to edit: by link, by a signed link, or as an uploaded copy."""

from __future__ import annotations

import email
import email.policy
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_imagepipeline.exceptions import OutOfCredits, SubmissionNotSent, SubmissionRefused
from airflow_imagepipeline.storage.folder import AlreadyThere, DestinationUnusable
from tests.doubles.moto_server import aws_connection
from tests.doubles.odd_pictures import of_odd_lengths, with_odd_notes, with_something_behind
from tests.doubles.pictures import painted, picture, pictures, saved
from tests.faults import SUBMIT, ScriptedServer, answer, forever, pending, refused, reset_after_request
from tests.running import (
    KEY,
    FakeStore,
    assert_discreet,
    context,
    edit_image,
    fails_with,
    in_task_modes,
    retried,
    run_to_end,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow.providers.common.compat.sdk import AirflowException

    from tests.doubles.moto_server import Moto
    from tests.faults import Instruction, Request
    from tests.vendor import Vendor

pytestmark = pytest.mark.usefixtures("quick", "logs")

UPLOAD: Final = "POST /upload/image/v1"
UPLOADED: Final = "https://files.test/permanent.png"
TOO_LARGE: Final = 20 * 1000 * 1000 + 1


@pytest.fixture
def cup(tmp_path: Path, photo: bytes) -> Path:
    path = tmp_path / "cup.png"
    path.write_bytes(photo)
    return path


def uploaded(request: Request) -> tuple[str, str, bytes]:
    """Return the only part of an upload: how it is named, how it is labelled, its bytes."""
    head = f"Content-Type: {request.header('Content-Type')}\r\n\r\n".encode()
    (part,) = email.message_from_bytes(head + request.body, policy=email.policy.HTTP).iter_parts()
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return str(part["Content-Disposition"]), part.get_content_type(), content


def taken(link: str = UPLOADED) -> Instruction:
    return answer(json={"url": link, "filename": "image.png", "size_bytes": 1})


@in_task_modes
@pytest.mark.parametrize("written", ["{}", "file://{}"], ids=["path", "file address"])
@pytest.mark.parametrize("name", ["cup.png", "my cup #1 100%.png", "tässchen?.png", "cup"])
def test_a_file_is_uploaded_and_edited(
    vendor: Vendor, tmp_path: Path, photo: bytes, *, name: str, written: str, mode: str
) -> None:
    (tmp_path / name).write_bytes(photo)
    make = edit_image(written.format(tmp_path / name), upload_inputs=True, destination=f"file://{tmp_path}/edited")
    store = FakeStore()

    result = run_to_end(make, context(store), mode)

    # The vendor has fetched the copy by its own link, or there would be no image.
    assert [image["width"] for image in result["images"]] == [40]
    assert (vendor.count("uploads"), vendor.count("accepted")) == (1, 1)
    assert_discreet("".join(store.rows.values()), hide_links=True)


@in_task_modes
@pytest.mark.parametrize("kind", pictures())
def test_every_kind_of_image_is_taken(vendor: Vendor, tmp_path: Path, kind: str, mode: str) -> None:
    (tmp_path / "input").write_bytes(pictures()[kind])
    result = run_to_end(edit_image(f"{tmp_path}/input", upload_inputs=True), context(FakeStore()), mode)
    assert (result["status"], vendor.count("uploads")) == ("SUCCESS", 1)


@pytest.mark.real_input("D1", "D2")
@pytest.mark.parametrize(
    "name", ["a motion photo", "a newline behind a PNG", "no padding, counted", "2 MB of a profile"]
)
def test_an_odd_image_is_uploaded_as_it_is(connection: Callable[..., None], tmp_path: Path, name: str) -> None:
    behind = {kind: data for kind, (data, _) in with_something_behind().items()}
    data = {**behind, **of_odd_lengths(), **with_odd_notes()}[name]
    (tmp_path / "input").write_bytes(data)
    with ScriptedServer({UPLOAD: [taken()], SUBMIT: [pending()]}) as server:
        connection(server.url)
        make = edit_image(f"{tmp_path}/input", upload_inputs=True, wait_for_completion=False)
        run_to_end(make, context(FakeStore()), "worker")
    assert uploaded(server.requests[0])[2] == data


@in_task_modes
@pytest.mark.parametrize("upload", [True, False], ids=["uploaded", "signed"])
def test_an_object_is_uploaded_or_signed(
    vendor: Vendor, moto: Moto, bucket: str, photo: bytes, *, upload: bool, mode: str
) -> None:
    moto.s3.put_object(Bucket=bucket, Key="photos/my cup.png", Body=photo)
    make = edit_image(f"s3://{bucket}/photos/my cup.png", upload_inputs=upload, return_urls=False)

    result = run_to_end(make, context(FakeStore()), mode)

    assert_discreet(str(result))
    assert (vendor.count("uploads"), vendor.count("accepted")) == (int(upload), 1)


@in_task_modes
def test_an_upload_tells_the_image_and_nothing_else_of_it(
    connection: Callable[..., None], cup: Path, photo: bytes, mode: str
) -> None:
    with ScriptedServer({UPLOAD: [taken()], SUBMIT: [pending()]}) as server:
        connection(server.url)
        run_to_end(edit_image(str(cup), upload_inputs=True, wait_for_completion=False), context(FakeStore()), mode)
    upload, submission = server.requests
    assert (upload.header("X-API-Key"), upload.header("API-Key")) == (KEY, None)
    assert uploaded(upload) == ('form-data; name="file"; filename="image.png"', "image/png", photo)
    assert submission.json()["input_image"] == UPLOADED
    assert str(cup) not in str(submission.json())


@in_task_modes
def test_a_list_mixes_links_and_copies_in_its_order(
    connection: Callable[..., None], moto: Moto, bucket: str, tmp_path: Path, *, mode: str
) -> None:
    moto.s3.put_object(Bucket=bucket, Key="a.png", Body=picture(1))
    (tmp_path / "b.jpg").write_bytes(saved(painted(), "JPEG"))
    link, local = "http://127.0.0.1/c.png", f"file://{tmp_path}/b.jpg"
    images = [local, link, f"s3://{bucket}/a.png", local]
    make = edit_image(images, upload_inputs=True, wait_for_completion=False)
    script = {UPLOAD: [taken("https://files.test/1"), taken("https://files.test/2")], SUBMIT: [pending()]}
    with ScriptedServer(script) as server:
        connection(server.url)
        run_to_end(make, context(FakeStore()), mode)
    first, second, submission = server.requests
    assert [uploaded(request)[1] for request in (first, second)] == ["image/jpeg", "image/png"]
    # The same file twice is uploaded once.
    one, two = "https://files.test/1", "https://files.test/2"
    assert submission.json()["input_image"] == [one, link, two, one]


@in_task_modes
def test_each_object_of_a_list_is_signed(connection: Callable[..., None], moto: Moto, bucket: str, mode: str) -> None:
    for key in ("a.png", "b.png"):
        moto.s3.put_object(Bucket=bucket, Key=key, Body=b"photo")
    images = [f"s3://{bucket}/a.png", "http://127.0.0.1/c.png", f"s3://{bucket}/b.png"]
    with ScriptedServer({SUBMIT: [pending()]}) as server:
        connection(server.url)
        run_to_end(edit_image(images, wait_for_completion=False), context(FakeStore()), mode)
    sent = server.requests[0].json()["input_image"]
    assert [urlsplit(link).path.rpartition("/")[2] for link in sent] == ["a.png", "c.png", "b.png"]
    assert [bool(parse_qs(urlsplit(link).query)) for link in sent] == [True, False, True]


@in_task_modes
@pytest.mark.parametrize("address", ["/data/cup.png", "file:///data/cup.png", "gs://bucket/cup.png"])
@pytest.mark.parametrize("is_list", [False, True], ids=["alone", "in a list"])
def test_a_file_is_refused_where_nobody_asked_for_an_upload(
    connection: Callable[..., None], *, address: str, is_list: bool, mode: str
) -> None:
    with ScriptedServer() as server:
        connection(server.url)
        words = f"input_image: '{address}' is a file, which only an upload can bring to the vendor: set upload_inputs"
        with fails_with(SubmissionRefused, words, "or put it on S3", ". Nothing was submitted."):
            run_to_end(edit_image([address] if is_list else address), context(FakeStore()), mode)
    assert server.requests == ()


def run_unsent(
    connection: Callable[..., None], kind: type[AirflowException], images: Any, mode: str, *words: str, **more: Any
) -> None:
    """Run a task that must end before any request."""
    store = FakeStore()
    with ScriptedServer() as server:
        connection(server.url)
        with fails_with(kind, *words):
            run_to_end(edit_image(images, upload_inputs=True, **more), context(store), mode)
    assert server.requests == ()
    assert set(store.rows) <= {"imagepipeline:latest", "imagepipeline:claim"}


@in_task_modes
@pytest.mark.parametrize("place", ["disk", "s3"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"", "is no image that the vendor takes, but 0 bytes", id="empty"),
        pytest.param(b"%PDF-1.7 and so on", "that are no PNG, JPEG, WEBP or GIF", id="no image"),
        pytest.param(picture()[:-20], "a PNG file that is damaged", id="cut"),
        pytest.param(picture() + bytes(TOO_LARGE), f"has more than {TOO_LARGE - 1} bytes", id="too large"),
        pytest.param(None, "cannot be read", id="missing"),
    ],
)
def test_what_the_vendor_would_not_take_is_refused_before_any_request(
    connection: Callable[..., None],
    moto: Moto,
    bucket: str,
    cup: Path,
    *,
    place: str,
    content: bytes | None,
    words: str,
    mode: str,
) -> None:
    bad = cup.with_name("bad.png")
    if content is not None:
        bad.write_bytes(content)
        moto.s3.put_object(Bucket=bucket, Key="bad.png", Body=content)
    address = str(bad) if place == "disk" else f"s3://{bucket}/bad.png"
    # The first of the two is well: nothing of a request that will be refused is uploaded.
    run_unsent(connection, SubmissionRefused, [str(cup), address], mode, address, words, "Nothing was submitted.")


@in_task_modes
def test_a_folder_is_no_image(connection: Callable[..., None], tmp_path: Path, mode: str) -> None:
    run_unsent(connection, SubmissionRefused, str(tmp_path), mode, "cannot be read (EISDIR: Is a directory)")


@in_task_modes
def test_what_opens_a_storage_is_not_repeated(connection: Callable[..., None], mode: str) -> None:
    store = FakeStore()
    address = "nofs://me:canary-word@host/a.png?token=canary-token"
    with ScriptedServer() as server:
        connection(server.url)
        for upload in (True, False):
            with pytest.raises(SubmissionRefused) as caught:
                run_to_end(edit_image(address, upload_inputs=upload), context(store), mode)
            assert "nofs://" in str(caught.value)
            assert "canary" not in str(caught.value)
    assert server.requests == ()


@in_task_modes
def test_a_storage_that_is_away_leaves_it_to_the_tasks_retries(
    connection: Callable[..., None], monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    once = {"retries": {"total_max_attempts": 1}}
    with ScriptedServer({"GET /bucket": [forever(answer(503))]}) as s3:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws_connection(s3.url, config_kwargs=once))
        words = ("s3://bucket/a.png cannot be read (503: Service Unavailable)", "a retry of the task submits")
        run_unsent(connection, SubmissionNotSent, "s3://bucket/a.png", mode, *words)


@in_task_modes
def test_nothing_is_uploaded_for_a_destination_that_cannot_be_written(
    vendor: Vendor, bucket: str, cup: Path, mode: str
) -> None:
    make = edit_image(str(cup), upload_inputs=True, destination=f"s3://{bucket}-not-there/edited")
    with fails_with(DestinationUnusable, "NoSuchBucket"):
        run_to_end(make, context(FakeStore()), mode)
    assert (vendor.count("uploads"), vendor.count("submits")) == (0, 0)


@in_task_modes
def test_nothing_is_uploaded_where_a_result_has_the_name_already(vendor: Vendor, cup: Path, mode: str) -> None:
    cup.with_name("edited-00.png").write_bytes(b"older")
    make = edit_image(str(cup), upload_inputs=True, destination=f"file://{cup.parent}", file_stem="edited")
    with fails_with(AlreadyThere, "edited-00.png exists"):
        run_to_end(make, context(FakeStore()), mode)
    assert (vendor.count("uploads"), vendor.count("submits")) == (0, 0)


@pytest.mark.fault(117)
@pytest.mark.parametrize("place", ["folder", "s3"])
def test_files_whose_names_only_begin_alike_are_in_nobodys_way(
    vendor: Vendor, moto: Moto, bucket: str, cup: Path, place: str
) -> None:
    folder = cup.with_name("edited")
    folder.mkdir()
    for name in ("cup-blue-00.png", "cup-0.png", "cup-00.txt", "cup-00.png.json", "cup-00-00.png", "cup--00.png"):
        (folder / name).write_bytes(b"other")
        moto.s3.put_object(Bucket=bucket, Key=f"edited/{name}", Body=b"other")
    destination = f"file://{folder}" if place == "folder" else f"s3://{bucket}/edited"
    make = edit_image(str(cup), upload_inputs=True, destination=destination, file_stem="cup")
    result = run_to_end(make, context(FakeStore()), "worker")
    assert [image["uri"].rpartition(".")[0] for image in result["images"]] == [f"{destination}/cup-00"]
    assert vendor.count("accepted") == 1


@in_task_modes
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"guidance_scale": 21}, "guidance_scale: 21 is not", id="a field"),
        pytest.param({"timeout": 0}, "timeout: 0 is not", id="an argument"),
        pytest.param({"file_stem": "../x"}, "file_stem: '../x' may hold", id="a name"),
    ],
)
def test_nothing_is_uploaded_for_an_argument_that_is_refused(
    connection: Callable[..., None], cup: Path, *, arguments: dict[str, Any], words: str, mode: str
) -> None:
    run_unsent(connection, SubmissionRefused, str(cup), mode, words, **arguments)


@in_task_modes
def test_nothing_is_uploaded_where_another_image_cannot_be_fetched(
    connection: Callable[..., None], cup: Path, mode: str
) -> None:
    # Nobody listens there: an upload would end as one that could not be sent.
    connection("https://x.invalid")
    make = edit_image([str(cup), "http://127.0.0.1/a.png"], upload_inputs=True)
    with fails_with(SubmissionRefused, "input_image: the image lies on this machine"):
        run_to_end(make, context(FakeStore()), mode)


@in_task_modes
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(answer(503), id="503"),
        pytest.param(refused(503, "later", headers={"Retry-After": "0"}), id="503 with a pause"),
        pytest.param(refused(429, "later", headers={"Retry-After": "0"}), id="429"),
        pytest.param(answer(500, "oops"), id="500"),
        pytest.param(reset_after_request(), id="reset"),
        pytest.param(answer(200, "<html>"), id="a web page"),
        pytest.param(answer(json={"filename": "image.png"}), id="no link"),
        pytest.param(answer(json={"url": ["https://files.test/a"]}), id="a link that is none"),
    ],
)
def test_an_upload_is_repeated_on_a_fault_and_the_job_is_paid_once(
    connection: Callable[..., None], cup: Path, fault: Instruction, mode: str
) -> None:
    with ScriptedServer({UPLOAD: [fault, fault, fault, taken()], SUBMIT: [pending()]}) as server:
        connection(server.url)
        run_to_end(edit_image(str(cup), upload_inputs=True, wait_for_completion=False), context(FakeStore()), mode)
    assert (server.hits(UPLOAD), server.hits(SUBMIT)) == (4, 1)
    assert len({request.body for request in server.requests[:4]}) == 1


@in_task_modes
@pytest.mark.parametrize("fault", [answer(503), reset_after_request()], ids=["503", "reset"])
def test_an_upload_that_keeps_failing_leaves_it_to_the_tasks_retries(
    connection: Callable[..., None], cup: Path, fault: Instruction, mode: str
) -> None:
    store = FakeStore()
    first = context(store)
    make = edit_image(str(cup), upload_inputs=True, wait_for_completion=False)
    with ScriptedServer({UPLOAD: [*[fault] * 4, taken()], SUBMIT: [pending()]}) as server:
        connection(server.url)
        with fails_with(SubmissionNotSent, "POST /upload/image/v1", "Nothing was submitted; a retry"):
            run_to_end(make, first, mode)
        assert server.hits(SUBMIT) == 0
        assert set(store.rows) <= {"imagepipeline:latest", "imagepipeline:claim"}
        run_to_end(make, retried(first), mode)


@in_task_modes
@pytest.mark.parametrize(
    ("code", "kind"),
    [(401, SubmissionRefused), (402, OutOfCredits), (413, SubmissionRefused), (422, SubmissionRefused)],
)
def test_a_refused_upload_is_not_repeated(
    connection: Callable[..., None], cup: Path, *, code: int, kind: type[AirflowException], mode: str
) -> None:
    with ScriptedServer({UPLOAD: [refused(code, "not like this")]}) as server:
        connection(server.url)
        with fails_with(kind, f"POST /upload/image/v1 (connection 'imagepipeline_default') answered {code}: not like"):
            run_to_end(edit_image(str(cup), upload_inputs=True), context(FakeStore()), mode)


@in_task_modes
def test_a_retry_that_takes_the_job_up_uploads_nothing(vendor: Vendor, cup: Path, mode: str) -> None:
    make = edit_image(str(cup), upload_inputs=True)
    first = context(FakeStore())
    ids = [run_to_end(make, given, mode)["job_id"] for given in (first, retried(first))]
    assert ids[0] == ids[1]
    assert (vendor.count("uploads"), vendor.count("accepted")) == (1, 1)


@in_task_modes
def test_a_job_that_is_handed_in_needs_no_upload(vendor: Vendor, cup: Path, mode: str) -> None:
    make = edit_image(str(cup), upload_inputs=True, wait_for_completion=False)
    job = run_to_end(make, context(FakeStore()), "worker")
    result = run_to_end(edit_image(str(cup), upload_inputs=True, job_id=job["job_id"]), context(FakeStore()), mode)
    assert (result["job_id"], result["status"]) == (job["job_id"], "SUCCESS")
    assert (vendor.count("uploads"), vendor.count("accepted")) == (1, 1)
