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
from airflow_imagepipeline.contract.planned_row import PlannedRow
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
    is_priced = asked.options.price_per_job is not None or state.budget.cost > 0
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
    ledger, total = lease.ledger, plan.about["count"]
    with Scratch() as scratch, scratch_folder() as here:
        scratch.keep_newest(entry for _, entry in lease.while_held(ledger.entries()))
        manifest = ManifestFile(here / "manifest")
        rows = map(PlannedRow.from_line, lease.while_held(plan.store.lines()))
        folder.put(name, manifest.write(manifest_rows(rows, scratch, ending)), overwrite=True)
        if manifest.counts.total() != total:
            msg = f"the manifest has {manifest.counts.total()} rows instead of {total}"
            raise RuntimeError(msg)
        with suppress(StorageFailed):
            ledger.compact(lease.while_held(scratch.all_newest()), upto=ledger.mark)
    return manifest


def _may_change(state: BatchState, counts: Counter[RowOutcome]) -> bool:
    return (
        bool(state.begun)
        or any(one.phase is RowPhase.SUBMITTED for one in state.open.values())
        or (bool(state.stopped) and counts[RowOutcome.NOT_SUBMITTED] > 0)
    )
