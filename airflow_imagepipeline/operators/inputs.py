"""How the vendor gets the input images: by the user's link, by one that is signed for it, or as an uploaded copy."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from airflow_imagepipeline.contract.errors import InvalidParameters
from airflow_imagepipeline.contract.links import is_file

if TYPE_CHECKING:
    from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook

LONGEST_SIGNATURE: Final = 3600.0
"""Longest life of a signed link, seconds: the vendor fetches an input when it takes up the job."""


def refuse_files(addresses: Iterable[str], *, upload: bool) -> None:
    """
    Refuse what can only be uploaded where that was not asked for.

    :raises InvalidParameters: naming the file.
    """
    for address in addresses:
        if is_file(address) and not upload:
            msg = (
                f"input_image: {address!r} is a file, which only an upload can bring to the vendor: set "
                "upload_inputs=True, or put it on S3 and give its s3:// address."
            )
            raise InvalidParameters(msg)


def links_for(
    addresses: Iterable[str], hook: ImagePipelineHook, aws_conn_id: str | None, *, seconds: float, upload: bool
) -> dict[str, str]:
    """
    Return the link to send for each input that the vendor cannot fetch as it is.

    :param seconds: how long a signed link must live; an hour at most.
    :param upload: give the vendor a copy, instead of a signed link to an object.
    :raises InvalidParameters: when an input cannot be read, or is no image.
    :raises ImagePipelineError: when an upload failed.
    """
    links = {}
    for address in dict.fromkeys(addresses):
        is_object = address.startswith("s3://")
        if is_file(address) or (is_object and upload):
            links[address] = _uploaded(address, hook, aws_conn_id)
        elif is_object:
            from airflow_imagepipeline.storage.s3 import signed_link

            links[address] = signed_link(address, aws_conn_id, int(min(seconds, LONGEST_SIGNATURE)))
    return links


def _uploaded(address: str, hook: ImagePipelineHook, aws_conn_id: str | None) -> str:
    from airflow_imagepipeline.images.inspection import NotAnImage, inspect_file
    from airflow_imagepipeline.storage.inputs import copy_input

    with tempfile.TemporaryDirectory(prefix="imagepipeline-") as scratch:
        copy = Path(scratch) / "input"
        copy_input(address, aws_conn_id, copy)
        try:
            facts = inspect_file(copy)
        except NotAnImage as exc:
            msg = f"{address} is no image that the vendor takes, but {exc}."
            raise InvalidParameters(msg) from exc
        return hook.upload_image(copy.read_bytes(), facts.content_type, facts.extension)
