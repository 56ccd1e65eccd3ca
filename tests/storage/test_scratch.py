"""A folder for a while is removed by its process, or by a later one when its own was killed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from airflow_imagepipeline.storage import scratch
from airflow_imagepipeline.storage.scratch import scratch_folder

HOUR = 3600.0


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where temporary folders are made during a test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def left(place: Path, *, hours: float = 25, name: str = "imagepipeline-", mode: int = 0o700) -> Path:
    """Make what a killed process left."""
    folder = Path(tempfile.mkdtemp(prefix=name, dir=place))
    (folder / "result-00").write_bytes(b"image")
    folder.chmod(mode)
    grown_old(folder, hours)
    return folder


def grown_old(folder: Path, hours: float) -> None:
    at = time.time() - hours * HOUR
    for path in (*folder.iterdir(), folder):
        os.utime(path, (at, at), follow_symlinks=False)


def test_a_folder_is_private_and_removed_in_the_end(place: Path) -> None:
    with scratch_folder() as folder:
        (folder / "image").write_bytes(b"image")
        assert folder.parent == place
        assert folder.stat().st_mode & 0o777 == 0o700
    assert list(place.iterdir()) == []


def test_a_folder_is_removed_when_its_use_fails(place: Path) -> None:
    with pytest.raises(LookupError), scratch_folder():
        raise LookupError
    assert list(place.iterdir()) == []


@pytest.mark.fault(123)
def test_what_a_killed_process_left_a_day_ago_is_removed(place: Path) -> None:
    code = f"""if True:
        import os, signal, tempfile
        tempfile.tempdir = {str(place)!r}
        from airflow_imagepipeline.storage.scratch import scratch_folder
        with scratch_folder() as folder:
            (folder / "image").write_bytes(b"image")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", code], check=False)  # noqa: S603 - the code above
    (folder,) = place.iterdir()
    grown_old(folder, 25)
    with scratch_folder():
        assert not folder.exists()


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param({"hours": 23}, id="younger than a day"),
        pytest.param({"name": "airflow-"}, id="of another program"),
        pytest.param({"mode": 0o755}, id="that others can read"),
    ],
)
def test_another_folder_is_kept(place: Path, kept: dict[str, object]) -> None:
    folder = left(place, **kept)  # type: ignore[arg-type]
    with scratch_folder():
        assert (folder / "result-00").exists()


def test_a_folder_in_which_a_file_was_changed_today_is_kept(place: Path) -> None:
    folder = left(place)
    (folder / "result-00").touch()
    with scratch_folder():
        assert folder.exists()


def test_a_folder_of_another_user_is_kept(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = left(place)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with scratch_folder():
        assert folder.exists()


@pytest.mark.usefixtures("place")
def test_the_folder_of_a_process_that_lives_is_kept_however_old() -> None:
    with scratch_folder() as folder:
        grown_old(folder, 100)
        scratch._remove_left_behind.cache_clear()
        with scratch_folder():
            assert folder.exists()


def test_a_link_is_not_followed(place: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    precious = left(tmp_path_factory.mktemp("elsewhere"))
    (place / "imagepipeline-link").symlink_to(precious, target_is_directory=True)
    folder = left(place)
    (folder / "inner").symlink_to(precious, target_is_directory=True)
    grown_old(folder, 25)
    with scratch_folder():
        assert not folder.exists()
    assert (precious / "result-00").exists()


def test_what_another_process_removes_meanwhile_is_no_error(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone, folder = left(place), left(place)
    remove = scratch._remove_if_left

    def after_another(path: str) -> None:
        if path == str(gone):
            (gone / "result-00").unlink()
            gone.rmdir()
        remove(path)

    monkeypatch.setattr(scratch, "_remove_if_left", after_another)
    with scratch_folder():
        assert not folder.exists()


def test_a_process_looks_once(place: Path) -> None:
    with scratch_folder():
        pass
    folder = left(place)
    with scratch_folder():
        assert folder.exists()
