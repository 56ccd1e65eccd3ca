"""
Read manifests page by page: a copy on this machine's disk, and of each row only its place and its outcome in memory.

The copy has no name, so that nothing is left behind when the process ends, however it ends.
"""

from __future__ import annotations

import json
import os
import threading
import time
import weakref
from array import array
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

from airflow_imagepipeline.contract.manifest import ManifestRow, RowOutcome
from airflow_imagepipeline.plugins.stored import NotReadable, Storage
from airflow_imagepipeline.plugins.words import is_number
from airflow_imagepipeline.storage.scratch import scratch_folder

PAGE: Final = 48
"""Rows of a page."""
LARGEST_MANIFEST: Final = 128 * 1024 * 1024
_LONGEST_ROW: Final = 256 * 1024
_MOST_ROWS: Final = 1_000_000
_MOST_COPIES: Final = 8
_MOST_BYTES: Final = 256 * 1024 * 1024
_TRUSTED: Final = 30.0
"""Seconds for which a copy is used without asking whether the manifest has changed."""

OUTCOMES: Final = tuple(RowOutcome)
_UNREADABLE: Final = 255


@dataclass(frozen=True)
class Line:
    """
    A line of a manifest.

    :param place: from 0; the address of the row within its manifest.
    :param row: None when the line is no row.
    """

    place: int
    row: ManifestRow | None


@dataclass(frozen=True)
class Page:
    """
    Some lines of a manifest.

    :param number: of the page, from 1.
    :param pages: how many there are, at least 1.
    :param total: lines that pass the filter.
    """

    lines: list[Line]
    number: int
    pages: int
    total: int


@dataclass
class Manifest:
    """
    The index of one manifest: eight bytes for where a row begins, and one for its outcome.

    :param version: what tells this content of the file from another one.
    """

    version: Mapping[str, Any]
    size: int
    _descriptor: int
    _starts: array[int] = field(repr=False)
    _outcomes: bytearray = field(repr=False)
    checked_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Close the copy when nobody reads from it any more."""
        weakref.finalize(self, os.close, self._descriptor)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._outcomes)

    def counts(self) -> dict[RowOutcome, int]:
        """Return how many rows had each outcome, without those that no row had."""
        numbers = {outcome: self._outcomes.count(code) for code, outcome in enumerate(OUTCOMES)}
        return {outcome: number for outcome, number in numbers.items() if number}

    def page(self, number: int, outcome: RowOutcome | None = None) -> Page:
        """
        Return a page; the nearest one when there is none of this number.

        :param outcome: None means every row.
        """
        total = len(self) if outcome is None else self._outcomes.count(OUTCOMES.index(outcome))
        pages = max(1, -(-total // PAGE))
        number = min(max(1, number), pages)
        first = (number - 1) * PAGE
        places = range(first, min(first + PAGE, total)) if outcome is None else self._places(outcome, first)
        return Page([Line(place, self.row(place)) for place in places], number, pages, total)

    def row(self, place: int) -> ManifestRow | None:
        """
        Read a row.

        :return: None when the line is no row.
        :raises NotReadable: when there is no such line.
        """
        if not 0 <= place < len(self):
            msg = f"The manifest has no row {place}."
            raise NotReadable(msg)
        if self._outcomes[place] == _UNREADABLE:
            return None
        start, end = self._starts[place], self._starts[place + 1]
        return _row(os.pread(self._descriptor, end - start, start))

    def beside(self, place: int, outcome: RowOutcome | None = None) -> tuple[int | None, int | None]:
        """Return the nearest places before and behind this one that pass the filter."""
        if outcome is None:
            return (place - 1 if place > 0 else None), (place + 1 if place + 1 < len(self) else None)
        code = bytes([OUTCOMES.index(outcome)])
        before, behind = self._outcomes.rfind(code, 0, place), self._outcomes.find(code, place + 1)
        return (before if before >= 0 else None), (behind if behind >= 0 else None)

    def page_of(self, place: int, outcome: RowOutcome | None = None) -> int:
        """Return the number of the page that a row is on."""
        before = place if outcome is None else self._outcomes.count(OUTCOMES.index(outcome), 0, place)
        return before // PAGE + 1

    def _places(self, outcome: RowOutcome, first: int) -> list[int]:
        code, place, places = bytes([OUTCOMES.index(outcome)]), -1, []
        for number in range(first + PAGE):
            place = self._outcomes.find(code, place + 1)
            if place < 0:
                break
            if number >= first:
                places.append(place)
        return places


class Manifests:
    """The manifests that were looked at last, a few of them."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], Manifest] = OrderedDict()
        self._lock = threading.Lock()
        # Two readers of one manifest wait for one copy of it; those of others hardly ever wait.
        self._making = [threading.Lock() for _ in range(16)]

    def open(self, storage: Storage, uri: str) -> Manifest:
        """
        Return a manifest as it is now, or was half a minute ago.

        :raises NotReadable: when it cannot be read.
        """
        # Which files may be read depends on the task, so that a copy on disk serves only tasks of equal rights.
        key = (uri, f"{storage.aws_conn_id} {storage.roots}")
        with self._making[hash(key) % len(self._making)]:
            with self._lock:
                known = self._kept.get(key)
            if known and time.monotonic() - known.checked_at < _TRUSTED:
                return known
            version = storage.version(uri)
            if known and version and version == known.version:
                known.checked_at = time.monotonic()
                return known
            fresh = _copied(storage, uri, version)
            self._keep(key, fresh)
            return fresh

    def _keep(self, key: tuple[str, str], manifest: Manifest) -> None:
        with self._lock:
            self._kept[key] = manifest
            self._kept.move_to_end(key)
            while len(self._kept) > _MOST_COPIES or (
                len(self._kept) > 1 and sum(kept.size for kept in self._kept.values()) > _MOST_BYTES
            ):
                self._kept.popitem(last=False)


def _copied(storage: Storage, uri: str, version: Mapping[str, Any]) -> Manifest:
    with scratch_folder() as folder:
        path = folder / "manifest"
        storage.fetch(uri, path, LARGEST_MANIFEST)
        with path.open("rb") as file:
            starts, outcomes = _index(file)
        return Manifest(version, path.stat().st_size, os.open(path, os.O_RDONLY), starts, outcomes)


def _index(file: BinaryIO) -> tuple[array[int], bytearray]:
    starts, outcomes = array("Q", [0]), bytearray()
    code_of = {outcome: code for code, outcome in enumerate(OUTCOMES)}
    for line in _lines(file):
        row = _row(line) if line is not None else None
        outcomes.append(code_of[row.outcome] if row else _UNREADABLE)
        starts.append(file.tell())
        if len(outcomes) > _MOST_ROWS:
            msg = f"The manifest has more than {_MOST_ROWS:,} rows, which is the most that this page shows."
            raise NotReadable(msg)
    return starts, outcomes


def _lines(file: BinaryIO) -> Iterator[bytes | None]:
    while line := file.readline(_LONGEST_ROW):
        if line.endswith(b"\n") or len(line) < _LONGEST_ROW:
            yield line
            continue
        # A line without an end must not become the memory of the API server.
        while line and not line.endswith(b"\n"):
            line = file.readline(_LONGEST_ROW)
        yield None


def _row(line: bytes) -> ManifestRow | None:
    try:
        row = ManifestRow.from_payload(json.loads(line))
    except (ValueError, RecursionError):
        return None
    return row if _is_sound(row) else None


def _is_sound(row: ManifestRow) -> bool:
    # Whoever can write to the folder can write a manifest: one odd row must not hide the page that it is on.
    texts = (row.input, row.reason, row.reason_code, *(image.uri for image in row.images), row.job_id or "")
    sizes = [number for image in row.images for number in (image.bytes, image.width, image.height)]
    mappings = (row.cost, row.timings, row.checks, *(image.checks for image in row.images))
    return (
        all(isinstance(text, str) for text in texts)
        and all(isinstance(number, int) and is_number(number) for number in (row.index, row.attempts, *sizes))
        and all(isinstance(mapping, Mapping) for mapping in mappings)
    )
