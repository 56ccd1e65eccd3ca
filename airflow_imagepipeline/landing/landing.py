"""
Bring a job's images home: fetch, look at what came, write once, say where it is.

Names are made here; of what is remote only the bytes are taken, and they are stored untouched.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_imagepipeline.contract.errors import DownloadFailed, ImagePipelineError, LinkExpired
from airflow_imagepipeline.contract.result import JobResult, LandedImage
from airflow_imagepipeline.exceptions import LandingFailed
from airflow_imagepipeline.images.inspection import ImageFacts, NotAnImage, inspect_file
from airflow_imagepipeline.storage.folder import Folder, StoredFile, stem_of

if TYPE_CHECKING:
    from airflow_imagepipeline.contract.job import Job
    from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook


def land_job(hook: ImagePipelineHook, job: Job, folder: Folder, stem: str | None, *, overwrite: bool) -> JobResult:
    """
    Land all images of a finished job as ``{stem}-{i:02d}.{ext}``: all of them, or an error.

    :param hook: looks at the job once more, should its links have expired.
    :param stem: None means the job's id.
    :raises LandingFailed: when an image could not be fetched whole; a retry may succeed.
    :raises AlreadyThere: when another file has the name and ``overwrite`` is false.
    """
    name = stem or stem_of(job.handle.job_id or f"seed-{job.handle.seed}")
    try:
        with tempfile.TemporaryDirectory(prefix="imagepipeline-") as scratch:
            images = [
                _stored(image, facts, folder, f"{name}-{i:02d}", overwrite=overwrite)
                for i, (image, facts) in enumerate(_fetched_with_fresh_links(hook, job, Path(scratch)))
            ]
    except ImagePipelineError as error:
        msg = f"Job {job.handle.job_id} is done, but was not landed in {folder.uri}: {error}"
        raise LandingFailed(msg) from error
    return JobResult(job.handle, job.status, images=images)


def _fetched_with_fresh_links(hook: ImagePipelineHook, job: Job, scratch: Path) -> list[tuple[StoredFile, ImageFacts]]:
    allow_loopback = hook.access.is_loopback
    try:
        return _fetched(job.download_urls, scratch, allow_loopback=allow_loopback)
    except LinkExpired:
        if job.handle.job_id is None:
            raise
        ended = hook.last_look(job.handle)
        return _fetched(ended.job.download_urls if ended.job else (), scratch, allow_loopback=allow_loopback)


def _fetched(links: Sequence[str], scratch: Path, *, allow_loopback: bool) -> list[tuple[StoredFile, ImageFacts]]:
    # aiohttp is loaded only where something is downloaded.
    from airflow_imagepipeline.hooks.download import fetch

    images = []
    for download in fetch(links, scratch, allow_loopback=allow_loopback):
        try:
            facts = inspect_file(download.path)
        except NotAnImage as exc:
            msg = f"A result is not a whole image: {exc}."
            raise DownloadFailed(msg) from exc
        images.append((StoredFile(download.path, facts.content_type, download.sha256), facts))
    return images


def _stored(file: StoredFile, facts: ImageFacts, folder: Folder, name: str, *, overwrite: bool) -> LandedImage:
    full_name = f"{name}.{facts.extension}"
    size = file.path.stat().st_size
    folder.put(full_name, file, overwrite=overwrite)
    return LandedImage(folder.uri_of(full_name), file.sha256, size, facts.format, facts.width, facts.height)
