"""Count what the emulator was asked and what it answered."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Stats:
    """Counts since the start.

    :param submits: all posts to a submit path, also refused ones.
    :param accepted: jobs that were accepted: what a real account would have paid for.
    :param polls: all looks at a status path, also refused ones.
    :param downloads: images that were handed out.
    :param downloads_refused: requests for images that were answered 403 or 404.
    :param downloads_with_key: requests for files that carried the API key, which belongs to the API alone.
    :param uploads: images that were taken into storage.
    :param refused: requests to a path of the API that were answered 4xx or 5xx.
    :param refused_by_status: the same, by HTTP status.
    """

    submits: int = 0
    accepted: int = 0
    polls: int = 0
    downloads: int = 0
    downloads_refused: int = 0
    downloads_with_key: int = 0
    uploads: int = 0
    refused: int = 0
    refused_by_status: dict[str, int] = field(default_factory=dict)

    def count_refusal(self, status: int) -> None:
        """Count one refused request.

        :param status: the HTTP status of the answer.
        """
        self.refused += 1
        self.refused_by_status[str(status)] = self.refused_by_status.get(str(status), 0) + 1

    def to_payload(self) -> dict[str, Any]:
        """Copy the counts into a mapping that JSON can carry.

        :return: the counts by name.
        """
        return asdict(self)
