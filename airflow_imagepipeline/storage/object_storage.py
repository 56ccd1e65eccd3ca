"""Everything that is not S3, through Airflow's ``ObjectStoragePath``: ``file://``, ``gs://``, ``abfs://`` and so on."""

from __future__ import annotations

import hashlib
import shutil
from typing import Final

from airflow.sdk import ObjectStoragePath

from airflow_imagepipeline.storage.folder import MARKER, AlreadyThere, DestinationUnusable, Folder, StoredFile

_LOCAL: Final = frozenset({"file", "local", ""})
_CHUNK: Final = 1024 * 1024


class ObjectStorageFolder(Folder):
    """
    A folder on any file system that Airflow's object storage knows.

    Unlike S3 it has no conditional write: whether a file exists is asked before it is written.
    """

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        try:
            self._path = ObjectStoragePath(self.uri)
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
            msg = (
                f"destination {self.uri} cannot be written ({type(exc).__name__}): check the path and its permissions."
            )
            raise DestinationUnusable(msg) from exc

    def names(self, stem: str) -> list[str]:
        """Return the names of the files that begin with ``stem`` and a hyphen."""
        folder = (self._path / stem).parent
        if not folder.exists():
            return []
        inside = stem.rpartition("/")[0]
        last = stem.rpartition("/")[2]
        found = (f"{inside}/{path.name}" if inside else path.name for path in folder.iterdir())
        return sorted(name for name in found if name.rpartition("/")[2].startswith(f"{last}-"))

    def put(self, name: str, file: StoredFile, *, overwrite: bool) -> None:
        """Write a file; on a disk under another name first, so that a crash leaves no half file."""
        target = self._path / name
        if not overwrite and target.exists():
            if self._sha256(target) != file.sha256:
                msg = f"{self.uri_of(name)} exists with other bytes: give another file_stem, or overwrite=True."
                raise AlreadyThere(msg)
            return
        if target.protocol in _LOCAL:
            target.parent.mkdir(parents=True, exist_ok=True)
            unfinished = target.with_name(f".{target.name}.unfinished")
            self._copy(file, unfinished)
            unfinished.fs.mv(unfinished.path, target.path)
        else:
            self._copy(file, target)

    def _copy(self, file: StoredFile, target: ObjectStoragePath) -> None:
        with file.path.open("rb") as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink, _CHUNK)

    def _sha256(self, path: ObjectStoragePath) -> str:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        return digest.hexdigest()
