"""Listing, reading, creating, writing and removing small files: the same on a disk, in S3, and on anything else."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import pytest
from airflow.sdk.io.store import attach

from airflow_imagepipeline.storage import s3_client
from airflow_imagepipeline.storage.folder import Folder, Listed, StorageFailed, StoredFile, open_folder
from airflow_imagepipeline.storage.s3 import S3Folder, S3Signer
from tests.doubles.moto_server import CONNECTION, Moto, aws_connection
from tests.faults import TcpProxy

if TYPE_CHECKING:
    from collections.abc import Callable

    Maker = Callable[[bytes], StoredFile]

NAMES = ["a-b/x", "a.txt", "a/x", "a/y/z", "ab", "b", "lease/00000001.json", "é"]


@pytest.fixture(params=["file", "memory", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """Return a folder that does not exist yet."""
    if request.param == "s3":
        return open_folder(f"s3://{request.getfixturevalue('bucket')}/deep/er", "aws_test")
    attach(protocol="memory", fs=fsspec.filesystem("memory"))
    place = f"{tmp_path}/out" if request.param == "file" else f"/{uuid.uuid4().hex}"
    return open_folder(f"{request.param}://{place}/deep/er", None)


def names(folder: Folder, prefix: str = "") -> list[str]:
    return [found.name for found in folder.listing(prefix)]


def test_a_folder_that_does_not_exist_lists_nothing(folder: Folder) -> None:
    assert names(folder) == []
    assert names(folder, "a/b") == []


def test_files_of_any_depth_are_listed_in_the_order_of_their_names(folder: Folder) -> None:
    for name in reversed(NAMES):
        folder.write(name, name.encode())
    found = list(folder.listing())
    assert [one.name for one in found] == NAMES == sorted(NAMES)
    assert [one.size for one in found] == [len(name.encode()) for name in NAMES]


@pytest.mark.parametrize("prefix", ["a", "a/", "a/y", "a/y/z", "a-", "lease/", "lease/0", "x", "a/y/z/"])
def test_a_listing_can_be_narrowed_to_what_begins_alike(prefix: str, folder: Folder) -> None:
    for name in NAMES:
        folder.write(name, b"")
    assert names(folder, prefix) == [name for name in NAMES if name.startswith(prefix)]


def test_a_folder_lists_nothing_of_its_neighbours(folder: Folder) -> None:
    folder.write("one", b"")
    open_folder(f"{folder.uri}-neighbour", "aws_test").write("two", b"")
    assert names(folder) == ["one"]


def test_only_s3_tells_contents_apart_by_a_tag(folder: Folder) -> None:
    folder.write("one", b"1")
    folder.write("two", b"2")
    tags = [found.tag for found in folder.listing()]
    if isinstance(folder, S3Folder):
        assert tags == ["c4ca4238a0b923820dcc509a6f75849b", "c81e728d9d4c2f636f067f89cc14862c"]
    else:
        assert tags == ["", ""]


def test_content_is_what_was_written_last_and_none_where_nothing_was(folder: Folder) -> None:
    assert folder.content("a/b") is None
    for content in (b"", b"one", b"two"):
        folder.write("a/b", content)
        assert folder.content("a/b") == content


def test_a_file_is_created_once_and_never_changed_by_a_second_creation(folder: Folder) -> None:
    assert folder.create("a/b", b"one")
    assert not folder.create("a/b", b"two")
    assert folder.content("a/b") == b"one"


def test_a_file_that_has_the_same_bytes_counts_as_created(folder: Folder) -> None:
    assert folder.create("a/b", b"one")
    assert folder.create("a/b", b"one")
    assert names(folder) == ["a/b"]


@pytest.mark.parametrize("folder", ["file", "s3"], indirect=True)
def test_of_many_that_create_one_file_at_once_one_succeeds(folder: Folder) -> None:
    # Other file systems have no exclusive creation, as the class says.
    start = threading.Barrier(8)

    def create(number: int) -> bool:
        start.wait(10)
        return folder.create("a/b", str(number).encode() * 10_000)

    with ThreadPoolExecutor(8) as threads:
        created = list(threads.map(create, range(8)))
    assert sum(created) == 1
    assert folder.content("a/b") == str(created.index(True)).encode() * 10_000
    assert names(folder) == ["a/b"]


def test_what_is_removed_is_gone_and_what_was_not_there_is_no_error(folder: Folder) -> None:
    for name in ("a", "b", "c/d"):
        folder.write(name, b"1")
    folder.remove(name for name in ["a", "nothing", "c/d", "no/thing"])
    assert names(folder) == ["b"]
    folder.remove([])


def test_many_threads_may_use_one_folder(folder: Folder) -> None:
    def work(number: int) -> bytes | None:
        folder.write(f"n/{number:03d}", str(number).encode())
        return folder.content(f"n/{number:03d}")

    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(work, range(64))) == [str(number).encode() for number in range(64)]
    assert len(names(folder, "n/")) == 64


def test_a_half_written_file_of_a_killed_process_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "segments").mkdir()
    (tmp_path / "segments" / ".1.jsonl.0a1b2c3d.unfinished").write_bytes(b"ha")
    (tmp_path / "segments" / "1.jsonl").write_bytes(b"whole")
    assert list(open_folder(f"file://{tmp_path}", None).listing()) == [Listed("segments/1.jsonl", 5, "")]


@pytest.mark.parametrize("how", ["create", "write"])
def test_a_reader_never_sees_half_of_a_small_file(how: str, tmp_path: Path) -> None:
    folder, whole, seen, done = open_folder(f"file://{tmp_path}", None), bytes(2_000_000), set[int](), threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.update(len(content) for turn in range(5) if (content := folder.content(f"{turn}")) is not None)
            seen.update(found.size for found in folder.listing())

    with ThreadPoolExecutor(1) as threads:
        looking = threads.submit(look)
        for turn in range(5):
            getattr(folder, how)(f"{turn}", whole)
        done.set()
        looking.result(20)
    assert seen <= {len(whole)}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (
            lambda folder: folder.write("file/below", b""),
            r"file/below could not be written \((ENOTDIR: Not a|EEXIST: File exists)",
        ),
        (
            lambda folder: folder.create("file/below", b""),
            r"file/below could not be written \((ENOTDIR: Not a|EEXIST: File exists)",
        ),
        (lambda folder: folder.content("folder"), r"folder could not be read \(EISDIR: Is a directory\): check space"),
        (lambda folder: folder.remove(["folder"]), r"folder could not be removed \("),
        (lambda folder: list(folder.listing("file/")), None),
    ],
    ids=["write", "create", "content", "remove", "listing"],
)
def test_what_a_disk_does_not_do_is_one_sentence(
    act: Callable[[Folder], object], said: str | None, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"in the way")
    (tmp_path / "folder").mkdir()
    folder = open_folder(f"file://{tmp_path}", None)
    if said is None:
        assert act(folder) == []
        return
    with pytest.raises(StorageFailed, match=said):
        act(folder)


def test_a_file_in_place_of_the_folder_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"in the way")
    assert names(open_folder(f"file://{tmp_path}/file", None)) == []


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (
            lambda folder: folder.write("a", b""),
            r"/a could not be written \(NoSuchBucket: The specified bucket does not exist\): check bucket",
        ),
        (lambda folder: folder.create("a", b""), r"/a could not be written \(NoSuchBucket: The specified"),
        (lambda folder: folder.content("a"), r"/a could not be read \(NoSuchBucket: The specified"),
        (lambda folder: folder.remove(["a"]), r"1 files in s3://.* could not be removed \(NoSuchBucket: The specified"),
        (lambda folder: list(folder.listing()), r"could not be listed \(NoSuchBucket: The specified"),
    ],
    ids=["write", "create", "content", "remove", "listing"],
)
def test_what_s3_does_not_do_is_one_sentence(act: Callable[[Folder], object], said: str, bucket: str) -> None:
    with pytest.raises(StorageFailed, match=said):
        act(open_folder(f"s3://no-{bucket}/x", "aws_test"))


@pytest.mark.slow
def test_more_than_a_thousand_objects_are_listed_and_removed(bucket: str) -> None:
    folder = open_folder(f"s3://{bucket}/x", "aws_test")
    every = [f"{number:04d}" for number in range(1_050)]
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda name: folder.write(name, b""), every))
    assert names(folder) == every
    folder.remove(every[:1_049])
    assert names(folder) == every[1_049:]


def test_the_folders_that_the_console_of_s3_makes_are_no_files(bucket: str, moto: Moto) -> None:
    moto.s3.put_object(Bucket=bucket, Key="x/", Body=b"")
    moto.s3.put_object(Bucket=bucket, Key="x/y/", Body=b"")
    moto.s3.put_object(Bucket=bucket, Key="x/y/a", Body=b"")
    assert names(open_folder(f"s3://{bucket}/x", "aws_test")) == ["y/a"]
    assert names(open_folder(f"s3://{bucket}", "aws_test"), "x/") == ["x/y/a"]


def test_a_creation_whose_answer_was_lost_counts_as_ours(
    bucket: str, moto: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TcpProxy(moto.port) as proxy:
        monkeypatch.setenv(CONNECTION, aws_connection(proxy.url))
        folder = open_folder(f"s3://{bucket}/x", "aws_test")
        # Behind a "100 Continue" of 25 bytes: the object was written when the answer to it begins.
        proxy.cut_after(40, times=1)
        assert folder.create("a", b"ours")
        assert proxy.struck == 1
    assert moto.body(bucket, "x/a") == b"ours"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Return the connections for which clients are made from now on."""
    made, make = [], s3_client.s3_client

    def noted(aws_conn_id: str | None, **how: Any) -> object:
        made.append(aws_conn_id)
        return make(aws_conn_id, **how)

    monkeypatch.setattr(s3_client, "s3_client", noted)
    return made


def test_threads_that_begin_at_once_make_one_client_for_all(bucket: str, made: list[str | None]) -> None:
    folder, start = open_folder(f"s3://{bucket}/x", "aws_test"), threading.Barrier(8)

    def look(_: int) -> bytes | None:
        start.wait(10)
        return folder.content("a")

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(look, range(8))) == [None] * 8
    assert made == ["aws_test"]


@pytest.mark.parametrize(("own", "size"), [({}, 32), ({"max_pool_connections": 3}, 3)], ids=["ours", "the user's"])
def test_a_client_serves_32_threads_unless_the_connection_says_otherwise(
    own: dict[str, int], size: int, moto: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONNECTION, aws_connection(moto.url, config_kwargs=own))
    folder = open_folder("s3://bucket/x", "aws_test")
    assert isinstance(folder, S3Folder)
    assert folder._client.meta.config.max_pool_connections == size


def test_one_signer_signs_many_links_with_one_client(bucket: str, moto: Moto, made: list[str | None]) -> None:
    signer = S3Signer("aws_test")
    assert made == []
    with ThreadPoolExecutor(8) as threads:
        links = list(threads.map(lambda number: signer.link(f"s3://{bucket}/{number}.png", 60), range(200)))
    assert len(set(links)) == 200
    assert all(link.startswith(f"{moto.url}/{bucket}/{number}.png?") for number, link in enumerate(links))
    assert made == ["aws_test"]


def test_a_file_that_vanishes_while_its_folder_is_listed_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").symlink_to(tmp_path / "gone")
    assert names(open_folder(f"file://{tmp_path}", None)) == ["a"]
