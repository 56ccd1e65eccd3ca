"""What is too much for memory, kept in a file of this machine while a plan or a manifest is made."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Self

from airflow_imagepipeline.storage.folder import folded_name
from airflow_imagepipeline.storage.scratch import scratch_folder

_CACHE_KILOBYTES: Final = 1024
_SETTINGS: Final = (
    "PRAGMA journal_mode = OFF",
    "PRAGMA synchronous = OFF",
    f"PRAGMA cache_size = -{_CACHE_KILOBYTES}",
    "PRAGMA temp_store = FILE",
    "CREATE TABLE newest (key TEXT PRIMARY KEY, entry TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE written (uri TEXT PRIMARY KEY, folded TEXT, key TEXT, owner TEXT, told TEXT, at REAL) WITHOUT ROWID",
    "CREATE INDEX written_folded ON written (folded)",
    "CREATE TABLE query (work TEXT, use TEXT, key TEXT, query TEXT, PRIMARY KEY (work, use, key)) WITHOUT ROWID",
    "CREATE TABLE claim (old TEXT PRIMARY KEY, key TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE name (folded TEXT PRIMARY KEY, wish TEXT NOT NULL, shown TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE first (key TEXT PRIMARY KEY, place INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE left_out (key TEXT PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE stem (use TEXT, name TEXT, place INTEGER NOT NULL, PRIMARY KEY (use, name)) WITHOUT ROWID",
    "CREATE TABLE file (name TEXT PRIMARY KEY, folded TEXT) WITHOUT ROWID",
    "CREATE INDEX file_folded ON file (folded)",
)

_WRITTEN: Final = (
    "INSERT INTO written VALUES (:uri, :folded, :key, :owner, :told, :at) ON CONFLICT (uri) DO UPDATE"
    " SET key = :key, owner = :owner, told = :told, at = :at WHERE :at >= at"
)


_RESIGNED: Final = (
    "SELECT new.query, known.query FROM query AS new JOIN query AS known"
    " ON known.work = new.work AND known.use = 'known' AND known.key != new.key WHERE new.use = 'new'"
    " AND (SELECT COUNT(*) FROM query WHERE work = new.work AND use = 'known') = 1"
    " AND (SELECT COUNT(*) FROM query WHERE work = new.work AND use != 'known') = 1"
)


class Scratch:
    """
    The newest ledger entry of every key, the first place of every key, and the names of files. Use it as a context
    manager; nothing of it is left behind.
    """

    def __enter__(self) -> Self:
        """Make the file."""
        self._folder = scratch_folder()
        path = self._folder.__enter__() / "scratch"
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
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

    def keep_newest(self, entries: Iterable[Mapping[str, Any]], folder: str = "") -> None:
        """
        Take in ledger entries, in the order in which they were written.

        :param folder: address of the folder for results.
        """
        for entry in entries:
            line = json.dumps(entry, separators=(",", ":"))
            self._database.execute("INSERT OR REPLACE INTO newest VALUES (?, ?)", (entry["key"], line))
            row = {"key": entry["key"], "owner": entry.get("owner", ""), "at": entry.get("landed_at") or 0.0}
            told = f"row {entry.get('index')} of _manifests/{entry.get('plan')}.jsonl"
            uris = [image["uri"] for image in entry.get("images", ())]
            if (stem := entry.get("replaces")) and not uris:
                # A redo that brought no image has left those before it in their place.
                uris = [f"{folder}/{stem}-00."]
            for uri in uris:
                self._database.execute(_WRITTEN, {**row, "uri": uri, "folded": folded_name(uri), "told": told})
            if (query := entry.get("query")) and entry.get("job_id"):
                self.note_query("known", entry["key"], query)

    def wrote_last(self, uri: str, key: str) -> bool:
        """Tell whether a file is the one that the work of this key has landed, and not other work after it."""
        found = self._database.execute("SELECT key FROM written WHERE uri = ?", (uri,)).fetchone()
        return found is not None and found[0] == key

    def writers(self, start: str) -> Iterator[tuple[str, str, str]]:
        """Yield key, owner, and a reader's words for the rows that landed files whose addresses begin like this."""
        query = "SELECT key, owner, told FROM written WHERE folded >= ? AND folded < ?"
        yield from self._database.execute(query, _range(folded_name(start))).fetchall()

    def note_query(self, use: str, key: str, query: Mapping[str, str]) -> None:
        """
        Remember what the queries of the links of some work were, see :class:`PlannedRow`.

        :param use: ``known`` to the ledger, ``new`` in this plan, or any other word for another row of it.
        """
        row = (query.get("", ""), use, key, json.dumps(query))
        self._database.execute("INSERT OR REPLACE INTO query VALUES (?, ?, ?, ?)", row)

    def known_queries(self, work: str) -> list[tuple[str, dict[str, str]]]:
        """Return key and queries of all work in the ledger that is equal but for them."""
        found = self._database.execute("SELECT key, query FROM query WHERE work = ? AND use = 'known'", (work,))
        return [(key, json.loads(query)) for key, query in found.fetchall()]

    def resigned(self) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
        """Yield the queries of each new row beside those of the one known work that is equal but for them."""
        for new, known in self._database.execute(_RESIGNED):
            yield json.loads(new), json.loads(known)

    def rows_with_queries(self) -> int:
        """Return how many rows of the plan have links with a query that counts."""
        found: int = self._database.execute("SELECT COUNT(*) FROM query WHERE use != 'known'").fetchone()[0]
        return found

    def claim(self, old: str, key: str) -> bool:
        """Take what was known under another key for a row; tell whether no other row has taken it before."""
        self._database.execute("INSERT OR IGNORE INTO claim VALUES (?, ?)", (old, key))
        found = self._database.execute("SELECT key FROM claim WHERE old = ?", (old,)).fetchone()
        return bool(found[0] == key)

    def first_of_name(self, folded: str, wish: str, shown: str) -> str | None:
        """Return the words for the first row of a name, if it wished for something else; else remember this one."""
        self._database.execute("INSERT OR IGNORE INTO name VALUES (?, ?, ?)", (folded, wish, shown))
        query = "SELECT wish, shown FROM name WHERE folded = ?"
        first: tuple[str, str] = self._database.execute(query, (folded,)).fetchone()
        return None if first[0] == wish else first[1]

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
        self._database.execute("INSERT OR IGNORE INTO stem VALUES (?, ?, ?)", (use, folded_name(stem), place))

    def user_of_stem(self, use: str, stem: str) -> int | None:
        """Return the place of the first row that needs the files of a stem for this use, or None."""
        query = "SELECT place FROM stem WHERE use = ? AND name = ?"
        found = self._database.execute(query, (use, folded_name(stem))).fetchone()
        return None if found is None else int(found[0])

    def leave_out(self, key: str) -> None:
        """Remember that the first row of this key was never begun."""
        self._database.execute("INSERT OR IGNORE INTO left_out VALUES (?)", (key,))

    def is_left_out(self, key: str) -> bool:
        """Tell whether the first row of this key was never begun."""
        return self._database.execute("SELECT 1 FROM left_out WHERE key = ?", (key,)).fetchone() is not None

    def keep_files(self, names: Iterable[str]) -> None:
        """Take in the names of files."""
        rows = ((name, folded_name(name)) for name in names)
        self._database.executemany("INSERT OR IGNORE INTO file VALUES (?, ?)", rows)

    def has_file(self, name: str) -> bool:
        """Tell whether a file of this name was taken in."""
        return self._database.execute("SELECT 1 FROM file WHERE name = ?", (name,)).fetchone() is not None

    def files_like(self, start: str) -> list[str]:
        """Return the names of files that begin like this, for a file system that tells no case from another."""
        query = "SELECT name FROM file WHERE folded >= ? AND folded < ?"
        return [name for (name,) in self._database.execute(query, _range(folded_name(start)))]


def _range(start: str) -> tuple[str, str]:
    """Return the bounds between which lies what begins like this."""
    return start, start[:-1] + chr(ord(start[-1]) + 1)
