"""Mounts that are no disk of Linux's own: without hard links, or without a way to say that a folder is written."""

from __future__ import annotations

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from airflow_imagepipeline.storage.folder import (
    AlreadyThere,
    DestinationUnusable,
    Folder,
    StorageFailed,
    StoredFile,
    open_folder,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Maker = Callable[[bytes], StoredFile]

REFUSALS = ["EPERM", "EOPNOTSUPP", "EXDEV", "EMLINK", "ENOSYS", "EINVAL", "EACCES"]


@pytest.fixture
def refusal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Refuse hard links as a mount does: exFAT, CIFS, FUSE and some network file systems, each in its own way."""
    code = getattr(request, "param", "EPERM")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)))

    monkeypatch.setattr(os, "link", refuse)
    return str(code)


@pytest.fixture
def folder(tmp_path: Path, refusal: str) -> Folder:
    assert refusal
    return open_folder(f"file://{tmp_path}/out", None)


def files(tmp_path: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}


@pytest.mark.parametrize("refusal", REFUSALS, indirect=True)
@pytest.mark.real_input("E2")
def test_an_image_and_its_sidecar_are_landed_once_on_a_mount_without_hard_links(
    folder: Folder, file_of: Maker, tmp_path: Path
) -> None:
    folder.prepare()
    for _ in range(2):
        folder.put("job-00.png", file_of(b"one"), overwrite=False)
        assert folder.create("job-00.png.json", b"{}")
    with pytest.raises(AlreadyThere):
        folder.put("job-00.png", file_of(b"two"), overwrite=False)
    assert not folder.create("job-00.png.json", b"[]")
    assert files(tmp_path) == {".imagepipeline": b"", "job-00.png": b"one", "job-00.png.json": b"{}"}
    folder.put("job-00.png", file_of(b"two"), overwrite=True)
    assert files(tmp_path)["job-00.png"] == b"two"


@pytest.mark.parametrize("refusal", REFUSALS, indirect=True)
@pytest.mark.real_input("E2", "F8")
def test_a_ledger_is_refused_on_a_mount_without_hard_links_and_leaves_nothing(
    folder: Folder, refusal: str, tmp_path: Path
) -> None:
    with pytest.raises(DestinationUnusable) as caught:
        folder.prepare(write_once=True)
    number = getattr(errno, refusal)
    assert f"(hard links: {errno.errorcode[number]}: {os.strerror(number)})" in str(caught.value)
    assert "Set ledger= to a folder elsewhere" in str(caught.value)
    assert files(tmp_path) == {".imagepipeline": b""}


@pytest.mark.real_input("E2")
def test_a_ledger_on_a_disk_is_proven_and_leaves_nothing(tmp_path: Path) -> None:
    open_folder(f"file://{tmp_path}/out", None).prepare(write_once=True)
    assert files(tmp_path) == {".imagepipeline": b""}


@pytest.mark.real_input("E2")
def test_what_many_create_at_once_without_hard_links_is_whole_and_of_one_that_succeeded(folder: Folder) -> None:
    start = threading.Barrier(8)

    def create(number: int) -> bool:
        start.wait(10)
        return folder.create("a", str(number).encode() * 1000)

    with ThreadPoolExecutor(8) as threads:
        created = list(threads.map(create, range(8)))
    assert sum(created) >= 1
    assert folder.content("a") in {str(number).encode() * 1000 for number, is_ours in enumerate(created) if is_ours}


@pytest.mark.real_input("E2")
def test_an_empty_file_of_a_process_that_died_while_naming_is_no_obstacle(
    folder: Folder, file_of: Maker, tmp_path: Path
) -> None:
    folder.prepare()
    (tmp_path / "out" / "job-00.png").touch()
    folder.put("job-00.png", file_of(b"one"), overwrite=False)
    assert files(tmp_path)["job-00.png"] == b"one"


@pytest.mark.parametrize("code", ["EINVAL", "ENOTSUP", "EPERM", "EACCES", "ENOSYS"])
@pytest.mark.real_input("E2")
def test_a_folder_that_cannot_be_synced_is_written_all_the_same(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def only_files(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112 - a descriptor's link
            raise OSError(getattr(errno, code), code)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", only_files)
    folder = open_folder(f"file://{tmp_path}/out", None)
    folder.prepare(write_once=True)
    assert folder.create("a", b"1")
    assert files(tmp_path)["a"] == b"1"


@pytest.mark.parametrize("code", ["ENOSPC", "EDQUOT", "EIO", "EROFS", "ESTALE"])
@pytest.mark.real_input("F8")
def test_what_a_disk_refuses_is_shown_with_its_code_and_sentence(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = getattr(errno, code)

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    folder = open_folder(f"file://{tmp_path}/out", None)
    folder.prepare()
    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(StorageFailed) as caught:
        folder.create("a", b"1")
    assert str(caught.value) == (
        f"file://{tmp_path}/out/a could not be written ({code}: {os.strerror(number)}): "
        "check space, path and permissions."
    )
    assert files(tmp_path) == {".imagepipeline": b""}
