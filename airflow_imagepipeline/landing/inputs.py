"""How the vendor gets the input images: by the user's link, by one that is signed for it, or as an uploaded copy."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from airflow_imagepipeline.contract.errors import InvalidParameters
from airflow_imagepipeline.contract.links import is_file
from airflow_imagepipeline.contract.text import cleaned
from airflow_imagepipeline.storage.scratch import scratch_folder

if TYPE_CHECKING:
    from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
    from airflow_imagepipeline.images.inspection import ImageFacts

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
                f"input_image: {cleaned(address, 120)!r} is a file, which only an upload can bring to the vendor: set "
                "upload_inputs=True, or put it on S3 and give its s3:// address."
            )
            raise InvalidParameters(msg)


def links_for(
    addresses: Iterable[str],
    hook: ImagePipelineHook,
    aws_conn_id: str | None,
    *,
    seconds: float,
    upload: bool,
    digests: MutableMapping[str, str] | None = None,
) -> dict[str, str]:
    """
    Return the link to send for each input that the vendor cannot fetch as it is.

    All inputs are read and looked at before the first of them is uploaded.

    :param seconds: how long a signed link must live; an hour at most.
    :param upload: give the vendor a copy, instead of a signed link to an object.
    :param digests: is told the SHA-256 (hex) of each input whose bytes pass through here, by its address.
    :raises InvalidParameters: when an input cannot be read, or is no image.
    :raises ImagePipelineError: when an input cannot be read for now, or an upload failed.
    """
    wanted = dict.fromkeys(addresses)
    files = [address for address in wanted if is_file(address) or (upload and _is_object(address))]
    links = _uploaded(files, hook, aws_conn_id, {} if digests is None else digests)
    for address in filter(_is_object, wanted.keys() - links.keys()):
        from airflow_imagepipeline.storage.s3 import signed_link

        links[address] = signed_link(address, aws_conn_id, int(min(seconds, LONGEST_SIGNATURE)))
    return links


def _is_object(address: str) -> bool:
    return address.startswith("s3://")


def _uploaded(
    addresses: Sequence[str], hook: ImagePipelineHook, aws_conn_id: str | None, digests: MutableMapping[str, str]
) -> dict[str, str]:
    with scratch_folder() as scratch:
        copies = [scratch / f"input-{number}" for number in range(len(addresses))]
        facts = [_checked_copy(address, aws_conn_id, copy) for address, copy in zip(addresses, copies, strict=True)]
        links = {}
        for address, copy, fact in zip(addresses, copies, facts, strict=True):
            content = copy.read_bytes()
            digests[address] = hashlib.sha256(content).hexdigest()
            links[address] = hook.upload_image(content, fact.content_type, fact.extension)
        return links


def _checked_copy(address: str, aws_conn_id: str | None, copy: Path) -> ImageFacts:
    from airflow_imagepipeline.images.inspection import NotAnImage, inspect_file
    from airflow_imagepipeline.storage.inputs import copy_input

    copy_input(address, aws_conn_id, copy)
    try:
        return inspect_file(copy)
    except NotAnImage as exc:
        msg = f"{cleaned(address, 120)} is no image that the vendor takes, but {exc}."
        raise InvalidParameters(msg) from exc
