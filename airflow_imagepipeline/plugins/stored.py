"""
Read and keep objects in storage, within bounds.

Only what a result names is handed in. S3 is read through the connection of the task. On ``file://`` only what lies
below the roots is read: the result of a task must not lead the API server across its own disk. Web addresses are never
asked: the API server stands in a network of its own.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Final

from airflow.configuration import conf
from airflow.providers.common.compat.sdk import AirflowException

from airflow_imagepipeline.contract.text import cleaned
from airflow_imagepipeline.storage.folder import Folder, StoredFile, open_folder

_CLOUD: Final = frozenset({"gs", "gcs", "abfs", "abfss"})
_CHUNK: Final = 256 * 1024
_KEPT_OPEN: Final = 60
"""Seconds for which the client of a folder is used again; then changes of the connection are seen."""


class NotReadable(Exception):
    """An object cannot be shown; the message is a sentence for the reader."""


class NotKept(Exception):
    """A file could not be written."""


class Storage:
    """
    The storage as one task instance may see it.

    :param aws_conn_id: connection for ``s3://``.
    :param roots: folders below which ``file://`` is read.
    """

    def __init__(self, aws_conn_id: str, roots: tuple[Path, ...] = ()) -> None:
        self.aws_conn_id = aws_conn_id
        self.roots = roots

    def fetch(self, uri: str, target: Path, limit: int) -> None:
        """
        Copy an object to this machine.

        :param limit: bytes at most.
        :raises NotReadable: when it is not there, too large, or not to be read from here.
        """
        kind = kind_of(uri)
        if kind == "s3":
            folder, name = _split(uri, self.aws_conn_id)
            with _explained(uri):
                _refuse_large(uri, int(folder.notes(name).get("bytes", "0")), limit)
                folder.read(name, target)
        elif kind == "file":
            with self._opened_file(uri) as source:
                _copy(source, target, limit, uri)
        elif kind == "cloud":
            from airflow.sdk import ObjectStoragePath

            with _explained(uri), ObjectStoragePath(uri).open("rb") as source:
                _copy(source, target, limit, uri)
        else:
            raise NotReadable(_elsewhere(uri))

    def version(self, uri: str) -> Mapping[str, Any]:
        """
        Return what tells one version of an object from the next, as far as the storage says.

        :raises NotReadable: when it is not there.
        """
        kind = kind_of(uri)
        if kind == "s3":
            folder, name = _split(uri, self.aws_conn_id)
            with _explained(uri):
                return dict(folder.notes(name))
        if kind == "file":
            with self._opened_file(uri) as file:
                found = os.fstat(file.fileno())
                return {"bytes": found.st_size, "changed": found.st_mtime_ns}
        return {}

    def keep(self, uri: str, path: Path, content_type: str) -> None:
        """
        Write a file into storage.

        :raises NotKept: when that is not possible here.
        """
        if kind_of(uri) == "file":
            beside = Path(_path_of(uri)).parent
            try:
                self._inside(beside if beside.exists() else beside.parent)
            except NotReadable as exc:
                raise NotKept(str(exc)) from exc
        try:
            folder, name = _split(uri, self.aws_conn_id, levels=2)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            folder.put(name, StoredFile(path, content_type, digest), overwrite=True)
        except (AirflowException, NotReadable, OSError, ValueError) as exc:
            raise NotKept(str(exc)) from exc

    @contextmanager
    def _opened_file(self, uri: str) -> Iterator[BinaryIO]:
        path = self._inside(Path(_path_of(uri)))
        try:
            # Not waiting for a pipe that nobody writes to, and not following what has become a link by now.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError as exc:
            raise NotReadable(_not_on_this_disk(uri)) from exc
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise NotReadable(_not_on_this_disk(uri))
        with os.fdopen(descriptor, "rb") as file:
            yield file

    def _inside(self, path: Path) -> Path:
        # One answer for what is not there and what is not to be read: it must not tell what the disk holds.
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError, ValueError) as exc:
            raise NotReadable(_not_on_this_disk(str(path))) from exc
        if not any(real.is_relative_to(root) for root in self.roots):
            raise NotReadable(_not_on_this_disk(str(path)))
        return real


def kind_of(uri: str) -> str:
    """Return ``s3``, ``file``, ``cloud`` or ``other`` for an address."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return "file" if uri.startswith("/") else "other"
    if scheme == "s3":
        return "s3"
    if scheme == "file" and rest.startswith("/"):
        return "file"
    return "cloud" if scheme in _CLOUD else "other"


def roots_for(destination: Any) -> tuple[Path, ...]:
    """
    Return the folders below which ``file://`` may be read.

    They are configured (``[imagepipeline] images_tab_file_root``, absolute paths, parted by commas); else it is the
    destination that the task itself had.
    """
    configured = [text.strip() for text in conf.get("imagepipeline", "images_tab_file_root", fallback="").split(",")]
    addresses = [text for text in configured if text.startswith("/")]
    if not addresses and isinstance(destination, str) and kind_of(destination) == "file":
        addresses = [_path_of(destination)]
    resolved = [Path(text).resolve() for text in addresses]
    return tuple(path for path in resolved if path != Path(path.anchor))


def _path_of(uri: str) -> str:
    return uri.removeprefix("file://")


def _split(uri: str, aws_conn_id: str, *, levels: int = 1) -> tuple[Folder, str]:
    """Return a folder, and the name of the object in it that goes down so many levels."""
    if kind_of(uri) == "s3":
        # The whole bucket: making a client takes a tenth of a second, and one serves all folders of a bucket.
        bucket, _, name = uri.removeprefix("s3://").partition("/")
        address = f"s3://{bucket}"
    else:
        parts = uri.rsplit("/", levels)
        address, name = parts[0], "/".join(parts[1:])
    with _explained(uri):
        return _folder(address, aws_conn_id, int(time.monotonic() / _KEPT_OPEN)), name


@lru_cache(maxsize=16)
def _folder(address: str, aws_conn_id: str, _minute: int) -> Folder:
    # A storage that does not answer must not hold the few threads of the tab, which serve everybody.
    return open_folder(address, aws_conn_id, hurried=True)


@contextmanager
def _explained(uri: str) -> Iterator[None]:
    try:
        yield
    except (AirflowException, ImportError, OSError, ValueError) as exc:
        raise NotReadable(cleaned(str(exc)) or f"{cleaned(uri)} cannot be read.") from exc


def _copy(source: BinaryIO, target: Path, limit: int, uri: str) -> None:
    size = 0
    with target.open("wb") as sink:
        while chunk := source.read(_CHUNK):
            size += len(chunk)
            _refuse_large(uri, size, limit)
            sink.write(chunk)


def _refuse_large(uri: str, size: int, limit: int) -> None:
    if size > limit:
        msg = f"{cleaned(uri)} is larger than {limit:,} bytes, which is the most that this page reads."
        raise NotReadable(msg)


def _elsewhere(uri: str) -> str:
    return f"{cleaned(uri)} lies outside of your storage. This page does not fetch addresses of the web."


def _not_on_this_disk(uri: str) -> str:
    return (
        f"{cleaned(uri)} cannot be read by the API server: it must be on its own disk, below the destination of the "
        "task or the configured [imagepipeline] images_tab_file_root."
    )
