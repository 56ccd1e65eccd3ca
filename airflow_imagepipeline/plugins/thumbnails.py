"""Small pictures of images: made once, kept beside the results, and never larger than their bounds."""

from __future__ import annotations

import hashlib
import io
import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from airflow_imagepipeline.images import thumbnail as images
from airflow_imagepipeline.images.inspection import ImageFacts, NotAnImage, inspect_file
from airflow_imagepipeline.plugins.results import Named
from airflow_imagepipeline.plugins.stored import NotKept, NotReadable, Storage
from airflow_imagepipeline.storage.scratch import scratch_folder

SIDE: Final = 256
"""Pixels of a thumbnail's longer side."""
LARGEST_IMAGE: Final = 64 * 1024 * 1024
_LARGEST_THUMBNAIL: Final = 128 * 1024
_PAPER: Final = "white"
_QUALITY: Final = 78
# One after the other: an image of the largest size takes some 64 MB while it is decoded.
_decoding: Final = threading.Lock()
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class Opened:
    """
    An image that was found to be one.

    :param file: its bytes, without a name on this machine; to be closed.
    """

    file: BinaryIO
    facts: ImageFacts
    sha256: str
    size: int


def open_image(storage: Storage, named: Named) -> Opened:
    """
    Read an image that a result names.

    :raises NotReadable: when it cannot be read, is no whole image, or is not the one that the result speaks of.
    """
    with scratch_folder() as folder:
        path = folder / "image"
        facts, digest = _fetched(storage, named, path)
        return Opened(path.open("rb"), facts, digest, path.stat().st_size)


def thumbnail(storage: Storage, named: Named) -> bytes:
    """
    Return a small WEBP of an image that a result names.

    It is kept as ``_thumbnails/<sha256>.webp`` in the folder of the image; not for inputs, whose folders are not ours.

    :raises NotReadable: as :func:`open_image`.
    """
    kept = None
    if named.sha256 and not named.is_input:
        kept = f"{named.uri.rpartition('/')[0]}/_thumbnails/{named.sha256}.webp"
    with scratch_folder() as folder:
        path, small = folder / "image", folder / "thumbnail"
        if kept and (found := _kept(storage, kept, small)):
            return found
        _fetched(storage, named, path)
        with _decoding:
            made = _made(path)
        if kept:
            small.write_bytes(made)
            try:
                storage.keep(kept, small, "image/webp")
            except NotKept as exc:
                _log.info("A thumbnail is not kept, and will be made again: %s", exc)
        return made


def _kept(storage: Storage, uri: str, path: Path) -> bytes | None:
    try:
        storage.fetch(uri, path, _LARGEST_THUMBNAIL)
        facts = inspect_file(path)
    except (NotReadable, NotAnImage):
        return None
    is_one = facts.format == "WEBP" and max(facts.width, facts.height) <= SIDE
    return path.read_bytes() if is_one else None


def _fetched(storage: Storage, named: Named, path: Path) -> tuple[ImageFacts, str]:
    storage.fetch(named.uri, path, LARGEST_IMAGE)
    try:
        facts = inspect_file(path)
    except NotAnImage as exc:
        msg = f"This file is not shown: it is {exc}."
        raise NotReadable(msg) from exc
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if named.sha256 and digest != named.sha256:
        msg = (
            "This input has changed since the job was submitted: it is not the image that was edited."
            if named.is_input
            else "This file has changed since the task landed it: it is not the image that the task made."
        )
        raise NotReadable(msg)
    return facts, digest


def _made(path: Path) -> bytes:
    target = io.BytesIO()
    try:
        small = images.thumbnail(path, (SIDE, SIDE), _PAPER)
    except NotAnImage as exc:
        msg = f"This image has no small picture: it is {exc}."
        raise NotReadable(msg) from exc
    small.save(target, "WEBP", quality=_QUALITY)
    return target.getvalue()
