"""
The Images tab of Airflow's own UI, for a task instance and for a DAG run.

Every component of Airflow imports this module, and only the API server serves the tab: the application behind it is
built at its first request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from functools import cached_property
from typing import Any, Final

from airflow.plugins_manager import AirflowPlugin

PREFIX: Final = "imagepipeline"
"""Where the tab's own pages lie, below the address of the API server."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


class LazyApplication:
    """The tab's pages as an ASGI application that imports nothing before its first request."""

    @cached_property
    def _application(self) -> Application:
        from airflow_imagepipeline.plugins.app import create_app

        return create_app()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await self._application(scope, receive, send)


def _view(route: str, destination: str, href: str) -> dict[str, str]:
    # Without a slash at its start a link follows the address of an Airflow that does not lie at the root of its host.
    icons = {"icon": f"{PREFIX}/static/icon.svg", "icon_dark_mode": f"{PREFIX}/static/icon-dark.svg"}
    return {"name": "Images", "url_route": route, "destination": destination, "href": f"{PREFIX}/{href}", **icons}


class ImagePipelinePlugin(AirflowPlugin):
    """Adds the tab *Images* to task instances and DAG runs."""

    name = "imagepipeline"
    fastapi_apps = [  # noqa: RUF012 - as Airflow declares it
        {"app": LazyApplication(), "url_prefix": f"/{PREFIX}", "name": "ImagePipeline images"}
    ]
    external_views = [  # noqa: RUF012 - as Airflow declares it
        _view("imagepipeline-images", "task_instance", "task/{DAG_ID}/{RUN_ID}/{TASK_ID}/{MAP_INDEX}"),
        _view("imagepipeline-run-images", "dag_run", "run/{DAG_ID}/{RUN_ID}"),
    ]
