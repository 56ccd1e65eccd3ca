"""The request of a job as a sidecar keeps it, and the way back: the parameters that send it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from airflow_imagepipeline.contract.errors import InvalidParameters
from airflow_imagepipeline.contract.job_parameters import JobParameters
from airflow_imagepipeline.contract.parameters import EditImageParameters, ImageToImageParameters
from airflow_imagepipeline.contract.sidecar import Sidecar
from airflow_imagepipeline.contract.text import without_signature

_PARAMETERS: Final[Mapping[str, type[JobParameters]]] = {
    parameters.api.name: parameters for parameters in (ImageToImageParameters, EditImageParameters)
}


@dataclass(frozen=True)
class Replay:
    """
    A request that was rebuilt.

    :param parameters: with the seed that was sent.
    :param fingerprint: of what they ask for; with or without the seed, whichever the sidecar's is of.
    :param differences: one sentence for each way in which it is not the request of the sidecar; empty when it is.
    """

    parameters: JobParameters
    fingerprint: str
    differences: tuple[str, ...]

    def to_payload(self) -> dict[str, Any]:
        """Return what would be sent, as JSON values."""
        return {
            "api": self.parameters.api.name,
            "fingerprint": self.fingerprint,
            "seed": self.parameters.seed,
            "request": request_of(self.parameters),
        }


def request_of(parameters: JobParameters, seed: int | None = None) -> dict[str, Any]:
    """
    Return a request as a sidecar keeps it: as it is sent, but inputs as the user gave them, without what signs them.

    :param seed: the one that was sent; None means that of the parameters.
    """
    payload = parameters.to_payload({}) | ({} if seed is None else {"seed": seed})
    # Only what may hold a link: a prompt that begins with one means every character of it.
    links = {*parameters.link_fields, *parameters.extra_parameters} & payload.keys()
    return {name: _unsigned(value) if name in links else value for name, value in payload.items()}


def rebuilt(sidecar: Sidecar) -> Replay:
    """
    Return the request that made an image.

    :raises ValueError: when the sidecar does not know it, or it is one that this version cannot send.
    """
    if not sidecar.request:
        msg = "The sidecar does not know the request: a job that was made elsewhere cannot be made again from it."
        raise ValueError(msg)
    kind = _PARAMETERS.get(sidecar.api)
    if kind is None:
        msg = f"The sidecar is of {sidecar.api[:80]!r}, an API that this version does not know: {sorted(_PARAMETERS)}."
        raise ValueError(msg)
    # A field of this name in the request itself is none that the endpoint has: it is refused below.
    listed = (kind.model_fields.keys() - {"extra_parameters"}) & sidecar.request.keys()
    extra = {name: value for name, value in sidecar.request.items() if name not in listed}
    try:
        parameters = kind.checked({name: sidecar.request[name] for name in listed} | {"extra_parameters": extra})
    except InvalidParameters as exc:
        msg = f"The sidecar holds a request that cannot be sent: {exc}."
        raise ValueError(msg) from exc
    return _compared(parameters, sidecar)


def _compared(parameters: JobParameters, sidecar: Sidecar) -> Replay:
    # A seed that was drawn is not part of what the user asked for; one that was given is.
    possible = [parameters.fingerprint(), parameters.model_copy(update={"seed": None}).fingerprint()]
    fingerprint = next((one for one in possible if one == sidecar.fingerprint), possible[0])
    differences = []
    if fingerprint != sidecar.fingerprint:
        differences.append(f"its fingerprint is {fingerprint}, the sidecar says {sidecar.fingerprint}")
    if parameters.seed is None or parameters.seed != sidecar.seed:
        differences.append(f"its seed is {parameters.seed}, the sidecar says {sidecar.seed}")
    return Replay(parameters, fingerprint, tuple(differences))


def _unsigned(value: Any) -> Any:
    if isinstance(value, str):
        return without_signature(value)
    if isinstance(value, Mapping):
        return {name: _unsigned(item) for name, item in value.items()}
    return [_unsigned(item) for item in value] if isinstance(value, list) else value
