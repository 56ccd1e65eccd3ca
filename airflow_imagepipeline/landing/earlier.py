"""
Images that an earlier try of the task has landed under the job's own id, so that they need not be fetched again.

Never needed: what cannot be found, read or understood is fetched as if it were not there.
"""

from __future__ import annotations

import hashlib
import logging
import re
from functools import cached_property
from pathlib import Path
from typing import Final

from airflow_imagepipeline.contract.errors import ImagePipelineError
from airflow_imagepipeline.contract.result import LandedImage
from airflow_imagepipeline.images.inspection import FORMAT_OF_EXTENSION
from airflow_imagepipeline.landing.look import look_at
from airflow_imagepipeline.storage.folder import Folder, StorageFailed

_log: Final = logging.getLogger(__name__)
_SHA256: Final = re.compile("[0-9a-f]{64}")
_NUMBER: Final = re.compile("[0-9]{1,9}")


def images_of(folder: Folder, stem: str) -> list[str]:
    """
    Return the names of the images that lie in a folder under exactly a stem: ``cup-blue-00.png`` is none of ``cup``.

    :raises StorageFailed: when they cannot be listed.
    """
    own = re.compile(rf"{re.escape(stem)}-[0-9]{{2,}}[.](?:{'|'.join(FORMAT_OF_EXTENSION)})")
    return [name for name in folder.names(stem) if own.fullmatch(name)]


class EarlierImages:
    """
    What lies in a folder under the stem of a job.

    :param stem: the job's own; with another one, files of that name may be anybody's.
    """

    def __init__(self, folder: Folder, stem: str) -> None:
        self._folder = folder
        self._stem = stem

    @cached_property
    def _names(self) -> frozenset[str]:
        try:
            return frozenset(images_of(self._folder, self._stem))
        except StorageFailed as error:
            _log.info("%s So everything is fetched.", error)
            return frozenset()

    def image(self, index: int, scratch: Path) -> LandedImage | None:
        """
        Return the image of a sample if it is there, whole and of known bytes.

        :param scratch: a folder for a copy, where the storage keeps no notes.
        """
        possible = [f"{self._stem}-{index:02d}.{extension}" for extension in FORMAT_OF_EXTENSION]
        name = next((name for name in possible if name in self._names), None)
        if name is None:
            return None
        try:
            image = self._noted(name) or self._read(name, scratch / f"earlier-{index:02d}")
        except (StorageFailed, ImagePipelineError) as error:
            _log.warning("%s is not taken over: %s", self._folder.uri_of(name), error)
            return None
        _log.info("%s is there already: not fetched again.", image.uri)
        return image

    def _noted(self, name: str) -> LandedImage | None:
        notes = self._folder.notes(name)
        sha256 = notes.get("sha256", "")
        numbers = [notes.get(key, "") for key in ("bytes", "width", "height")]
        if not _SHA256.fullmatch(sha256) or not all(map(_NUMBER.fullmatch, numbers)):
            return None
        size, width, height = map(int, numbers)
        known, uri = FORMAT_OF_EXTENSION[name.rpartition(".")[2]], self._folder.uri_of(name)
        trailing = notes.get("trailing-bytes", "")
        checks = {"trailing_bytes": int(trailing)} if _NUMBER.fullmatch(trailing) else {}
        return LandedImage(uri, sha256, size, known, width, height, notes.get("blank") == "true", checks)

    def _read(self, name: str, copy: Path) -> LandedImage:
        self._folder.read(name, copy)
        look, size = look_at(copy), copy.stat().st_size
        with copy.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        copy.unlink()
        uri, facts = self._folder.uri_of(name), look.facts
        blank, checks = look.glance.blank, look.to_checks()
        return LandedImage(uri, sha256, size, facts.format, facts.width, facts.height, blank, checks)
