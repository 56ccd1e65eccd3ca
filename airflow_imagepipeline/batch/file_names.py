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
_SIDECAR: Final = ".json"
_LANDS: Final = frozenset({Treatment.SUBMIT, Treatment.TAKE_UP})
_STABLE: Final = (
    "a file_stem must go with the input (its {path}, a number of the article), not with its place in the list"
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

    def is_own(self, row: PlannedRow) -> bool:
        """Tell whether what lies under a row's stem was landed by the very same work."""
        writers = list(self._writers(row))
        return bool(writers) and all(key == row.key for key, _, _ in writers)

    def is_taken(self, stem: str | None) -> bool:
        """Tell whether there is a file under a stem."""
        return bool(self._files(stem))

    def _files(self, stem: str | None) -> list[str]:
        starts = () if stem is None else [f"{stem}-{sample:02d}." for sample in range(_SAMPLES)]
        return [name for start in starts for name in self._scratch.files_like(start)]

    def is_renamed(self, row: PlannedRow) -> bool:
        """Tell whether an image of the name that version 0.1.0 gave the row is there, and none of its new name."""
        return bool(row.old_stem) and self.is_taken(row.old_stem) and not self.is_taken(row.stem)

    def refusal(self, row: PlannedRow, treatment: Treatment, earlier: LedgerEntry | None) -> str:
        """Return why a row must not go on under its name; empty when it may."""
        if treatment in _LANDS and (files := self._files(row.stem)):
            where = f"{row.stem} in {self._destination}"
            # What is said of a picture may outlive it: who removed the picture has freed its name.
            is_there = not all(name.endswith(_SIDECAR) for name in files)
            if is_there and (other := self._other_owner(row)):
                return (
                    f"{where} is the picture of another input ({other}), which alone may replace it: {_STABLE}. Give "
                    "another file_stem, or remove that picture"
                )
            if treatment is Treatment.SUBMIT and not (self._overwrite or self.is_own(row)):
                where = f"{row.stem} exists in {self._destination}"
                return f"{where} from other work: give another file_stem, or overwrite=True"
        if treatment in _LANDS and row.stem is not None:
            other_row = self._scratch.user_of_stem("reused", row.stem)
            shown = f"{row.stem} is the picture of row {other_row}, which it would replace: {_STABLE}"
            return "" if other_row is None else shown
        for stem in self._reused(treatment, earlier):
            if (other_row := self._scratch.user_of_stem("landed", stem)) is not None:
                return f"its picture {stem} would be replaced by that of row {other_row}: {_STABLE}"
        return ""

    def _writers(self, row: PlannedRow) -> Iterator[tuple[str, str, str]]:
        for sample in range(_SAMPLES):
            yield from self._scratch.writers(f"{self._destination}/{row.stem}-{sample:02d}.")

    def _other_owner(self, row: PlannedRow) -> str:
        # Of what version 0.1.0 has landed, nobody knows whose it is.
        others = (told for key, owner, told in self._writers(row) if key != row.key and owner not in {"", row.owner})
        return next(others, "")

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
