"""
The tab's pages: one of a task instance, one of a row of its batch, one of a DAG run; and the pictures on them.

Addresses name a task instance, a row and a number, never a file. Who may not read the DAG gets the answer that a DAG
gets which does not exist.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from airflow_imagepipeline.plugins import lookup
from airflow_imagepipeline.plugins.answers import Hardened, image_answer, static_answer, thumbnail_answer
from airflow_imagepipeline.plugins.lookup import NothingThere
from airflow_imagepipeline.plugins.rendering import Renderer
from airflow_imagepipeline.plugins.stored import NotReadable
from airflow_imagepipeline.plugins.task_instances import Place
from airflow_imagepipeline.plugins.workers import Overloaded, Workers

# FastAPI reads these at run time. The user comes first in every handler: who is not logged in learns nothing.
User = Annotated[BaseUser, Depends(get_user)]
At = Annotated[Place, Depends(lookup.place_of)]
_AT: Final = "{dag_id}/{run_id}/{task_id}/{map_index}"
_PICTURES: Final = ("/image/", "/thumbnail/")


def create_app() -> FastAPI:
    """Return the application."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    renderer = Renderer()
    _add_pages(app, renderer)
    _add_pictures(app)
    _add_errors(app, renderer)
    app.add_middleware(Hardened)
    return app


def _add_pages(app: FastAPI, renderer: Renderer) -> None:
    workers = Workers("pages", threads=4, waiting=64)

    async def shown(page: str, request: Request, call: Any, *arguments: Any) -> HTMLResponse:
        values = await workers.run(call, *arguments, dict(request.query_params))
        return HTMLResponse(renderer.page(page, values, request))

    @app.get(f"/task/{_AT}")
    async def task(user: User, place: At, request: Request) -> HTMLResponse:
        return await shown("task", request, lookup.task_page, user, place)

    @app.get(f"/task/{_AT}/rows/{{row}}")
    async def row(user: User, place: At, row: str, request: Request) -> HTMLResponse:
        return await shown("row", request, lookup.row_page, user, place, row)

    @app.get("/run/{dag_id}/{run_id}")
    async def run(user: User, dag_id: str, run_id: str, request: Request) -> HTMLResponse:
        return await shown("run", request, lookup.run_page, user, dag_id, run_id)

    @app.get("/static/{name}")
    async def static(name: str) -> Response:
        return static_answer(name)


def _add_pictures(app: FastAPI) -> None:
    # Apart from the pages: forty thumbnails that are being made must not keep a page waiting.
    workers = Workers("pictures", threads=4, waiting=128)

    @app.get(f"/image/{_AT}/{{row}}/{{name}}")
    async def image(user: User, place: At, row: str, name: str, request: Request) -> Response:
        return await workers.run(image_answer, user, place, (row, name), request)

    @app.get(f"/thumbnail/{_AT}/{{row}}/{{name}}")
    async def thumbnail(user: User, place: At, row: str, name: str, request: Request) -> Response:
        return await workers.run(thumbnail_answer, user, place, (row, name), request)


def _add_errors(app: FastAPI, renderer: Renderer) -> None:
    def answer(request: Request, status: int, title: str, text: str) -> Response:
        if any(kind in request.url.path for kind in _PICTURES):
            return PlainTextResponse(f"{title} {text}".strip(), status)
        return HTMLResponse(renderer.page("problem", {"title": title, "text": text}, request), status)

    @app.exception_handler(NothingThere)
    async def nothing(request: Request, _: NothingThere) -> Response:
        text = "The DAG, run or task does not exist, or you may not read it."
        return answer(request, 404, "There is nothing to see here.", text)

    @app.exception_handler(NotReadable)
    async def unreadable(request: Request, error: NotReadable) -> Response:
        return answer(request, 404, "", str(error))

    @app.exception_handler(Overloaded)
    async def overloaded(request: Request, error: Overloaded) -> Response:
        return answer(request, 503, "The server is busy.", str(error))

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        if error.status_code in {401, 403}:
            return answer(request, error.status_code, "You are not logged in.", "Log in to Airflow, then come back.")
        return answer(request, error.status_code, "This page does not exist.", "")
