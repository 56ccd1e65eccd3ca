"""What a batch is done with: folders, ledger, rows, links. Apart from its operator, so that DAG files parse fast."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.sdk import AirflowException

from airflow_imagepipeline.batch.clears import Clears
from airflow_imagepipeline.batch.landing import Lander
from airflow_imagepipeline.batch.lease_keeping import taken_ledger
from airflow_imagepipeline.batch.plan_making import Asked
from airflow_imagepipeline.batch.planning import planned_rows
from airflow_imagepipeline.batch.run import MANIFESTS, BatchRun
from airflow_imagepipeline.batch.steps import Work
from airflow_imagepipeline.batch.tables import is_table
from airflow_imagepipeline.compat import task_state_store
from airflow_imagepipeline.contract.errors import ImagePipelineError
from airflow_imagepipeline.contract.links import checked_identity
from airflow_imagepipeline.contract.planned_row import PlannedRow
from airflow_imagepipeline.landing.gate import gate_for
from airflow_imagepipeline.landing.inputs import LONGEST_SIGNATURE, links_for
from airflow_imagepipeline.landing.landing import REJECTED
from airflow_imagepipeline.landing.provenance import Provenance
from airflow_imagepipeline.operators.batch_arguments import checked_shard
from airflow_imagepipeline.records.object_storage import Owner
from airflow_imagepipeline.storage import disk
from airflow_imagepipeline.storage.folder import open_folder

if TYPE_CHECKING:
    from airflow_imagepipeline.batch.options import BatchOptions
    from airflow_imagepipeline.contract.job import Job
    from airflow_imagepipeline.contract.job_parameters import JobParameters
    from airflow_imagepipeline.contract.manifest import BatchSummary
    from airflow_imagepipeline.hooks.connection import ApiAccess
    from airflow_imagepipeline.operators.batch import ImagePipelineBatchOperator
    from airflow_imagepipeline.policy.ledger_entry import RowPhase
    from airflow_imagepipeline.storage.folder import Folder

_log: Final = logging.getLogger(__name__)

_OVER: Final = frozenset({"failed", "removed", "skipped", "success", "upstream_failed"})
"""States in which Airflow starts a task no more, unless a human clears it."""
_LEDGER: Final = "_imagepipeline"
_LONGEST_NAME: Final = 80
_PAIRS: Final = 12
"""Pairs of before and after on a contact sheet."""


def open_batch(task: ImagePipelineBatchOperator, context: Mapping[str, Any], options: BatchOptions) -> BatchRun:
    """
    Take the ledger for a task instance.

    :raises InvalidParameters: naming the argument.
    :raises LedgerBusy: when another task instance has it.
    """
    ti = context["ti"]
    # Rows are looked at one by one: one that holds the key is invalid, and spoils no other.
    task.hook.access.refuse_key({name: getattr(task, name) for name in task.template_fields if name != "inputs"})
    shard = checked_shard(task.shard)
    folder = open_folder(task.destination, task.aws_conn_id)
    home = open_folder(_home(task, shard), task.aws_conn_id)
    work = _work(task, context, options, folder)
    _warn_of_date(task, context)
    home.prepare(write_once=True)
    folder.prepare()
    owner = Owner(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)
    asked = _asked(task, ti, owner, home, options)
    ledger = taken_ledger(home, owner, lambda other: _is_over(ti, other))
    return BatchRun(task.hook, folder, home, ledger, asked=asked, work=work, store=task_state_store(context))


def _work(task: ImagePipelineBatchOperator, context: Mapping[str, Any], options: BatchOptions, folder: Folder) -> Work:
    gate = gate_for(task.accept, task.hook, task.aws_conn_id)
    provenance = Provenance.of_task(context) if task.provenance else None

    def parameters(row: PlannedRow) -> JobParameters:
        return task.parameters_class.checked(row.arguments)

    def land(row: PlannedRow, job: Job) -> tuple[RowPhase, dict[str, Any]]:
        # What this very work has written before, a blank image say, may be replaced.
        overwrite = options.overwrite or (row.stem is not None and row.earlier.get("replaces") == row.stem)
        lander = Lander(task.hook, folder, parameters, overwrite=overwrite, gate=gate, provenance=provenance)
        return lander.land(row, job)

    links = _Links(task)
    return Work(parameters, links.uploaded, links.signed, land)


def _asked(task: ImagePipelineBatchOperator, ti: Any, owner: Owner, home: Folder, options: BatchOptions) -> Asked:
    run = _digest(list(owner.to_payload().values()))[:16]
    clears = Clears.of(home, run, ti.max_tries, _digest([task.parameters_class.api.name, task.request, task.reuse]))
    base = _base(task, ti.run_id, run, clears.count)
    return Asked(lambda: _rows(task, run), base, run, clears, task.parameters_class.api, options)


def _is_over(ti: Any, owner: Owner) -> bool:
    # A batch that has deferred holds its ledger until its deadline, and a human may have ended it since.
    try:
        found = ti.get_task_states(
            dag_id=owner.dag_id, run_ids=[owner.run_id], task_ids=[owner.task_id], map_index=owner.map_index
        )
        states = list(found.get(owner.run_id, {}).values())
    except Exception as exc:  # noqa: BLE001 - of whom nothing can be asked, it is believed that it goes on
        _log.info("Airflow does not tell the state of %s (%s).", owner, type(exc).__name__)
        return False
    # Airflow leaves out a run, or a part of a mapped task, that it does not know any more: nothing comes back for it.
    return all(str(state) in _OVER for state in states)


def _rows(task: ImagePipelineBatchOperator, run: str) -> Iterable[PlannedRow]:
    inputs = getattr(task.inputs, "rows", task.inputs)
    planned = planned_rows(
        inputs,
        request=task.request,
        file_stem=task.file_stem,
        parameters_class=task.parameters_class,
        link_field=task.parameters_class.link_fields[0],
        aws_conn_id=task.aws_conn_id,
        upload_inputs=task.upload_inputs,
        destination=task.destination,
        reserved=_reserved(task),
        salt=run if task.reuse == "never" else "",
        shard=checked_shard(task.shard),
        counts=checked_identity(task.link_identity),
        on_empty=task.on_empty,
    )
    return (_without_key(row, task.hook.access) for row in planned)


def _without_key(row: PlannedRow, access: ApiAccess) -> PlannedRow:
    # Of such a row nothing but its place goes on, into plan, ledger and manifest.
    if not access.holds_key(asdict(row)):
        return row
    return PlannedRow(row.index, "", "", invalid=f"holds the API key of connection {access.conn_id!r}: take it out.")


def _reserved(task: ImagePipelineBatchOperator) -> list[str]:
    inside = f"{disk.one_address(task.destination).rstrip('/')}/"
    home = disk.one_address(_home(task, None)).rstrip("/")
    return [_LEDGER, MANIFESTS, REJECTED, *([home.removeprefix(inside)] if home.startswith(inside) else [])]


def with_sheet(task: ImagePipelineBatchOperator, summary: BatchSummary) -> BatchSummary:
    """Draw the picture of a run beside its manifest, where that was asked for; failing to costs a warning only."""
    if not task.contact_sheet or not summary.total:
        return summary
    from airflow_imagepipeline.landing.contact_sheet import make_contact_sheet

    folder = open_folder(task.destination, task.aws_conn_id)
    name = summary.manifest.removeprefix(f"{folder.uri}/").removesuffix(".jsonl") + ".jpg"
    title = f"{task.dag_id} · {task.task_id}"
    try:
        uri = make_contact_sheet(
            summary.manifest, destination=folder, name=name, n=_PAIRS, aws_conn_id=task.aws_conn_id, title=title
        )
    except (AirflowException, ImagePipelineError) as error:
        task.log.warning("The contact sheet was not made: %s", error)
        return summary
    return replace(summary, contact_sheet=uri)


def _home(task: ImagePipelineBatchOperator, shard: tuple[int, int] | None) -> str:
    home = task.ledger or f"{task.destination.rstrip('/')}/{_LEDGER}"
    return home if shard is None else f"{home.rstrip('/')}/shard-{shard[0]}-of-{shard[1]}"


def _warn_of_date(task: ImagePipelineBatchOperator, context: Mapping[str, Any]) -> None:
    dates = {str(context[name]) for name in ("ds", "ds_nodash", "ts", "ts_nodash", "run_id") if name in context}
    home = _home(task, None)
    if any(date and date in home for date in dates):
        task.log.warning(
            "The ledger %s is another one in each run, so nothing is reused and a run that was broken off is not taken "
            "up: give a ledger without a date.",
            home,
        )


def _base(task: ImagePipelineBatchOperator, run_id: str, run: str, clears: int) -> str:
    inputs = getattr(task.inputs, "rows", task.inputs)
    asked = [
        task.parameters_class.api.name,
        inputs,
        task.request,
        task.file_stem,
        task.destination,
        task.ledger,
        task.shard,
        task.reuse,
        *([task.link_identity] if task.link_identity is not None else []),
    ]
    readable = re.sub(r"[^A-Za-z0-9._\-]+", "_", run_id)[:_LONGEST_NAME]
    return f"{readable}-{run[:6]}{_digest(asked)[:6]}-{clears}"


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


class _Links:
    """The links that are sent for inputs which the vendor cannot fetch as they are."""

    def __init__(self, task: ImagePipelineBatchOperator) -> None:
        from airflow_imagepipeline.storage.inputs import InputTags
        from airflow_imagepipeline.storage.s3 import S3Signer

        self._task = task
        self._signer = S3Signer(task.aws_conn_id)
        self._tags = InputTags(task.aws_conn_id)
        # What a table names was asked for when it was planned; of a folder's files only the names are known.
        inputs = getattr(task.inputs, "rows", task.inputs)
        self._is_listed = isinstance(inputs, str) and not is_table(inputs)

    def uploaded(self, parameters: JobParameters) -> dict[str, str]:
        """
        Return those of the inputs that the vendor is given a copy of, by their addresses.

        :raises InvalidParameters: when the vendor could not open an input that only a listing has named.
        """
        task = self._task
        if self._is_listed and not task.upload_inputs:
            for address in filter(self._is_signed, parameters.inputs()):
                self._tags.of(address)
        files = [one for one in parameters.inputs() if task.upload_inputs or not self._is_signed(one)]
        return links_for(files, task.hook, task.aws_conn_id, seconds=LONGEST_SIGNATURE, upload=task.upload_inputs)

    def signed(self, parameters: JobParameters) -> dict[str, str]:
        """Return those of the other private inputs, by their addresses: signed now."""
        signed = [] if self._task.upload_inputs else filter(self._is_signed, parameters.inputs())
        return {address: self._signer.link(address, int(LONGEST_SIGNATURE)) for address in signed}

    @staticmethod
    def _is_signed(address: str) -> bool:
        return address.startswith("s3://")
