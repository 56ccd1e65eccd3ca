"""Run the emulated API in a thread of this process, for tests and for the command line.

It listens on 127.0.0.1 and nowhere else; there is no option for another address.
"""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import uvicorn

from .app import create_app
from .settings import Settings
from .stats import Stats

if TYPE_CHECKING:
    from types import TracebackType

HOST = "127.0.0.1"
_START_SECONDS = 15.0
_STOP_SECONDS = 5.0


class Emulator:
    """The API of ImagePipeline.io on this machine's loopback; nothing leaves the machine but the fetch of inputs.

    .. code-block:: python

        with Emulator(api_key="any text", job_seconds=0.2) as emulator:
            requests.post(f"{emulator.url}/sdxl/image2image/v1", ...)
            assert emulator.stats()["accepted"] == 1

    ``settings`` may be changed while it runs: ``emulator.settings.credits = 0`` refuses the next job with 402, and
    ``emulator.settings.fail_next = ["MODEL_ERROR"]`` fails it.

    :param port: the port, or 0 to be given a free one.
    :param settings: any of :class:`~.settings.Settings`: ``api_key``, ``job_seconds``, ``credits`` and so on.
    """

    def __init__(self, *, port: int = 0, **settings: Any) -> None:
        """Take the settings; nothing listens before :meth:`start`."""
        self.settings = Settings(**settings)
        self._stats = Stats()
        self._port = port
        self._socket: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def api_key(self) -> str:
        """The key that is accepted."""
        return self.settings.api_key

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end.

        :raises RuntimeError: when the emulator does not run.
        """
        if self._socket is None:
            message = "the emulator does not run"
            raise RuntimeError(message)
        return f"http://{HOST}:{self._port}"

    def stats(self) -> dict[str, Any]:
        """Copy the counts since the construction; they stay readable after the end.

        :return: the same members as ``GET /_emulator/stats``.
        """
        return self._stats.to_payload()

    def start(self) -> Self:
        """Listen, and return once requests are answered.

        :return: itself.
        :raises OSError: when the port is taken.
        :raises RuntimeError: when it runs already, or does not come up within 15 seconds.
        """
        if self._socket is not None:
            message = "the emulator runs already"
            raise RuntimeError(message)
        self._socket = self._bind()
        self._port = self._socket.getsockname()[1]
        self._server = uvicorn.Server(self._config())
        # In a thread other than the main one uvicorn leaves the process's signal handlers alone.
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="imagepipeline-emulator", daemon=True
        )
        self._thread.start()
        self._wait_until_up(self._server, self._thread)
        return self

    def stop(self) -> None:
        """End the server, give up running jobs and free the port.

        Returns within about 10 seconds at the worst; a second call does nothing.
        """
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(_STOP_SECONDS)
            self._server.force_exit = True
            self._thread.join(_STOP_SECONDS)
        if self._socket is not None:
            self._socket.close()
        self._socket = self._server = self._thread = None

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, whatever happened."""
        self.stop()

    def _bind(self) -> socket.socket:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((HOST, self._port))
        except OSError:
            listener.close()
            raise
        return listener

    def _config(self) -> uvicorn.Config:
        return uvicorn.Config(
            create_app(self.settings, self._stats),
            loop="asyncio",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            headers=[("Server", "imagepipeline-emulator")],
            timeout_graceful_shutdown=1,
        )

    def _wait_until_up(self, server: uvicorn.Server, thread: threading.Thread) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                self.stop()
                message = "the emulator did not come up"
                raise RuntimeError(message)
            time.sleep(0.01)
