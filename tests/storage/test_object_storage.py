from __future__ import annotations

import resource
import stat
import threading
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec
import pytest
from airflow.sdk.io.store import attach

from airflow_imagepipeline.storage.folder import (
    AlreadyThere,
    DestinationUnusable,
    Folder,
    StorageFailed,
    StoredFile,
    open_folder,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Maker = Callable[[bytes], StoredFile]


@pytest.fixture(params=["file", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """Return a folder that does not exist yet: on a disk, and on a file system that is no disk."""
    # What makes Airflow know fsspec's file system in memory, which stands for every store that is no disk.
    attach(protocol="memory", fs=fsspec.filesystem("memory"))
    place = f"{tmp_path}/out" if request.param == "file" else f"/{uuid.uuid4().hex}"
    return open_folder(f"{request.param}://{place}/deep/er", None)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return tmp_path / "out"


def bytes_of(folder: Folder, name: str, tmp_path: Path) -> bytes:
    folder.read(name, tmp_path / "copy")
    return (tmp_path / "copy").read_bytes()


def test_preparing_makes_the_folder_and_its_marker_once(folder: Folder, tmp_path: Path) -> None:
    folder.prepare()
    folder.prepare()
    assert bytes_of(folder, ".imagepipeline", tmp_path) == b""
    assert folder.names("job") == []


def test_what_is_put_can_be_found_and_read(folder: Folder, file_of: Maker, tmp_path: Path) -> None:
    folder.put("job-00.png", file_of(b"one"), overwrite=False)
    folder.put("job-01.png", file_of(b"two"), overwrite=False)
    folder.put("jobs-00.png", file_of(b"other"), overwrite=False)
    folder.put("a/b/job-00.png", file_of(b"deep"), overwrite=False)
    assert folder.names("job") == ["job-00.png", "job-01.png"]
    assert folder.names("a/b/job") == ["a/b/job-00.png"]
    assert folder.names("x/y") == []
    assert bytes_of(folder, "a/b/job-00.png", tmp_path) == b"deep"
    assert folder.notes("job-00.png") == {}


def test_the_same_bytes_count_as_written(folder: Folder, file_of: Maker, tmp_path: Path) -> None:
    for _ in range(2):
        folder.put("job-00.png", file_of(b"one"), overwrite=False)
    assert bytes_of(folder, "job-00.png", tmp_path) == b"one"


def test_other_bytes_are_kept_unless_they_may_be_replaced(folder: Folder, file_of: Maker, tmp_path: Path) -> None:
    folder.put("job-00.png", file_of(b"one"), overwrite=False)
    with pytest.raises(AlreadyThere, match=r"job-00\.png exists with other bytes: give another file_stem, or"):
        folder.put("job-00.png", file_of(b"two"), overwrite=False)
    assert bytes_of(folder, "job-00.png", tmp_path) == b"one"
    folder.put("job-00.png", file_of(b"two"), overwrite=True)
    assert bytes_of(folder, "job-00.png", tmp_path) == b"two"


def test_reading_what_is_not_there_says_so(folder: Folder, tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match=r"nothing\.png could not be read"):
        folder.read("nothing.png", tmp_path / "copy")


def test_a_destination_below_a_file_is_unusable_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(
        DestinationUnusable, match=r"cannot be written \((ENOTDIR: Not a directory|EEXIST: File exists)\): check"
    ):
        open_folder(f"file://{tmp_path}/file/below", None).prepare()


def test_a_place_that_takes_no_files_is_unusable() -> None:
    with pytest.raises(DestinationUnusable, match="check the path and its permissions"):
        open_folder("file:///proc/imagepipeline", None).prepare()


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let this process write no file beyond a size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_nothing_behind(disk: Path, file_of: Maker) -> None:
    folder, file = open_folder(f"file://{disk}", None), file_of(bytes(100_000))
    with (
        room_for(50_000),
        pytest.raises(StorageFailed, match=r"could not be written \(EFBIG: File too large\): check space"),
    ):
        folder.put("job-00.png", file, overwrite=False)
    assert list(disk.iterdir()) == []


def test_a_full_disk_does_not_harm_what_was_to_be_replaced(disk: Path, file_of: Maker) -> None:
    folder = open_folder(f"file://{disk}", None)
    folder.put("job-00.png", file_of(b"one"), overwrite=False)
    file = file_of(bytes(100_000))
    with room_for(50_000), pytest.raises(StorageFailed):
        folder.put("job-00.png", file, overwrite=True)
    assert [(path.name, path.read_bytes()) for path in disk.iterdir()] == [("job-00.png", b"one")]


def test_bytes_that_changed_on_this_machine_are_not_stored(disk: Path, file_of: Maker) -> None:
    file = file_of(b"as they came")
    file.path.write_bytes(b"changed")
    with pytest.raises(StorageFailed):
        open_folder(f"file://{disk}", None).put("job-00.png", file, overwrite=False)
    assert list(disk.iterdir()) == []


def test_a_half_written_file_of_a_killed_try_is_neither_seen_nor_in_the_way(disk: Path, file_of: Maker) -> None:
    disk.mkdir()
    (disk / ".job-00.png.0a1b2c3d.unfinished").write_bytes(b"ha")
    folder = open_folder(f"file://{disk}", None)
    assert folder.names("job") == []
    folder.put("job-00.png", file_of(b"one"), overwrite=False)
    assert folder.names("job") == ["job-00.png"]


def test_a_reader_never_sees_half_a_file(disk: Path, file_of: Maker) -> None:
    folder, files = open_folder(f"file://{disk}", None), [file_of(bytes([n]) * 400_000) for n in range(2)]
    folder.put("job-00.png", files[0], overwrite=True)
    seen, done = set(), threading.Event()

    def look() -> None:
        while not done.is_set():
            data = (disk / "job-00.png").read_bytes()
            seen.add((len(data), len(set(data))))

    reader = threading.Thread(target=look)
    reader.start()
    for turn in range(20):
        folder.put("job-00.png", files[turn % 2], overwrite=True)
    done.set()
    reader.join()
    assert seen == {(400_000, 1)}


def test_two_tries_that_write_at_once_leave_one_whole_file(disk: Path, file_of: Maker) -> None:
    folder, file = open_folder(f"file://{disk}", None), file_of(bytes(300_000))
    failures: list[Exception] = []

    def put() -> None:
        try:
            folder.put("job-00.png", file, overwrite=True)
        except StorageFailed as error:
            failures.append(error)

    tries = [threading.Thread(target=put) for _ in range(8)]
    for one in tries:
        one.start()
    for one in tries:
        one.join()
    assert failures == []
    assert [(path.name, path.stat().st_size) for path in disk.iterdir()] == [("job-00.png", 300_000)]


def test_a_landed_file_has_the_rights_of_any_new_file(disk: Path, file_of: Maker, tmp_path: Path) -> None:
    open_folder(f"file://{disk}", None).put("job-00.png", file_of(b"one"), overwrite=False)
    usual = tmp_path / "usual"
    usual.touch()
    assert stat.S_IMODE((disk / "job-00.png").stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)
