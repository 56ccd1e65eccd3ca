"""
Read what a batch works through, a row at a time: a list, a folder, a glob, or a table on object storage.

Rows are data: nothing in them is rendered or interpreted here.
"""

from __future__ import annotations

import fnmatch
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from airflow_imagepipeline.batch.tables import ENDINGS, SourceRow, is_table, row_of, table_rows
from airflow_imagepipeline.contract.errors import InvalidParameters
from airflow_imagepipeline.contract.job_parameters import is_unset
from airflow_imagepipeline.contract.text import cleaned
from airflow_imagepipeline.storage import disk

if TYPE_CHECKING:
    from airflow_imagepipeline.storage.folder import Folder, Listed

_log: Final = logging.getLogger(__name__)

IMAGES: Final = (".jpg", ".jpeg", ".png", ".webp", ".gif")
"""How the names of the files end that are taken from a folder, in any case."""

_MAGIC: Final = re.compile(r"[*?\[]")
_ENDING: Final = re.compile(r".*[^/](?P<ending>\.[A-Za-z][A-Za-z0-9]{1,9})", re.DOTALL)
_ON_STORAGE: Final = re.compile(r"/|file:/|(?!https?://)[A-Za-z][A-Za-z0-9+.\-]*://", re.IGNORECASE)
_ACCEPTED: Final = (
    "give a list of addresses, a list of rows (dicts), a folder (s3://bucket/prefix/), a glob (s3://bucket/*.jpg), or "
    f"a table that ends in {ENDINGS}"
)
_SHOWN: Final = 3


@dataclass(frozen=True)
class Source:
    """
    Where rows are read.

    :param link_field: column for the address of the input image.
    :param aws_conn_id: connection for ``s3://``.
    :param results: address of the folder for results: of a folder or glob above it, what lies in it is left out, or
        every run would edit what the last one has made.
    :param on_empty: ``fail`` refuses a folder, glob or table without a row, naming what was looked for; ``succeed``
        yields none. An empty list says itself that there is nothing to do.
    """

    link_field: str
    aws_conn_id: str | None
    results: str = ""
    on_empty: str = "succeed"


def read_rows(
    inputs: object, *, link_field: str, aws_conn_id: str | None, results: str = "", on_empty: str = "succeed"
) -> Iterator[SourceRow]:
    """
    Yield the rows that a batch's ``inputs`` stand for. The other arguments are those of :class:`Source`.

    - A list (or another sequence, or an iterator): a dict is a row as it is, an address is ``{link_field: address}``.
    - A folder (``s3://bucket/prefix/``, ``file:///folder``, a path, any address of Airflow's object storage): its image
      files, also in folders below, by name. What begins with ``_`` or ``.`` is left out, and all that lies in it.
    - A glob (``*``, ``?``, ``[a-z]``, ``**`` for folders of any depth; case matters but in the ending): the files that
      match, whatever they are. A wildcard matches no folder that begins with ``_`` or ``.`` and no file that begins
      with ``.``. A folder that exists is none, whatever it is called.
    - A table, see :func:`table_rows`: its rows.

    :raises InvalidParameters: for anything else, and for a table that is none, naming its line.
    :raises StorageFailed: when a folder cannot be listed for now.
    :raises NotSent: when a table cannot be read for now.
    """
    source = Source(link_field, aws_conn_id, disk.one_address(results).rstrip("/"), on_empty)
    if isinstance(inputs, str) and not is_unset(inputs):
        return _read_address(inputs.strip(), source)
    if isinstance(inputs, Sequence | Iterator) and not isinstance(inputs, str | bytes | bytearray | memoryview):
        return (_row(item, link_field) for item in inputs)
    shown = "not set" if is_unset(inputs) and not isinstance(inputs, Mapping) else f"of type {type(inputs).__name__}"
    msg = f"inputs: it is {shown}; {_ACCEPTED}."
    raise InvalidParameters(msg)


def _row(item: object, link_field: str) -> SourceRow:
    if isinstance(item, Mapping):
        return row_of(item)
    return SourceRow({link_field: str(item) if isinstance(item, os.PathLike) else item})


def _rows_of_table(address: str, source: Source) -> Iterator[SourceRow]:
    is_empty = True
    for row in table_rows(address, source.aws_conn_id):
        is_empty = False
        yield row
    if is_empty:
        _refuse_empty(source, f"the table {cleaned(address, 120)} holds no row")


def _refuse_empty(source: Source, what: str) -> None:
    if source.on_empty == "fail":
        msg = f"inputs: {what}. If that may be, set on_empty='succeed'."
        raise InvalidParameters(msg)
    _log.info("There is nothing to do: %s.", what)


def _read_address(given: str, source: Source) -> Iterator[SourceRow]:
    address = disk.one_address(given)
    shown = repr(cleaned(address, 120))
    if not _ON_STORAGE.match(address):
        msg = f"inputs: {shown} is no folder, glob or table on object storage; {_ACCEPTED}."
        raise InvalidParameters(msg)
    if not _MAGIC.search(address) and not _is_folder_on_disk(address):
        if is_table(address):
            return _rows_of_table(address, source)
        if address.lower().endswith(IMAGES):
            msg = f"inputs: {shown} is the name of one image: give a list, [{shown}]."
            raise InvalidParameters(msg)
    if address.rstrip("/") == source.results:
        msg = (
            f"inputs: {shown} is the destination, too, so that the next run would edit what this one makes: give "
            "another destination. What lies in a folder below the inputs is left out of them."
        )
        raise InvalidParameters(msg)
    return _Files(address, given, source).rows()


def _is_folder_on_disk(address: str) -> bool:
    return address.startswith("file://") and Path(address.removeprefix("file://")).is_dir()


class _Files:
    """
    The files of a folder, or those that match a glob.

    :param address: the one address of the place.
    :param given: the address as the user wrote it.
    """

    def __init__(self, address: str, given: str, source: Source) -> None:
        self._source = source
        self._shown = cleaned(address, 120)
        self._address = address
        scheme, _, rest = address.partition("://")
        parts = rest.split("/")
        first = self._first_wildcard(scheme, parts)
        self._is_glob = first is not None
        above = parts if first is None else parts[:first]
        self._folder = self._opened("/".join((f"{scheme}:/", *above)))
        self._prefix = "" if first is None else _MAGIC.split(parts[first], maxsplit=1)[0]
        self._wants = is_visible_image if first is None else _matcher(parts[first:])
        before = given if "://" in given else f"file://{given}"
        is_same = before.startswith(self._folder.uri)
        self._before = "" if is_same or self._is_glob else before.rstrip("/")
        self._files = 0
        self._left_out: list[str] = []
        self._count = 0

    def _first_wildcard(self, scheme: str, parts: Sequence[str]) -> int | None:
        for place, part in enumerate(parts):
            if not _MAGIC.search(part):
                continue
            if not any(parts[:place]):
                msg = f"inputs: {self._shown!r}: a glob needs a folder before its first wildcard."
                raise InvalidParameters(msg)
            if part.strip("*") and self._exists("/".join((f"{scheme}:/", *parts[: place + 1]))):
                continue
            return place
        return None

    def _exists(self, address: str) -> bool:
        return next(self._opened(address).listing(), None) is not None

    def _opened(self, address: str) -> Folder:
        from airflow_imagepipeline.storage.folder import DestinationUnusable, open_folder

        try:
            return open_folder(address, self._source.aws_conn_id)
        except DestinationUnusable as exc:
            msg = f"inputs: {str(exc).removeprefix('destination ')}"
            raise InvalidParameters(cleaned(msg)) from exc

    def rows(self) -> Iterator[SourceRow]:
        results = self._source.results
        left_out = f"{results}/" if results.startswith(f"{self._folder.uri}/") else None
        is_empty = True
        for listed in self._folder.listing(self._prefix):
            if left_out is not None and self._folder.uri_of(listed.name).startswith(left_out):
                continue
            self._files += 1
            if self._wants(listed.name):
                is_empty = False
                yield self._row(listed)
            elif self._is_glob and is_visible_image(listed.name):
                self._count += 1
                self._left_out += [listed.name] if len(self._left_out) < _SHOWN else []
        if self._count:
            names = ", ".join(cleaned(name, 80) for name in self._left_out)
            _log.info("%s leaves out %d images, %s among them.", self._shown, self._count, names)
        if is_empty:
            self._refuse_nothing()

    def _row(self, listed: Listed) -> SourceRow:
        # An input without a tag is asked for, and what is empty or archived is refused with its reason then.
        tag = f"{listed.tag}:{listed.size}" if listed.tag and listed.is_readable else ""
        was = f"{self._before}/{listed.name}" if self._before else ""
        return SourceRow({self._source.link_field: self._folder.uri_of(listed.name)}, tag, listed.name, was)

    def _refuse_nothing(self) -> None:
        where, ending = cleaned(self._folder.uri, 120), _ENDING.fullmatch(self._address)
        if self._files and self._is_glob:
            what = f"none of the {self._files} files in {where}/ matches {self._shown}"
        elif self._files:
            what = f"none of the {self._files} files in {where}/ is an image ({', '.join(IMAGES)}; not _* nor .*)"
        elif ending and not self._is_glob:
            msg = f"inputs: {self._shown!r} is no folder, and {ending['ending']} is no table that is read: {_ACCEPTED}."
            raise InvalidParameters(msg)
        else:
            what = f"there is no folder {where}/, or nothing is in it"
        _refuse_empty(self._source, what)


def is_visible_image(name: str) -> bool:
    """Tell whether a folder's file is taken as an image: by its ending, and nothing above it is hidden."""
    return all(map(_is_visible, name.split("/"))) and name.lower().endswith(IMAGES)


def _is_visible(part: str) -> bool:
    return not part.startswith(("_", "."))


def _matcher(parts: Sequence[str]) -> Callable[[str], bool]:
    """Return what tells whether a name matches a glob, in a time that grows with the name's folders only."""
    # Two stars at the end mean all files below, a slash there the images in the folders that match.
    *above, last = [*parts[:-1], "**", "*"] if parts[-1] in {"", "**"} else parts
    folders = [None if part == "**" else _matching(part, _is_visible) for part in above]
    is_file = _matching(last, lambda name: not name.startswith("."), has_ending=True)

    def matches(name: str) -> bool:
        *inside, file = name.split("/")
        if not is_file(file) or not (parts[-1] or is_visible_image(file)):
            return False
        # The places in the pattern that the folders so far lead to: all at once, so that nothing is tried twice.
        places = _reached({0}, folders)
        for folder in inside:
            tried = [(place, folders[place]) for place in places if place < len(folders)]
            stay = {place for place, part in tried if part is None and _is_visible(folder)}
            places = _reached(stay | {place + 1 for place, part in tried if part and part(folder)}, folders)
        return len(folders) in places

    return matches


def _reached(places: set[int], folders: Sequence[Callable[[str], bool] | None]) -> set[int]:
    # Folders of any depth may be none at all.
    for place, part in enumerate(folders):
        if place in places and part is None:
            places.add(place + 1)
    return places


def _matching(part: str, is_visible: Callable[[str], bool], *, has_ending: bool = False) -> Callable[[str], bool]:
    """Return what tells whether one part of a name matches: by case, but for the ending of a file."""
    stem, dot, ending = part.rpartition(".")
    # A dot in a set of characters begins no ending.
    is_split = has_ending and bool(dot) and "]" not in ending.partition("[")[0]
    # Python's own translation goes through a name once, however many stars there are.
    whole = re.compile(fnmatch.translate(f"{stem}.{ending.lower()}" if is_split else part)).match
    begins_wild = _MAGIC.match(part) is not None

    def matches(name: str) -> bool:
        before, dot, after = name.rpartition(".")
        compared = f"{before}{dot}{after.lower()}" if is_split and dot else name
        return whole(compared) is not None and (is_visible(name) or not begins_wild)

    return matches
