"""
Read what a batch works through, a row at a time: a list, a folder, a glob, or a table on object storage.

Rows are data: nothing in them is rendered or interpreted here.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NoReturn

from airflow_imagepipeline.contract.errors import InvalidParameters
from airflow_imagepipeline.contract.job_parameters import is_unset
from airflow_imagepipeline.contract.text import cleaned

if TYPE_CHECKING:
    from airflow_imagepipeline.storage.folder import Folder

IMAGES: Final = (".jpg", ".jpeg", ".png", ".webp", ".gif")
"""How the names of the files end that are taken from a folder, in any case."""

_TABLES: Final = (".csv", ".jsonl")
_MAGIC: Final = re.compile(r"[*?\[]")
_ON_STORAGE: Final = re.compile(r"/|(?!https?://)[A-Za-z][A-Za-z0-9+.\-]*://", re.IGNORECASE)
_ACCEPTED: Final = (
    "give a list of addresses, a list of rows (dicts), a folder (s3://bucket/prefix/), a glob (s3://bucket/*.jpg), or "
    "a table (s3://bucket/rows.csv or .jsonl)"
)


@dataclass(frozen=True, slots=True)
class SourceRow:
    """
    One input as it came.

    :param columns: name to value: data, whatever it looks like.
    :param tag: what storage says of the input where a listing gave it for free (``ETag:size`` on S3); else empty.
    """

    columns: Mapping[str, Any] = field(repr=False)
    tag: str = ""


def read_rows(inputs: object, *, link_field: str, aws_conn_id: str | None, results: str = "") -> Iterator[SourceRow]:
    """
    Yield the rows that a batch's ``inputs`` stand for; nothing for an empty list, folder or table.

    - A list (or another sequence, or an iterator): a dict is a row as it is, an address is ``{link_field: address}``.
    - A folder (``s3://bucket/prefix/``, ``file:///folder``, a path, any address of Airflow's object storage): its image
      files, also in folders below, by name. What begins with ``_`` or ``.`` is left out, and all that lies in it.
    - A glob (``*``, ``?``, ``[a-z]``, ``**`` for folders of any depth; case matters): the files that match, whatever
      they are. A wildcard matches no folder that begins with ``_`` or ``.`` and no file that begins with ``.``.
    - A table that ends in ``.csv`` (UTF-8, commas, a header) or ``.jsonl`` (an object a line): its rows.

    :param link_field: column for the address of the input image.
    :param aws_conn_id: connection for ``s3://``.
    :param results: address of the folder for results: of a folder or glob above it, what lies in it is left out, or
        every run would edit what the last one has made.
    :raises InvalidParameters: for anything else, and for a table that is none, naming its line.
    :raises StorageFailed: when a folder cannot be listed for now.
    :raises NotSent: when a table cannot be read for now.
    """
    if isinstance(inputs, str) and not is_unset(inputs):
        return _read_address(inputs.strip(), link_field, aws_conn_id, results.rstrip("/"))
    if isinstance(inputs, Sequence | Iterator) and not isinstance(inputs, str | bytes | bytearray | memoryview):
        return (_row(item, link_field) for item in inputs)
    shown = "not set" if is_unset(inputs) and not isinstance(inputs, Mapping) else f"of type {type(inputs).__name__}"
    msg = f"inputs: it is {shown}; {_ACCEPTED}."
    raise InvalidParameters(msg)


def _row(item: object, link_field: str) -> SourceRow:
    if isinstance(item, Mapping):
        return SourceRow({str(name): value for name, value in item.items()})
    return SourceRow({link_field: item})


def _read_address(address: str, link_field: str, aws_conn_id: str | None, results: str) -> Iterator[SourceRow]:
    is_glob = _MAGIC.search(address) is not None
    if not _ON_STORAGE.match(address):
        msg = f"inputs: {cleaned(address, 80)!r} is no folder, glob or table on object storage; {_ACCEPTED}."
        raise InvalidParameters(msg)
    if not is_glob and address.lower().endswith(_TABLES):
        read = _csv_rows if address.lower().endswith(".csv") else _json_rows
        return (SourceRow(row) for row in _table(address, aws_conn_id, read))
    if not is_glob and address.lower().endswith(IMAGES):
        msg = f"inputs: {cleaned(address, 80)!r} is the name of one image: give a list, [{cleaned(address, 80)!r}]."
        raise InvalidParameters(msg)
    address = address if "://" in address else f"file://{address}"
    if address.rstrip("/") == results:
        msg = (
            f"inputs: {cleaned(address, 120)!r} is the destination, too, so that the next run would edit what this one "
            "makes: give another destination. What lies in a folder below the inputs is left out of them."
        )
        raise InvalidParameters(msg)
    return _files(address, link_field, aws_conn_id, results)


def _files(address: str, link_field: str, aws_conn_id: str | None, results: str) -> Iterator[SourceRow]:
    root, prefix, wanted = _split(address)
    folder = _opened_folder(root, aws_conn_id)
    left_out = f"{results}/" if results.startswith(f"{folder.uri}/") else None
    for listed in folder.listing(prefix):
        is_result = left_out is not None and folder.uri_of(listed.name).startswith(left_out)
        if not is_result and wanted.fullmatch(listed.name):
            # An input without a tag is asked for, and what is empty or archived is refused with its reason then.
            tag = f"{listed.tag}:{listed.size}" if listed.tag and listed.is_readable else ""
            yield SourceRow({link_field: folder.uri_of(listed.name)}, tag)


def _opened_folder(root: str, aws_conn_id: str | None) -> Folder:
    from airflow_imagepipeline.storage.folder import DestinationUnusable, open_folder

    try:
        return open_folder(root, aws_conn_id)
    except DestinationUnusable as exc:
        msg = f"inputs: {str(exc).removeprefix('destination ')}"
        raise InvalidParameters(cleaned(msg)) from exc


def _split(address: str) -> tuple[str, str, re.Pattern[str]]:
    """Return the folder of an address, with what the wanted names in it begin, and which they are."""
    scheme, _, rest = address.partition("://")
    parts = rest.split("/")
    first = next((place for place, part in enumerate(parts) if _MAGIC.search(part)), None)
    if first is None:
        endings = "|".join(re.escape(ending) for ending in IMAGES)
        return address, "", re.compile(rf"(?:(?![_.])[^/]+/)*(?![_.])[^/]*(?i:{endings})", re.DOTALL)
    if not any(parts[:first]):
        msg = f"inputs: {cleaned(address, 80)!r}: a glob needs a folder before its first wildcard."
        raise InvalidParameters(msg)
    root, prefix = f"{scheme}://{'/'.join(parts[:first])}", _MAGIC.split(parts[first], maxsplit=1)[0]
    try:
        return root, prefix, re.compile(_expression(parts[first:]), re.DOTALL)
    except re.error as exc:
        msg = f"inputs: {cleaned(address, 80)!r} is no glob ({exc.msg})."
        raise InvalidParameters(msg) from exc


def _expression(parts: list[str]) -> str:
    *above, last = parts
    folders = "".join(
        r"(?:(?![_.])[^/]+/)*" if part == "**" else f"{'(?![_.])' if _MAGIC.match(part) else ''}{_of_part(part)}/"
        for part in above
    )
    if last == "**":
        return rf"{folders}(?:(?![_.])[^/]+/)*(?!\.)[^/]+"
    return rf"{folders}{'(?![.])' if _MAGIC.match(last) else ''}{_of_part(last)}"


def _of_part(part: str) -> str:
    wild = {"*": "[^/]*", "?": "[^/]"}
    # A set may hold a bracket as its first character, as in shells.
    tokens = re.finditer(r"\*+|\?|\[(?P<no>!?)(?P<set>\]?[^\]]*)\]|(?P<text>.)", part, re.DOTALL)
    return "".join(_of_token(token, wild) for token in tokens)


def _of_token(token: re.Match[str], wild: Mapping[str, str]) -> str:
    if token["text"] is not None:
        return re.escape(token["text"])
    if token["set"] is None:
        return wild[token[0][0]]
    characters = re.sub(r"[\\\[\]&~|^]", r"\\\g<0>", token["set"])
    return f"(?!/)[{'^' if token['no'] else ''}{characters}]"


def _table(
    address: str, aws_conn_id: str | None, read: Callable[[Iterable[str], _Place], Iterator[dict[str, Any]]]
) -> Iterator[dict[str, Any]]:
    from airflow_imagepipeline.storage.inputs import opened_input

    place = _Place(cleaned(address, 120))
    with tempfile.TemporaryFile(prefix="imagepipeline-") as copy:
        # Copied first: planning reads slowly, and S3 ends a connection that is read slowly.
        with opened_input(address, aws_conn_id) as source:
            shutil.copyfileobj(source, copy)
        copy.seek(0)
        with io.TextIOWrapper(copy, encoding="utf-8-sig", newline="") as lines:
            try:
                yield from read(lines, place)
            except UnicodeDecodeError:
                # Text is decoded ahead of the line that is read.
                place.refuse("or one soon after it is not UTF-8: save the table as UTF-8")


@dataclass
class _Place:
    """Where in a table the reader is."""

    table: str
    line: int = 0

    def refuse(self, what: str) -> NoReturn:
        msg = f"inputs: {self.table}, line {self.line} {what}."
        raise InvalidParameters(msg)


def _csv_rows(lines: Iterable[str], place: _Place) -> Iterator[dict[str, Any]]:
    reader = csv.reader(lines, strict=True)
    header: list[str] = []
    try:
        for cells in reader:
            place.line = reader.line_num
            if not header:
                header = _header(cells, place)
            elif len(cells) > len(header):
                place.refuse(f"has {len(cells)} cells, but the header has {len(header)}")
            elif cells:
                # A row that is shorter lacks its last cells, as spreadsheets write it.
                full = cells + [""] * (len(header) - len(cells))
                yield {name: cell for name, cell in zip(header, full, strict=True) if name}
    except csv.Error as exc:
        place.line = reader.line_num
        place.refuse(f"is no CSV ({cleaned(exc, 80)})")


def _header(cells: list[str], place: _Place) -> list[str]:
    header = [cell.strip() for cell in cells]
    named = [name for name in header if name]
    if twice := {name for name in named if named.count(name) > 1}:
        place.refuse(f"names the column {cleaned(min(twice), 60)!r} twice")
    return header


def _json_rows(lines: Iterable[str], place: _Place) -> Iterator[dict[str, Any]]:
    for place.line, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            place.refuse("is no JSON; each line must be one object")
        if not isinstance(row, dict):
            place.refuse("is no JSON object; each line must be one")
        yield row
