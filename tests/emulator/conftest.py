# Licensed under the Apache License, Version 2.0; see the file LICENSE.
"""A running emulator, and a small web server that has the images to edit."""

from __future__ import annotations

import contextlib
import io
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image, ImageDraw

from airflow_imagepipeline.emulator import Emulator

from .api import KEY

if TYPE_CHECKING:
    from collections.abc import Iterator


def _blank(size: tuple[int, int]) -> bytes:
    target = io.BytesIO()
    Image.new("1", size).save(target, "PNG")
    return target.getvalue()


def _draw(size: tuple[int, int] = (120, 80), kind: str = "PNG", mode: str = "RGB") -> bytes:
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    pen = ImageDraw.Draw(image)
    pen.ellipse((size[0] // 8, size[1] // 8, size[0] // 2, size[1] // 2), fill=(220, 60, 40))
    pen.rectangle((size[0] // 2, size[1] // 3, size[0] - 9, size[1] - 9), fill=(30, 110, 200), outline="white")
    target = io.BytesIO()
    image.convert(mode).save(target, kind)
    return target.getvalue()


_FILES = {
    "/photo.png": _draw(),
    "/photo.jpg": _draw(kind="JPEG"),
    "/palette.gif": _draw(kind="GIF", mode="P"),
    "/transparent.png": _draw(mode="RGBA"),
    "/large.png": _draw((1600, 400)),
    "/too-many-pixels.png": _blank((10_000, 5_001)),
    "/too-many-bytes.png": bytes(20 * 2**20 + 1),
    "/cut.png": _draw()[:200],
    "/page.html": b"<html><body>no image</body></html>",
    "/empty.png": b"",
}


class _Handler(BaseHTTPRequestHandler):
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path == "/moved.png":
            self._begin(302, 0, location="/photo.png")
        elif self.path == "/drip.png":
            self._begin(200, 100_000)
            self._drip()
        else:
            content = _FILES.get(self.path)
            self._begin(404 if content is None else 200, len(content or b""))
            with contextlib.suppress(OSError):  # the client may have enough
                self.wfile.write(content or b"")

    def _begin(self, status: int, length: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()

    def _drip(self) -> None:
        with contextlib.suppress(OSError):  # until the client goes away
            while True:
                self.wfile.write(b"x")
                time.sleep(0.05)

    def log_message(self, *_args: object) -> None:
        """Stay silent."""


@pytest.fixture(scope="session")
def files() -> Iterator[str]:
    """Serve the images to edit; the base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    """Decode the picture behind the default ``init_image``."""
    return Image.open(io.BytesIO(_FILES["/photo.png"])).convert("RGB")


@pytest.fixture(scope="session")
def body(files: str) -> dict[str, Any]:
    """Give a complete request; copy it before changing it."""
    return {"model_id": "sdxl", "init_image": f"{files}/photo.png", "prompt": "a watercolor of a boat", "seed": 12345}


@pytest.fixture(scope="session")
def shared() -> Iterator[Emulator]:
    """Run an emulator for tests that look only at their own jobs."""
    with Emulator(api_key=KEY, job_seconds=0) as emulator:
        yield emulator


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """Run an emulator of the test's own, whose counts and settings it may rely on."""
    with Emulator(api_key=KEY, job_seconds=0) as emulator:
        yield emulator
