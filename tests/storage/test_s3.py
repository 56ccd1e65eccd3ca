from __future__ import annotations

import hashlib
import urllib.request
from typing import TYPE_CHECKING

import pytest

from airflow_imagepipeline.storage.folder import (
    AlreadyThere,
    DestinationUnusable,
    StorageFailed,
    StoredFile,
    open_folder,
)
from airflow_imagepipeline.storage.s3 import S3Folder, signed_link
from tests.doubles.moto_server import CONNECTION, Moto, aws_connection
from tests.faults import TcpProxy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Maker = Callable[[bytes], StoredFile]


@pytest.fixture
def folder(bucket: str) -> S3Folder:
    folder = open_folder(f"s3://{bucket}/landed", "aws_test")
    assert isinstance(folder, S3Folder)
    return folder


def test_preparing_writes_the_marker_once(folder: S3Folder, bucket: str, moto: Moto) -> None:
    folder.prepare()
    first = moto.s3.head_object(Bucket=bucket, Key="landed/.imagepipeline")["ETag"]
    folder.prepare()
    assert moto.keys(bucket) == ["landed/.imagepipeline"]
    assert moto.s3.head_object(Bucket=bucket, Key="landed/.imagepipeline")["ETag"] == first


def test_a_bucket_itself_can_be_the_destination(bucket: str, file_of: Maker, moto: Moto) -> None:
    folder = open_folder(f"s3://{bucket}", "aws_test")
    folder.prepare()
    folder.put("job-00.png", file_of(b"one"), overwrite=False)
    assert moto.keys(bucket) == [".imagepipeline", "job-00.png"]
    assert folder.names("job") == ["job-00.png"]


def test_an_object_carries_its_digest_its_notes_and_the_type_of_its_bytes(
    folder: S3Folder, bucket: str, file_of: Maker, moto: Moto
) -> None:
    folder.put("job-00.png", file_of(b"one"), overwrite=False)
    found = moto.s3.head_object(Bucket=bucket, Key="landed/job-00.png")
    assert found["Metadata"] == {"sha256": hashlib.sha256(b"one").hexdigest(), "width": "40", "height": "30"}
    assert found["ContentType"] == "image/png"
    assert folder.notes("job-00.png") == {**found["Metadata"], "bytes": "3", "etag": found["ETag"].strip('"')}
    assert moto.body(bucket, "landed/job-00.png") == b"one"


def test_what_is_put_can_be_found_and_read(folder: S3Folder, file_of: Maker, tmp_path: Path) -> None:
    for name in ("job-00.png", "job-01.png", "jobs-00.png", "a/b/job-00.png"):
        folder.put(name, file_of(name.encode()), overwrite=False)
    assert folder.names("job") == ["job-00.png", "job-01.png"]
    assert folder.names("a/b/job") == ["a/b/job-00.png"]
    assert folder.names("x") == []
    folder.read("a/b/job-00.png", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"a/b/job-00.png"


def test_the_same_bytes_count_as_written(folder: S3Folder, bucket: str, file_of: Maker, moto: Moto) -> None:
    for _ in range(2):
        folder.put("job-00.png", file_of(b"one"), overwrite=False)
    assert moto.body(bucket, "landed/job-00.png") == b"one"


@pytest.mark.parametrize("by_us", [True, False], ids=["landed earlier", "put there by somebody"])
def test_other_bytes_are_kept_unless_they_may_be_replaced(
    by_us: bool,  # noqa: FBT001 - a parameter of the test
    folder: S3Folder,
    bucket: str,
    file_of: Maker,
    moto: Moto,
) -> None:
    if by_us:
        folder.put("job-00.png", file_of(b"one"), overwrite=False)
    else:
        moto.s3.put_object(Bucket=bucket, Key="landed/job-00.png", Body=b"one")
    with pytest.raises(AlreadyThere, match=r"landed/job-00\.png exists with other bytes: give another file_stem"):
        folder.put("job-00.png", file_of(b"two"), overwrite=False)
    assert moto.body(bucket, "landed/job-00.png") == b"one"
    folder.put("job-00.png", file_of(b"two"), overwrite=True)
    assert moto.body(bucket, "landed/job-00.png") == b"two"


@pytest.mark.parametrize("name", ["s3://other-bucket/key.png", "../../etc/passwd", "/a.png"])
def test_a_name_never_leads_to_another_bucket(
    name: str, folder: S3Folder, bucket: str, file_of: Maker, moto: Moto
) -> None:
    moto.s3.create_bucket(Bucket="other-bucket")
    file = file_of(b"one")
    folder.put(name, file, overwrite=False)
    folder.read(name, file.path)
    assert moto.keys("other-bucket") == []
    assert moto.keys(bucket) == [f"landed/{name}"]


def test_a_bucket_that_does_not_exist_is_found_out_before_anything_is_paid(bucket: str) -> None:
    with pytest.raises(DestinationUnusable) as caught:
        open_folder(f"s3://no-{bucket}/x", "aws_test").prepare()
    assert str(caught.value) == (
        f"destination s3://no-{bucket}/x cannot be written (NoSuchBucket: The specified bucket does not exist): "
        "check bucket, permissions and connection 'aws_test'."
    )


@pytest.mark.parametrize("name", ["UPPER_case!", "a..b", "-"])
def test_a_bucket_of_an_impossible_name_is_unusable(name: str, bucket: str) -> None:
    with pytest.raises(DestinationUnusable, match="cannot be written"):
        open_folder(f"s3://{name}/{bucket}", "aws_test").prepare()


def test_without_credentials_the_destination_is_unusable(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = f'{{"conn_type": "aws", "extra": {{"region_name": "us-east-1", "endpoint_url": "{moto.url}"}}}}'
    monkeypatch.setenv(CONNECTION, nobody)
    with pytest.raises(DestinationUnusable, match=r"\(NoCredentialsError: Unable to locate credentials\)"):
        open_folder("s3://bucket/x", "aws_test").prepare()
    with pytest.raises(
        DestinationUnusable, match=r"could not be signed \(NoCredentialsError: .*\): renew the credentials"
    ):
        signed_link("s3://bucket/x.png", "aws_test", 60)


def test_what_the_connection_configures_is_kept_beside_our_retries(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"s3": {"addressing_style": "path"}, "connect_timeout": 7}
    monkeypatch.setenv(CONNECTION, aws_connection(moto.url, config_kwargs=own))
    folder = open_folder("s3://bucket/x", "aws_test")
    assert isinstance(folder, S3Folder)
    config = folder._client.meta.config
    assert (config.s3["addressing_style"], config.connect_timeout) == ("path", 7)
    assert config.retries["mode"] == "standard"
    assert config.retries["total_max_attempts"] == 5


def test_a_connection_that_breaks_once_is_mended_by_botocore(
    bucket: str, moto: Moto, file_of: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TcpProxy(moto.port) as proxy:
        monkeypatch.setenv(CONNECTION, aws_connection(proxy.url))
        folder = open_folder(f"s3://{bucket}/landed", "aws_test")
        proxy.reset(times=1)
        folder.put("job-00.png", file_of(b"one"), overwrite=False)
        assert proxy.struck == 1
    assert moto.body(bucket, "landed/job-00.png") == b"one"


def test_an_answer_lost_after_the_object_was_written_counts_as_written(
    bucket: str, moto: Moto, file_of: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TcpProxy(moto.port) as proxy:
        monkeypatch.setenv(CONNECTION, aws_connection(proxy.url))
        folder = open_folder(f"s3://{bucket}/landed", "aws_test")
        # Behind a "100 Continue" of 25 bytes: the object was written when the answer to it begins.
        proxy.cut_after(40, times=1)
        folder.put("job-00.png", file_of(b"one"), overwrite=False)
        assert proxy.struck == 1
    assert moto.keys(bucket) == ["landed/job-00.png"]


def test_reading_what_is_not_there_says_so(folder: S3Folder, tmp_path: Path) -> None:
    with pytest.raises(
        StorageFailed, match=r"landed/nothing\.png could not be read \(NoSuchKey: The specified key does not exist\.\)"
    ):
        folder.read("nothing.png", tmp_path / "copy")
    with pytest.raises(StorageFailed, match=r"landed/nothing\.png could not be looked at \(404: Not Found\)"):
        folder.notes("nothing.png")


@pytest.mark.parametrize("key", ["photos/a b.png", "s3://other/key.png"])
def test_a_signed_link_opens_one_object_of_its_own_bucket(key: str, bucket: str, moto: Moto) -> None:
    moto.s3.put_object(Bucket=bucket, Key=key, Body=b"photo")
    link = signed_link(f"s3://{bucket}/{key}", "aws_test", 60)
    assert link.startswith(f"{moto.url}/{bucket}/")
    with urllib.request.urlopen(link) as response:  # noqa: S310 - moto's own address
        assert response.read() == b"photo"
