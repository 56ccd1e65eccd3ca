"""Images that callers upload, to use their links as inputs.

The label of the part decides what is taken, not its bytes: a file that is no image fails the job that uses it. Links
need no key and last as long as the emulator, unless all uploads together pass ``keep_bytes``: the oldest go first then.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from .request import InvalidFieldsError, fault

if TYPE_CHECKING:
    from starlette.datastructures import FormData
    from starlette.requests import Request

UPLOAD_PATH = "/upload/image/v1"
UPLOADED_PATH = "/_emulator/uploads"
UPLOAD_BYTES = 20 * 2**20

_SUFFIXES = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "image/gif": "gif"}


@dataclass(frozen=True)
class Upload:
    """One uploaded file.

    :param filename: as the caller called it.
    :param content_type: as the caller labelled it.
    :param content: its bytes.
    """

    filename: str
    content_type: str
    content: bytes


class UploadStore:
    """Keeps uploads by the name in their link.

    :param keep_bytes: upper bound of all uploads; the newest is kept even when it alone is larger.
    """

    def __init__(self, keep_bytes: int) -> None:
        """Start empty."""
        self._keep_bytes = keep_bytes
        self._kept_bytes = 0
        self._uploads: dict[str, Upload] = {}

    def add(self, upload: Upload) -> str:
        """Keep an upload, and forget the oldest beyond the limit.

        :param upload: the upload.
        :return: its name, not to be guessed.
        """
        name = f"{uuid.uuid4()}.{_SUFFIXES[upload.content_type]}"
        self._uploads[name] = upload
        self._kept_bytes += len(upload.content)
        while self._kept_bytes > self._keep_bytes and len(self._uploads) > 1:
            oldest = self._uploads.pop(next(iter(self._uploads)))
            self._kept_bytes -= len(oldest.content)
        return name

    def get(self, name: str) -> Upload | None:
        """Look an upload up.

        :param name: its name.
        :return: the upload, or None when it is unknown or forgotten.
        """
        return self._uploads.get(name)


async def _form(request: Request) -> FormData:
    try:
        return await request.form()
    except ValueError as exc:  # what some versions of starlette let through from the parser
        raise HTTPException(400, "The body is no well-formed multipart") from exc


async def read_upload(request: Request) -> Upload:
    """Read the part ``file`` of a multipart body.

    :param request: the request.
    :return: the upload.
    :raises InvalidFieldsError: when the body is not labelled multipart, or its part is missing or labelled as no image.
    :raises HTTPException: 400 when the body is no well-formed multipart, 413 when the image is too large.
    """
    label = request.headers.get("Content-Type", "nothing")
    if not label.lower().startswith("multipart/form-data"):
        message = f"Field required; the body is labelled {label}, not multipart/form-data"
        raise InvalidFieldsError([fault("missing", message, "file")])
    form = await _form(request)
    try:
        return await _upload(form.get("file"))
    finally:
        await form.close()


async def _upload(part: object) -> Upload:
    if not isinstance(part, UploadFile):
        raise InvalidFieldsError([fault("missing", "Field required", "file")])
    content_type = (part.content_type or "application/octet-stream").partition(";")[0].strip().lower()
    if content_type not in _SUFFIXES:
        message = f"The part's content type should be one of {', '.join(_SUFFIXES)}, not {content_type}"
        raise InvalidFieldsError([fault("value_error", message, "file")])
    if (part.size or 0) > UPLOAD_BYTES:
        raise HTTPException(413, f"The image has more than {UPLOAD_BYTES} bytes")
    return Upload(part.filename or "", content_type, await part.read())
