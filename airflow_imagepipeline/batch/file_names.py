"""Whose the files in the destination are: what is still there, what may be replaced, and what must not be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from airflow_imagepipeline.policy.batch import Treatment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_imagepipeline.batch.scratch import Scratch
    from airflow_imagepipeline.contract.planned_row import PlannedRow
    from airflow_imagepipeline.policy.ledger_entry import LedgerEntry

_SAMPLES: Final = 4
"""Images that a job makes at most."""
_LANDS: Final = frozenset({Treatment.SUBMIT, Treatment.TAKE_UP})
_STABLE: Final = (
    "a file_stem must go with the input (its {name}, a number of the article), not with its place in the list"
)


class FileNames:
    """
    The file names of a plan that is made.

    :param scratch: holds the ledger's newest entries, and the files in the destination.
    :param destination: address of the folder for results.
    :param overwrite: whether files of other work may be replaced.
    """

    def __init__(self, scratch: Scratch, destination: str, *, overwrite: bool) -> None:
        self._scratch = scratch
        self._destination = destination
        self._overwrite = overwrite

    def are_there(self, earlier: LedgerEntry) -> bool:
        """Tell whether the images of an entry are there, and those of no other work in their place."""
        # What lies in another folder was not listed, and is believed to be there.
        is_there = all(map(self._scratch.has_file, self._names_of(earlier)))
        return is_there and all(self._scratch.wrote_last(uri, earlier.key) for uri in _uris_of(earlier))

    def is_own(self, stem: str | None, earlier: LedgerEntry | None) -> bool:
        """Tell whether what lies under a stem was landed by the very work of this entry."""
        if stem is None or earlier is None:
            return False
        start = f"{self._destination}/{stem}-"
        if here := [uri for uri in _uris_of(earlier) if uri.startswith(start)]:
            return all(self._scratch.wrote_last(uri, earlier.key) for uri in here)
        # A redo that brought no image has left those before it in their place.
        files = (f"{start}{sample:02d}." for sample in range(_SAMPLES))
        return earlier.replaces == stem and not any(self._scratch.others_wrote(file, earlier.key) for file in files)

    def is_taken(self, stem: str | None) -> bool:
        """Tell whether there is a file under a stem."""
        files = (f"{stem}-{sample:02d}." for sample in range(_SAMPLES))
        return stem is not None and any(map(self._scratch.has_file_like, files))

    def refusal(self, row: PlannedRow, treatment: Treatment, earlier: LedgerEntry | None) -> str:
        """Return why a row must not go on under its name; empty when it may."""
        is_own = self.is_own(row.stem, earlier)
        if treatment is Treatment.SUBMIT and not (self._overwrite or is_own) and self.is_taken(row.stem):
            where = f"{row.stem} exists in {self._destination} from other work"
            return f"{where}: give another file_stem, or overwrite=True"
        if treatment in _LANDS and row.stem is not None:
            other = self._scratch.user_of_stem("reused", row.stem)
            return (
                "" if other is None else f"{row.stem} is the picture of row {other}, which it would replace: {_STABLE}"
            )
        for stem in self._reused(treatment, earlier):
            if (other := self._scratch.user_of_stem("landed", stem)) is not None:
                return f"its picture {stem} would be replaced by that of row {other}: {_STABLE}"
        return ""

    def use(self, row: PlannedRow, place: int, treatment: Treatment, earlier: LedgerEntry | None) -> None:
        """Remember what a row that goes on needs."""
        if treatment in _LANDS and row.stem is not None:
            self._scratch.note_stem("landed", row.stem, place)
        for stem in self._reused(treatment, earlier):
            self._scratch.note_stem("reused", stem, place)

    def _reused(self, treatment: Treatment, earlier: LedgerEntry | None) -> Iterator[str]:
        if treatment is Treatment.REUSE and earlier is not None:
            yield from (name.rpartition("-")[0] for name in self._names_of(earlier))

    def _names_of(self, earlier: LedgerEntry) -> list[str]:
        start = f"{self._destination}/"
        return [uri.removeprefix(start) for uri in _uris_of(earlier) if uri.startswith(start)]


def _uris_of(earlier: LedgerEntry) -> list[str]:
    return [str(image.get("uri", "")) for image in earlier.images]
