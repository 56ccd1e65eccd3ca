"""
The gate before the destination: each result is measured, beside its input where that is needed, and judged.

A result that does not pass was paid for all the same, so nothing here throws one away: it says why, and where such
results go is for others to say. The input is read once a job.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow_imagepipeline.contract.acceptance import Acceptance
from airflow_imagepipeline.contract.errors import (
    DownloadFailed,
    ImagePipelineError,
    LinkExpired,
    NotSent,
    NotTheResult,
)
from airflow_imagepipeline.contract.text import cleaned
from airflow_imagepipeline.images.acceptance import compared, verdict
from airflow_imagepipeline.images.inspection import NotAnImage
from airflow_imagepipeline.images.seeing import Seen, seen
from airflow_imagepipeline.landing.few_warnings import FewWarnings
from airflow_imagepipeline.landing.own_checks import own_checks, resolved

if TYPE_CHECKING:
    from airflow_imagepipeline.hooks.download import Downloader
    from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class Original:
    """
    The input of a job as far as it could be had.

    :param path: its copy on this machine; None, as ``picture``, where it was not needed or cannot be read.
    :param missing: why it cannot be read; empty where it was read, or not needed.
    """

    path: Path | None = None
    picture: Seen | None = field(default=None, repr=False)
    missing: str = ""


@dataclass(frozen=True)
class Judgement:
    """
    What the gate found.

    :param reasons: why the result is not accepted; none when it is.
    :param measures: small JSON values, for a manifest or a note beside the file; none where it could not be decoded.
    :param black: whether it looks like what the vendor's safety filter paints.
    """

    reasons: tuple[str, ...]
    measures: Mapping[str, Any] = field(default_factory=dict)
    black: bool = False

    @property
    def is_accepted(self) -> bool:
        """Whether the result may go to the destination."""
        return not self.reasons


class Gate:
    """
    Judge the results of jobs.

    To be made before anything is submitted: the user's own checks are looked up here.

    :param acceptance: what a result must be.
    :param downloader: fetches an input that is a link; it knows where links may lead.
    :param aws_conn_id: connection for an input on ``s3://``.
    :raises InvalidParameters: when one of the user's checks cannot be found.
    """

    def __init__(self, acceptance: Acceptance, *, downloader: Downloader, aws_conn_id: str | None) -> None:
        self._acceptance = acceptance
        self._downloader = downloader
        self._aws_conn_id = aws_conn_id
        self._checks = resolved(acceptance.checks)
        self._missing = FewWarnings(_log)
        self.rejected = FewWarnings(_log)
        """Tells of results that are not accepted."""

    def original(self, address: str | None, scratch: Path) -> Original:
        """
        Bring a job's input here, if something that is checked needs it.

        An input that cannot be had stops nobody who did not ask for a comparison: the result was paid for.

        :param address: https link, ``s3://bucket/key``, path, or address of Airflow's object storage; None where the
            job does not say.
        :param scratch: a folder for the copy; the caller removes it.
        :raises ImagePipelineError: when it cannot be had for now and the user asked for a comparison: a retry of the
            task may find it, and pays nothing.
        """
        if not self._acceptance.needs_input:
            return Original()
        if address is None:
            return self._without("the job does not name it.")
        path = scratch / "original"
        try:
            self._copy(address, path)
            return Original(path, seen(path))
        except (ImagePipelineError, NotAnImage) as error:
            if _may_pass(error) and self._acceptance.asks_for_input:
                raise
            what = "it is " if isinstance(error, NotAnImage) else ""
            return self._without(f"{what}{cleaned(error)}")

    def _copy(self, address: str, path: Path) -> None:
        if address.startswith(("https://", "http://")):
            # What it is, is found in the same way wherever it comes from.
            self._downloader.fetch(address, path, lambda _: None)
            return
        from airflow_imagepipeline.storage.inputs import copy_input

        copy_input(address, self._aws_conn_id, path)

    def _without(self, why: str) -> Original:
        self._missing.warn("Results are not compared with their input, which cannot be read here: %s", why)
        return Original(missing=why)

    def judge(self, result: Path, original: Original) -> Judgement:
        """
        Judge one result.

        :param result: the file as it came.
        :param original: what :meth:`original` returned for its job.
        """
        try:
            measures = compared(seen(result), original.picture)
        except NotAnImage as error:
            return Judgement((f"It is {error}.",))
        reasons = verdict(measures, self._acceptance)
        if original.missing and self._acceptance.asks_for_input:
            reasons.append(f"It cannot be compared with its input, which cannot be read here: {original.missing}")
        reasons += own_checks(self._checks, result, original.path)
        return Judgement(tuple(reasons), measures.to_payload(), measures.black)


def gate_for(accept: Mapping[str, Any] | None, hook: ImagePipelineHook, aws_conn_id: str | None) -> Gate | None:
    """
    Return the gate that a user's argument stands for; None means that everything is taken.

    :param hook: says whether inputs on this machine may be fetched.
    :raises InvalidParameters: naming what is wrong with the argument.
    """
    if accept is None:
        return None
    from airflow_imagepipeline.hooks.download import Downloader
    from airflow_imagepipeline.hooks.download_limits import DownloadLimits

    # A result that is paid for must not wait long for an input whose host is gone.
    limits = DownloadLimits(attempts=2, all_seconds=60.0)
    downloader = Downloader(allow_loopback=hook.access.is_loopback, limits=limits)
    return Gate(Acceptance.checked(accept), downloader=downloader, aws_conn_id=aws_conn_id)


def _may_pass(error: Exception) -> bool:
    lasting = LinkExpired | NotTheResult
    return isinstance(error, NotSent | DownloadFailed) and not isinstance(error, lasting)
