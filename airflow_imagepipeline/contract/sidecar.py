"""
The sidecar of an image: what it is, what it was made from, and by whom it was asked for.

It lies next to the image as ``<file>.json``. It never holds the key, nor what signs a link. Whoever can write to the
folder can write a sidecar: what is read is checked before anything is believed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Annotated, Any, Final

from pydantic import AfterValidator, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from airflow_imagepipeline.contract.api import checked_job_id
from airflow_imagepipeline.contract.errors import Malformed
from airflow_imagepipeline.contract.text import cleaned

SUFFIX: Final = ".json"
LARGEST_SIDECAR: Final = 4 * 1000 * 1000
"""Bytes beyond which a file is not read as a sidecar."""
_NO_VERSION: Final = 1000

_NAME: Final = re.compile(r"[A-Za-z0-9._=\-]{1,900}", re.ASCII)
_STRICT: Final = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


def _plain_name(name: str) -> str:
    if not _NAME.fullmatch(name) or name in {".", ".."}:
        msg = "it is no plain name of a file"
        raise ValueError(msg)
    return name


def _id(job_id: str) -> str:
    try:
        return checked_job_id(job_id)
    except Malformed as exc:
        raise ValueError(str(exc)) from None


_Name = Annotated[str, AfterValidator(_plain_name)]
_Digest = Annotated[str, Field(pattern=r"\A[0-9a-f]{64}\z")]
_Text = Annotated[str, Field(max_length=5000)]
_Size = Annotated[int, Field(ge=1, le=2**53)]
_Seconds = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class InputImage:
    """
    One image that the result was made from.

    :param address: as the user gave it, without what signs it.
    :param sha256: hexadecimal digest of its bytes; None where they did not pass through our hands.
    :param version: what its storage calls these bytes; None where that is not known.
    """

    __pydantic_config__ = _STRICT

    address: _Text
    sha256: _Digest | None = None
    version: _Text | None = None


@dataclass(frozen=True)
class Sidecar:
    """
    What is known of one image.

    :param file: name of the image in the folder of the sidecar.
    :param sha256: hexadecimal digest of the image's bytes.
    :param bytes: its size.
    :param format: ``PNG``, ``JPEG``, ``WEBP`` or ``GIF``, as its bytes say.
    :param width: pixels.
    :param height: pixels.
    :param api: the endpoint that made it.
    :param job_id: the vendor's id of the job; None for a job that was finished in the submit answer without an id.
    :param seed: what makes the image again; None when it is not known.
    :param submitted_at: seconds since the epoch; None when the job was started elsewhere.
    :param landed_at: seconds since the epoch.
    :param fingerprint: of what the user asked for, see :meth:`JobParameters.fingerprint`; None when it is not known.
    :param request: the endpoint's parameters as they were sent, but inputs as the user gave them, without what signs
        them; empty when they are not known.
    :param inputs: the images that it was made from.
    :param cost: what the vendor said of money, by its own names.
    :param checks: as :class:`LandedImage`.
    :param dag_id: who landed it; None outside of a task, as the three below.
    :param map_index: of the task instance; -1 for a task that is not mapped.
    :param package: name and version of what wrote this.
    """

    __pydantic_config__ = _STRICT

    file: _Name
    sha256: _Digest
    bytes: _Size
    format: _Text
    width: _Size
    height: _Size
    api: _Text
    job_id: Annotated[str, AfterValidator(_id)] | None
    seed: int | None
    submitted_at: _Seconds | None
    landed_at: _Seconds
    fingerprint: _Digest | None
    request: Mapping[str, JsonValue] = field(repr=False)
    inputs: Sequence[InputImage] = field(repr=False)
    cost: Mapping[str, float | bool]
    checks: Mapping[str, JsonValue]
    dag_id: _Text | None
    run_id: _Text | None
    task_id: _Text | None
    map_index: int | None
    package: _Text

    def to_payload(self) -> dict[str, Any]:
        """Return the sidecar as JSON values."""
        return {"v": 1, **asdict(self)}

    def to_text(self) -> str:
        """Return the sidecar as the text that is stored, for people to read too."""
        return json.dumps(self.to_payload(), ensure_ascii=False, allow_nan=False, indent=2) + "\n"

    @classmethod
    def from_payload(cls, payload: object) -> Sidecar:
        """
        Read a sidecar.

        :raises ValueError: when it is none; the message names what is wrong and shows nothing of it.
        """
        if not isinstance(payload, Mapping) or payload.get("v") != 1:
            version = payload.get("v") if isinstance(payload, Mapping) else None
            msg = "not a sidecar: it is no JSON object with 'v': 1"
            if isinstance(version, int) and 1 < version < _NO_VERSION:
                msg = f"not a sidecar of version 1, but of {version}: a later release of this package wrote it"
            raise ValueError(msg)
        given = {name: value for name, value in payload.items() if name != "v"}
        try:
            # As JSON: strict, and yet an object may stand for a dataclass.
            return _adapter().validate_json(json.dumps(given, allow_nan=False))
        except ValidationError as exc:
            wrong = (
                f"{_place(error['loc'])}: {error['msg'].removeprefix('Value error, ')}"
                for error in exc.errors(include_input=False)
            )
            msg = f"not a sidecar: {cleaned('; '.join(wrong))}"
            raise ValueError(msg) from None
        except (TypeError, ValueError, RecursionError):
            msg = "not a sidecar: it holds what is no JSON"
            raise ValueError(msg) from None


def sidecar_in(content: bytes) -> Sidecar:
    """
    Read the file of a sidecar.

    :raises ValueError: when it is none, or is too large to be one.
    """
    if len(content) > LARGEST_SIDECAR:
        msg = f"not a sidecar: it has more than {LARGEST_SIDECAR} bytes"
        raise ValueError(msg)
    try:
        payload = json.loads(content)
    except (ValueError, RecursionError):
        msg = "not a sidecar: it is no JSON"
        raise ValueError(msg) from None
    return Sidecar.from_payload(payload)


def is_sidecar(name: str) -> bool:
    """Tell whether a file's name is one of a sidecar, not of an image."""
    return name.endswith(SUFFIX)


@cache
def _adapter() -> TypeAdapter[Sidecar]:
    # Built at the first use: a DAG file is parsed without it.
    return TypeAdapter(Sidecar)


def _place(location: Sequence[int | str]) -> str:
    return cleaned(".".join(map(str, location)), 40)
