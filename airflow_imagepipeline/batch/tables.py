"""Read a table of inputs, a row at a time: CSV, TSV, JSON, each also packed with gzip, and Parquet."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import shutil
import tempfile
import unicodedata
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import IO, Any, Final, NoReturn

from airflow_imagepipeline.contract.errors import InvalidParameters
from airflow_imagepipeline.contract.text import cleaned
from airflow_imagepipeline.policy.placeholders import is_missing

ENDINGS: Final = ".csv, .tsv, .jsonl, .ndjson or .json, each also with .gz, or .parquet"
_KIND: Final = re.compile(
    r".*\.(?:(?P<text>csv|tsv|jsonl|ndjson|json)(?P<gz>\.gz)?|parquet)", re.IGNORECASE | re.DOTALL
)
_JOINERS: Final = frozenset("\u200c\u200d")
"""Characters without a shape of their own that belong to words of some scripts."""
_LONGEST_NUMBER: Final = 300
_ROWS: Final = 1000


@dataclass(frozen=True, slots=True)
class SourceRow:
    """
    One input as it came.

    :param columns: name to value: data, whatever it looks like.
    :param tag: what storage says of the input where a listing gave it for free (``ETag:size`` on S3); else empty.
    :param below: name of a file below the folder that was read; else empty.
    :param was: the address that version 0.1.0 gave the file, where it was another one; else empty.
    """

    columns: Mapping[str, Any] = field(repr=False)
    tag: str = ""
    below: str = ""
    was: str = ""


def row_of(columns: Mapping[Any, Any]) -> SourceRow:
    """Return a row whose columns are called what a reader sees, without hidden letters."""
    return SourceRow({_column(str(name)): value for name, value in columns.items()})


def is_table(address: str) -> bool:
    """Tell whether an address ends as that of a table that can be read."""
    return _KIND.fullmatch(address) is not None


def table_rows(address: str, aws_conn_id: str | None) -> Iterator[SourceRow]:
    """
    Yield the rows of a table; a blank row is none.

    :param address: of a table, see :func:`is_table`.
    :param aws_conn_id: connection for ``s3://``.
    :raises InvalidParameters: for a table that is none, naming its line.
    :raises NotSent: when it cannot be read for now.
    """
    from airflow_imagepipeline.storage.inputs import opened_input

    with ExitStack() as opened:
        copy = opened.enter_context(tempfile.TemporaryFile(prefix="imagepipeline-"))
        # Copied first: planning reads slowly, and S3 ends a connection that is read slowly.
        with opened_input(address, aws_conn_id) as source:
            shutil.copyfileobj(source, copy)
        copy.seek(0)
        for row in _rows_of(copy, address, _Place(cleaned(address, 120)), opened):
            if not all(is_missing(value) or not str(value).strip() for value in row.values()):
                yield row_of(row)


def _rows_of(copy: IO[bytes], address: str, place: _Place, opened: ExitStack) -> Iterator[dict[str, Any]]:
    kind = _KIND.fullmatch(address)
    if kind is None or kind["text"] is None:
        yield from _parquet_rows(copy, place)
        return
    source = opened.enter_context(gzip.GzipFile(fileobj=copy)) if kind["gz"] else copy
    lines = opened.enter_context(io.TextIOWrapper(source, encoding="utf-8-sig", newline=""))
    try:
        yield from _READERS[kind["text"].lower()](lines, place)
    except UnicodeDecodeError:
        # Text is decoded ahead of the line that is read.
        place.refuse("or one soon after it is not UTF-8: save the table as UTF-8")
    except (gzip.BadGzipFile, EOFError, zlib.error):
        place.refuse("or one soon after it cannot be unpacked: it is not whole, or no gzip")


@dataclass
class _Place:
    """Where in a table the reader is."""

    table: str
    line: int = 0
    unit: str = "line"

    def refuse(self, what: str) -> NoReturn:
        msg = f"inputs: {self.table}, {self.unit} {self.line} {what}."
        raise InvalidParameters(msg)


def _csv_rows(lines: IO[str], place: _Place, delimiter: str = ",") -> Iterator[dict[str, Any]]:
    reader = csv.reader(lines, strict=True, delimiter=delimiter)
    header: list[str] = []
    try:
        for cells in reader:
            place.line = reader.line_num
            if not header:
                header = _header(cells, place) if any(map(_column, cells)) else []
            elif any(cell.strip() for cell in cells[len(header) :]):
                place.refuse(f"has {len(cells)} cells, but the header has {len(header)}")
            else:
                # A row that is shorter lacks its last cells, as spreadsheets write it.
                full = cells + [""] * (len(header) - len(cells))
                yield {name: cell for name, cell in zip(header, full, strict=False) if name}
    except csv.Error as exc:
        place.line = reader.line_num
        place.refuse(f"is no CSV ({cleaned(exc, 80)})")


def _header(cells: list[str], place: _Place) -> list[str]:
    header = [_column(cell) for cell in cells]
    named = [name for name in header if name]
    if twice := {name for name in named if named.count(name) > 1}:
        place.refuse(f"names the column {cleaned(min(twice), 60)!r} twice")
    return header


def _column(name: str) -> str:
    if name.isascii():
        return name.strip()
    # A second byte order mark, a space without width: nobody sees them, and no placeholder has them.
    return "".join(one for one in name if one in _JOINERS or unicodedata.category(one) != "Cf").strip()


def _json_lines(lines: IO[str], place: _Place) -> Iterator[dict[str, Any]]:
    for place.line, line in enumerate(lines, start=1):
        if line.strip():
            yield _object(_decoded(line, place, "each line must be one object"), place)


def _json_rows(lines: IO[str], place: _Place) -> Iterator[dict[str, Any]]:
    start = lines.read(_ROWS).lstrip()
    lines.seek(0)
    if not start.startswith("["):
        yield from _json_lines(lines, place)
        return
    place.unit = "entry"
    for row in _decoded(lines.read(), place, "give an array, or an object a line"):
        place.line += 1
        yield _object(row, place)


def _decoded(text: str, place: _Place, advice: str) -> Any:
    try:
        return json.loads(text, parse_int=_whole)
    except (ValueError, RecursionError):
        place.refuse(f"is no JSON; {advice}")


def _whole(digits: str) -> int | str:
    # A number of thousands of digits is none that Python reads; what asks for it finds a text.
    return int(digits) if len(digits) <= _LONGEST_NUMBER else digits


def _object(row: Any, place: _Place) -> dict[str, Any]:
    if not isinstance(row, dict):
        place.refuse("is no JSON object; each must be one")
    return row


def _parquet_rows(copy: IO[bytes], place: _Place) -> Iterator[dict[str, Any]]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as exc:
        msg = f"inputs: {place.table} needs pyarrow: install airflow-provider-imagepipeline[parquet]."
        raise InvalidParameters(msg) from exc
    place.unit, place.line = "row", 1
    try:
        for batch in ParquetFile(copy).iter_batches(batch_size=_ROWS):
            for row in batch.to_pylist():
                yield row
                place.line += 1
    except ArrowException as exc:
        place.refuse(f"is no Parquet ({cleaned(exc, 80)})")


def _tsv_rows(lines: IO[str], place: _Place) -> Iterator[dict[str, Any]]:
    return _csv_rows(lines, place, "\t")


_READERS: Final[Mapping[str, Callable[[IO[str], _Place], Iterator[dict[str, Any]]]]] = {
    "csv": _csv_rows,
    "tsv": _tsv_rows,
    "jsonl": _json_lines,
    "ndjson": _json_lines,
    "json": _json_rows,
}
