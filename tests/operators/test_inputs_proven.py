"""Whether the vendor can open an input is known before anything is paid for, as far as the store says it for free."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from airflow_imagepipeline.exceptions import SubmissionNotSent, SubmissionRefused
from airflow_imagepipeline.storage.folder import DestinationUnusable
from tests.doubles.moto_server import aws_connection
from tests.doubles.pictures import picture
from tests.doubles.small_store import SmallStore
from tests.faults import SUBMIT, ScriptedServer, answer, forever, pending
from tests.generations import only_current
from tests.operators.nights import Nights, counts
from tests.running import FakeStore, context, edit_image, fails_with, image_to_image, in_task_modes, run_to_end

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.doubles.moto_server import Moto
    from tests.generations import Generation

pytestmark = pytest.mark.usefixtures("quick", "logs", "generation")

ONCE: Final = {"retries": {"total_max_attempts": 1}}
XML: Final = {"Content-Type": "application/xml"}


@pytest.fixture
def api(connection: Callable[..., None]) -> Iterator[ScriptedServer]:
    """Return an API that must not be asked for anything."""
    with ScriptedServer() as server:
        connection(server.url)
        yield server
        assert server.requests == ()


def refused(api: ScriptedServer, address: str, mode: str, *words: str, **arguments: Any) -> None:
    assert api.requests == ()
    with fails_with(SubmissionRefused, address, *words, "Nothing was submitted."):
        run_to_end(image_to_image(address, **arguments), context(FakeStore()), mode)


@in_task_modes
@pytest.mark.real_input("C1", "F8")
def test_a_misspelt_key_or_bucket_is_found_before_the_submission(
    api: ScriptedServer, moto: Moto, bucket: str, mode: str
) -> None:
    moto.s3.put_object(Bucket=bucket, Key="cup.png", Body=b"photo")
    refused(api, f"s3://{bucket}/cop.png", mode, "(NoSuchKey: The specified key does not exist.): check the address")
    refused(api, f"s3://{bucket}/", mode, "s3://")
    refused(api, f"s3://{bucket}-not/cup.png", mode, "(NoSuchBucket: The specified bucket does not exist)")


@pytest.mark.parametrize("mode", ["worker"])
@pytest.mark.real_input("B7", "C1", "F8")
def test_what_is_empty_or_archived_is_found_before_the_submission(
    api: ScriptedServer, moto: Moto, bucket: str, mode: str
) -> None:
    moto.s3.put_object(Bucket=bucket, Key="empty.png", Body=b"")
    for storage in ("GLACIER", "DEEP_ARCHIVE"):
        moto.s3.put_object(Bucket=bucket, Key=f"{storage}.png", Body=b"photo", StorageClass=storage)
        words = ("(InvalidObjectState: ", "restore it from the archive first")
        refused(api, f"s3://{bucket}/{storage}.png", mode, *words)
    refused(api, f"s3://{bucket}/empty.png", mode, "is empty (0 bytes)")


@pytest.mark.real_input("B7")
def test_what_was_restored_from_an_archive_is_taken(
    connection: Callable[..., None], moto: Moto, bucket: str, generation: Generation
) -> None:
    moto.s3.put_object(Bucket=bucket, Key="a.png", Body=b"photo", StorageClass="GLACIER")
    moto.s3.restore_object(Bucket=bucket, Key="a.png", RestoreRequest={"Days": 1})
    if 'ongoing-request="false"' not in moto.s3.head_object(Bucket=bucket, Key="a.png").get("Restore", ""):
        pytest.skip("this moto does not restore at once")
    with ScriptedServer({SUBMIT: [pending()]}) as server:
        connection(server.url)
        make = image_to_image(f"s3://{bucket}/a.png", wait_for_completion=False)
        run_to_end(make, context(FakeStore()), "worker")
        assert generation.image in server.requests[0].json()


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"x-amz-request-charged": "requester"}, "is in a requester-pays bucket"),
        ({"x-amz-server-side-encryption-customer-algorithm": "AES256"}, "is encrypted with a key of your own (SSE-C)"),
    ],
    ids=["requester pays", "SSE-C"],
)
@pytest.mark.real_input("C4")
def test_what_a_link_alone_does_not_open_is_refused_with_the_way_out(
    api: ScriptedServer, monkeypatch: pytest.MonkeyPatch, header: dict[str, str], words: str
) -> None:
    found = answer(206, b"p", headers={**header, "Content-Range": "bytes 0-0/5", "ETag": '"e"'})
    with ScriptedServer({"GET /bucket/a.png": [found]}) as store:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws_connection(store.url, config_kwargs=ONCE))
        refused(api, "s3://bucket/a.png", "worker", words, "set upload_inputs=True")


@only_current
@pytest.mark.real_input("C4")
def test_an_input_that_the_requester_pays_for_is_uploaded_on_request(
    connection: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = picture()
    charged = answer(200, photo, headers={"x-amz-request-charged": "requester"})
    upload = {"url": "https://files.test/copy.png", "filename": "image.png", "size_bytes": len(photo)}
    with (
        ScriptedServer({"GET /bucket/a.png": [charged]}) as store,
        ScriptedServer({"POST /upload/image/v1": [answer(json=upload)], SUBMIT: [pending()]}) as server,
    ):
        extra = {"extra_args": {"RequestPayer": "requester"}}
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws_connection(store.url, config_kwargs=ONCE, **extra))
        connection(server.url)
        make = edit_image("s3://bucket/a.png", upload_inputs=True, wait_for_completion=False)
        run_to_end(make, context(FakeStore()), "worker")
        assert store.requests[0].header("x-amz-request-payer") == "requester"


OF_THE_OBJECT: Final = [
    (403, "AccessDenied"),
    (403, "AllAccessDisabled"),
    (403, "InvalidObjectState"),
    (403, "KMS.DisabledException"),
    (404, "NoSuchBucket"),
    (404, "NoSuchKey"),
    (400, "InvalidRequest"),
    (405, "MethodNotAllowed"),
]
OF_THE_STORE: Final = [
    (301, "PermanentRedirect"),
    (400, "ExpiredToken"),
    (403, "InvalidAccessKeyId"),
    (403, "RequestTimeTooSkewed"),
    (403, "SignatureDoesNotMatch"),
    (500, "InternalError"),
    (503, "SlowDown"),
]


@pytest.mark.parametrize(("status", "code"), OF_THE_OBJECT + OF_THE_STORE)
@pytest.mark.real_input("F8")
def test_the_stores_code_and_sentence_reach_the_reader_cleaned(
    api: ScriptedServer, monkeypatch: pytest.MonkeyPatch, status: int, code: str
) -> None:
    kind = SubmissionRefused if (status, code) in OF_THE_OBJECT else SubmissionNotSent
    sentence = f"In the store's own words. See https://s3.test/?X-Amz-Signature=canary {'x' * 400}"
    said = answer(status, f"<Error><Code>{code}</Code><Message>{sentence}</Message></Error>", headers=XML)
    head = forever(answer(status))
    with ScriptedServer({"GET /bucket": [forever(said)], "HEAD /bucket": [head]}, allow_unused=True) as store:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws_connection(store.url, config_kwargs=ONCE))
        with pytest.raises(kind) as caught:
            run_to_end(image_to_image("s3://bucket/a.png"), context(FakeStore()), "worker")
    message = str(caught.value)
    assert message.startswith(f"s3://bucket/a.png cannot be read ({code}: In the store's own words.")
    assert "canary" not in message
    assert "Nothing was submitted" in message
    assert len(message) < 800
    assert api.requests == ()


@pytest.fixture
def store() -> SmallStore:
    return SmallStore()


@pytest.fixture
def server(store: SmallStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    """Return the server of the store, to which the connection aws_default leads."""
    with ScriptedServer({"* /": store.answer}) as running:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws_connection(running.url, config_kwargs=ONCE))
        yield running


@only_current
@pytest.mark.real_input("C1", "B7")
def test_a_batch_of_a_folder_asks_once_for_what_is_new_or_left_open_by_the_listing(
    nights: Nights, store: SmallStore, server: ScriptedServer
) -> None:
    for number in range(5):
        store.put(f"in/cup{number}.png", picture(number))
    store.put("in/empty.png", b"")
    store.put("in/old.png", b"photo", storage_class="DEEP_ARCHIVE")
    more = {"request": {"prompt": "white"}, "file_stem": "{name}", "on_invalid_row": "skip"}

    summary = nights.run("n1", "s3://bucket/in/", **more)

    assert counts(summary) == {"landed": 5, "invalid": 2}
    assert nights.paid == 5
    asked = [request.path for request in server.requests if request.header("Range")]
    new = [f"/bucket/in/cup{number}.png" for number in range(5)]
    assert sorted(asked) == [*new, "/bucket/in/empty.png", "/bucket/in/old.png"]
    # The region of the bucket, once.
    assert server.count("HEAD") == 1
    reasons = [row["reason"] for row in nights.manifest(summary) if row["outcome"] == "invalid"]
    assert "is empty (0 bytes)" in reasons[0]
    assert "InvalidObjectState" in reasons[1]


@only_current
@pytest.mark.real_input("C1")
def test_a_batch_of_a_list_asks_once_for_each_input(nights: Nights, store: SmallStore, server: ScriptedServer) -> None:
    for number in range(3):
        store.put(f"in/cup{number}.png", picture(number))
    addresses = [f"s3://bucket/in/cup{number}.png" for number in range(4)]
    more = {"request": {"prompt": "white"}, "file_stem": "{name}", "on_invalid_row": "skip"}

    assert counts(nights.run("n1", addresses, **more)) == {"landed": 3, "invalid": 1}

    asked = [request.path for request in server.requests if request.header("Range")]
    assert sorted(asked) == [f"/bucket/in/cup{number}.png" for number in range(4)]


@only_current
@pytest.mark.real_input("E1", "F8")
@pytest.mark.fault(125)
def test_a_batch_on_a_store_that_cannot_keep_a_ledger_pays_nothing_and_says_the_way_out(
    nights: Nights, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small = SmallStore(ignores_conditions=True)
    with ScriptedServer({"* /": small.answer}) as server:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws_connection(server.url, config_kwargs=ONCE))
        rows, more = nights.rows(3), {"destination": "s3://bucket/edited"}
        with pytest.raises(DestinationUnusable, match=r"ledger s3://bucket/edited/_imagepipeline: .* Set ledger= to"):
            nights.run("n1", rows, **more)
        assert nights.paid == 0
        # The way out.
        summary = nights.run("n2", rows, **more, ledger=f"file://{tmp_path}/ledger")
        assert counts(summary) == {"landed": 3}
        assert {f"edited/s{number}-00.png" for number in range(3)} <= small.objects.keys()
        assert counts(nights.run("n3", rows, **more, ledger=f"file://{tmp_path}/ledger")) == {"reused": 3}
    assert nights.emulator.stats()["accepted"] == 3


@only_current
@pytest.mark.real_input("E1")
def test_a_batch_lands_on_a_store_without_checksums_like_on_any_other(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = SmallStore({"x-amz-checksum": (501, "NotImplemented")}, removes_many=False)
    with ScriptedServer({"* /": small.answer}) as server:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws_connection(server.url, config_kwargs=ONCE))
        more = {"destination": "s3://bucket/edited"}
        assert counts(nights.run("n1", nights.rows(3), **more)) == {"landed": 3}
        assert counts(nights.run("n2", nights.rows(3), **more)) == {"reused": 3}
    assert nights.emulator.stats()["accepted"] == 3
