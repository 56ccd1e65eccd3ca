"""Places on a disk, and small files there: each appears whole or not at all, also when two write at once."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import unquote

_LOCAL: Final = re.compile(r"(?P<url>file:(?://(?:localhost)?(?=/)|(?=/(?!/))))|(?=/)", re.IGNORECASE)
UNFINISHED: Final = ".unfinished"
"""How the name of a file ends that is still being written; it begins with a dot."""


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


def created(target: Path, content: bytes) -> bool:
    """Write a file if there is none of the name; tell whether it was this call that did."""
    with _written_beside(target, content) as unfinished:
        try:
            # Unlike a rename, a second name for the file is refused when the name is taken.
            os.link(unfinished, target)
        except FileExistsError:
            return False
    _keep_names(target.parent)
    return True


def replace(target: Path, content: bytes) -> None:
    """Write a file in place of any that has the name."""
    with _written_beside(target, content) as unfinished:
        unfinished.replace(target)
    _keep_names(target.parent)


@contextmanager
def _written_beside(target: Path, content: bytes) -> Iterator[Path]:
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = unfinished_beside(target)
    try:
        with unfinished.open("wb") as sink:
            sink.write(content)
            sink.flush()
            # Named before its bytes are on the disk, a file may be empty after a power failure.
            os.fsync(sink.fileno())
        yield unfinished
    finally:
        unfinished.unlink(missing_ok=True)


def _keep_names(folder: Path) -> None:
    # A name is on the disk when its folder is.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
