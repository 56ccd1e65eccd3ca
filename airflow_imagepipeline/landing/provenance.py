"""
Write next to each landed image what it is and what it was made from.

The images come first: they are all in storage before the first sidecar is written, so none is lost for want of one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Self

from airflow_imagepipeline import __version__
from airflow_imagepipeline.contract.replay import request_of
from airflow_imagepipeline.contract.sidecar import SUFFIX, InputImage, Sidecar, sidecar_in
from airflow_imagepipeline.contract.text import without_signature
from airflow_imagepipeline.exceptions import LandingFailed
from airflow_imagepipeline.storage.folder import Folder, StorageFailed

if TYPE_CHECKING:
    from airflow_imagepipeline.contract.job import Job
    from airflow_imagepipeline.contract.job_parameters import JobParameters
    from airflow_imagepipeline.contract.result import LandedImage

_log: Final = logging.getLogger(__name__)

PACKAGE: Final = f"airflow-provider-imagepipeline {__version__}"


@dataclass(frozen=True)
class Provenance:
    """
    What is the same for all images of a job.

    :param request: see :func:`request_of`; empty when it is not known what the job was made from.
    :param fingerprint: of what the user asked for; None when it is not known.
    :param map_index: as Airflow says it: -1 for a task that is not mapped.
    """

    request: Mapping[str, Any] = field(default_factory=dict, repr=False)
    fingerprint: str | None = None
    inputs: Sequence[InputImage] = field(default=(), repr=False)
    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    map_index: int | None = None

    @classmethod
    def of_task(cls, context: Mapping[str, Any]) -> Self:
        """Return what a task instance says of itself; what was asked for is not known."""
        dag_id, run_id, task_id, index = (
            getattr(context["ti"], name, None) for name in ("dag_id", "run_id", "task_id", "map_index")
        )
        return cls(dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=index)

    def asked(
        self,
        parameters: JobParameters,
        seed: int | None,
        *,
        digests: Mapping[str, str],
        versions: Mapping[str, str] = MappingProxyType({}),
        fingerprint: str | None = None,
    ) -> Self:
        """
        Return this with what was asked for.

        :param seed: the one that was sent.
        :param digests: input address to the SHA-256 (hex) of its bytes, where it is known.
        :param versions: input address to what its storage, or the user, calls these bytes, where it is known.
        :param fingerprint: None means that of the parameters.
        """
        inputs = tuple(
            InputImage(without_signature(address), digests.get(address), versions.get(address))
            for address in dict.fromkeys(parameters.inputs())
        )
        request = request_of(parameters, seed)
        return replace(self, request=request, fingerprint=fingerprint or parameters.fingerprint(), inputs=inputs)

    def sidecar(self, job: Job, image: LandedImage) -> Sidecar:
        """Return the sidecar of one image of a job."""
        handle = job.handle
        return Sidecar(
            file=image.uri.rpartition("/")[2],
            sha256=image.sha256,
            bytes=image.bytes,
            format=image.format,
            width=image.width,
            height=image.height,
            api=handle.api.name,
            job_id=handle.job_id,
            seed=self.request.get("seed") if handle.seed is None else handle.seed,
            submitted_at=handle.submitted_at,
            landed_at=time.time(),
            fingerprint=self.fingerprint,
            request=self.request,
            inputs=self.inputs,
            cost=job.cost,
            checks=image.checks,
            dag_id=self.dag_id,
            run_id=self.run_id,
            task_id=self.task_id,
            map_index=self.map_index,
            package=PACKAGE,
        )


def explain(
    job: Job,
    images: Sequence[LandedImage],
    folder: Folder,
    provenance: Provenance,
    *,
    taken_over: Collection[str] = (),
    overwrite: bool = False,
) -> None:
    """
    Write the sidecars of a job's images, which are in storage already.

    One that is there, is of the same bytes and knows as much is left as it is.

    :param taken_over: addresses of images that an earlier try has landed.
    :param overwrite: whether a file of the name that is no sidecar is replaced, too.
    :raises LandingFailed: when one could not be written. Where no retry could go on, that is only warned of.
    """
    try:
        for image in images:
            name = image.uri.removeprefix(f"{folder.uri}/") + SUFFIX
            may_be_there = image.uri in taken_over or provenance.fingerprint is None
            _write(folder, name, provenance.sidecar(job, image), may_be_there=may_be_there, overwrite=overwrite)
    except StorageFailed as error:
        what = f"The images of job {job.handle.job_id} are landed in {folder.uri}, but their sidecars are not: {error}"
        if job.handle.job_id is None:
            _log.warning("%s", what)
            return
        msg = f"{what} A retry of the task writes them and pays nothing."
        raise LandingFailed(msg) from error


def _write(folder: Folder, name: str, sidecar: Sidecar, *, may_be_there: bool, overwrite: bool) -> None:
    # Half a surrogate, which JSON can hold and UTF-8 cannot, is written as JSON's own escape of it.
    content = sidecar.to_text().encode("utf-8", "backslashreplace")
    if not may_be_there and not overwrite and folder.create(name, content):
        return
    if may_be_there or not overwrite:
        there = folder.content(name)
        earlier = _sidecar_in(there)
        if may_be_there and earlier is not None and _knows_as_much(earlier, sidecar):
            return
        if there is not None and earlier is None and not overwrite:
            _log.warning("%s is no sidecar of this provider: it is left as it is.", folder.uri_of(name))
            return
    folder.write(name, content)


def _sidecar_in(content: bytes | None) -> Sidecar | None:
    try:
        return sidecar_in(content or b"")
    except ValueError:
        return None


def _knows_as_much(earlier: Sidecar, sidecar: Sidecar) -> bool:
    return earlier.sha256 == sidecar.sha256 and (earlier.fingerprint is not None or sidecar.fingerprint is None)
