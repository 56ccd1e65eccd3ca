"""Make one manifest and one summary of those that the shards of a batch have left: a merge that holds a row of each."""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from airflow_imagepipeline.batch.manifest import ManifestFile
from airflow_imagepipeline.contract.errors import InvalidParameters
from airflow_imagepipeline.contract.manifest import BatchSummary, ManifestRow, RowOutcome
from airflow_imagepipeline.contract.text import cleaned
from airflow_imagepipeline.landing.contact_sheet import manifest_rows
from airflow_imagepipeline.storage.scratch import scratch_folder

if TYPE_CHECKING:
    from airflow_imagepipeline.storage.folder import Folder

_SHARD: Final = re.compile(r"(?P<home>.+)/shard-(?P<first>[0-9]+)-of-(?P<count>[0-9]+)", re.ASCII | re.DOTALL)
_TEXTS: Final = ("manifest", "ledger")
_COUNTS: Final = ("total", "submitted", "bytes")
_SCHEME: Final = 3
"""Parts of an address before its first folder: ``s3:``, nothing, bucket."""


@dataclass(frozen=True)
class Shards:
    """
    What is to be merged.

    :param summaries: of the shards that have one, in the order in which they came.
    :param missing: shards without one, in words for a reader.
    """

    summaries: Sequence[BatchSummary]
    missing: Sequence[str]


def read_shards(payloads: Iterable[Any]) -> Shards:
    """
    Read what the shards have returned.

    A ledger's address tells how many shards there are: one that returned nothing is noticed also where the list of
    results has no gap for it, as Airflow's list of what mapped tasks returned.

    :param payloads: summaries as JSON values, None for a task that returned nothing.
    :raises InvalidParameters: when one is no summary, or they are of different cuts.
    """
    known, gaps = [], []
    for number, payload in enumerate(payloads):
        if payload is None:
            gaps.append(f"entry {number}")
        else:
            known.append(_read(payload, number))
    absent = _absent([summary.ledger for summary in known])
    return Shards(known, absent or gaps)


def _read(payload: Any, number: int) -> BatchSummary:
    if not isinstance(payload, Mapping) or payload.get("v") != 1 or payload.get("plan_only"):
        raise _no_summary(number, payload)
    names = ("manifest", "ledger", "total", "counts", "submitted", "cost", "bytes", "seconds")
    if any(name not in payload for name in names):
        raise _no_summary(number, payload)
    fields = {name: payload[name] for name in names}
    numbers = [*fields["counts"].values()] if isinstance(fields["counts"], Mapping) else [None]
    numbers += [fields[name] for name in _COUNTS]
    is_sound = all(isinstance(fields[name], str) for name in _TEXTS) and all(type(one) is int for one in numbers)
    others = [fields["seconds"], 0.0 if fields["cost"] is None else fields["cost"]]
    if not is_sound or not all(isinstance(one, int | float) for one in others):
        raise _no_summary(number, payload)
    return BatchSummary(**fields)


def _no_summary(number: int, payload: Any) -> InvalidParameters:
    return InvalidParameters(
        f"summaries: entry {number} is not what a batch returned ({cleaned(repr(payload), 80)}): give the output of "
        "the mapped batch task; a run with plan_only=True has no manifest"
    )


def _absent(ledgers: Iterable[str]) -> list[str]:
    found = [match for ledger in ledgers if (match := _SHARD.fullmatch(ledger))]
    cuts = {int(match["count"]) for match in found}
    if len(cuts) > 1:
        msg = f"summaries: they are of different cuts, into {' and '.join(map(str, sorted(cuts)))} shards; merge one"
        raise InvalidParameters(msg)
    there = {int(match["first"]) for match in found}
    return [f"shard {first} of {count}" for count in cuts for first in range(count) if first not in there]


def merge_manifests(
    shards: Sequence[BatchSummary], *, folder: Folder, name: str, aws_conn_id: str | None
) -> BatchSummary:
    """
    Write one manifest of the rows of all shards, by index, and return one summary of all.

    :param shards: one or more.
    :param folder: where the manifest is put; a file of its name is replaced.
    :param name: of the manifest, in the folder.
    :param aws_conn_id: connection for ``s3://`` manifests.
    :raises InvalidParameters: when two manifests have the same row, or one is not what its summary says.
    :raises StorageFailed: when one could not be read, or the merged one not be written.
    """
    uri = folder.uri_of(name)
    if any(shard.manifest == uri for shard in shards):
        msg = f"file_stem: {uri} is one of the manifests that are to be merged; give another file_stem"
        raise InvalidParameters(msg)
    with scratch_folder() as scratch, ExitStack() as sources:
        manifest = ManifestFile(scratch / "manifest")
        rows = [sources.enter_context(closing(_rows_of(shard, aws_conn_id))) for shard in shards]
        file = manifest.write(_in_order(heapq.merge(*rows, key=lambda row: row[0].index)))
        summary = _summary(uri, shards, manifest.counts)
        folder.put(name, file, overwrite=True)
    return summary


def _rows_of(shard: BatchSummary, aws_conn_id: str | None) -> Generator[tuple[ManifestRow, str], None, None]:
    """Yield the rows of a shard's manifest with its address; at its end, check that they are those that it counted."""
    counts: Counter[RowOutcome] = Counter()
    for row in manifest_rows(shard.manifest, aws_conn_id):
        counts[row.outcome] += 1
        yield row, shard.manifest
    found = {outcome.value: count for outcome, count in counts.items()}
    if found != {outcome: count for outcome, count in shard.counts.items() if count}:
        msg = (
            f"{cleaned(shard.manifest, 120)} has {_told(found)}, but its task has counted {_told(shard.counts)}: it is "
            "not the manifest of that run any more. Clear the task of the shard, then this one"
        )
        raise InvalidParameters(msg)


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(counts.items()) if count) or "no row"


def _in_order(rows: Iterable[tuple[ManifestRow, str]]) -> Iterator[ManifestRow]:
    last, before = -1, ""
    for row, manifest in rows:
        if row.index == last:
            msg = (
                f"row {last} is in {cleaned(before, 120)} and in {cleaned(manifest, 120)}: only the shards of one "
                "input can be merged (shard=[i, n] with every i once)"
            )
            raise InvalidParameters(msg)
        # What is compared with a number that is none is false: it is out of order, too.
        if not row.index > last:
            msg = f"{cleaned(manifest, 120)} is not sorted: row {row.index} comes after row {last}"
            raise InvalidParameters(msg)
        last, before = row.index, manifest
        yield row


def _summary(uri: str, shards: Sequence[BatchSummary], counts: Mapping[RowOutcome, int]) -> BatchSummary:
    total = sum(shard.total for shard in shards)
    if sum(counts.values()) != total:
        msg = f"the merged manifest has {sum(counts.values())} rows instead of {total}"
        raise RuntimeError(msg)
    costs = [shard.cost for shard in shards if shard.cost is not None]
    return BatchSummary(
        uri,
        _common_folder([shard.ledger for shard in shards]),
        total,
        {outcome.value: count for outcome, count in counts.items()},
        sum(shard.submitted for shard in shards),
        round(sum(costs), 6) if len(costs) == len(shards) else None,
        sum(shard.bytes for shard in shards),
        max(shard.seconds for shard in shards),
    )


def _common_folder(ledgers: Sequence[str]) -> str:
    # Of a single shard, too, it is the folder that all shards have.
    homes = [match["home"] if (match := _SHARD.fullmatch(ledger)) else ledger for ledger in ledgers]
    common: list[str] = []
    for parts in zip(*(home.split("/") for home in homes), strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    return "/".join(common) if len(common) >= _SCHEME else ""
