"""Places on a disk, and small files there: each appears whole or not at all, also when two write at once."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import unquote

from airflow_imagepipeline.contract.text import cleaned

_LOCAL: Final = re.compile(r"(?P<url>file:(?://(?:localhost)?(?=/)|(?=/(?!/))))|(?=/)", re.IGNORECASE)
UNFINISHED: Final = ".unfinished"
"""How the name of a file ends that is still being written; it begins with a dot."""

_CHUNK: Final = 64 * 1024
_UNSUPPORTED: Final = frozenset(
    getattr(errno, name) for name in ("EACCES", "EINVAL", "EMLINK", "ENOSYS", "ENOTSUP", "EOPNOTSUPP", "EPERM", "EXDEV")
)
"""How mounts refuse what they have no means for."""


def one_address(address: str) -> str:
    """
    Return the one address of a place on this machine's disk, ``file:///...``; any other address comes back as it is.

    In a URL, percent escapes are decoded, unless there is a file or folder of the literal name; in a path never. Empty
    and ``.`` segments are left out; a slash at the end stays.

    :param address: a ``file:`` URL, an absolute path, or anything else.
    """
    found = _LOCAL.match(address)
    if found is None:
        return address
    path = ""
    for part in address[found.end() :].split("/"):
        if part not in {"", "."}:
            literal = f"{path}/{part}"
            is_escaped = found["url"] and "%" in part and not os.path.lexists(literal)
            path = f"{path}/{unquote(part)}" if is_escaped else literal
    return f"file://{path}{'/' if address.endswith('/') or not path else ''}"


def unfinished_beside(target: Path) -> Path:
    """Return a name to write under first. It is drawn: an earlier try of the task may still be writing."""
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}{UNFINISHED}")


def is_unfinished(name: str) -> bool:
    """Tell whether a file is one that is being written, or was when its process died."""
    return name.startswith(".") and name.endswith(UNFINISHED)


def children(folder: str) -> Iterator[tuple[str, int | None]]:
    """
    Yield the name of each file in a folder with its size, and of each folder with None.

    :raises FileNotFoundError: when there is no such folder.
    """
    with os.scandir(folder) as found:
        for entry in found:
            # Other processes finish and remove their files meanwhile.
            with suppress(FileNotFoundError):
                yield entry.name, None if entry.is_dir() else entry.stat().st_size


def stored(target: Path, source: BinaryIO, *, once: bool, sha256: str = "") -> bool:
    """
    Write a file; with ``once`` only if there is none of the name, else return False.

    :param sha256: hexadecimal digest that the bytes must have.
    :raises ValueError: when they have another.
    """
    with _written_beside(target, source, sha256) as unfinished:
        if once and not _named_once(unfinished, target):
            return False
        if not once:
            unfinished.replace(target)
    _keep_names(target.parent)
    return True


def why_not_exclusive(folder: Path) -> str:
    """Return why a name cannot be given once for certain in a folder; empty where it can."""
    with _written_beside(folder / "links", io.BytesIO(), "") as unfinished:
        other = unfinished_beside(folder / "links")
        try:
            os.link(unfinished, other)
        except OSError as exc:
            if exc.errno not in _UNSUPPORTED:
                raise
            return f"hard links: {said(exc)}"
        finally:
            other.unlink(missing_ok=True)
    return ""


def said(error: Exception) -> str:
    """Return an error of a file system in its own words: its code and its sentence, or what the library says."""
    number, sentence = getattr(error, "errno", None), getattr(error, "strerror", None) or str(error)
    code = errno.errorcode.get(number or 0, type(error).__name__)
    return cleaned(f"{code}: {sentence}" if sentence else code)


def _named_once(finished: Path, target: Path) -> bool:
    try:
        # Unlike a rename, a second name for the file is refused when the name is taken.
        os.link(finished, target)
    except FileExistsError:
        return False
    except OSError as exc:
        if exc.errno not in _UNSUPPORTED:
            raise
        return _claimed(finished, target)
    return True


def _claimed(finished: Path, target: Path) -> bool:
    # The name is claimed by an empty file first. One that is there was left by a process that died in between.
    try:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except FileExistsError:
        if target.stat().st_size:
            return False
    finished.replace(target)
    return True


@contextmanager
def _written_beside(target: Path, source: BinaryIO, sha256: str) -> Iterator[Path]:
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = unfinished_beside(target)
    try:
        with unfinished.open("wb") as sink:
            digest = copied(source, sink)
            sink.flush()
            # Named before its bytes are on the disk, a file may be empty after a power failure.
            os.fsync(sink.fileno())
        if sha256 not in {"", digest}:
            msg = "the bytes changed on this machine"
            raise ValueError(msg)
        yield unfinished
    finally:
        unfinished.unlink(missing_ok=True)


def copied(source: BinaryIO, sink: BinaryIO) -> str:
    """Copy bytes, and return their SHA-256 (hexadecimal)."""
    digest = hashlib.sha256()
    while chunk := source.read(_CHUNK):
        digest.update(chunk)
        sink.write(chunk)
    return digest.hexdigest()


def _keep_names(folder: Path) -> None:
    # A name is on the disk when its folder is. Not every mount can say so of a folder.
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as exc:
        if exc.errno not in _UNSUPPORTED:
            raise
