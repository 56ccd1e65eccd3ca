"""A folder for results: S3 through the amazon provider, everything else through Airflow's object storage."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_imagepipeline.contract.errors import InvalidParameters

MARKER: Final = ".imagepipeline"
"""Empty object written once into a destination, so that a missing permission shows before anything is paid for."""

_NAME: Final = re.compile(r"[A-Za-z0-9._=\-]+(/[A-Za-z0-9._=\-]+)*", re.ASCII)
_LONGEST_KEY: Final = 900


class DestinationUnusable(AirflowFailException):
    """The destination cannot be written, or its address makes no sense."""


class AlreadyThere(AirflowFailException):
    """A file of this name exists with other bytes, and overwriting was not asked for."""


@dataclass(frozen=True)
class StoredFile:
    """
    A file to be written.

    :param path: where its bytes lie on this machine.
    :param sha256: hexadecimal digest of the bytes.
    """

    path: Path
    content_type: str
    sha256: str


class Folder(ABC):
    """
    Where results go.

    :param uri: address of the folder, without a slash at the end.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")

    def uri_of(self, name: str) -> str:
        """Return the address of a file in this folder."""
        return f"{self.uri}/{name}"

    @abstractmethod
    def prepare(self) -> None:
        """
        Make sure that the folder can be written, by writing the marker once.

        :raises DestinationUnusable: when it cannot.
        """

    @abstractmethod
    def names(self, stem: str) -> list[str]:
        """Return the names of the files in the folder that begin with ``stem`` and a hyphen."""

    @abstractmethod
    def put(self, name: str, file: StoredFile, *, overwrite: bool) -> None:
        """
        Write a file whole or not at all; a file with the same bytes counts as written.

        :raises AlreadyThere: when another file has the name and ``overwrite`` is false.
        """


def open_folder(uri: str, aws_conn_id: str | None) -> Folder:
    """
    Return the folder of an address.

    :param uri: ``s3://bucket/prefix``, ``file:///...`` or what Airflow's ``ObjectStoragePath`` knows.
    :param aws_conn_id: connection for ``s3://``.
    :raises DestinationUnusable: when the address makes no sense.
    """
    scheme, separator, rest = uri.strip().partition("://")
    if not separator or not rest.strip("/") or any(part in {".", ".."} for part in rest.split("/")):
        msg = f"destination {uri!r} is no folder: give s3://bucket/prefix, file:///path or the like."
        raise DestinationUnusable(msg)
    if scheme == "s3":
        from airflow_imagepipeline.storage.s3 import S3Folder

        return S3Folder(uri.strip(), aws_conn_id)
    from airflow_imagepipeline.storage.object_storage import ObjectStorageFolder

    return ObjectStorageFolder(uri.strip())


def checked_stem(stem: str) -> str:
    """
    Return a user's file stem if it is a harmless name.

    :raises InvalidParameters: when it could leave the folder or needs escaping somewhere.
    """
    if not _NAME.fullmatch(stem) or any(part in {".", ".."} for part in stem.split("/")) or len(stem) > _LONGEST_KEY:
        msg = f"file_stem: {stem!r} may hold letters, digits, '.', '_', '=', '-', and '/' between parts"
        raise InvalidParameters(msg)
    return stem


def stem_of(job_id: str) -> str:
    """Return the file stem that stands for a job's id."""
    return re.sub(r"[^A-Za-z0-9._=\-]", "_", job_id)
