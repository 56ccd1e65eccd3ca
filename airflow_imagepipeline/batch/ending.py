"""The end of a batch: its manifest beside the images, its ledger compacted and left to others, its summary."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_imagepipeline.batch.manifest import Ending, ManifestFile, manifest_rows
from airflow_imagepipeline.batch.scratch import Scratch
from airflow_imagepipeline.contract.manifest import BatchSummary, RowOutcome
from airflow_imagepipeline.exceptions import BatchIncomplete
from airflow_imagepipeline.policy.ledger_entry import RowPhase
from airflow_imagepipeline.storage.folder import Folder, StorageFailed
from airflow_imagepipeline.storage.scratch import scratch_folder

if TYPE_CHECKING:
    from airflow_imagepipeline.batch.lease_keeping import LeaseKeeper
    from airflow_imagepipeline.batch.plan_making import Asked, Plan
    from airflow_imagepipeline.batch.state import BatchState


@dataclass(frozen=True)
class Finished:
    """
    A batch that is over, for this try.

    :param may_change: whether an automatic retry may change something without paying for anything twice.
    :param why: the reasons that most rows did not go well for, for the reader.
    """

    summary: BatchSummary
    counts: Mapping[RowOutcome, int]
    may_change: bool
    why: str


def finish(folder: Folder, home: Folder, lease: LeaseKeeper, plan: Plan, asked: Asked, *, name: str) -> Finished:
    """
    Write the manifest, compact the ledger and leave it to others.

    :param folder: for the images.
    :param home: folder of the ledger.
    :param name: of the manifest, in ``folder``.
    """
    manifest = _write_manifest(folder, lease, plan, asked, name)
    lease.release()
    state = plan.state
    is_priced = asked.options.price_per_job is not None or state.budget.cost > 0 or not manifest.unpriced
    summary = BatchSummary(
        folder.uri_of(name),
        home.uri,
        plan.about["count"],
        {outcome.value: count for outcome, count in manifest.counts.items()},
        state.budget.jobs,
        round(state.budget.cost, 6) if is_priced else None,
        state.bytes,
        round(time.time() - plan.about["started_at"], 3),
    )
    return Finished(summary, manifest.counts, _may_change(state, manifest.counts), manifest.why())


def _write_manifest(folder: Folder, lease: LeaseKeeper, plan: Plan, asked: Asked, name: str) -> ManifestFile:
    ending = Ending(asked.base, plan.state.stopped, plan.state.was_passed)
    ledger = lease.ledger
    with Scratch() as scratch, scratch_folder() as here:
        lease.read_into(scratch)
        manifest = ManifestFile(here / "manifest")
        rows = lease.while_held(plan.store.rows())
        file = manifest.write(manifest_rows(rows, scratch, ending))
        _compare(plan, manifest.counts)
        # The manifest of a process that has taken over meanwhile knows more.
        ledger.confirm()
        folder.put(name, file, overwrite=True)
        with suppress(StorageFailed):
            ledger.compact(lease.while_held(scratch.all_newest()), upto=ledger.mark)
    return manifest


def _compare(plan: Plan, found: Counter[RowOutcome]) -> None:
    """Refuse an end at which the plan, what was done of it, and the manifest do not agree."""
    state, total = plan.state, plan.about["count"]
    begun = total if state.stopped else state.cursor
    if begun == found.total() == total and all(found[outcome] >= count for outcome, count in state.counts.items()):
        return
    counted, written = (
        ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(counts.items()) if count) or "none"
        for counts in (state.counts, found)
    )
    msg = (
        f"The plan {plan.name} has {total:,} rows, of which {begun:,} had their turn ({counted} came to an end), but "
        f"its manifest has {found.total():,} ({written}). The batch is not over: retry the task, which goes on."
    )
    raise BatchIncomplete(msg)


def _may_change(state: BatchState, counts: Counter[RowOutcome]) -> bool:
    return (
        bool(state.begun)
        or any(one.phase is RowPhase.SUBMITTED for one in state.open.values())
        or (bool(state.stopped) and counts[RowOutcome.NOT_SUBMITTED] > 0)
    )
