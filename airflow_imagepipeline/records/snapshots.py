"""Snapshots of a ledger: each stands for all segments up to a mark. They may be large, so they pass through files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from shutil import copyfileobj
from typing import Any, Final

from airflow_imagepipeline.records.counted_folder import CountedFolder
from airflow_imagepipeline.records.ledger_lines import (
    LedgerDamaged,
    heading,
    line_of,
    numbers_of,
    read_entries,
    read_heading,
)
from airflow_imagepipeline.storage.folder import StoredFile
from airflow_imagepipeline.storage.scratch import scratch_folder

_SNAPSHOTS: Final = "snapshots/"
_ENDING: Final = ".jsonl"


@dataclass(frozen=True)
class Snapshot:
    """
    A snapshot that is being read.

    :param covers: for each epoch, the number of the last segment that it stands for.
    """

    covers: Mapping[int, int]
    entries: Iterator[dict[str, Any]]


class Snapshots:
    """The snapshots in the folder of a ledger; the one with the highest mark counts."""

    def __init__(self, folder: CountedFolder) -> None:
        self._folder = folder

    def newest(self) -> str:
        """Return the mark of the newest snapshot; empty when there is none."""
        return max(self._marks(), default="")

    @contextmanager
    def opened(self, mark: str) -> Iterator[Snapshot]:
        """Open a snapshot, to be read line by line."""
        name = _name_of(mark)
        with scratch_folder() as directory:
            copy = directory / "snapshot"
            self._folder.read(name, copy)
            try:
                with copy.open("rb") as lines:
                    first = read_heading(lines.readline(), "snapshot")
                    yield Snapshot(_covers_in(first), read_entries(lines, first["entries"]))
            except ValueError as exc:
                raise LedgerDamaged.at(self._folder.uri_of(name), str(exc)) from exc

    def write(self, entries: Iterable[Mapping[str, Any]], mark: str, covers: Mapping[int, int]) -> None:
        """Write a snapshot whole."""
        with scratch_folder() as directory:
            body, whole, count = directory / "entries", directory / "snapshot", 0
            with body.open("wb") as sink:
                for count, entry in enumerate(entries, 1):  # noqa: B007 - the last one counts
                    sink.write(line_of(entry))
            with body.open("rb") as source, whole.open("wb") as sink:
                sink.write(heading("snapshot", count, covers={str(epoch): covers[epoch] for epoch in sorted(covers)}))
                copyfileobj(source, sink)
            with whole.open("rb") as source:
                sha256 = hashlib.file_digest(source, "sha256").hexdigest()
            self._folder.put(_name_of(mark), StoredFile(whole, "application/jsonl", sha256))

    def remove_before(self, mark: str) -> None:
        """Remove the snapshots that are older than one."""
        self._folder.remove(_name_of(older) for older in self._marks() if older < mark)

    def _marks(self) -> Iterator[str]:
        for found in self._folder.listing(_SNAPSHOTS):
            mark = found.name.removeprefix(_SNAPSHOTS).removesuffix(_ENDING)
            try:
                numbers_of(mark)
            except ValueError as exc:
                raise LedgerDamaged.at(self._folder.uri_of(found.name), "not the name of a snapshot") from exc
            yield mark


def _covers_in(first: Mapping[str, Any]) -> dict[int, int]:
    covers = first.get("covers")
    if not isinstance(covers, dict) or not all(type(number) is int for number in covers.values()):
        msg = "a snapshot that does not say what it stands for"
        raise ValueError(msg)
    return {int(epoch): number for epoch, number in covers.items()}


def _name_of(mark: str) -> str:
    return f"{_SNAPSHOTS}{mark}{_ENDING}"
