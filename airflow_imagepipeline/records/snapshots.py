"""Snapshots of a ledger: each stands for all segments up to a mark. They may be large, so they pass through files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from shutil import copyfileobj
from typing import Any, Final

from airflow_imagepipeline.policy.ledger_entry import is_count
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

_ENDING: Final = ".jsonl"


@dataclass(frozen=True)
class Snapshot:
    """
    A snapshot that is being read.

    :param covers: for each epoch of which there were segments, the number of the last one that it stands for.
    :param is_closing: whether it closes all earlier epochs; those of version 0.1.0 do not say so.
    """

    covers: Mapping[int, int]
    is_closing: bool
    entries: Iterator[dict[str, Any]]

    def late_of(self, marks: Iterable[str]) -> list[str]:
        """Return those of the segments before its mark that it has closed and does not stand for."""
        last = ((mark, *numbers_of(mark)) for mark in marks if self.is_closing)
        return [mark for mark, epoch, number in last if number > self.covers.get(epoch, 0)]


def name_of(folder: str, mark: str) -> str:
    """Return the name of a segment or snapshot."""
    return f"{folder}/{mark}{_ENDING}"


def marks_in(files: CountedFolder, folder: str) -> list[str]:
    """
    Return the marks of all segments or snapshots, sorted.

    :raises LedgerDamaged: when there is an object that is neither.
    """
    marks = []
    for found in files.listing(f"{folder}/"):
        mark = found.name.removeprefix(f"{folder}/").removesuffix(_ENDING)
        try:
            numbers_of(mark)
        except ValueError as exc:
            raise LedgerDamaged.at(files.uri_of(found.name), f"no name for one of the {folder}") from exc
        marks.append(mark)
    return sorted(marks)


@contextmanager
def opened(files: CountedFolder, mark: str) -> Iterator[Snapshot]:
    """Open a snapshot, to be read line by line."""
    name = name_of("snapshots", mark)
    with scratch_folder() as directory:
        copy = directory / "snapshot"
        files.read(name, copy)
        try:
            with copy.open("rb") as lines:
                first = read_heading(lines.readline(), "snapshot")
                yield Snapshot(_covers_in(first), "closed" in first, read_entries(lines, first["entries"]))
        except ValueError as exc:
            raise LedgerDamaged.at(files.uri_of(name), str(exc)) from exc


def write_snapshot(
    files: CountedFolder, entries: Iterable[Mapping[str, Any]], mark: str, covers: Mapping[int, int]
) -> None:
    """Write a snapshot whole, which closes all epochs before that of its mark."""
    epoch, _ = numbers_of(mark)
    with scratch_folder() as directory:
        body, whole, count = directory / "entries", directory / "snapshot", 0
        with body.open("wb") as sink:
            for count, entry in enumerate(entries, 1):  # noqa: B007 - the last one counts
                sink.write(line_of(entry))
        numbers = {str(known): covers[known] for known in sorted(covers)}
        with body.open("rb") as source, whole.open("wb") as sink:
            sink.write(heading("snapshot", count, covers=numbers, closed=epoch - 1))
            copyfileobj(source, sink)
        with whole.open("rb") as source:
            sha256 = hashlib.file_digest(source, "sha256").hexdigest()
        files.put(name_of("snapshots", mark), StoredFile(whole, "application/jsonl", sha256))


def _covers_in(first: Mapping[str, Any]) -> dict[int, int]:
    covers = first.get("covers")
    is_whole = isinstance(covers, dict) and all(map(is_count, covers.values()))
    if not isinstance(covers, dict) or not is_whole or not is_count(first.get("closed", 0)):
        msg = "a snapshot that does not say what it stands for"
        raise ValueError(msg)
    return {int(epoch): number for epoch, number in covers.items()}
