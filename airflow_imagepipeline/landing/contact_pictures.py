"""
The pictures of a contact sheet: what the rows of a manifest name, as far as it lies in storage of the user's own.

Links are never followed, and nothing here fails: what cannot be shown is replaced by the words why.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from airflow_imagepipeline.contract.errors import ImagePipelineError
from airflow_imagepipeline.contract.manifest import ManifestRow, RowOutcome
from airflow_imagepipeline.contract.sidecar import SUFFIX, Sidecar, sidecar_in
from airflow_imagepipeline.images.contact_sheet import Picture
from airflow_imagepipeline.storage.inputs import LARGEST_INPUT, copy_input

_log: Final = logging.getLogger(__name__)
PATIENCE: Final = 180.0
"""Seconds in which the pictures of one sheet are fetched; a storage that hardly answers must not hold up the task."""
_NO_IMAGE: Final[Mapping[RowOutcome, str]] = {
    RowOutcome.LANDED: "no image is in storage",
    RowOutcome.REUSED: "no image is in storage",
    RowOutcome.FAILED: "no image: the job failed",
    RowOutcome.FILTERED: "withheld by the safety filter: it came back of one colour",
    RowOutcome.REJECTED: "not kept: it did not pass the checks",
    RowOutcome.INVALID: "never submitted: it cannot be a request",
    RowOutcome.UNCERTAIN: "nobody knows whether the request was taken",
    RowOutcome.OVER_BUDGET: "never submitted: the budget was used up",
    RowOutcome.NOT_SUBMITTED: "never submitted: the run ended before its turn",
}


class Pictures:
    """
    Fetch what the rows name, one pair at a time.

    :param scratch: folder for the copies; those of a pair are replaced by those of the next.
    :param aws_conn_id: connection for ``s3://``.
    """

    def __init__(self, scratch: Path, aws_conn_id: str | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._scratch = scratch
        self._aws_conn_id = aws_conn_id
        self._clock = clock
        self._until = clock() + PATIENCE

    def pair(self, row: ManifestRow) -> tuple[Picture, Picture]:
        """Return the input of a row and its first image."""
        return self._input(row.input), self._image(row)

    def sidecar(self, row: ManifestRow) -> Sidecar | None:
        """Return what is kept beside the first image of a row."""
        copy = self._copy(f"{row.images[0].uri}{SUFFIX}", "sidecar") if row.images else ""
        try:
            return None if isinstance(copy, str) else sidecar_in(copy.read_bytes())
        except ValueError as error:
            _log.info("%s%s is left out: %s.", row.images[0].uri, SUFFIX, error)
            return None

    def _input(self, address: str) -> Picture:
        if not address:
            return "the input is not known"
        if address.startswith(("http://", "https://")):
            return "the input is a link"
        return self._copy(address, "before")

    def _image(self, row: ManifestRow) -> Picture:
        if not row.images or row.outcome is RowOutcome.FILTERED:
            return _NO_IMAGE[row.outcome]
        if row.images[0].bytes > LARGEST_INPUT:
            return "too large to be shown here"
        return self._copy(row.images[0].uri, "after")

    def _copy(self, address: str, name: str) -> Picture:
        if not address.startswith(("s3://", "file://", "/")):
            return "not shown: it is neither on s3:// nor on file://"
        if self._clock() > self._until:
            return "not shown: the storage was too slow"
        try:
            copy_input(address, self._aws_conn_id, self._scratch / name)
        except ImagePipelineError as error:
            _log.info("Not shown on the contact sheet: %s", error)
            return "it could not be read from storage"
        return self._scratch / name


def completed(row: ManifestRow, sidecar: Sidecar | None) -> ManifestRow:
    """Return a row with what its sidecar knows and it does not."""
    if sidecar is None:
        return row
    known = {"landed_at": sidecar.landed_at}
    if sidecar.submitted_at is not None:
        known["submitted_at"] = sidecar.submitted_at
    return replace(
        row,
        input=row.input or next((image.address for image in sidecar.inputs), ""),
        seed=sidecar.seed if row.seed is None else row.seed,
        cost=row.cost or sidecar.cost,
        checks=row.checks or sidecar.checks,
        timings={**known, **row.timings},
    )
