"""What an input is: equal for equal bytes, whoever says so; an error counts against it only where it is at fault."""

from __future__ import annotations

import hashlib
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_imagepipeline.batch.identity import WINDOW, Identities, in_order
from airflow_imagepipeline.batch.inputs import read_rows
from airflow_imagepipeline.contract.errors import ImagePipelineError, InvalidParameters, NotSent
from tests.doubles.moto_server import aws_connection
from tests.faults import ScriptedServer, answer, forever

if TYPE_CHECKING:
    from pathlib import Path

    from tests.doubles.moto_server import Moto


@pytest.fixture
def identities(request: pytest.FixtureRequest) -> Identities:
    request.getfixturevalue("bucket")
    return Identities("aws_default")


def refusal(identities: Identities, address: str) -> ImagePipelineError:
    with pytest.raises(ImagePipelineError) as caught:
        identities.of(address)
    return caught.value


def test_an_object_is_its_bucket_key_etag_and_size(moto: Moto, bucket: str, identities: Identities) -> None:
    moto.s3.put_object(Bucket=bucket, Key="in/ä #1.png", Body=b"four")
    etag = hashlib.md5(b"four").hexdigest()  # noqa: S324 - what S3 makes of it

    address = f"s3://{bucket}/in/ä #1.png"
    assert identities.of(address) == ("s3", bucket, "in/ä #1.png", f"{etag}:4", "")


def test_a_listing_and_a_question_come_to_the_same_answer(moto: Moto, bucket: str, identities: Identities) -> None:
    moto.s3.put_object(Bucket=bucket, Key="in/cup.png", Body=b"four")
    (row,) = read_rows(f"s3://{bucket}/in/", link_field="image", aws_conn_id="aws_default")
    address = row.columns["image"]
    assert row.tag
    assert identities.of(address, tag=row.tag) == identities.of(address)


def test_what_is_known_is_not_asked_for(identities: Identities) -> None:
    assert identities.of("s3://no-such-bucket/x", tag='"e":1') == ("s3", "no-such-bucket", "x", "e:1", "")


def test_a_file_is_its_bytes(tmp_path: Path, identities: Identities) -> None:
    for name in ("a.png", "b #1?.png"):
        (tmp_path / name).write_bytes(b"four")
    expected = ("file", hashlib.sha256(b"four").hexdigest(), "")
    for address in (f"{tmp_path}/a.png", f"file://{tmp_path}/a.png", f"{tmp_path}/b #1?.png"):
        assert identities.of(address) == expected


def test_a_link_is_its_address_without_what_signs_it(identities: Identities) -> None:
    signed = "https://a.test/x.png?v=1&X-Amz-Signature=abc&X-Amz-Date=1"
    assert identities.of(signed) == ("link", "https://a.test/x.png?v=1", "")


def test_a_version_sets_every_kind_apart(tmp_path: Path, identities: Identities) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    for address, tag in (("s3://bucket/key", "e:1"), (f"{tmp_path}/a.png", ""), ("https://a.test/x.png", "")):
        assert identities.of(address, tag=tag, version="2") != identities.of(address, tag=tag, version="1")


def test_an_input_that_is_not_there_is_at_fault(tmp_path: Path, bucket: str, identities: Identities) -> None:
    addresses = [
        f"s3://{bucket}/none.png",
        "s3://no-such-bucket-anywhere/x.png",
        "s3://Bad_Bucket!/x.png",
        f"{tmp_path}/none.png",
        str(tmp_path),
        f"{tmp_path}/nul\0.png",
        "nosuch://x/y.png",
    ]
    for address in addresses:
        error = refusal(identities, address)
        assert isinstance(error, InvalidParameters), address
        assert "check the address, its permissions" in str(error)


def test_a_file_larger_than_the_vendor_takes_is_at_fault(tmp_path: Path, identities: Identities) -> None:
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(20_000_001)
    error = refusal(identities, f"{tmp_path}/large.png")
    assert isinstance(error, InvalidParameters)
    assert "more than 20000000 bytes" in str(error)


def test_a_picture_that_rows_share_is_asked_for_once(tmp_path: Path, identities: Identities) -> None:
    logo = tmp_path / "logo.png"
    logo.write_bytes(b"x")
    first = identities.of(str(logo))
    logo.unlink()
    assert identities.of(str(logo)) == first


def error_xml(code: str) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code></Error>'


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        pytest.param(403, "AccessDenied", InvalidParameters, id="the object may not be read"),
        pytest.param(403, "InvalidAccessKeyId", NotSent, id="the key is unknown"),
        pytest.param(403, "SignatureDoesNotMatch", NotSent, id="the secret is wrong"),
        pytest.param(403, "RequestTimeTooSkewed", NotSent, id="the clock is wrong"),
        pytest.param(400, "ExpiredToken", NotSent, id="the credentials are too old"),
        pytest.param(400, "KeyTooLongError", InvalidParameters, id="no key is so long"),
        pytest.param(500, "InternalError", NotSent, id="the storage is unwell"),
        pytest.param(503, "SlowDown", NotSent, id="the storage is busy"),
        pytest.param(301, "PermanentRedirect", NotSent, id="another region"),
    ],
)
def test_only_what_is_wrong_with_the_object_counts_against_it(
    monkeypatch: pytest.MonkeyPatch, status: int, code: str, kind: type[Exception]
) -> None:
    quick = {"config_kwargs": {"retries": {"max_attempts": 0}}}
    xml = {"Content-Type": "application/xml"}
    script = {
        # To learn of another region, botocore asks for the bucket.
        "HEAD /bucket": [forever(answer(status, headers=xml))],
        "HEAD /bucket/cup.png": [forever(answer(status, headers=xml))],
        "GET /bucket/cup.png": [forever(answer(status, error_xml(code), headers=xml))],
    }
    with ScriptedServer(script, allow_unused=True) as server:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws_connection(server.url, **quick))
        assert type(refusal(Identities("aws_default"), "s3://bucket/cup.png")) is kind


def test_a_storage_that_nobody_answers_for_is_no_fault_of_the_input(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = {"config_kwargs": {"retries": {"max_attempts": 0}, "connect_timeout": 1}}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws_connection("http://127.0.0.1:1", **quick))
    assert isinstance(refusal(Identities("aws_default"), f"s3://{bucket}/cup.png"), NotSent)


def test_order_is_kept_while_threads_work_ahead() -> None:
    threads: set[int] = set()

    def slow_at_first(number: int) -> int:
        threads.add(threading.get_ident())
        time.sleep(0.05 if number % 7 == 0 else 0.001)
        return number

    assert list(in_order(slow_at_first, range(100))) == list(range(100))
    assert len(threads) > 1


def test_no_more_is_taken_ahead_than_the_window() -> None:
    taken: list[int] = []

    def items() -> Any:
        for number in range(1000):
            taken.append(number)
            yield number

    answers = in_order(lambda number: number, items())
    assert [next(answers) for _ in range(5)] == list(range(5))
    assert len(taken) == WINDOW + 4
    answers.close()  # type: ignore[attr-defined]


def test_an_error_comes_out_and_ends_the_work() -> None:
    done: list[int] = []

    def fails_at_three(number: int) -> int:
        if number == 3:
            message = "the storage is unwell"
            raise NotSent(message)
        done.append(number)
        time.sleep(0.01)
        return number

    with pytest.raises(NotSent, match="unwell"):
        list(in_order(fails_at_three, range(10_000)))
    # Those that were handed to a thread when the error came may go on.
    assert len(done) <= 2 * WINDOW


@pytest.mark.real_input("B7")
def test_a_file_without_bytes_is_at_fault(tmp_path: Path, identities: Identities) -> None:
    (tmp_path / "empty.png").touch()
    error = refusal(identities, f"{tmp_path}/empty.png")
    assert isinstance(error, InvalidParameters)
    assert "empty.png is empty (0 bytes)" in str(error)
