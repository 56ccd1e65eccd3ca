"""
Bring a job's images home: fetch, look at what came, write once, say where it is.

Names are made here; of what is remote only the bytes are taken, and they are stored untouched. Images are landed one
after the other: should one fail, those before it stay, and the next try of the task takes them over. Sidecars are
written when all of them are there.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow_imagepipeline.contract.errors import DownloadFailed, ImagePipelineError, LinkExpired
from airflow_imagepipeline.contract.result import JobResult, LandedImage
from airflow_imagepipeline.exceptions import LandingFailed, ResultRejected
from airflow_imagepipeline.landing.earlier import EarlierImages
from airflow_imagepipeline.landing.look import look_at
from airflow_imagepipeline.landing.provenance import explain
from airflow_imagepipeline.storage.folder import Folder, StorageFailed, StoredFile, stem_of
from airflow_imagepipeline.storage.scratch import scratch_folder

if TYPE_CHECKING:
    from airflow_imagepipeline.contract.job import Job
    from airflow_imagepipeline.hooks.download import Download, Downloader
    from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
    from airflow_imagepipeline.landing.gate import Gate, Original
    from airflow_imagepipeline.landing.look import Look
    from airflow_imagepipeline.landing.provenance import Provenance

_log: Final = logging.getLogger(__name__)

REJECTED: Final = "rejected"
"""Images that did not pass the gate lie here, in the folder for the others."""


def land_job(
    hook: ImagePipelineHook,
    job: Job,
    folder: Folder,
    stem: str | None,
    *,
    overwrite: bool,
    downloader: Downloader | None = None,
    provenance: Provenance | None = None,
    gate: Gate | None = None,
    original: str | None = None,
) -> JobResult:
    """
    Land all images of a finished job as ``{stem}-{i:02d}.{ext}``: all of them, or an error.

    Under the job's own id a whole file that is already there is this job's, so it is not fetched again; under a stem of
    the user, or with ``overwrite``, everything is fetched.

    :param hook: looks at the job once more for an image whose link has expired.
    :param stem: None means the job's id.
    :param downloader: fetches the links; None means one for the hook's connection.
    :param provenance: what the sidecars say of the job, one next to each image; None writes none.
    :param gate: judges each image; what does not pass is put into the folder's ``rejected/``. None takes all.
    :param original: address of the job's input, for the gate; None where it is not known.
    :raises LandingFailed: when an image could not be fetched whole or stored; a retry may succeed.
    :raises AlreadyThere: when another file has the name and ``overwrite`` is false.
    """
    landing = _Landing(hook, job, folder, downloader or _downloader(hook), gate=gate, original=original)
    is_resumable = stem is None and job.handle.job_id is not None and not overwrite
    name = stem or stem_of(job.handle.job_id or f"seed-{job.handle.seed}")
    try:
        images = landing.images(name, EarlierImages(folder, name) if is_resumable else None, overwrite=overwrite)
    except (ImagePipelineError, StorageFailed, OSError) as error:
        raise _failure(job, folder, landing.done, error) from error
    _warn_of_blank(images)
    if provenance is not None:
        explain(job, images, folder, provenance, taken_over=landing.taken_over, overwrite=overwrite)
    rejected = [image for image in images if is_rejected(image)]
    accepted = [image for image in images if not is_rejected(image)]
    return JobResult(job.handle, job.status, images=accepted, rejected=rejected, cost=job.cost)


def refuse_rejected(result: JobResult) -> JobResult:
    """
    Return a result if there is an image that passed the gate, or none that did not.

    :raises ResultRejected: naming where they lie, and why.
    """
    if result.rejected and not result.images:
        first = result.rejected[0]
        msg = (
            f"Job {result.handle.job_id} is done and paid for, but no image passed the checks: "
            f"{' '.join(first.checks['reasons'])} What came lies at {first.uri}. Clear the task to submit it again "
            "(without a seed of your own, another image comes of it), or change what it accepts."
        )
        raise ResultRejected(msg)
    return result


def is_rejected(image: LandedImage) -> bool:
    """Tell whether the gate did not let an image pass."""
    return bool(image.checks.get("reasons"))


def _downloader(hook: ImagePipelineHook) -> Downloader:
    # aiohttp is loaded only where something is downloaded.
    from airflow_imagepipeline.hooks.download import Downloader

    return Downloader(allow_loopback=hook.access.is_loopback)


def _failure(job: Job, folder: Folder, done: int, error: Exception) -> LandingFailed:
    reason = str(error)
    if isinstance(error, OSError):
        reason = f"this machine's temporary folder cannot be written ({error.strerror or type(error).__name__})."
    count = len(job.download_urls)
    what = f"image {done + 1} of {count} was" if count else "its images were"
    way_on = "A retry of the task goes on from here and pays nothing."
    if job.handle.job_id is None:
        way_on = "The API gave it no id, so that nothing leads back to its images."
    return LandingFailed(f"Job {job.handle.job_id} is done, but {what} not landed in {folder.uri}: {reason} {way_on}")


def _warn_of_blank(images: list[LandedImage]) -> None:
    for image in images:
        # Of one that was refused, the gate has told already.
        if image.blank and not is_rejected(image):
            _log.warning("%s looks blank: the vendor's safety filter returns black images.", image.uri)


class _Landing:
    """What the images of one job are landed with: links may be renewed on the way."""

    def __init__(
        self,
        hook: ImagePipelineHook,
        job: Job,
        folder: Folder,
        downloader: Downloader,
        *,
        gate: Gate | None,
        original: str | None,
    ) -> None:
        self._hook = hook
        self._gate = gate
        self._address = original
        self._original: Original | None = None
        self._handle = job.handle
        self._links = job.download_urls
        self._folder = folder
        self._downloader = downloader
        self.done = 0
        """How many images are landed."""
        self.taken_over: set[str] = set()
        """Addresses of those that an earlier try has landed."""

    def images(self, stem: str, earlier: EarlierImages | None, *, overwrite: bool) -> list[LandedImage]:
        """Land one image after the other, without those that an earlier try has landed."""
        if not self._links:
            msg = "the API reports it done without naming any image."
            raise DownloadFailed(msg)
        images = []
        # Private to this user, and removed in every case.
        with scratch_folder() as scratch:
            for index in range(len(self._links)):
                found = earlier.image(index, scratch) if earlier else None
                self.taken_over |= {found.uri} if found else set()
                images.append(found or self._image(index, f"{stem}-{index:02d}", scratch, overwrite=overwrite))
                self.done += 1
        return images

    def _image(self, index: int, name: str, scratch: Path, *, overwrite: bool) -> LandedImage:
        download = self._fetched(index, scratch / f"result-{index:02d}")
        facts, blank = download.found.facts, download.found.blank
        checks = self._judged(download.path, scratch)
        full_name = f"{name}.{facts.extension}"
        if checks.get("reasons"):
            # The vendor's id keeps what is rejected today apart from what is rejected tomorrow.
            full_name = f"{REJECTED}/{stem_of(self._handle.job_id or 'job')}/{full_name}"
        file = StoredFile(download.path, facts.content_type, download.sha256, download.found.to_notes())
        self._folder.put(full_name, file, overwrite=overwrite)
        download.path.unlink()
        uri = self._folder.uri_of(full_name)
        if self._gate is not None and checks.get("reasons"):
            self._gate.rejected.warn("%s is rejected: %s", uri, " ".join(checks["reasons"]))
        return LandedImage(uri, download.sha256, download.size, facts.format, facts.width, facts.height, blank, checks)

    def _judged(self, path: Path, scratch: Path) -> dict[str, Any]:
        if self._gate is None:
            return {}
        self._original = self._original or self._gate.original(self._address, scratch)
        judged = self._gate.judge(path, self._original)
        reasons = {"reasons": list(judged.reasons)} if judged.reasons else {}
        return {**judged.measures, **({"black": True} if judged.black else {}), **reasons}

    def _fetched(self, index: int, path: Path) -> Download[Look]:
        try:
            return self._downloader.fetch(self._links[index], path, look_at)
        except LinkExpired:
            if self._handle.job_id is None:
                raise
            self._renew_links()
        return self._downloader.fetch(self._links[index], path, look_at)

    def _renew_links(self) -> None:
        ended = self._hook.last_look(self._handle)
        fresh = ended.job.download_urls if ended.job else ()
        if len(fresh) != len(self._links):
            msg = (
                f"the link has expired, and a fresh look at the job ({ended.outcome.value}) gave {len(fresh)} links "
                f"instead of {len(self._links)}."
            )
            raise DownloadFailed(msg)
        self._links = fresh
