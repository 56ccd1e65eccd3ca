"""The operator that makes one manifest and one summary of what the shards of a batch have returned."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import BaseOperator

from airflow_imagepipeline.contract.errors import ImagePipelineError, InvalidParameters

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg

    from airflow_imagepipeline.contract.manifest import BatchSummary

_LONGEST_NAME: Final = 80
_CHOICES: Final = ("fail", "skip")


class MergeManifestsOperator(BaseOperator):
    """
    Join the manifests of a batch's shards into one, by row. Nothing is submitted or paid, so it can be cleared freely.

    The shards' own manifests stay as they are. A row that two of them have is an error, and so is a manifest that is
    not what its task has counted.

    :param summaries: what the shards have returned: the ``output`` of the mapped batch task, or a list. (templated)
    :param destination: folder of the images; the manifest becomes ``<destination>/_manifests/<file_stem>.jsonl``, in
        place of any of that name. (templated)
    :param file_stem: None means the id of the DAG run. (templated)
    :param missing: what to do when a shard has returned nothing: ``fail``, or ``skip`` to merge the others.
    :param aws_conn_id: connection for ``s3://``. (templated)
    """

    template_fields: Sequence[str] = ("summaries", "destination", "file_stem", "aws_conn_id")
    ui_color = "#f3e8ff"

    def __init__(
        self,
        *,
        summaries: Sequence[Any] | XComArg,
        destination: str,
        file_stem: str | None = None,
        missing: str = "fail",
        aws_conn_id: str | None = "aws_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.summaries = summaries
        self.destination = destination
        self.file_stem = file_stem
        self.missing = missing
        self.aws_conn_id = aws_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Merge and store.

        :return: a summary of all shards, see :class:`BatchSummary`: ``cost`` is None when that of one is not known,
            ``seconds`` is the time of the slowest, ``ledger`` the folder that theirs have in common.
        """
        from airflow_imagepipeline.batch.merging import merge_manifests
        from airflow_imagepipeline.storage.folder import open_folder

        try:
            name = self._file_name(context)
            shards = self._shards()
            folder = open_folder(self.destination, self.aws_conn_id)
            folder.prepare()
            summary = merge_manifests(shards, folder=folder, name=name, aws_conn_id=self.aws_conn_id)
        except ImagePipelineError as error:
            msg = f"The manifests cannot be merged: {str(error).rstrip('.')}."
            raise AirflowFailException(msg) from error
        told = ", ".join(f"{count:,} {outcome}" for outcome, count in summary.counts.items())
        self.log.info("%d shards, %d rows: %s. Manifest: %s", len(shards), summary.total, told, summary.manifest)
        return summary.to_payload()

    def _file_name(self, context: Context) -> str:
        from airflow_imagepipeline.batch.run import MANIFESTS
        from airflow_imagepipeline.storage.folder import checked_stem

        stem = self.file_stem or re.sub(r"[^A-Za-z0-9._\-]+", "_", context["run_id"])[:_LONGEST_NAME]
        return f"{MANIFESTS}/{checked_stem(stem)}.jsonl"

    def _shards(self) -> Sequence[BatchSummary]:
        from airflow_imagepipeline.batch.merging import read_shards

        if self.missing not in _CHOICES:
            msg = f"missing: {self.missing!r} is neither 'fail' nor 'skip'"
            raise InvalidParameters(msg)
        given = [self.summaries] if isinstance(self.summaries, Mapping) else self.summaries
        if isinstance(given, str) or not isinstance(given, Sequence):
            msg = (
                f"summaries: it is of type {type(given).__name__}; give the output of the mapped batch task, or a list"
            )
            raise InvalidParameters(msg)
        # Airflow's list of what mapped tasks returned asks its database for every entry.
        shards = read_shards(iter(given))
        if shards.missing and (self.missing == "fail" or not shards.summaries):
            msg = f"{', '.join(shards.missing)} returned no summary; clear it, or merge the others with missing='skip'"
            raise InvalidParameters(msg)
        if not shards.summaries:
            msg = "summaries: there is none"
            raise InvalidParameters(msg)
        for shard in shards.missing:
            self.log.warning("Not in the merged manifest, as it returned no summary: %s.", shard)
        return shards.summaries
