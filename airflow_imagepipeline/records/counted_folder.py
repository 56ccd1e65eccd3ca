"""A folder that counts the requests made of it, for those who must know what a ledger costs."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from airflow_imagepipeline.storage.folder import Folder, Listed, StoredFile

_PAGE: Final = 1000
"""Names that one request lists or removes on S3."""


class CountedFolder:
    """
    The operations of a folder that a ledger uses.

    What botocore sends again is not counted, and what a disk does in one step counts as a request too.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self.requests = 0
        self.uri = folder.uri

    def uri_of(self, name: str) -> str:
        """Return the address of a file."""
        return self._folder.uri_of(name)

    def listing(self, prefix: str) -> Iterator[Listed]:
        """Yield the files whose names begin with ``prefix``."""
        self._count()
        for number, found in enumerate(self._folder.listing(prefix)):
            if number and number % _PAGE == 0:
                self._count()
            yield found

    def content(self, name: str) -> bytes | None:
        """Return the content of a small file, or None."""
        self._count()
        return self._folder.content(name)

    def create(self, name: str, content: bytes) -> bool:
        """Write a small file if there is none."""
        self._count()
        return self._folder.create(name, content)

    def write(self, name: str, content: bytes) -> None:
        """Write a small file whole."""
        self._count()
        self._folder.write(name, content)

    def read(self, name: str, target: Path) -> None:
        """Copy a file to this machine."""
        self._count()
        self._folder.read(name, target)

    def put(self, name: str, file: StoredFile) -> None:
        """Write a file of any size, in place of any that has the name."""
        self._count()
        self._folder.put(name, file, overwrite=True)

    def remove(self, names: Iterable[str]) -> None:
        """Remove files."""
        self._folder.remove(self._by_page(names))

    def _by_page(self, names: Iterable[str]) -> Iterator[str]:
        for number, name in enumerate(names):
            if number % _PAGE == 0:
                self._count()
            yield name

    def _count(self) -> None:
        with self._lock:
            self.requests += 1
