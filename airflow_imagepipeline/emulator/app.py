"""The routes: what the vendor's API answers, and the emulator's own pages below ``/_emulator``."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .around import CHANGE_BACKGROUND, REMOVE_BACKGROUND, UPSCALE_IMAGE
from .edit_image import EDIT_IMAGE
from .links import FILES_PATH
from .refusals import answer_refusal
from .request import InvalidFieldsError
from .sdxl import SDXL_IMAGE_TO_IMAGE
from .service import Service
from .uploads import UPLOAD_PATH, UPLOADED_PATH

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from .settings import Settings
    from .stats import Stats

    Handler = Callable[[Request], Awaitable[Response]]

GENERATIONS = (SDXL_IMAGE_TO_IMAGE, EDIT_IMAGE, REMOVE_BACKGROUND, CHANGE_BACKGROUND, UPSCALE_IMAGE)
# What is no job belongs to the current generation, and is asked for with its key header and in its wording.
_CURRENT = EDIT_IMAGE


def _refusing(handler: Handler, settings: Settings, stats: Stats, *, newer: bool) -> Handler:
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except (HTTPException, InvalidFieldsError) as exc:
            refusal = answer_refusal(exc, newer=newer and settings.error_envelope == "message")
            stats.count_refusal(refusal.status_code)
            return refusal

    return answer


async def _plain_refusal(_request: Request, exc: Exception) -> Response:
    if not isinstance(exc, HTTPException):
        raise exc
    return answer_refusal(exc, newer=False)


async def _health(_request: Request) -> Response:
    return JSONResponse({"status": "healthy"})


def create_app(settings: Settings, stats: Stats) -> Starlette:
    """Build the emulated API as an ASGI application.

    :param settings: the behaviour, read at each request.
    :param stats: the counts, written at each request.
    :return: the application; one process may hold several.
    """
    key_headers = [generation.key_header for generation in GENERATIONS]
    service = Service(settings, stats, key_headers=key_headers)
    routes = [
        Route("/health", _health, methods=["GET"]),
        Route("/_emulator/stats", service.show_stats, methods=["GET"]),
        Route(FILES_PATH + "/{job_id}/{index:int}.{suffix}", service.download, methods=["GET"]),
        Route(UPLOADED_PATH + "/{name}", service.show_upload, methods=["GET"]),
    ]

    def add(path: str, handler: Callable[..., Awaitable[Response]], method: str, *, newer: bool = True) -> None:
        routes.append(Route(path, _refusing(handler, settings, stats, newer=newer), methods=[method]))

    for path, describe in (("me", service.account.describe_user), ("details", service.account.describe_details)):
        add(f"/v1/user/{path}", functools.partial(service.show_account, _CURRENT, describe), "GET")
    add(UPLOAD_PATH, functools.partial(service.upload, _CURRENT), "POST")
    for generation in GENERATIONS:
        newer = generation.has_newer_errors
        add(generation.path, functools.partial(service.submit, generation), "POST", newer=newer)
        add(f"{generation.path}/status/{{job_id}}", functools.partial(service.look, generation), "GET", newer=newer)
    return Starlette(routes=routes, lifespan=service.lifespan, exception_handlers={HTTPException: _plain_refusal})
