"""How much of everything the download of one result may take, and when it is tried again."""

from __future__ import annotations

import random
from dataclasses import dataclass

from airflow_imagepipeline.contract.errors import DownloadFailed, LinkExpired, NotTheResult
from airflow_imagepipeline.policy.resending import LONGEST_RETRY_AFTER


@dataclass(frozen=True)
class DownloadLimits:
    """
    What one result may take.

    :param bytes: of the file.
    :param redirects: that are followed.
    :param connect_seconds: until a connection stands.
    :param silent_seconds: without a byte.
    :param seconds: of one attempt, redirects included.
    :param slowest: bytes a second, measured over ``slow_seconds``.
    :param attempts: at the whole file; it is never continued in the middle.
    :param attempts_at_other: attempts when what comes is something else, an error page, say.
    :param all_seconds: from the first attempt to the start of the last.
    :param first_pause: seconds; doubled with each attempt up to ``longest_pause``, then full jitter is applied.
    :param longest_retry_after: seconds for which a ``Retry-After`` is obeyed.
    """

    bytes: int = 64 * 1024 * 1024
    redirects: int = 3
    connect_seconds: float = 10.0
    silent_seconds: float = 30.0
    seconds: float = 300.0
    slowest: int = 1024
    slow_seconds: float = 30.0
    attempts: int = 4
    attempts_at_other: int = 3
    all_seconds: float = 600.0
    first_pause: float = 1.0
    longest_pause: float = 20.0
    longest_retry_after: float = LONGEST_RETRY_AFTER

    def may_try_again(self, failures: int, error: BaseException | None) -> bool:
        """
        Tell whether the same link may be fetched again.

        :param failures: how many attempts have failed so far, 1 or more.
        """
        if not isinstance(error, DownloadFailed) or isinstance(error, LinkExpired):
            return False
        return failures < (self.attempts_at_other if isinstance(error, NotTheResult) else self.attempts)

    def pause(self, failures: int, error: BaseException | None, source: random.Random) -> float:
        """
        Return the seconds before the next attempt: full jitter, or what the host asked for if that is longer.

        :param source: where the jitter comes from.
        """
        own = source.uniform(0, min(self.longest_pause, self.first_pause * 2.0 ** (failures - 1)))
        asked = error.retry_after if isinstance(error, DownloadFailed) and error.retry_after else 0.0
        return max(own, min(asked, self.longest_retry_after))
