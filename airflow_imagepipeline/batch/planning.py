"""
Turn what a batch operator was given into planned rows: filled, checked, named and keyed before anything is submitted.

Only what tells names apart is kept, in a file of this machine, so that an input of any length can be planned.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Final
from urllib.parse import unquote

from airflow_imagepipeline.batch.identity import Identities, in_order
from airflow_imagepipeline.batch.inputs import read_rows
from airflow_imagepipeline.batch.scratch import Scratch
from airflow_imagepipeline.batch.tables import SourceRow
from airflow_imagepipeline.contract.errors import InvalidParameters
from airflow_imagepipeline.contract.job_parameters import JobParameters, is_unset
from airflow_imagepipeline.contract.links import is_file, link_identity, query_of
from airflow_imagepipeline.contract.planned_row import QUERY_DIGITS, PlannedRow
from airflow_imagepipeline.contract.text import cleaned, without_signature
from airflow_imagepipeline.policy.placeholders import columns_in, filled, is_missing
from airflow_imagepipeline.storage import disk
from airflow_imagepipeline.storage.folder import LONGEST_NAME, checked_stem, folded_name

_KEY_DIGITS: Final = 32
_LONGEST_VERSION: Final = 1000
_AFTER_PATH: Final = re.compile(r"[?#].*", re.DOTALL)
_OUTSIDE_OLD_NAMES: Final = re.compile(r"[^A-Za-z0-9._\-]+")
_NO_FOLDER: Final = "="
"""What stands in a column for a folder without a name, as a key ``a//b.jpg`` has it: no name can hold that."""


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
    counts: str | Sequence[str] | None = None,
    on_empty: str = "succeed",
) -> Iterator[PlannedRow]:
    """
    Yield what is asked for each input, in the order of the inputs.

    What is wrong with one row makes that row invalid; nothing is submitted here. Every row has the columns ``index``
    (from 0), and of its input ``name`` (of the file, without folder, query and ending), ``file`` (with its ending),
    ``folder`` (below the folder that was read; else below bucket or host) and ``path`` (folder and name), in the
    composed form of Unicode (NFC); unless it brings its own.

    :param inputs: as :func:`airflow_imagepipeline.batch.inputs.read_rows` takes them.
    :param request: field names to values, which may hold ``{column}`` placeholders.
    :param file_stem: of the file names, which may hold placeholders; None means the job's id.
    :param link_field: names the input image; without a value in ``request`` it is the column of that name.
    :param aws_conn_id: connection for ``s3://``.
    :param upload_inputs: whether a file may be an input.
    :param destination: address of the folder for results: what lies in it is no input of a folder above it.
    :param reserved: folders in the destination which no row may put a file into.
    :param salt: sets the keys apart from those of equal work, which is then made anew.
    :param counts: what of a link names its image, see :func:`link_identity`.
    :param on_empty: what inputs without a row are, see :class:`airflow_imagepipeline.batch.inputs.Source`.
    :param shard: (i, n) keeps one of n parts: a row belongs to the part that the addresses of its inputs say.
    :raises InvalidParameters: for inputs that are none, a table that cannot be read, and a brace that belongs to no
        placeholder.
    :raises StorageFailed: when the inputs cannot be listed for now.
    :raises NotSent: when a table, or what an input is, cannot be read for now.
    """
    stem = None if is_unset(file_stem) else str(file_stem)
    for name, template in {**request, "file_stem": stem}.items():
        _named(name, columns_in, template)
    identity = partial(link_identity, counts=counts)
    destination = disk.one_address(destination).rstrip("/")
    wish = _Wish(
        _set(request), stem, parameters_class, link_field, upload_inputs, tuple(reserved), identity, destination
    )
    rows = read_rows(inputs, link_field=link_field, aws_conn_id=aws_conn_id, results=destination, on_empty=on_empty)
    drafts = (draft for draft in _drafts(rows, wish) if shard is None or _part(draft, shard[1]) == shard[0])
    identities = Identities(aws_conn_id, identity, upload=upload_inputs)
    return in_order(lambda draft: _planned(draft, identities, salt, wish), drafts)


@dataclass(frozen=True)
class _Wish:
    """What is asked for every row."""

    request: Mapping[str, Any] = field(repr=False)
    file_stem: str | None
    parameters_class: type[JobParameters]
    link_field: str
    upload_inputs: bool
    reserved: tuple[str, ...]
    identity: partial[str]
    destination: str

    @cached_property
    def columns_of_name(self) -> set[str]:
        """The columns that the file name is made of."""
        return columns_in(self.file_stem)

    @cached_property
    def asks_for_name(self) -> bool:
        """Whether the request, and not only the file name, holds the name of the input."""
        return "name" in columns_in({name: value for name, value in self.request.items() if name != self.link_field})

    def link(self, columns: Mapping[str, Any]) -> Any:
        """Return the input image of a row, or the list of them, as the user gave them."""
        return _named(self.link_field, filled, self.request.get(self.link_field, f"{{{self.link_field}}}"), columns)

    def checked(self, link: Any, columns: Mapping[str, Any], *, needed: bool = True) -> JobParameters:
        """Return the parameters of a row."""
        others = ((name, value) for name, value in self.request.items() if name != self.link_field)
        request = {name: _named(name, partial(filled, needed=needed), value, columns) for name, value in others}
        return self.parameters_class.checked({**request, self.link_field: link})


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
    number: int = 0
    """Decides which shard the row belongs to."""
    owner: str = ""
    without_queries: str = ""
    """The fingerprint as if no query of a link counted; empty where none has one that counts."""
    old_fingerprint: str = ""
    """As version 0.1.0 took it."""
    old_stem: str = ""


def _drafts(rows: Iterator[SourceRow], wish: _Wish) -> Iterator[_Draft]:
    with Scratch() as names:
        for index, row in enumerate(rows):
            columns = {"index": index, **row.columns}
            address = _first(columns.get(wish.link_field))
            try:
                given = wish.link(columns)
                address = _first(given)
                yield _unique(_draft(index, row, given, wish), names)
            except ValueError as exc:
                # Not of our own: a number that Python writes out no more, half a character.
                reason = str(exc) if isinstance(exc, InvalidParameters) else f"the row cannot be read: {exc}"
                yield _Draft(index, cleaned(_shown(address, wish)), invalid=cleaned(reason))


def _draft(index: int, row: SourceRow, given: Any, wish: _Wish) -> _Draft:
    link = _at_one_address(given)
    is_own = _first(given) == row.columns.get(wish.link_field)
    place = row.below if is_own and row.below else _place_of(_first(link))
    columns = {**_names(place), "index": index, **row.columns}
    parameters = wish.checked(link, columns)
    addresses = parameters.inputs()
    if not wish.upload_inputs:
        _refuse_files(wish.link_field, given if isinstance(given, list | tuple) else [given])
    has_query = any("?" in wish.identity(address) for address in filter(_is_link, addresses))
    old, old_columns = _as_before(row, given, columns, wish, parameters)
    stem = _stem(wish, columns)
    # Who names a picture by a column of his own says himself whose it is.
    is_by_address = stem is None or wish.columns_of_name & (columns.keys() - row.columns.keys())
    return _Draft(
        index,
        _shown(next(iter(addresses), ""), wish),
        addresses,
        _arguments(parameters),
        parameters.fingerprint(wish.identity),
        stem,
        _version(row.columns.get("version")),
        row.tag if row.columns.get(wish.link_field) == given else "",
        owner=_short([wish.identity(address) for address in addresses] if is_by_address else folded_name(str(stem))),
        number=_number([without_signature(address) for address in old.inputs()]),
        without_queries=parameters.fingerprint(partial(link_identity, counts="path")) if has_query else "",
        old_fingerprint=old.fingerprint(),
        old_stem="" if wish.file_stem is None else str(filled(wish.file_stem, old_columns, needed=False)),
    )


def _as_before(
    row: SourceRow, given: Any, columns: Mapping[str, Any], wish: _Wish, parameters: JobParameters
) -> tuple[JobParameters, Mapping[str, Any]]:
    """Return the parameters and the columns that version 0.1.0 gave a row, which has those parameters now."""
    link = row.was if row.was and given == row.columns.get(wish.link_field) else given
    old = {**columns, "name": row.columns.get("name", _old_name(_first(link)))}
    if link == _at_one_address(given) and (old == columns or not wish.asks_for_name):
        return parameters, old
    try:
        return wish.checked(link, old, needed=False), old
    except InvalidParameters:
        # It could not ask for that.
        return parameters, old


def _version(value: Any) -> str:
    text = "" if is_unset(value) or is_missing(value) else str(value)
    if len(text) > _LONGEST_VERSION or not _is_unicode(text):
        msg = f"version: it has more than {_LONGEST_VERSION} characters, or holds half a character (a lone surrogate)"
        raise InvalidParameters(msg)
    return text


def _unique(draft: _Draft, names: Scratch) -> _Draft:
    """Refuse the file name of an earlier row that asks for something else."""
    if draft.stem is None:
        return draft
    # Equal wishes have equal keys. What an input is need not be asked for this, so every shard comes to the same end.
    wish = _digest([draft.fingerprint, draft.version])
    taken = names.first_of_name(folded_name(draft.stem), wish, f"{draft.stem!r} of {cleaned(draft.input, 120)}")
    if taken is not None:
        msg = (
            f"file_stem: its name {cleaned(draft.stem, 120)!r} is that of another row, {taken}: give a file_stem that "
            "tells them apart: {path} keeps folders, {folder}/{file} the ending, too"
        )
        raise InvalidParameters(msg)
    return draft


def _planned(draft: _Draft, identities: Identities, salt: str, wish: _Wish) -> PlannedRow:
    if draft.invalid:
        return PlannedRow(draft.index, draft.input, "", invalid=draft.invalid)
    try:
        inputs = [identities.of(address, tag=draft.tag, version=draft.version) for address in draft.addresses]
    except InvalidParameters as exc:
        return PlannedRow(draft.index, draft.input, "", invalid=cleaned(exc))

    def key(fingerprint: str, identity: Any) -> str:
        pairs = zip(draft.addresses, inputs, strict=True)
        known = [("link", identity(address), draft.version) if one[0] == "link" else one for address, one in pairs]
        return _digest([known, fingerprint, salt])[:_KEY_DIGITS]

    own, old = key(draft.fingerprint, wish.identity), key(draft.old_fingerprint, without_signature)
    query = {}
    if draft.without_queries:
        values = [query_of(wish.identity(address)) for address in filter(_is_link, draft.addresses)]
        query = {name: _short([value.get(name) for value in values]) for value in values for name in value}
        query[""] = key(draft.without_queries, partial(link_identity, counts="path"))[:QUERY_DIGITS]
    return PlannedRow(
        draft.index,
        draft.input,
        own,
        draft.arguments,
        draft.stem,
        tags=[known[-1] if known[0] == "link" else known[-2] for known in inputs],
        owner=draft.owner,
        query=query,
        old_key="" if old == own else old,
        old_stem="" if draft.old_stem == draft.stem else draft.old_stem,
    )


def _arguments(parameters: JobParameters) -> dict[str, Any]:
    arguments = parameters.model_dump(exclude_unset=True, exclude_none=True)
    for name, value in arguments.items():
        if not _is_unicode(json.dumps(value, ensure_ascii=False)):
            # JSON may escape half a character; no file and no request can hold one.
            msg = f"{name}: it holds half a character (a lone surrogate), which is no Unicode"
            raise InvalidParameters(msg)
    return arguments


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text) if not text.isascii() else True


def _stem(wish: _Wish, columns: Mapping[str, Any]) -> str | None:
    if wish.file_stem is None:
        return None
    # What lies in no folder has no folder in its name.
    template = wish.file_stem if columns.get("folder") else wish.file_stem.replace("{folder}/", "")
    text = _named("file_stem", filled, template, columns)
    stem = checked_stem("" if text is None else str(text), LONGEST_NAME - len(wish.destination.encode()))
    # Some file systems do not tell capital letters from small ones.
    for folder in wish.reserved:
        if folded_name(stem).startswith(f"{folded_name(folder)}/"):
            msg = f"file_stem: {cleaned(stem, 120)!r} lies in {folder}/, where the batch keeps its own files"
            raise InvalidParameters(msg)
    return stem


def _refuse_files(link_field: str, addresses: Sequence[str]) -> None:
    for address in filter(is_file, map(str, addresses)):
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


def _at_one_address(link: Any) -> Any:
    if isinstance(link, list | tuple):
        return [_at_one_address(one) for one in link]
    return disk.one_address(link) if isinstance(link, str) else link


def _place_of(address: str) -> str:
    """Return the folders and the file of an address, below its bucket or host."""
    scheme, separator, rest = address.partition("://")
    path = rest.partition("/")[2] if separator else address
    return unquote(_AFTER_PATH.sub("", path)).rstrip("/") if scheme.lower() in {"http", "https"} else path


def _names(place: str) -> dict[str, str]:
    """Return the columns that come of where an input lies."""
    *folders, file = unicodedata.normalize("NFC", place).split("/")
    folder, name = "/".join(one or _NO_FOLDER for one in folders), file.rpartition(".")[0] or file
    return {"name": name, "file": file, "folder": folder, "path": f"{folder}/{name}" if folder else name}


def _old_name(address: str) -> str:
    """Return what version 0.1.0 took for the name of an input."""
    # Not by pathlib, which makes every part of every path a name that the interpreter keeps.
    last = _place_of(address).rstrip("/").rpartition("/")[2]
    return _OUTSIDE_OLD_NAMES.sub("-", last.rpartition(".")[0] or last).strip("-")


def _is_link(address: str) -> bool:
    return address.lower().startswith(("http://", "https://"))


def _shown(address: str, wish: _Wish) -> str:
    """Return the address of an input without what signs it, whichever scheme that is."""
    return without_signature(wish.identity(address))


def _part(draft: _Draft, count: int) -> int:
    # By its input, not by its place: a row that comes in between moves no other to a ledger that does not know it, and
    # whatever is asked for an input, one ledger knows what was made of it.
    return (draft.number if draft.addresses else draft.index) % count


def _first(value: object) -> str:
    if isinstance(value, list | tuple) and value:
        value = value[0]
    return value if isinstance(value, str) else ""


def _set(request: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in request.items() if not is_unset(value)}


def _number(value: object) -> int:
    return int(_digest(value)[:15], 16)


def _short(value: object) -> str:
    return _digest(value)[:QUERY_DIGITS]


def _digest(value: object) -> str:
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
