"""Everything that is not S3, through Airflow's ``ObjectStoragePath``: ``file://``, ``gs://``, ``abfs://`` and so on."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from airflow.sdk import ObjectStoragePath

from airflow_imagepipeline.storage.folder import MARKER, DestinationUnusable, Folder, StorageFailed, StoredFile

_LOCAL: Final = frozenset({"file", "local", ""})
_CHUNK: Final = 1024 * 1024


class ObjectStorageFolder(Folder):
    """
    A folder on any file system that Airflow's object storage knows.

    Unlike S3 it has no conditional write: whether a file exists is asked before it is written. It keeps no notes.
    """

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        try:
            self._path = ObjectStoragePath(self.uri)
            # Airflow 3.1 asks for the file system no earlier than this.
            _ = self._path.fs
        except (ValueError, ImportError) as exc:
            msg = f"destination {uri!r} cannot be opened: {exc}"
            raise DestinationUnusable(msg) from exc

    def prepare(self) -> None:
        """Create the folder and write the marker once."""
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            marker = self._path / MARKER
            if not marker.exists():
                marker.write_bytes(b"")
        except (OSError, ValueError, ImportError) as exc:
            msg = f"destination {self.uri} cannot be written ({_reason(exc)}): check the path and its permissions."
            raise DestinationUnusable(msg) from exc

    def names(self, stem: str) -> list[str]:
        """Return the names of the files that begin with ``stem`` and a hyphen."""
        inside, slash, last = stem.rpartition("/")
        folder = self._path / inside if inside else self._path
        with self._named(f"{self.uri} could not be listed"):
            found = [path.name for path in folder.iterdir()] if folder.exists() else []
        return sorted(f"{inside}{slash}{name}" for name in found if name.startswith(f"{last}-"))

    def notes(self, name: str) -> Mapping[str, str]:
        """Return nothing: there is no place for notes."""
        return {}

    def read(self, name: str, target: Path) -> None:
        """Copy a file to this machine."""
        with (
            self._named(f"{self.uri_of(name)} could not be read"),
            (self._path / name).open("rb") as source,
            target.open("wb") as sink,
        ):
            _copied(source, sink)

    def put(self, name: str, file: StoredFile, *, overwrite: bool) -> None:
        """Write a file; on a disk under another name first, so that a crash leaves no half file."""
        target = self._path / name
        with self._named(f"{self.uri_of(name)} could not be written"):
            if not overwrite and target.exists():
                if _sha256(target) != file.sha256:
                    raise self.already_there(name)
            elif target.protocol in _LOCAL:
                _put_on_disk(file, Path(target.path))
            else:
                with file.path.open("rb") as source, target.open("wb") as sink:
                    _copied(source, sink)

    @contextmanager
    def _named(self, what: str) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as exc:
            msg = f"{what} ({_reason(exc)}): check space, path and permissions."
            raise StorageFailed(msg) from exc


def _put_on_disk(file: StoredFile, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # The name is drawn: an earlier try of the task may still be writing.
    unfinished = target.with_name(f".{target.name}.{secrets.token_hex(4)}.unfinished")
    try:
        with file.path.open("rb") as source, unfinished.open("wb") as sink:
            digest = _copied(source, sink)
            sink.flush()
            # Renamed before its bytes are on the disk, a file may be empty after a power failure.
            os.fsync(sink.fileno())
        if digest != file.sha256:
            msg = "the bytes changed on this machine"
            raise ValueError(msg)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def _copied(source: BinaryIO, sink: BinaryIO) -> str:
    digest = hashlib.sha256()
    while chunk := source.read(_CHUNK):
        digest.update(chunk)
        sink.write(chunk)
    return digest.hexdigest()


def _sha256(path: ObjectStoragePath) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
