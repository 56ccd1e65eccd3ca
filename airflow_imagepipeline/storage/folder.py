"""A folder for results: S3 through the amazon provider, everything else through Airflow's object storage."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_imagepipeline.contract.errors import InvalidParameters
from airflow_imagepipeline.contract.text import cleaned
from airflow_imagepipeline.storage import disk

MARKER: Final = ".imagepipeline"
"""Empty object written once into a destination, so that a missing permission shows before anything is paid for."""

# What some store or file system cannot hold in a name, and what would be taken for an escape.
_UNSTORABLE: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\\:*?\"<>|\u2028\u2029\u202a-\u202e\u2066-\u2069\ufffe\uffff]|=(?=[0-9A-F]{2})"
)
_AT_THE_END: Final = re.compile(r"[. ]+$")
# S3 ends at 1024 bytes for a key, a disk at 255 for each part of a path; the sum of these stays below 900 and 255,
# whatever the two ends of a name ("-00.webp", and what an unfinished file is called) add.
_LONGEST_FOLDER: Final = 640
_LONGEST_STEM: Final = 240
_LONGEST_PART: Final = 220
_DIGITS: Final = 12
LONGEST_NAME: Final = _LONGEST_FOLDER + _LONGEST_STEM
"""Bytes of a folder's address and a file stem together, at most."""
_PLAIN: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


class DestinationUnusable(AirflowFailException):
    """The destination cannot be written, or its address makes no sense."""


class AlreadyThere(AirflowFailException):
    """A file of this name exists with other bytes, and overwriting was not asked for."""


class StorageFailed(AirflowException):
    """The storage did not do what it was asked; it may later."""


@dataclass(frozen=True)
class StoredFile:
    """
    A file to be written.

    :param path: where its bytes lie on this machine.
    :param sha256: hexadecimal digest of the bytes.
    :param notes: what is kept beside it where the storage can; ``sha256`` always is.
    """

    path: Path
    content_type: str
    sha256: str
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Listed:
    """
    A file that a listing found.

    :param name: relative to the folder.
    :param size: bytes.
    :param tag: what changes with the content (the ETag, without quotes); empty where the storage has none.
    :param is_readable: whether it can be read at once, as far as the listing shows: it has bytes and is not archived.
    """

    name: str
    size: int
    tag: str
    is_readable: bool = True


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
    def prepare(self, *, write_once: bool = False) -> None:
        """
        Make sure that the folder can be written, by writing the marker once.

        :param write_once: refuse a store of which it shows that :meth:`create` is not exclusive there, as a ledger
            needs it. Of what is neither S3 nor a disk, nothing is known.
        :raises DestinationUnusable: when it cannot.
        :raises StorageFailed: when that is not known, as the storage does not answer well.
        """

    @abstractmethod
    def names(self, stem: str) -> list[str]:
        """
        Return the names of the files in the folder that begin with ``stem`` and a hyphen.

        :raises StorageFailed: when they cannot be listed.
        """

    @abstractmethod
    def notes(self, name: str) -> Mapping[str, str]:
        """
        Return what was kept beside a file when it was written, and its size as ``bytes``.

        :return: nothing where the storage keeps no notes.
        :raises StorageFailed: when there is no such file.
        """

    @abstractmethod
    def read(self, name: str, target: Path) -> None:
        """
        Copy a file to this machine.

        :raises StorageFailed: when it cannot be read.
        """

    @abstractmethod
    def put(self, name: str, file: StoredFile, *, overwrite: bool) -> None:
        """
        Write a file whole or not at all; a file with the same bytes counts as written.

        :raises AlreadyThere: when another file has the name and ``overwrite`` is false.
        :raises StorageFailed: when it could not be written; nothing that looks like it is left behind.
        """

    @abstractmethod
    def listing(self, prefix: str = "") -> Iterator[Listed]:
        """
        Yield every file under the folder, at any depth, whose name begins with ``prefix``, sorted by name.

        :return: nothing for a folder that does not exist.
        :raises StorageFailed: when they cannot be listed.
        """

    @abstractmethod
    def content(self, name: str) -> bytes | None:
        """
        Return the content of a small file, or None when there is no such file.

        :raises StorageFailed: when it cannot be read.
        """

    @abstractmethod
    def create(self, name: str, content: bytes) -> bool:
        """
        Write a small file whole if there is none of the name: of several that try at once, one succeeds.

        A file with the same bytes counts as created, since the answer to our own request may have been lost: who
        needs to know that it was the one puts something of its own into the content.

        :return: whether the file has this content now.
        :raises StorageFailed: when it could not be written, or that is not known.
        """

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """
        Write a small file whole, in place of any that has the name.

        :raises StorageFailed: when it could not be written, or that is not known.
        """

    @abstractmethod
    def remove(self, names: Iterable[str]) -> None:
        """
        Remove files; one that is not there is no error.

        :raises StorageFailed: when one could not be removed.
        """

    def not_exclusive(self, reason: str) -> DestinationUnusable:
        """Return the error for a place where files cannot be written once, which a ledger needs."""
        return DestinationUnusable(
            f"ledger {self.uri}: two processes that write one file at once may both succeed there ({reason}), so "
            "that both would pay for the same work. Nothing was submitted. Set ledger= to a folder elsewhere: on S3, "
            "on another store that knows If-None-Match, or on a disk with hard links that all workers share."
        )

    def already_there(self, name: str) -> AlreadyThere:
        """Return the error for a name that another file has."""
        return AlreadyThere(f"{self.uri_of(name)} exists with other bytes: give another file_stem, or overwrite=True.")


def open_folder(uri: str, aws_conn_id: str | None, *, hurried: bool = False) -> Folder:
    """
    Return the folder of an address.

    :param uri: ``s3://bucket/prefix``, ``file:///...``, an absolute path, or what Airflow's ``ObjectStoragePath``
        knows; at most 640 bytes behind the scheme.
    :param aws_conn_id: connection for ``s3://``.
    :param hurried: give S3 up within a minute, as somebody waits for the answer; what the connection says of its
        timeouts (``config_kwargs``) wins.
    :raises DestinationUnusable: when the address makes no sense.
    """
    uri = disk.one_address(uri.strip())
    scheme, separator, rest = uri.partition("://")
    if not separator or not rest.strip("/") or any(part in {".", ".."} for part in rest.split("/")):
        msg = f"destination {uri!r} is no folder: give s3://bucket/prefix, file:///path or the like."
        raise DestinationUnusable(msg)
    if not rest.isprintable() or "\\" in rest or "://" in rest or len(rest.encode()) > _LONGEST_FOLDER:
        msg = (
            f"destination {uri[:120]!r} holds a control character, a backslash or a second '://', or has more than "
            f"{_LONGEST_FOLDER} bytes: give a plain folder."
        )
        raise DestinationUnusable(msg)
    if scheme == "s3":
        from airflow_imagepipeline.storage.s3 import S3Folder

        return S3Folder(uri, aws_conn_id, hurried=hurried)
    from airflow_imagepipeline.storage.object_storage import ObjectStorageFolder

    return ObjectStorageFolder(uri)


def checked_stem(stem: str, most: int = _LONGEST_STEM) -> str:
    """
    Return the file stem that a user's text stands for: letters of every script stay (NFC), slashes make folders.

    What some store or file system cannot hold, and what turns the direction of a line, becomes ``=`` and two
    hexadecimal digits for each byte of it, as does an ``=`` that would look like that. A part that is too long ends in
    a digest of the whole part.

    :param most: bytes that it may have.
    :raises InvalidParameters: when it could leave the folder, or is too long.
    """
    shown = f"file_stem: {cleaned(stem, 120)!r}"
    parts = unicodedata.normalize("NFC", stem).split("/")
    if any(part in {"", ".", ".."} for part in parts):
        msg = f"{shown} may hold no empty part, no '.' and no '..' between its slashes, and none at its ends"
        raise InvalidParameters(msg)
    if any("\ud800" <= character <= "\udfff" for character in stem):
        msg = f"{shown} holds half a character (a lone surrogate), which no file name can"
        raise InvalidParameters(msg)
    *folders, last = (_UNSTORABLE.sub(_escaped, part) for part in parts)
    # Some file systems drop these from the end of a name; a file has more behind it.
    safe = "/".join(map(_shortened, [*(_AT_THE_END.sub(_escaped, folder) for folder in folders), last]))
    if len(safe.encode()) > most:
        msg = f"{shown} has more than {most} bytes, which is the room that is left for it"
        raise InvalidParameters(msg)
    return safe


def folded_name(name: str) -> str:
    """Return what is equal for names that some file system takes for one: they differ only in case or form."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _escaped(found: re.Match[str]) -> str:
    return "".join(f"={byte:02X}" for byte in found[0].encode())


def _shortened(part: str) -> str:
    content = part.encode()
    if len(content) <= _LONGEST_PART:
        return part
    digest = hashlib.sha256(content).hexdigest()[:_DIGITS]
    return f"{content[: _LONGEST_PART - _DIGITS - 1].decode(errors='ignore')}-{digest}"


def stem_of(job_id: str) -> str:
    """
    Return the file stem that stands for a job's id, whatever the vendor calls it: no two ids have the same.

    Letters and digits of ASCII, '.', '_' and '-' stay, each byte of UTF-8 of everything else becomes ``=`` and two
    capital hexadecimal digits. What is longer than 220 characters then ends in ``=sha256-`` and half a digest.
    """
    raw = job_id.encode("utf-8", "surrogatepass")
    stem = "".join(chr(byte) if byte in _PLAIN else f"={byte:02X}" for byte in raw)
    if len(stem) > _LONGEST_PART:
        end = f"=sha256-{hashlib.sha256(raw).hexdigest()[:32]}"
        return stem[: _LONGEST_PART - len(end)] + end
    # As a folder of its own, one of these would lead elsewhere.
    return stem.replace(".", "=2E") if stem in {".", ".."} else stem
