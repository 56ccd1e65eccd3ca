"""What a fetched file is found to be: an image with its facts, or one of the failures of a download."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_imagepipeline.contract.errors import DownloadFailed, NotTheResult, ResultRefused
from airflow_imagepipeline.images.inspection import (
    DamagedImage,
    Glance,
    ImageFacts,
    NotAnImage,
    TooManyPixels,
    glanced,
    inspect_file,
)


@dataclass(frozen=True)
class Look:
    """A whole image."""

    facts: ImageFacts
    glance: Glance

    def to_notes(self) -> Mapping[str, str]:
        """Return what is kept beside the stored file, so that it need not be read to be known."""
        facts, notes = self.facts, {"width": str(self.facts.width), "height": str(self.facts.height)}
        if facts.trailing_bytes:
            notes["trailing-bytes"] = str(facts.trailing_bytes)
        return {**notes, "blank": "true"} if self.glance.blank else notes

    def to_checks(self) -> dict[str, Any]:
        """Return what is odd about the file, and no reason not to take it."""
        odd = {"trailing_bytes": self.facts.trailing_bytes, "unread_metadata": self.glance.unread}
        return {name: value for name, value in odd.items() if value}


def look_at(path: Path) -> Look:
    """
    Return what a fetched file is.

    :raises DownloadFailed: when it is an image that is not whole.
    :raises NotTheResult: when it is no image.
    :raises ResultRefused: when it has too many pixels.
    """
    try:
        return Look(inspect_file(path), glanced(path))
    except TooManyPixels as exc:
        msg = f"A result has {exc}."
        raise ResultRefused(msg) from exc
    except DamagedImage as exc:
        msg = f"A result is {exc}."
        raise DownloadFailed(msg) from exc
    except NotAnImage as exc:
        msg = f"A result is no image, but {exc}."
        raise NotTheResult(msg) from exc
