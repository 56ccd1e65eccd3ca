"""Compare a folder of landed images with what their sidecars say."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from airflow_imagepipeline.contract.sidecar import LARGEST_SIDECAR, SUFFIX, Sidecar, is_sidecar, sidecar_in
from airflow_imagepipeline.contract.text import cleaned
from airflow_imagepipeline.images.inspection import FORMAT_OF_EXTENSION
from airflow_imagepipeline.storage.folder import Folder, StorageFailed
from airflow_imagepipeline.storage.scratch import scratch_folder

_LONGEST_NAME: Final = 300


class Verdict(StrEnum):
    """What an image, or a sidecar, was found to be."""

    INTACT = "intact"
    """The image is the one that its sidecar speaks of, byte for byte."""
    CHANGED = "changed"
    MISSING = "missing"
    """There is a sidecar, and no image."""
    REFUSED = "refused"
    """What lies there is no sidecar, or is one of another image: nothing that it says is believed."""
    UNREADABLE = "unreadable"
    """The storage did not give it out."""
    UNEXPLAINED = "unexplained"
    """There is an image, and no sidecar."""


@dataclass(frozen=True)
class Finding:
    """
    One image or sidecar.

    :param name: relative to the folder, fit to be shown.
    :param reason: the sentence for a reader; empty where all is well.
    """

    verdict: Verdict
    name: str
    reason: str = ""


def verify(folder: Folder) -> Iterator[Finding]:
    """
    Yield what each sidecar in the folder, and below it, is worth, then the images without one.

    A file counts as a sidecar by its name: ``<image>.json``. Other files are not looked at. Images below a folder whose
    name begins with an underscore (``_thumbnails``, ``_manifests``) are not results: they need no sidecar.

    :raises StorageFailed: when the folder cannot be listed.
    """
    sizes = {listed.name: listed.size for listed in folder.listing()}
    sidecars = [name for name in sizes if is_sidecar(name) and _is_image(name.removesuffix(SUFFIX))]
    with scratch_folder() as scratch:
        for name in sidecars:
            verdict, reason = _judged(folder, name, sizes, scratch / "image")
            yield Finding(verdict, cleaned(name.removesuffix(SUFFIX), _LONGEST_NAME), reason)
    explained = {name.removesuffix(SUFFIX) for name in sidecars}
    for name in sizes:
        if _is_image(name) and name not in explained and not _is_own(name):
            yield Finding(Verdict.UNEXPLAINED, cleaned(name, _LONGEST_NAME), "no sidecar lies next to it.")


def _is_image(name: str) -> bool:
    return name.rpartition(".")[2].lower() in FORMAT_OF_EXTENSION


def _is_own(name: str) -> bool:
    # Thumbnails and contact sheets of this provider's, and whatever else is kept beside the results.
    return any(part.startswith("_") for part in name.split("/")[:-1])


def _judged(folder: Folder, name: str, sizes: dict[str, int], copy: Path) -> tuple[Verdict, str]:
    image = name.removesuffix(SUFFIX)
    try:
        sidecar = _sidecar(folder, name, sizes[name])
        if image not in sizes:
            return Verdict.MISSING, f"job {sidecar.job_id} made it, and only its sidecar is there."
        if sizes[image] != sidecar.bytes:
            return Verdict.CHANGED, f"it has {sizes[image]} bytes, its sidecar says {sidecar.bytes}."
        folder.read(image, copy)
    except ValueError as error:
        return Verdict.REFUSED, f"its sidecar is refused: {error}."
    except StorageFailed as error:
        return Verdict.UNREADABLE, str(error)
    with copy.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sidecar.sha256:
        return Verdict.CHANGED, f"its SHA-256 is {digest}, its sidecar says {sidecar.sha256}."
    return Verdict.INTACT, ""


def _sidecar(folder: Folder, name: str, size: int) -> Sidecar:
    if size > LARGEST_SIDECAR:
        msg = f"not a sidecar: it has more than {LARGEST_SIDECAR} bytes"
        raise ValueError(msg)
    sidecar = sidecar_in(folder.content(name) or b"")
    if sidecar.file != name.removesuffix(SUFFIX).rpartition("/")[2]:
        msg = f"it speaks of another file, {sidecar.file}"
        raise ValueError(msg)
    return sidecar
