"""The operator that makes one picture of a run, for mails and chats: before and after, failures and extremes too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import BaseOperator, XComArg

from airflow_imagepipeline.contract.errors import ImagePipelineError, InvalidParameters
from airflow_imagepipeline.contract.manifest import ManifestRow, RowOutcome
from airflow_imagepipeline.contract.result import LandedImage

if TYPE_CHECKING:
    from airflow.sdk import Context

_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^/]*/.")
_ANYTHING_ELSE: Final = (
    "manifest: give what a batch or image operator returned (task.output), a list of such, or the address of a manifest"
)


class ContactSheetOperator(BaseOperator):
    """
    Draw how a run went, and put the picture into storage. Nothing is submitted or paid, so it can be cleared freely.

    Inputs that are links are not fetched; a frame says so. Images above 20 MB are not shown.

    :param manifest: what a batch operator returned, the address of its manifest, what an operator with a
        ``destination`` returned, or a list of these, as from mapped tasks. (templated)
    :param destination: folder: ``s3://bucket/prefix``, ``file:///path`` or another address of Airflow's object storage.
        (templated)
    :param pairs: before/after pairs on the sheet, 1-60.
    :param title: of the picture; None says how many inputs there were. (templated)
    :param file_stem: the file is called ``{file_stem}.jpg``, say. (templated)
    :param format: ``jpeg``, ``png`` or ``webp``.
    :param overwrite: whether a file of that name is replaced; False fails where its bytes differ.
    :param aws_conn_id: connection for ``s3://`` manifests, pictures and destinations. (templated)
    """

    template_fields: Sequence[str] = ("manifest", "destination", "title", "file_stem", "aws_conn_id")
    ui_color = "#f3e8ff"

    def __init__(
        self,
        *,
        manifest: str | dict[str, Any] | Sequence[Any] | XComArg,
        destination: str,
        pairs: int = 12,
        title: str | None = None,
        file_stem: str = "contact-sheet",
        format: str = "jpeg",  # noqa: A002 - the word for it
        overwrite: bool = True,
        aws_conn_id: str | None = "aws_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.manifest = manifest
        self.destination = destination
        self.pairs = pairs
        self.title = title
        self.file_stem = file_stem
        self.format = format
        self.overwrite = overwrite
        self.aws_conn_id = aws_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Choose, fetch, draw and store.

        :return: ``uri`` of the sheet, its size as ``bytes``, how many ``pairs`` it shows, and ``counts``: all inputs by
            outcome.
        """
        from airflow_imagepipeline.landing.contact_sheet import put_sheet
        from airflow_imagepipeline.storage.folder import open_folder

        try:
            name = self._file_name()
            folder = open_folder(self.destination, self.aws_conn_id)
            folder.prepare()
            sheet = put_sheet(
                rows_of(self.manifest, self.aws_conn_id),
                destination=folder,
                name=name,
                n=self.pairs,
                aws_conn_id=self.aws_conn_id,
                title=self.title,
                overwrite=self.overwrite,
            )
        except ImagePipelineError as error:
            msg = f"The contact sheet cannot be made: {str(error).rstrip('.')}."
            raise AirflowFailException(msg) from error
        self.log.info("%s shows %d of %d inputs.", sheet.uri, sheet.pairs, sum(sheet.counts.values()))
        counts = {outcome.value: sheet.counts.get(outcome, 0) for outcome in RowOutcome}
        return {"uri": sheet.uri, "bytes": sheet.bytes, "pairs": sheet.pairs, "counts": counts}

    def _file_name(self) -> str:
        from airflow_imagepipeline.images.saving import EXTENSION_OF
        from airflow_imagepipeline.landing.contact_sheet import MOST_PAIRS
        from airflow_imagepipeline.storage.folder import checked_stem

        if self.format not in EXTENSION_OF:
            msg = f"format: {self.format!r} is none of {', '.join(EXTENSION_OF)}"
            raise InvalidParameters(msg)
        if not isinstance(self.pairs, int) or not 1 <= self.pairs <= MOST_PAIRS:
            msg = f"pairs: {self.pairs!r} is not a number from 1 to {MOST_PAIRS}"
            raise InvalidParameters(msg)
        return f"{checked_stem(self.file_stem)}.{EXTENSION_OF[self.format]}"


def rows_of(manifest: Any, aws_conn_id: str | None) -> Iterator[ManifestRow]:
    """
    Yield the rows that a value stands for, one after the other.

    :param manifest: see :class:`ContactSheetOperator`.
    :raises InvalidParameters: when it is none of what the operator takes.
    """
    is_one = isinstance(manifest, str | Mapping)
    several: Iterable[Any] = [manifest] if is_one else manifest if isinstance(manifest, Sequence) else ()
    if not is_one and not isinstance(manifest, Sequence):
        raise InvalidParameters(_ANYTHING_ELSE)
    for number, value in enumerate(several):
        address = value.get("manifest") if isinstance(value, Mapping) else value
        if isinstance(address, str):
            yield from _rows_at(address, aws_conn_id)
        elif isinstance(value, Mapping):
            yield _row_of(value, number)
        else:
            raise InvalidParameters(_ANYTHING_ELSE)


def _rows_at(address: str, aws_conn_id: str | None) -> Iterator[ManifestRow]:
    from airflow_imagepipeline.landing.contact_sheet import manifest_rows

    if not _ADDRESS.match(address) or address.startswith(("http://", "https://")):
        msg = f"{_ANYTHING_ELSE} (s3://bucket/key or file:///path), not a text like this one"
        raise InvalidParameters(msg)
    return manifest_rows(address, aws_conn_id)


def _row_of(result: Mapping[str, Any], number: int) -> ManifestRow:
    """Return the row of a job's result; what it was made from is only known to the sidecar of its image."""
    images = result.get("images")
    try:
        landed = tuple(LandedImage(**image) for image in images or ())
    except TypeError:
        landed = ()
    if not landed:
        msg = f"manifest: result {number} names no image in storage; give its task a destination"
        raise InvalidParameters(msg)
    is_blank = all(image.blank for image in landed)
    return ManifestRow(
        index=number,
        input="",
        outcome=RowOutcome.FILTERED if is_blank else RowOutcome.LANDED,
        reason="the image came back of one colour" if is_blank else "",
        job_id=result.get("job_id"),
        seed=result.get("seed"),
        images=landed,
        cost=result.get("cost") or {},
    )
