"""What a fetched file is found to be: an image with its facts, or one of the failures of a download."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from airflow_imagepipeline.contract.errors import DownloadFailed, NotTheResult, ResultRefused
from airflow_imagepipeline.images.inspection import (
    DamagedImage,
    ImageFacts,
    NotAnImage,
    TooManyPixels,
    inspect_file,
    is_blank,
)


@dataclass(frozen=True)
class Look:
    """
    A whole image.

    :param blank: whether it is of one colour.
    """

    facts: ImageFacts
    blank: bool

    def to_notes(self) -> Mapping[str, str]:
        """Return what is kept beside the stored file, so that it need not be read to be known."""
        size = {"width": str(self.facts.width), "height": str(self.facts.height)}
        return {**size, "blank": "true"} if self.blank else size


def look_at(path: Path) -> Look:
    """
    Return what a fetched file is.

    :raises DownloadFailed: when it is an image that is not whole.
    :raises NotTheResult: when it is no image.
    :raises ResultRefused: when it has too many pixels.
    """
    try:
        return Look(inspect_file(path), is_blank(path))
    except TooManyPixels as exc:
        msg = f"A result has {exc}."
        raise ResultRefused(msg) from exc
    except DamagedImage as exc:
        msg = f"A result is {exc}."
        raise DownloadFailed(msg) from exc
    except NotAnImage as exc:
        msg = f"A result is no image, but {exc}."
        raise NotTheResult(msg) from exc
