"""What is too much for memory, kept in a file of this machine while a plan or a manifest is made."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Self

from airflow_imagepipeline.storage.scratch import scratch_folder

_CACHE_KILOBYTES: Final = 1024
_SETTINGS: Final = (
    "PRAGMA journal_mode = OFF",
    "PRAGMA synchronous = OFF",
    f"PRAGMA cache_size = -{_CACHE_KILOBYTES}",
    "PRAGMA temp_store = FILE",
    "CREATE TABLE newest (key TEXT PRIMARY KEY, entry TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE written (uri TEXT PRIMARY KEY, key TEXT NOT NULL, at REAL NOT NULL) WITHOUT ROWID",
    "CREATE TABLE first (key TEXT PRIMARY KEY, place INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE left_out (key TEXT PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE stem (use TEXT, name TEXT, place INTEGER NOT NULL, PRIMARY KEY (use, name)) WITHOUT ROWID",
    "CREATE TABLE file (name TEXT PRIMARY KEY) WITHOUT ROWID",
)

_WRITTEN: Final = (
    "INSERT INTO written VALUES (:uri, :key, :at) ON CONFLICT (uri) DO UPDATE SET key = :key, at = :at WHERE :at >= at"
)


class Scratch:
    """
    The newest ledger entry of every key, the first place of every key, and the names of files. Use it as a context
    manager; nothing of it is left behind.
    """

    def __enter__(self) -> Self:
        """Make the file."""
        self._folder = scratch_folder()
        self._database = sqlite3.connect(self._folder.__enter__() / "scratch", isolation_level=None)
        for setting in _SETTINGS:
            self._database.execute(setting)
        self._database.execute("BEGIN")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the file."""
        self._database.close()
        self._folder.__exit__(kind, error, trace)

    def keep_newest(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Take in ledger entries, in the order in which they were written."""
        for entry in entries:
            line = json.dumps(entry, separators=(",", ":"))
            self._database.execute("INSERT OR REPLACE INTO newest VALUES (?, ?)", (entry["key"], line))
            for image in entry.get("images", ()):
                row = {"uri": image["uri"], "key": entry["key"], "at": entry.get("landed_at", 0.0)}
                self._database.execute(_WRITTEN, row)

    def wrote_last(self, uri: str, key: str) -> bool:
        """Tell whether a file is the one that the work of this key has landed, and not other work after it."""
        found = self._database.execute("SELECT key FROM written WHERE uri = ?", (uri,)).fetchone()
        return found is not None and found[0] == key

    def others_wrote(self, start: str, key: str) -> bool:
        """Tell whether other work was the last to land a file whose address begins like this."""
        query = "SELECT 1 FROM written WHERE uri >= ? AND uri < ? AND key != ? LIMIT 1"
        return self._database.execute(query, (*_range(start), key)).fetchone() is not None

    def newest(self, key: str) -> dict[str, Any] | None:
        """Return the newest entry of a key."""
        found = self._database.execute("SELECT entry FROM newest WHERE key = ?", (key,)).fetchone()
        entry: dict[str, Any] | None = None if found is None else json.loads(found[0])
        return entry

    def all_newest(self) -> Iterator[dict[str, Any]]:
        """Yield the newest entry of every key."""
        for (entry,) in self._database.execute("SELECT entry FROM newest"):
            yield json.loads(entry)

    def first_place(self, key: str, place: int) -> int:
        """Return the first place that was told for this key: this one, if there was none before."""
        self._database.execute("INSERT OR IGNORE INTO first VALUES (?, ?)", (key, place))
        found: int = self._database.execute("SELECT place FROM first WHERE key = ?", (key,)).fetchone()[0]
        return found

    def note_stem(self, use: str, stem: str, place: int) -> None:
        """Remember for which use a row needs the files of a stem."""
        self._database.execute("INSERT OR IGNORE INTO stem VALUES (?, ?, ?)", (use, stem, place))

    def user_of_stem(self, use: str, stem: str) -> int | None:
        """Return the place of the first row that needs the files of a stem for this use, or None."""
        query = "SELECT place FROM stem WHERE use = ? AND name = ?"
        found = self._database.execute(query, (use, stem)).fetchone()
        return None if found is None else int(found[0])

    def leave_out(self, key: str) -> None:
        """Remember that the first row of this key was never begun."""
        self._database.execute("INSERT OR IGNORE INTO left_out VALUES (?)", (key,))

    def is_left_out(self, key: str) -> bool:
        """Tell whether the first row of this key was never begun."""
        return self._database.execute("SELECT 1 FROM left_out WHERE key = ?", (key,)).fetchone() is not None

    def keep_files(self, names: Iterable[str]) -> None:
        """Take in the names of files."""
        self._database.executemany("INSERT OR IGNORE INTO file VALUES (?)", ((name,) for name in names))

    def has_file(self, name: str) -> bool:
        """Tell whether a file of this name was taken in."""
        return self._database.execute("SELECT 1 FROM file WHERE name = ?", (name,)).fetchone() is not None

    def has_file_like(self, start: str) -> bool:
        """Tell whether the name of a file begins like this."""
        query = "SELECT 1 FROM file WHERE name >= ? AND name < ? LIMIT 1"
        return self._database.execute(query, _range(start)).fetchone() is not None


def _range(start: str) -> tuple[str, str]:
    """Return the bounds between which lies what begins like this."""
    return start, start[:-1] + chr(ord(start[-1]) + 1)
