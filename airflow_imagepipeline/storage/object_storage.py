"""Everything that is not S3, through Airflow's ``ObjectStoragePath``: ``file://``, ``gs://``, ``abfs://`` and so on."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from airflow.sdk import ObjectStoragePath

from airflow_imagepipeline.storage import disk
from airflow_imagepipeline.storage.folder import (
    MARKER,
    DestinationUnusable,
    Folder,
    Listed,
    StorageFailed,
    StoredFile,
)

_LOCAL: Final = frozenset({"file", "local", ""})


class ObjectStorageFolder(Folder):
    """
    A folder on any file system that Airflow's object storage knows.

    Unlike S3 it has no conditional write: whether a file exists is asked before it is written. It keeps no notes.
    Only on a disk is :meth:`create` exclusive, and :meth:`write` atomic where the file system itself is not.
    """

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        try:
            # A question mark at the very end would be taken for that of an empty query, and left out.
            self._path = ObjectStoragePath(f"{self.uri}/" if self.uri.endswith(("?", "#")) else self.uri)
            # Airflow 3.1 asks for the file system no earlier than this.
            _ = self._path.fs
        except (ValueError, ImportError) as exc:
            msg = f"destination {uri!r} cannot be opened: {exc}"
            raise DestinationUnusable(msg) from exc

    def prepare(self, *, write_once: bool = False) -> None:
        """Create the folder and write the marker once."""
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            marker = self._path / MARKER
            if not marker.exists():
                marker.write_bytes(b"")
            reason = disk.why_not_exclusive(Path(self._path.path)) if write_once and self._is_disk else ""
        except (OSError, ValueError, ImportError) as exc:
            msg = f"destination {self.uri} cannot be written ({disk.said(exc)}): check the path and its permissions."
            raise DestinationUnusable(msg) from exc
        if reason:
            raise self.not_exclusive(reason)

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
            disk.copied(source, sink)

    def put(self, name: str, file: StoredFile, *, overwrite: bool) -> None:
        """Write a file; on a disk under another name first, so that a crash leaves no half file."""
        target = self._path / name
        with self._named(f"{self.uri_of(name)} could not be written"):
            if self._is_disk:
                with file.path.open("rb") as source:
                    is_new = disk.stored(Path(target.path), source, once=not overwrite, sha256=file.sha256)
            elif is_new := overwrite or not target.exists():
                with file.path.open("rb") as source, target.open("wb") as sink:
                    disk.copied(source, sink)
            if not is_new and _sha256(target) != file.sha256:
                raise self.already_there(name)

    def listing(self, prefix: str = "") -> Iterator[Listed]:
        """Yield the files under the folder, one folder in memory at a time."""
        with self._named(f"{self.uri} could not be listed"):
            # Some file systems remember what they have listed; other processes write here too.
            self._path.fs.invalidate_cache()
            yield from _walk(disk.children if self._is_disk else self._children, self._path.path, prefix)

    def _children(self, folder: str) -> Iterator[tuple[str, int | None]]:
        for found in self._path.fs.ls(folder, detail=True):
            name = found["name"].rstrip("/").rpartition("/")[2]
            yield name, None if found["type"] == "directory" else int(found.get("size") or 0)

    def content(self, name: str) -> bytes | None:
        """Return the bytes of a file, or None."""
        with self._named(f"{self.uri_of(name)} could not be read"):
            try:
                return bytes((self._path / name).read_bytes())
            except FileNotFoundError:
                return None

    def create(self, name: str, content: bytes) -> bool:
        """Write a file if there is none; exclusive on a disk only, elsewhere two that try at once may both succeed."""
        target = self._path / name
        with self._named(f"{self.uri_of(name)} could not be written"):
            if self._is_disk:
                is_ours = disk.stored(Path(target.path), io.BytesIO(content), once=True)
            else:
                target.fs.invalidate_cache()
                is_ours = not target.exists()
                if is_ours:
                    _write(target, content)
        return is_ours or self.content(name) == content

    def write(self, name: str, content: bytes) -> None:
        """Write a file; on a disk under another name first."""
        target = self._path / name
        with self._named(f"{self.uri_of(name)} could not be written"):
            if self._is_disk:
                disk.stored(Path(target.path), io.BytesIO(content), once=False)
            else:
                _write(target, content)

    def remove(self, names: Iterable[str]) -> None:
        """Remove files, one after the other."""
        for name in names:
            target = self._path / name
            with self._named(f"{self.uri_of(name)} could not be removed"), suppress(FileNotFoundError):
                if self._is_disk:
                    Path(target.path).unlink()
                else:
                    target.fs.rm_file(target.path)

    @property
    def _is_disk(self) -> bool:
        return self._path.protocol in _LOCAL

    @contextmanager
    def _named(self, what: str) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as exc:
            msg = f"{what} ({disk.said(exc)}): check space, path and permissions."
            raise StorageFailed(msg) from exc


def _write(target: ObjectStoragePath, content: bytes) -> None:
    try:
        target.write_bytes(content)
    except FileNotFoundError:
        # Where folders are more than a part of the name.
        target.fs.makedirs(target.parent.path, exist_ok=True)
        target.write_bytes(content)


def _walk(
    children: Callable[[str], Iterator[tuple[str, int | None]]], folder: str, prefix: str, above: str = ""
) -> Iterator[Listed]:
    try:
        # A folder sorts as if its slash belonged to its name: so do the names of the files in it.
        found = sorted((f"{name}/" if size is None else name, size) for name, size in children(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for name, size in found:
        inside = above + name
        if size is None and (inside.startswith(prefix) or prefix.startswith(inside)):
            yield from _walk(children, f"{folder.rstrip('/')}/{name.rstrip('/')}", prefix, inside)
        elif size is not None and inside.startswith(prefix) and not disk.is_unfinished(name):
            yield Listed(inside, size, "")


def _sha256(path: ObjectStoragePath) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
