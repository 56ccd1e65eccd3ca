"""
Turn what a batch operator was given into planned rows: filled, checked, named and keyed before anything is submitted.

Only a number or two per row are kept, for the file names, so that an input of any length can be planned.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import unquote

from airflow_imagepipeline.batch.identity import Identities, in_order
from airflow_imagepipeline.batch.inputs import SourceRow, read_rows
from airflow_imagepipeline.contract.errors import InvalidParameters
from airflow_imagepipeline.contract.job_parameters import JobParameters, is_unset
from airflow_imagepipeline.contract.links import is_file
from airflow_imagepipeline.contract.planned_row import PlannedRow
from airflow_imagepipeline.contract.text import cleaned, without_signature
from airflow_imagepipeline.policy.placeholders import columns_in, filled

_KEY_DIGITS: Final = 32
_AFTER_PATH: Final = re.compile(r"[?#].*", re.DOTALL)
_OUTSIDE_NAMES: Final = re.compile(r"[^A-Za-z0-9._\-]+")


def planned_rows(
    inputs: object,
    *,
    request: Mapping[str, Any],
    file_stem: str | None,
    parameters_class: type[JobParameters],
    link_field: str,
    aws_conn_id: str | None,
    upload_inputs: bool,
    destination: str = "",
    reserved: Sequence[str] = (),
    salt: str = "",
    shard: tuple[int, int] | None = None,
) -> Iterator[PlannedRow]:
    """
    Yield what is asked for each input, in the order of the inputs.

    What is wrong with one row makes that row invalid; nothing is submitted here. Every row has the columns ``index``
    (from 0) and ``name`` (the file name of its input without folder, query and extension, of ``[A-Za-z0-9._-]``; empty
    when there is none), unless it brings its own.

    :param inputs: as :func:`airflow_imagepipeline.batch.inputs.read_rows` takes them.
    :param request: field names to values, which may hold ``{column}`` placeholders.
    :param file_stem: of the file names, which may hold placeholders; None means the job's id.
    :param link_field: names the input image; without a value in ``request`` it is the column of that name.
    :param aws_conn_id: connection for ``s3://``.
    :param upload_inputs: whether a file may be an input.
    :param destination: address of the folder for results: what lies in it is no input of a folder above it.
    :param reserved: folders in the destination which no row may put a file into.
    :param salt: sets the keys apart from those of equal work, which is then made anew.
    :param shard: (i, n) keeps one of n parts: a row belongs to the part that the addresses of its inputs say.
    :raises InvalidParameters: for inputs that are none, a table that cannot be read, and a brace that belongs to no
        placeholder.
    :raises StorageFailed: when the inputs cannot be listed for now.
    :raises NotSent: when a table, or what an input is, cannot be read for now.
    """
    stem = None if is_unset(file_stem) else file_stem
    for name, template in {**request, "file_stem": stem}.items():
        _named(name, columns_in, template)
    wish = _Wish(_set(request), stem, parameters_class, link_field, upload_inputs, tuple(reserved))
    rows = read_rows(inputs, link_field=link_field, aws_conn_id=aws_conn_id, results=destination)
    drafts = (draft for draft in _drafts(rows, wish) if shard is None or _part(draft, shard[1]) == shard[0])
    identities = Identities(aws_conn_id, upload=upload_inputs)
    return in_order(lambda draft: _planned(draft, identities, salt), drafts)


@dataclass(frozen=True)
class _Wish:
    """What is asked for every row."""

    request: Mapping[str, Any] = field(repr=False)
    file_stem: str | None
    parameters_class: type[JobParameters]
    link_field: str
    upload_inputs: bool
    reserved: tuple[str, ...]

    def link(self, columns: Mapping[str, Any]) -> Any:
        """Return the input image of a row, or the list of them."""
        return _named(self.link_field, filled, self.request.get(self.link_field, f"{{{self.link_field}}}"), columns)

    def filled(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """Return the other fields of a row's request."""
        others = ((name, value) for name, value in self.request.items() if name != self.link_field)
        return {name: _named(name, filled, value, columns) for name, value in others}


@dataclass(frozen=True)
class _Draft:
    """A row of which all is known but what its input is."""

    index: int
    input: str
    addresses: tuple[str, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)
    fingerprint: str = ""
    stem: str | None = None
    version: str = ""
    tag: str = ""
    invalid: str = ""


def _drafts(rows: Iterator[SourceRow], wish: _Wish) -> Iterator[_Draft]:
    taken: dict[int, int] = {}
    for index, row in enumerate(rows):
        columns = {"index": index, **row.columns}
        address = _first(columns.get(wish.link_field))
        try:
            link = wish.link(columns)
            address = _first(link)
            draft = _draft(index, link, {"name": _name_of(address), **columns}, wish)
            yield replace(_unique(draft, taken), tag=row.tag if columns.get(wish.link_field) == link else "")
        except InvalidParameters as exc:
            yield _Draft(index, cleaned(without_signature(address)), invalid=cleaned(exc))


def _draft(index: int, link: object, columns: Mapping[str, Any], wish: _Wish) -> _Draft:
    parameters = wish.parameters_class.checked({**wish.filled(columns), wish.link_field: link})
    if not wish.upload_inputs:
        _refuse_files(wish.link_field, parameters.inputs())
    version = columns.get("version")
    return _Draft(
        index,
        without_signature(next(iter(parameters.inputs()), "")),
        parameters.inputs(),
        _arguments(parameters),
        parameters.fingerprint(),
        _stem(wish, columns),
        "" if is_unset(version) else str(version),
    )


def _unique(draft: _Draft, taken: dict[int, int]) -> _Draft:
    """Refuse the file name of an earlier row that asks for something else."""
    if draft.stem is None:
        return draft
    # Equal wishes have equal keys. What an input is need not be asked for this, so every shard comes to the same end.
    wish = _number([draft.fingerprint, draft.version])
    if taken.setdefault(_number(draft.stem), wish) != wish:
        shown = cleaned(draft.stem, 120)
        msg = f"another row has this name: {shown!r}; give a file_stem with a column in it that tells them apart"
        raise InvalidParameters(msg)
    return draft


def _planned(draft: _Draft, identities: Identities, salt: str) -> PlannedRow:
    if draft.invalid:
        return PlannedRow(draft.index, draft.input, "", invalid=draft.invalid)
    try:
        inputs = [identities.of(address, tag=draft.tag, version=draft.version) for address in draft.addresses]
    except InvalidParameters as exc:
        return PlannedRow(draft.index, draft.input, "", invalid=cleaned(exc))
    key = _digest([inputs, draft.fingerprint, salt])[:_KEY_DIGITS]
    tags = [known[-1] if known[0] == "link" else known[-2] for known in inputs]
    return PlannedRow(draft.index, draft.input, key, draft.arguments, draft.stem, tags=tags)


def _arguments(parameters: JobParameters) -> dict[str, Any]:
    arguments = parameters.model_dump(exclude_unset=True, exclude_none=True)
    for name, value in arguments.items():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            # JSON may escape half a character; no file and no request can hold one.
            msg = f"{name}: it holds half a character (a lone surrogate), which is no Unicode"
            raise InvalidParameters(msg) from None
    return arguments


def _stem(wish: _Wish, columns: Mapping[str, Any]) -> str | None:
    from airflow_imagepipeline.storage.folder import checked_stem

    if wish.file_stem is None:
        return None
    stem = checked_stem(str(_named("file_stem", filled, wish.file_stem, columns)))
    # Some file systems do not tell capital letters from small ones.
    for folder in wish.reserved:
        if stem.casefold().startswith(f"{folder.casefold()}/"):
            msg = f"file_stem: {cleaned(stem, 120)!r} lies in {folder}/, where the batch keeps its own files"
            raise InvalidParameters(msg)
    return stem


def _refuse_files(link_field: str, addresses: tuple[str, ...]) -> None:
    for address in filter(is_file, addresses):
        msg = (
            f"{link_field}: {cleaned(address, 80)!r} is a file, which only an upload can bring to the vendor: set "
            "upload_inputs=True, or put it on S3 and give its s3:// address"
        )
        raise InvalidParameters(msg)


def _named(name: str, function: Any, *arguments: Any) -> Any:
    """Say which argument is meant when a placeholder is wrong."""
    try:
        return function(*arguments)
    except InvalidParameters as exc:
        msg = f"{name}: {exc}"
        raise InvalidParameters(msg) from exc


def _name_of(address: str) -> str:
    scheme, separator, rest = address.partition("://")
    path = rest.partition("/")[2] if separator else address
    if scheme in {"http", "https"}:
        path = unquote(_AFTER_PATH.sub("", path))
    # Not by pathlib, which makes every part of every path a name that the interpreter keeps.
    last = path.rstrip("/").rpartition("/")[2]
    return _OUTSIDE_NAMES.sub("-", last.rpartition(".")[0] or last).strip("-")


def _part(draft: _Draft, count: int) -> int:
    # By its input, not by its place: a row that comes in between moves no other to a ledger that does not know it, and
    # whatever is asked for an input, one ledger knows what was made of it.
    addresses = [without_signature(address) for address in draft.addresses]
    return (_number(addresses) if addresses else draft.index) % count


def _first(value: object) -> str:
    if isinstance(value, list | tuple) and value:
        value = value[0]
    return value if isinstance(value, str) else ""


def _set(request: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in request.items() if not is_unset(value)}


def _number(value: object) -> int:
    return int(_digest(value)[:15], 16)


def _digest(value: object) -> str:
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
