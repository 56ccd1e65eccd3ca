"""What S3 answers when it does not do what it is asked: answers that moto never gives."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

import pytest

from airflow_imagepipeline.storage.folder import DestinationUnusable, Folder, StorageFailed, StoredFile, open_folder
from tests.doubles.moto_server import CONNECTION, aws_connection
from tests.faults import Instruction, ScriptedServer, answer, cut_after

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Maker = Callable[[bytes], StoredFile]

PUT = "PUT /bucket"
XML = {"Content-Type": "application/xml"}
USUAL = "check bucket, permissions and connection 'aws_test'."
CREDENTIALS = "renew the credentials of connection 'aws_test'."
CLOCK = "set the clock of this machine."


def error(status: int, code: str) -> Instruction:
    return answer(status, f"<Error><Code>{code}</Code><Message>said by S3</Message></Error>", headers=XML)


@pytest.fixture
def folder_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[ScriptedServer], Folder]:
    def open_at(server: ScriptedServer) -> Folder:
        # One attempt: how botocore repeats is its own affair.
        once = {"retries": {"total_max_attempts": 1}}
        monkeypatch.setenv(CONNECTION, aws_connection(server.url, config_kwargs=once))
        return open_folder("s3://bucket/landed", "aws_test")

    return open_at


@pytest.mark.parametrize(
    ("status", "code", "outcome", "what_to_do"),
    [
        (403, "AccessDenied", DestinationUnusable, USUAL),
        (404, "NoSuchBucket", DestinationUnusable, USUAL),
        (403, "InvalidAccessKeyId", DestinationUnusable, CREDENTIALS),
        (403, "SignatureDoesNotMatch", DestinationUnusable, CREDENTIALS),
        (403, "RequestTimeTooSkewed", DestinationUnusable, CLOCK),
        (400, "ExpiredToken", DestinationUnusable, CREDENTIALS),
        (400, "RequestTimeout", StorageFailed, USUAL),
        (409, "ConditionalRequestConflict", StorageFailed, USUAL),
        (429, "TooManyRequests", StorageFailed, USUAL),
        (500, "InternalError", StorageFailed, USUAL),
        (503, "SlowDown", StorageFailed, USUAL),
    ],
)
def test_what_lasts_is_told_from_what_passes_before_anything_is_paid(
    status: int, code: str, outcome: type[Exception], what_to_do: str, folder_at: Callable[[ScriptedServer], Folder]
) -> None:
    with ScriptedServer({PUT: [error(status, code)]}) as server, pytest.raises(outcome) as caught:
        folder_at(server).prepare()
    assert str(caught.value) == f"destination s3://bucket/landed cannot be written ({code}: said by S3): {what_to_do}"


def test_a_store_that_cannot_be_reached_may_be_there_later(folder_at: Callable[[ScriptedServer], Folder]) -> None:
    with (
        ScriptedServer(listening=False) as server,
        pytest.raises(
            StorageFailed, match=r"cannot be written \(EndpointConnectionError: Could not connect to the endpoint URL: "
        ),
    ):
        folder_at(server).prepare()


def test_a_marker_that_is_there_already_proves_the_same(folder_at: Callable[[ScriptedServer], Folder]) -> None:
    with ScriptedServer({PUT: [error(412, "PreconditionFailed")]}) as server:
        folder_at(server).prepare()
        assert server.requests[0].header("If-None-Match") == "*"


@pytest.mark.parametrize(
    ("status", "code", "what_to_do"),
    [
        (403, "AccessDenied", USUAL),
        (409, "ConditionalRequestConflict", USUAL),
        (400, "BadDigest", USUAL),
        (403, "RequestTimeTooSkewed", CLOCK),
        (500, "InternalError", USUAL),
    ],
)
def test_what_cannot_be_written_is_one_sentence(
    status: int, code: str, what_to_do: str, folder_at: Callable[[ScriptedServer], Folder], file_of: Maker
) -> None:
    with ScriptedServer({PUT: [error(status, code)]}) as server, pytest.raises(StorageFailed) as caught:
        folder_at(server).put("job-00.png", file_of(b"one"), overwrite=False)
    assert str(caught.value) == f"s3://bucket/landed/job-00.png could not be written ({code}: said by S3): {what_to_do}"


def test_an_object_is_written_by_one_request_that_says_what_it_must_be(
    folder_at: Callable[[ScriptedServer], Folder], file_of: Maker
) -> None:
    with ScriptedServer({PUT: [answer(200), answer(200)]}) as server:
        folder = folder_at(server)
        folder.put("job-00.png", file_of(b"one"), overwrite=False)
        folder.put("job-00.png", file_of(b"one"), overwrite=True)
    first, second = server.requests
    assert first.body == b"one"
    assert first.header("x-amz-checksum-sha256") == base64.b64encode(hashlib.sha256(b"one").digest()).decode()
    assert (first.header("If-None-Match"), second.header("If-None-Match")) == ("*", None)
    assert first.header("Content-Type") == "image/png"


@pytest.mark.parametrize("answered", [error(403, ""), error(404, ""), error(500, "")], ids=["403", "404", "500"])
def test_what_is_there_and_cannot_be_compared_is_not_taken_for_the_same(
    answered: Instruction, folder_at: Callable[[ScriptedServer], Folder], file_of: Maker
) -> None:
    routes = {PUT: [error(412, "PreconditionFailed")], "HEAD /bucket": [answered]}
    with ScriptedServer(routes) as server, pytest.raises(StorageFailed, match="could not be looked at"):
        folder_at(server).put("job-00.png", file_of(b"one"), overwrite=False)


def test_a_listing_that_is_forbidden_is_one_sentence(folder_at: Callable[[ScriptedServer], Folder]) -> None:
    with (
        ScriptedServer({"GET /bucket": [error(403, "AccessDenied")]}) as server,
        pytest.raises(StorageFailed, match=r"s3://bucket/landed could not be listed \(AccessDenied: said by S3\)"),
    ):
        folder_at(server).names("job")


def test_more_names_than_one_page_holds_are_listed(folder_at: Callable[[ScriptedServer], Folder]) -> None:
    def page(name: str, more: str) -> Instruction:
        keys = f"<Contents><Key>landed/{name}</Key></Contents>"
        return answer(200, f"<ListBucketResult>{more}{keys}</ListBucketResult>", headers=XML)

    more = "<IsTruncated>true</IsTruncated><NextContinuationToken>next</NextContinuationToken>"
    with ScriptedServer({"GET /bucket": [page("job-00.png", more), page("job-01.png", "")]}) as server:
        assert folder_at(server).names("job") == ["job-00.png", "job-01.png"]
    assert "prefix=landed%2Fjob-&" in server.requests[0].query + "&"
    assert "continuation-token=next" in server.requests[1].query


def test_an_object_that_ends_in_the_middle_is_not_read(
    folder_at: Callable[[ScriptedServer], Folder], tmp_path: Path
) -> None:
    with (
        ScriptedServer({"GET /bucket": [cut_after(4, b"half of it")]}) as server,
        pytest.raises(StorageFailed, match=r"landed/job-00\.png could not be read"),
    ):
        folder_at(server).read("job-00.png", tmp_path / "copy")
