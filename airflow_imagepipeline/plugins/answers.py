"""Answers that are not pages: pictures and the tab's own files; and the headers that every answer carries."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from starlette.datastructures import MutableHeaders

from airflow_imagepipeline.plugins import lookup
from airflow_imagepipeline.plugins.lookup import NothingThere
from airflow_imagepipeline.plugins.thumbnails import open_image, thumbnail

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from airflow_imagepipeline.plugins.task_instances import Place

PAGES: Final = Path(__file__).parent / "pages"
_STATIC: Final = {
    "images.css": "text/css; charset=utf-8",
    "images.js": "text/javascript; charset=utf-8",
    "theme.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "icon-dark.svg": "image/svg+xml",
}
_YEAR: Final = "private, max-age=31536000, immutable"
_SOON: Final = "private, max-age=300"
_CHUNK: Final = 256 * 1024

_PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)
_OTHER_POLICY: Final = "default-src 'none'; sandbox; frame-ancestors 'self'"


class Hardened:
    """Puts onto every answer what keeps a browser from doing more with it than showing it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                _harden(MutableHeaders(scope=message))
            await send(message)

        await self._app(scope, receive, sending)


def _harden(headers: MutableHeaders) -> None:
    is_page = headers.get("content-type", "").startswith("text/html")
    headers["Content-Security-Policy"] = _PAGE_POLICY if is_page else _OTHER_POLICY
    headers["X-Content-Type-Options"] = "nosniff"
    headers["X-Frame-Options"] = "SAMEORIGIN"
    headers["Referrer-Policy"] = "no-referrer"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers.setdefault("Cache-Control", "private, no-store")


def static_answer(name: str) -> Response:
    """Return one of the tab's own files."""
    if name not in _STATIC:
        raise NothingThere
    return Response((PAGES / name).read_bytes(), media_type=_STATIC[name], headers={"Cache-Control": "max-age=3600"})


def image_answer(user: BaseUser, place: Place, which: tuple[str, str], request: Request) -> Response:
    """Return an image as it is stored, once it is known to be one."""
    storage, named = lookup.named(user, place, *which)
    headers = _headers(named.sha256, request, "image")
    if _is_known(headers, request):
        return Response(status_code=304, headers=headers)
    opened = open_image(storage, named)
    headers["Content-Disposition"] = f'inline; filename="image.{opened.facts.extension}"'
    headers["Content-Length"] = str(opened.size)
    return StreamingResponse(_chunks(opened.file), media_type=opened.facts.content_type, headers=headers)


def thumbnail_answer(user: BaseUser, place: Place, which: tuple[str, str], request: Request) -> Response:
    """Return a small picture of an image."""
    storage, named = lookup.named(user, place, *which)
    headers = _headers(named.sha256, request, "thumbnail")
    if _is_known(headers, request):
        return Response(status_code=304, headers=headers)
    headers["Content-Disposition"] = 'inline; filename="thumbnail.webp"'
    return Response(thumbnail(storage, named), media_type="image/webp", headers=headers)


def _headers(sha256: str | None, request: Request, kind: str) -> MutableMapping[str, Any]:
    tag = request.query_params.get("v", "")
    if not sha256:
        return {"Cache-Control": _SOON}
    is_forever = bool(tag) and sha256.startswith(tag)
    return {"Cache-Control": _YEAR if is_forever else _SOON, "ETag": f'"{kind}-{sha256}"'}


def _is_known(headers: MutableMapping[str, Any], request: Request) -> bool:
    # Proxies that compress answers mark their tags as weak ones.
    return "ETag" in headers and headers["ETag"] in request.headers.get("if-none-match", "")


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK):
            yield chunk
